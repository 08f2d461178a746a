"""A group that this node has no replica of: the requests of the node's clients to it."""

from collections.abc import Callable, Sequence

from kraft.host.absent.directory import GroupDirectory
from kraft.host.absent.member_route import MemberRoute
from kraft.host.absent.remote_locks import RemoteLocks
from kraft.host.absent.remote_reads import RemoteReads
from kraft.host.absent.remote_writes import RemoteWrites
from kraft.host.context import GroupContext
from kraft.host.group.group import Group
from kraft.host.ports import QueryDone
from kraft.host.requests.proposal import WriteDone
from kraft.host.requests.round import ReadDone
from kraft.host.requests.timing import Timing
from kraft.host.requests.transaction_waits import KeysOfRead
from kraft.kv.commands import Command
from kraft.kv.footprint import Name
from kraft.node.errors import NoLeader
from kraft.peerwire.messages import Forward, ForwardReply, Message, QueryKeys, ReadKeys, ReadKeysReply


class AbsentGroup:
    """The requests to one group. They are numbered from `first_request` on."""

    def __init__(
        self, group: int, directory: GroupDirectory, context: GroupContext, timing: Timing, first_request: int
    ) -> None:
        self._evaluators = context.evaluators
        self._route = route = MemberRoute(group, directory, context.peers)
        self.reads = RemoteReads(group, route, context, timing, first_request)
        self.writes = RemoteWrites(group, route, context, timing, first_request)
        self.locks = RemoteLocks(group, self, self.reads, context.clock)

    @property
    def pending(self) -> bool:
        """Whether anybody waits for an answer."""
        return self.reads.pending or self.writes.pending or self.locks.pending

    @property
    def version(self) -> int:
        """The machine version in force in the group, as far as it is known; 0 if nothing is."""
        return self._route.version

    def write(self, commands: Sequence[Command], size: int, done: WriteDone, *, waits: bool = True) -> None:
        """As `Host.write`; without `waits`, nothing waits for locks."""
        self.writes.write(commands, size, done, waits=waits)

    def read(self, keys: KeysOfRead, done: ReadDone, *, fresh: bool, needed: int | None = None) -> None:
        """As `Host.read_keys`."""
        self.reads.read(tuple(keys()), done, fresh=fresh, needed=needed)

    def query(self, query: bytes, done: QueryDone, *, fresh: bool) -> None:
        """As `KeyQueries.answer`."""
        self.reads.query(query, done, fresh=fresh)

    def received(self, peer: str, message: Message) -> None:
        """Take the answer of a member."""
        if isinstance(message, ForwardReply):
            self.writes.answered(peer, message)
        elif isinstance(message, ReadKeysReply):
            self.reads.answered(peer, message)

    def unsent(self, peer: str, message: Message) -> None:
        """The link to `peer` did not take `message`."""
        if isinstance(message, Forward):
            self.writes.unsent(peer, message)
        elif isinstance(message, ReadKeys | QueryKeys):
            self.reads.unsent(message)

    def link_down(self, peer: str) -> None:
        """The link to `peer` is gone."""
        self.reads.link_down(peer)
        self.writes.link_down(peer)

    def news(self) -> None:
        """The directory has news of the group."""
        self._route.reopen()
        self.reads.news()
        self.writes.news()

    def tick(self, now: float) -> None:
        """One tick of the host passed, at `now`."""
        self._route.reopen()
        self.reads.tick(now)
        self.writes.tick(now)
        self.locks.tick(now)

    def hand_over(self, group: Group) -> None:
        """This node has a replica by now: it takes what has not been sent."""
        waits = group.requests.transaction_waits
        self.locks.hand_over()
        for question in self.reads.take():
            if question.done is not None and question.query:
                self._query_here(group.id, question.query, question.done, fresh=question.fresh)
            elif question.done is not None:
                waits.read(_keys(question.names), question.done, question.fresh)
        self.writes.hand_over(group.requests)

    def _query_here(self, group: int, query: bytes, done: QueryDone, *, fresh: bool) -> None:
        if self._evaluators.queries is None:
            done(NoLeader(group))
        else:
            self._evaluators.queries.answer(group, query, done, fresh=fresh)

    def abandon(self) -> None:
        """The node stops: answer everybody who waits."""
        self.locks.abandon()
        self.reads.abandon()
        self.writes.abandon()


def _keys(names: tuple[Name, ...]) -> Callable[[], tuple[Name, ...]]:
    return lambda: names
