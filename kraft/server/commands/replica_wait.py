"""WAIT and WAITAOF: how many replicas have the writes that this connection was told are done.

A write is answered when a majority has it on disk, so these commands make nothing safer. They tell how far
the others are: the leader knows that of each follower. Another node knows only what every reply proves.
"""

from collections.abc import Callable

from kraft.int64 import parse_int64
from kraft.node.status import GroupStatus
from kraft.resp.values import Reply, Request
from kraft.server.commands.arguments import integer
from kraft.server.commands.spec import CommandContext
from kraft.server.errors import Rejected
from kraft.server.ports import NodeHost

POLL_SECONDS = 0.02  # a follower acknowledges in about a millisecond, or has a reason to take longer

Done = Callable[[int], None]


class ReplicaWait:
    """Waits until `wanted` followers that vote have everything applied here now, or for some seconds.

    With several groups it is so in each of those for which this node answers. With `seconds` 0 it waits as
    long as the connection lasts. `local`: the reply is that of WAITAOF.
    """

    def __init__(self, context: CommandContext, wanted: int, seconds: float, *, local: bool) -> None:
        self._clock = context.port.clock
        self._status = context.port.host.status
        self._groups = frozenset(context.port.routing.groups())
        self._wanted = wanted
        self._seconds = seconds
        self._local = local
        self._applied: dict[int, int] = {}  # the index by group
        self._until = 0.0
        self._leads = False
        self._done: Done | None = None

    def ask(self, _: NodeHost, done: Done) -> None:
        """Give `done` the number of followers, never before this returns."""
        self._done = done
        self._applied = {group.group: group.applied for group in self._answered_for()}
        self._until = self._clock.seconds() + self._seconds
        self._clock.call_soon(self._look)

    def leave(self) -> None:
        """The client is gone, or will send no more: answer with what there is."""
        self._seconds, self._until = 1.0, 0.0

    def reply(self, count: int) -> Reply:
        """The reply of WAIT, or that of WAITAOF: whether this node has it on disk, and how many others."""
        return [int(self._leads), count] if self._local else count

    def _look(self) -> None:
        groups = self._answered_for()
        counts = {group.group: self._count(group) for group in groups}
        others = [counts[group.group] for group in groups if group.role != "leader"]
        self._leads = bool(groups) and not others
        found = min(counts.values(), default=0)
        over = bool(self._seconds) and self._clock.seconds() >= self._until
        hopeless = len(others) == len(groups) or min(others, default=self._wanted) < self._wanted
        if found >= self._wanted or over or hopeless:
            if self._done is not None:
                self._done(found)
        else:
            self._clock.call_later(POLL_SECONDS, self._look)

    def _answered_for(self) -> list[GroupStatus]:
        return [group for group in self._status().groups if group.group in self._groups]

    def _count(self, group: GroupStatus) -> int:
        """How many followers have what was applied here. Only the leader knows more than a reply proves."""
        if group.role != "leader":
            return len(group.voters) // 2  # of a majority, one is the leader
        index = self._applied.get(group.group, 0)
        return sum(each.match_index >= index for each in group.replicas if each.id in group.voters)


def wait(context: CommandContext, request: Request) -> ReplicaWait:
    """WAIT numreplicas timeout."""
    wanted = integer(request[1])
    return ReplicaWait(context, wanted, _seconds(request[2]), local=False)


def waitaof(context: CommandContext, request: Request) -> ReplicaWait:
    """WAITAOF numlocal numreplicas timeout."""
    local, wanted = integer(request[1]), integer(request[2])
    if not 0 <= local <= 1:
        raise Rejected("ERR value is out of range, must be between 0 and 1")
    return ReplicaWait(context, wanted, _seconds(request[3]), local=True)


def _seconds(text: bytes) -> float:
    timeout_ms = parse_int64(text)
    if timeout_ms is None:
        raise Rejected("ERR timeout is not an integer or out of range")
    if timeout_ms < 0:
        raise Rejected("ERR timeout is negative")
    return timeout_ms / 1000
