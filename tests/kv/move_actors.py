"""The mover and the coordinator of `tests.kv.move_scope`: what either may do next in a state."""

from collections.abc import Iterator
from typing import Any, NamedTuple

from kraft.kv import commands as kv
from kraft.kv.checkpoint import moved_sum, record_hash
from kraft.kv.move_reply import MoveOutcome
from kraft.kv.transaction_reply import StepOutcome
from tests.kv.group_states import NOW
from tests.kv.move_groups import SHARES, SLOT, MoveGroups
from tests.kv.move_steps import Routes, Steps


class State(NamedTuple):
    """One state of everything: the groups by number, what was sent and heard, the mover, the coordinator.

    `base` is the state of the source of which the mover has sent a copy. `executed` is whether the increment
    has taken effect, and `time` the highest stamp of any group while it owned the slot.
    """

    groups: tuple[int, ...]
    sent: int
    heard: int
    move: int = 0
    phase: str = "idle"
    base: int = -1
    attempt: int = 0
    commit: str = "idle"
    executed: bool = False
    time: int = NOW


class Mover:
    """It makes `moves`, one after the other, by `routes`. `mistake`: see `MoveScope`."""

    def __init__(self, groups: MoveGroups, steps: Steps, routes: Routes, moves: int, mistake: str) -> None:
        self._groups = groups
        self._steps = steps
        self._routes = routes
        self._moves = moves
        self._mistake = mistake
        self._reuses = mistake == "gives a number again"
        self._heard_of_others = steps.heard_by_coordinator()

    def next(self, state: State) -> Iterator[tuple[str, State]]:
        """What the mover may do, each with the state after it."""
        if state.phase == "idle":
            if state.move < self._moves:
                yield "the mover begins", self._begins(state)
            return
        number, (source, receiver) = self._number_of(state.move), self._routes[state.move - 1]
        if state.phase == "opening" and self._hears(state, f"open {number} {receiver}", MoveOutcome.OPEN):
            yield "the mover copies", self._copies(state, number, source, receiver)
        copied = f"import {number} {receiver} of {state.base}"
        if state.phase == "copying" and self._hears(state, copied, MoveOutcome.OPEN):
            yield "the mover freezes", self._freezes(state, number, source, receiver)
        if state.phase == "freezing" and self._knows_frozen(state, number, source, receiver):
            sent = state.sent | self._activates(state, number, source, receiver)
            yield "the mover activates", state._replace(sent=sent, phase="activating")
        keys = self._keys_of_active(state, f"activate {number} {receiver} ")
        if state.phase in ("freezing", "activating") and keys is not None:
            sent = state.sent | self._steps.releases(number, source, keys)
            yield "the mover releases", state._replace(sent=sent, phase="releasing")
        released = f"release {number} {source}"
        if state.phase == "releasing" and self._hears(state, released, MoveOutcome.RELEASED):
            yield "the mover sweeps", self._over(state, self._sweeps(state, number, source, receiver))
        if state.phase != "releasing":
            yield "the mover gives up", self._over(state, self._steps.cancels(number, receiver))

    def heard(self, step: str, outcome: Any) -> int:
        """What is heard of a step: by the mover, or by the coordinator."""
        words = ("open", "import", "freeze", "activate", "release", "prepare", "commit")
        return self._steps.heard(step, outcome) if step.startswith(words) else 0

    def remembered(self, state: State, heard: int) -> int:
        """What is remembered of what was heard: a mover at rest listens to nothing."""
        return heard & self._heard_of_others if state.phase == "idle" else heard

    def _hears(self, state: State, step: str, outcome: Any) -> bool:
        return bool(state.heard & self._steps.heard(step, outcome))

    def _number_of(self, move: int) -> int:
        return 1 if self._reuses else move

    def _begins(self, state: State) -> State:
        move = state.move + 1
        number, (_, receiver) = self._number_of(move), self._routes[move - 1]
        step = (f"open {number} {receiver}", receiver, kv.Open(number, SLOT, SLOT, SHARES[receiver]))
        sent = state.sent | self._steps.sent(step)
        return state._replace(sent=sent, move=move, phase="opening", base=-1)

    def _copies(self, state: State, number: int, source: int, receiver: int) -> State:
        at = state.groups[source - 1]
        copy = kv.Import(number, 0, self._groups.rows(at), self._groups.tokens(at))
        sent = state.sent | self._steps.sent((f"import {number} {receiver} of {at}", receiver, copy))
        return state._replace(sent=sent, phase="copying", base=at)

    def _freezes(self, state: State, number: int, source: int, receiver: int) -> State:
        freeze = kv.Freeze(number, SLOT, SLOT, receiver, SHARES[source])
        sent = state.sent | self._steps.sent((f"freeze {number} {receiver}", source, freeze))
        if self._mistake == "activates before the source is frozen":
            sent |= self._activates(state, number, source, receiver)
        return state._replace(sent=sent, phase="freezing")

    def _knows_frozen(self, state: State, number: int, source: int, receiver: int) -> bool:
        frozen_for = self._groups.facts(state.groups[source - 1]).frozen
        is_frozen = frozen_for == (number, receiver) or (self._reuses and frozen_for is not None)
        return is_frozen and self._hears(state, f"freeze {number} {receiver}", MoveOutcome.FROZEN)

    def _activates(self, state: State, number: int, source: int, receiver: int) -> int:
        at = state.groups[source - 1]
        before, now = self._groups.rows(state.base), self._groups.rows(at)
        tokens = self._groups.tokens(at)
        if self._mistake == "changes since the copy are not sent":
            now, tokens = before, ()
        there = {row.key for row in now}
        delta = [row for row in now if row not in before]
        delta += [kv.Row(row.key, None) for row in before if row.key not in there]
        total = moved_sum(bytes(16), sum([_hash(row) for row in now]), 0)
        stamp, revision = self._groups.clock(at)
        command = kv.Activate(number, 1, tuple(delta), tokens, revision, stamp, len(now), total)
        return self._steps.sent((f"activate {number} {receiver} of {state.base} {at}", receiver, command))

    def _keys_of_active(self, state: State, step: str) -> int | None:
        """The number of keys, if the reply to a step was that the move is active."""
        for name in self._steps.names(state.heard):
            if name.startswith(f"heard {step}") and " ACTIVE " in name:
                return int(name.rpartition(" ")[2])
        return None

    def _sweeps(self, state: State, number: int, source: int, receiver: int) -> int:
        at = state.groups[source - 1]
        left = tuple(row.key for row in self._groups.rows(at))
        return self._steps.sent(
            (f"close {number} {receiver}", receiver, kv.Close(number)),
            (f"sweep {number} {receiver} {at}", source, kv.Sweep(number, left)),
        )

    def _over(self, state: State, sent: int) -> State:
        heard = state.heard & self._heard_of_others
        return state._replace(sent=state.sent | sent, heard=heard, phase="idle", base=-1)


class Coordinator:
    """It tries a transaction, in the source at first; up to `attempts` times."""

    def __init__(self, groups: MoveGroups, steps: Steps, routes: Routes, attempts: int) -> None:
        self._groups = groups
        self._steps = steps
        self._routes = routes
        self._attempts = attempts

    def next(self, state: State) -> Iterator[tuple[str, State]]:
        """What the coordinator may do, each with the state after it."""
        n = state.attempt
        if state.commit == "idle" and n < self._attempts and self._steps.transaction:
            if not self._groups.facts(state.groups[self._routes[0][n] - 1]).routed:
                return
            sent = state.sent | self._steps.prepares(n + 1)
            yield "the coordinator prepares", state._replace(sent=sent, attempt=n + 1, commit="preparing")
        if state.commit == "preparing":
            if self._hears(state, f"prepare {n}", StepOutcome.PREPARED):
                sent = state.sent | self._steps.commits(n)
                yield "the coordinator commits", state._replace(sent=sent, commit="committing")
            refused = (StepOutcome.NOT_OWNER, StepOutcome.LOCKED)
            if any(self._hears(state, f"prepare {n}", outcome) for outcome in refused):
                yield self._gives_up(state)
        if state.commit == "committing":
            if self._hears(state, f"commit {n}", StepOutcome.COMMITTED):
                sent = state.sent | self._steps.resolves(n, True)
                yield "the coordinator resolves", state._replace(sent=sent, commit="done")
            if self._hears(state, f"commit {n}", StepOutcome.ABORTED):
                yield self._gives_up(state)

    def _hears(self, state: State, step: str, outcome: Any) -> bool:
        return bool(state.heard & self._steps.heard(step, outcome))

    def _gives_up(self, state: State) -> tuple[str, State]:
        sent = state.sent | self._steps.resolves(state.attempt, False)
        return "the coordinator gives up", state._replace(sent=sent, commit="idle")


def _hash(row: kv.Row) -> int:
    assert row.value is not None
    return int.from_bytes(record_hash(row.key, row.value, row.revision, row.expires), "big")
