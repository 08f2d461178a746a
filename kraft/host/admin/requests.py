"""Administrators' commands of one node on their way to the leader, and the wire form of the answers.

The rules are those of forwarded writes. A command that a leader did not begin is offered to the next leader,
until its deadline. A command that a leader may have begun when the link broke is uncertain.
"""

from enum import IntEnum

import msgspec

from kraft.host.pending import Pending, overdue, settle_all
from kraft.node.admin import (
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
from kraft.peerwire.messages import Admin, AdminReply
from kraft.raft.errors import ChangeRefused, LogFull, NotLeading, TransferRefused

PENDING_MAX = 512  # commands that wait on one node, one for each group; people and scripts type them


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
    """A command to the leader of `group` that a caller on this node waits for."""

    command: AdminCommand
    group: int = 0


class AdminRequests:
    """The commands of one node that wait for a leader, or for its answer."""

    def __init__(self, first_request: int) -> None:
        self._next = first_request
        self._waiting: list[PendingCommand] = []
        self._sent: dict[int, tuple[str, PendingCommand]] = {}
        self._here: list[PendingCommand] = []  # carried out by this node

    def add(self, pending: PendingCommand) -> bool:
        """Keep a new command until there is a leader. Returns False, and keeps it not, when too many wait."""
        self._here = [each for each in self._here if each.done is not None]
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

    def here(self, pending: PendingCommand) -> None:
        """This node leads and carries `pending` out itself; `expire` bounds its time as well."""
        self._here.append(pending)

    def request(self, leader: str, pending: PendingCommand, now: float) -> Admin:
        """The message that carries `pending` to `leader`."""
        self._next += 1
        self._sent[self._next] = (leader, pending)
        left = max(1, int((pending.deadline - now) * 1000))
        return Admin(self._next, left, encode(pending.command))

    def unsent(self, request: int) -> None:
        """The link did not take the message: its command waits for a leader again."""
        sent = self._sent.pop(request, None)
        if sent is not None:
            self._waiting.append(sent[1])

    def ended(self, pending: PendingCommand, outcome: AdminOutcome) -> None:
        """An attempt ended. The command is answered, or waits for the next leader if nothing was begun."""
        begun = not isinstance(outcome, Exception) or _refusal(outcome).kind != _Kind.NOT_BEGUN
        if not begun and pending.done is not None:
            self._waiting.append(pending)
        elif isinstance(outcome, ChangeRefused | TransferRefused):
            pending.settle(AdminRefused(str(outcome)))
        else:
            pending.settle(outcome)

    def answered(self, peer: str, message: AdminReply) -> None:
        """The leader's answer arrived. Raises msgspec.DecodeError when it cannot be read."""
        leader, pending = self._sent.get(message.request, ("", None))
        if leader != peer or pending is None:
            return  # given up already
        outcome = _outcome(message)
        del self._sent[message.request]  # only after the answer was readable
        self.ended(pending, outcome)

    def lost(self, peer: str) -> None:
        """The link to `peer` is gone: the commands that it was sent are uncertain."""
        for request, (leader, pending) in list(self._sent.items()):
            if leader == peer:
                del self._sent[request]
                pending.settle(Uncertain())

    def expire(self, now: float) -> None:
        """Settle commands past their deadline: those that no leader began are refused, others uncertain."""
        if not (self._waiting or self._sent or self._here):
            return  # most often
        late, self._waiting = overdue(self._waiting, now)
        for each in late:
            each.settle(NoLeader(each.group))
        for request, (_, pending) in list(self._sent.items()):
            if pending.deadline <= now:
                del self._sent[request]
                pending.settle(Uncertain())
        waiting = {id(pending) for pending in self._waiting}  # those that were not begun after all
        late, self._here = overdue((each for each in self._here if id(each) not in waiting), now)
        settle_all(late, Uncertain())

    def abandon(self) -> None:
        """The node stops."""
        waiting, sent, here = self.take(), list(self._sent.values()), self._here
        self._sent.clear()
        self._here = []
        settle_all(waiting, Stopping())
        settle_all([*here, *(pending for _, pending in sent)], Uncertain())


def _outcome(message: AdminReply) -> AdminOutcome:
    if not message.refused:
        return decode_result(message.result)
    refusal: _Refusal = _refused.decode(message.result)
    if refusal.kind == _Kind.REFUSED:
        return AdminRefused(refusal.text)
    return NotLeader(0, "") if refusal.kind == _Kind.NOT_BEGUN else Uncertain()


_encode_refusal = msgspec.msgpack.Encoder().encode
_refused = msgspec.msgpack.Decoder(_Refusal)
