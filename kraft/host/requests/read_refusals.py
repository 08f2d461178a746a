"""Why a member did not answer the read of another node: the refusal, and its number on the wire."""

from collections.abc import Callable

from kraft.kv.excerpt import EXCERPT_BYTES
from kraft.node.errors import Locked, NotOwner, Refused, TooManyWaiters, TooMuch
from kraft.peerwire.messages import CROWDED, LOCKED, MOVED, NOT_READ, TOO_MUCH

_REFUSALS: dict[int, tuple[type[Refused], Callable[[int], Refused]]] = {
    MOVED: (NotOwner, NotOwner),
    LOCKED: (Locked, Locked),
    CROWDED: (TooManyWaiters, lambda _: TooManyWaiters()),
    TOO_MUCH: (TooMuch, lambda _: TooMuch(EXCERPT_BYTES)),
}
"""By `ReadKeysReply.outcome`: the type of the refusal, and a function that makes one for a group id."""

_OUTCOMES: dict[type[Exception], int] = {kind: outcome for outcome, (kind, _) in _REFUSALS.items()}


def outcome_of(refusal: Exception) -> int:
    """The `ReadKeysReply.outcome` for `refusal`: NOT_READ, unless any other member would refuse as well."""
    return _OUTCOMES.get(type(refusal), NOT_READ)


def refusal_of(outcome: int, group: int) -> Refused | None:
    """The refusal that `outcome` stands for in `group`; None for NOT_READ: another member may answer."""
    return None if outcome == NOT_READ else _REFUSALS[outcome][1](group)
