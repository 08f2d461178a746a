"""WAIT and WAITAOF: how many replicas have the writes that this connection was told are done.

A write is answered when a majority has it on disk, so these commands make nothing safer. They tell how far
the others are: the leader knows that of each follower. Another node knows only what every reply proves.
"""

from collections.abc import Callable

from kraft.int64 import parse_int64
from kraft.resp.values import Reply, Request
from kraft.server.commands.arguments import integer
from kraft.server.commands.spec import CommandContext
from kraft.server.errors import Rejected
from kraft.server.ports import NodeHost

POLL_SECONDS = 0.02  # a follower acknowledges in about a millisecond, or has a reason to take longer

Done = Callable[[int], None]


class ReplicaWait:
    """Waits until `wanted` followers that vote have everything applied here now, or for some seconds.

    With `seconds` 0 it waits as long as the connection lasts. `local`: the reply is that of WAITAOF.
    """

    def __init__(self, context: CommandContext, wanted: int, seconds: float, *, local: bool) -> None:
        self._clock = context.port.clock
        self._status = context.port.host.status
        self._wanted = wanted
        self._seconds = seconds
        self._local = local
        self._index = 0
        self._until = 0.0
        self._leads = False
        self._done: Done | None = None

    def ask(self, _: NodeHost, done: Done) -> None:
        """Give `done` the number of followers, never before this returns."""
        self._done = done
        self._index = self._status().groups[0].applied
        self._until = self._clock.seconds() + self._seconds
        self._clock.call_soon(self._look)

    def leave(self) -> None:
        """The client is gone, or will send no more: answer with what there is."""
        self._seconds, self._until = 1.0, 0.0

    def reply(self, count: int) -> Reply:
        """The reply of WAIT, or that of WAITAOF: whether this node has it on disk, and how many others."""
        return [int(self._leads), count] if self._local else count

    def _look(self) -> None:
        group = self._status().groups[0]
        self._leads = group.role == "leader"
        if self._leads:
            have = [each for each in group.replicas if each.id in group.voters]
            count = sum(each.match_index >= self._index for each in have)
        else:
            count = len(group.voters) // 2  # of a majority, one is the leader
        over = bool(self._seconds) and self._clock.seconds() >= self._until
        if count >= self._wanted or over or not self._leads:
            if self._done is not None:
                self._done(count)
        else:
            self._clock.call_later(POLL_SECONDS, self._look)


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
