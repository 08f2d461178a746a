"""Administrators' commands of one node on their way to the leader, and the wire form of the answers.

The rules are those of forwarded writes. A command that a leader did not begin is offered to the next leader,
until its deadline. A command that a leader may have begun when it was lost is uncertain, unless it does the
same when it is carried out again: then the next leader gets it. A leader is lost when the link to it ends, or
when it is known here to lead no more, and does not answer soon after that.
"""

from collections.abc import Callable
from enum import IntEnum
from itertools import chain

import msgspec

from kraft.host.pending import Pending, overdue, settle_all
from kraft.node.admin import (
    REPEATABLE,
    AdminCommand,
    AdminOutcome,
    decode_result,
    encode,
    encode_result,
)
from kraft.node.errors import (
    AdminRefused,
    CheckpointFailed,
    NoLeader,
    NotLeader,
    Refused,
    Stopping,
    Uncertain,
)
from kraft.peerwire.codec import GROUPS_MAX
from kraft.peerwire.messages import Admin, AdminReply
from kraft.raft.errors import ChangeRefused, LogFull, NotLeading, TransferRefused

PENDING_MAX = 2 * GROUPS_MAX  # commands that wait on one node: two for the whole cluster ask every group
LOST_SECONDS = 1.0  # in which a leader that was deposed, or has handed over, may still answer

Leads = tuple[str, int]  # the leader of a group, '' if none is known, and the term


class _Kind(IntEnum):
    """Why there is no result. This is the first field of a refusal on the wire."""

    REFUSED = 0
    NOT_BEGUN = 1
    UNCERTAIN = 2


class _Refusal(msgspec.Struct, frozen=True, array_like=True):
    """The `AdminReply.result` of a command that failed. `text` is for people, '' unless REFUSED."""

    kind: int
    text: str = ""


NO_CHECKPOINT = (
    "the leader could not write a checkpoint: no disk space, or too many open files"
    " (storage_failed in its log says which)"
)


def reply(request: int, outcome: AdminOutcome) -> AdminReply:
    """The message with which the leader answers `request`."""
    if not isinstance(outcome, Exception):
        return AdminReply(request, refused=False, result=encode_result(outcome))
    return AdminReply(request, refused=True, result=_encode_refusal(_refusal(outcome)))


def _refusal(error: Exception) -> _Refusal:
    if isinstance(error, AdminRefused | ChangeRefused | TransferRefused):
        return _Refusal(_Kind.REFUSED, str(error))
    if isinstance(error, CheckpointFailed):
        return _Refusal(_Kind.REFUSED, NO_CHECKPOINT)
    if isinstance(error, Refused | NotLeading | LogFull):
        return _Refusal(_Kind.NOT_BEGUN)
    return _Refusal(_Kind.UNCERTAIN)


class PendingCommand(Pending[AdminOutcome], eq=False):
    """A command to the leader of `group` that a caller on this node waits for.

    `asked` is the leader that has it, and `lost_since` since when (monotonic seconds) that one is known to
    lead no more, 0 for not.
    """

    command: AdminCommand
    group: int = 0
    asked: Leads = ("", 0)
    lost_since: float = 0.0

    def give(self, leads: Leads) -> None:
        """The leader has it from now on."""
        self.asked, self.lost_since = leads, 0.0

    def is_lost(self, leads: Leads, now: float) -> bool:
        """Whether the leader that has the command should have answered by now."""
        if leads == self.asked:
            self.lost_since = 0.0
        elif not self.lost_since:
            self.lost_since = now
        return bool(self.lost_since) and now - self.lost_since >= LOST_SECONDS


class AdminRequests:
    """The commands of one node that wait for a leader, or for its answer."""

    def __init__(self, first_request: int) -> None:
        self._next = first_request
        self._waiting: list[PendingCommand] = []
        self._sent: dict[int, PendingCommand] = {}
        self._here: list[PendingCommand] = []  # carried out by this node

    @property
    def active(self) -> bool:
        """Whether a command is not answered yet."""
        return bool(self._waiting or self._sent or self._here)

    def waits_for_more_than(self, kind: type) -> bool:
        """Whether a command of another kind is not answered yet."""
        pending = chain(self._waiting, self._sent.values(), self._here)
        return any(not isinstance(each.command, kind) for each in pending)

    def add(self, pending: PendingCommand) -> bool:
        """Keep a new command until there is a leader. Returns False, and keeps it not, when too many wait."""
        if len(self._waiting) + len(self._sent) + len(self._here) >= PENDING_MAX:
            return False
        self._waiting.append(pending)
        return True

    def take(self) -> list[PendingCommand]:
        """Take the commands that wait for a leader. Each goes on with `request`, or `here` and `ended`."""
        taken, self._waiting = self._waiting, []
        return taken

    def wait(self, pending: PendingCommand) -> None:
        """No leader is known for the group of `pending`, which was taken: it waits again."""
        self._waiting.append(pending)

    def here(self, leads: Leads, pending: PendingCommand) -> None:
        """This node leads and carries `pending` out itself."""
        pending.give(leads)
        self._here.append(pending)

    def request(self, leads: Leads, pending: PendingCommand, now: float) -> Admin:
        """The message that carries `pending` to the leader."""
        self._next += 1
        pending.give(leads)
        self._sent[self._next] = pending
        left = max(1, int((pending.deadline - now) * 1000))
        return Admin(self._next, left, encode(pending.command))

    def unsent(self, request: int) -> None:
        """The link did not take the message: its command waits for a leader again."""
        sent = self._sent.pop(request, None)
        if sent is not None:
            self._waiting.append(sent)

    def ended(self, pending: PendingCommand, outcome: AdminOutcome) -> None:
        """What this node carried out ended. Nothing happens if it was given up meanwhile."""
        if any(each is pending for each in self._here):
            self._here = [each for each in self._here if each is not pending]
            self._settle(pending, outcome)

    def answered(self, peer: str, message: AdminReply) -> None:
        """The leader's answer arrived. Raises msgspec.DecodeError when it cannot be read."""
        pending = self._sent.get(message.request)
        if pending is None or pending.asked[0] != peer:
            return  # given up already
        outcome = _outcome(message)
        del self._sent[message.request]  # only after the answer was readable
        self._settle(pending, outcome)

    def lost(self, peer: str) -> None:
        """The link to `peer` is gone: it will not answer."""
        for request, pending in list(self._sent.items()):
            if pending.asked[0] == peer:
                del self._sent[request]
                self._given_up(pending)

    def follow(self, leads: Callable[[int], Leads], now: float) -> None:
        """Give up commands whose leaders lead no more and do not answer. `leads` is of a group, by id."""
        for request, pending in list(self._sent.items()):
            if pending.is_lost(leads(pending.group), now):
                del self._sent[request]
                self._given_up(pending)
        lost = [each for each in self._here if each.is_lost(leads(each.group), now)]
        if lost:
            self._here = [each for each in self._here if each not in lost]
            for pending in lost:
                self._given_up(pending)

    def expire(self, now: float) -> None:
        """Settle commands past their deadline: those that no leader began are refused, others uncertain."""
        if not self.active:
            return  # most often
        late, self._waiting = overdue(self._waiting, now)
        for each in late:
            each.settle(NoLeader(each.group))
        for request, pending in list(self._sent.items()):
            if pending.deadline <= now:
                del self._sent[request]
                pending.settle(Uncertain())
        late, self._here = overdue(self._here, now)
        settle_all(late, Uncertain())

    def abandon(self) -> None:
        """The node stops."""
        waiting, sent, here = self.take(), list(self._sent.values()), self._here
        self._sent.clear()
        self._here = []
        settle_all(waiting, Stopping())
        settle_all([*here, *sent], Uncertain())

    def _settle(self, pending: PendingCommand, outcome: AdminOutcome) -> None:
        """An attempt ended. The command is answered, or waits for the next leader if nothing was begun."""
        begun = not isinstance(outcome, Exception) or _refusal(outcome).kind != _Kind.NOT_BEGUN
        if not begun:
            self._waiting.append(pending)
        elif isinstance(outcome, ChangeRefused | TransferRefused):
            pending.settle(AdminRefused(str(outcome)))
        else:
            pending.settle(outcome)

    def _given_up(self, pending: PendingCommand) -> None:
        """Its leader may have begun a command, and will not tell."""
        if isinstance(pending.command, REPEATABLE):
            self._waiting.append(pending)
        else:
            pending.settle(Uncertain())


def _outcome(message: AdminReply) -> AdminOutcome:
    if not message.refused:
        return decode_result(message.result)
    refusal: _Refusal = _refused.decode(message.result)
    if refusal.kind == _Kind.REFUSED:
        return AdminRefused(refusal.text)
    return NotLeader(0, "") if refusal.kind == _Kind.NOT_BEGUN else Uncertain()


_encode_refusal = msgspec.msgpack.Encoder().encode
_refused = msgspec.msgpack.Decoder(_Refusal)
