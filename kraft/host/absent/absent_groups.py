"""The one place that a host asks where it finds no group: what becomes of requests to groups that it lacks.

A node that has not formed, or whose replica is not replayed yet, lets a request wait. So does one that is
being added, as it is about to get its replicas. A group whose replica the node has destroyed is elsewhere:
the directory has its members, and they are asked.
"""

from collections.abc import Callable, Iterable, Mapping, Sequence
from functools import partial

from kraft.config import Config
from kraft.host import settings
from kraft.host.absent.absent_group import AbsentGroup
from kraft.host.absent.directory import GroupDirectory
from kraft.host.absent.place_reports import PlaceReports
from kraft.host.context import GroupContext
from kraft.host.group.group import Group
from kraft.host.ports import QueryDone
from kraft.host.requests.early_requests import EarlyRequests, Leave
from kraft.host.requests.proposal import WriteDone
from kraft.host.requests.round import ReadDone
from kraft.host.requests.transaction_waits import KeysOfRead
from kraft.kv.commands import Command, Lock
from kraft.kv.ledger import LedgerKind
from kraft.node.errors import NoLeader, TooStale
from kraft.peerwire.hello import Hello
from kraft.peerwire.messages import (
    NOT_PROPOSED,
    NOT_READ,
    Forward,
    ForwardReply,
    GroupPlace,
    Message,
    QueryKeys,
    ReadIndex,
    ReadIndexReply,
    ReadKeys,
    ReadKeysReply,
)
from kraft.raft.ports import Jitter

Again = Callable[[], Leave | None]
"""Makes a request again, once the node has the group or knows where it is."""

_SCRIPTS = (LedgerKind.SCRIPT, LedgerKind.LIBRARY)


class AbsentGroups:
    """The groups that this node lacks: `groups` are those that it has, by id.

    `has_left` tells whether this node has destroyed its replica of a group (`Replicas.has_left`).
    `absent` has those that were asked for anything. `early` are requests that wait for a group. `over` is set
    when the node stops: then they are refused.
    """

    def __init__(
        self,
        config: Config,
        groups: Mapping[int, Group],
        context: GroupContext,
        early: EarlyRequests,
        jitter: Jitter,
    ) -> None:
        self.over = False
        self.has_left: Callable[[int], bool] = lambda _: False
        self.directory = GroupDirectory()
        self.reports = PlaceReports(groups, context.turns)
        self._config = config
        self._groups = groups
        self._context = context
        self._early = early
        self._jitter = jitter
        self.absent: dict[int, AbsentGroup] = {}
        self._refuses_waiters = False

    # -- requests of clients --------------------------------------------------------------------------

    def write(
        self,
        group: int,
        commands: Sequence[Command],
        size: int,
        done: WriteDone,
        again: Again,
        *,
        waits: bool = True,
    ) -> None:
        """As `Host.write`; without `waits`, nothing waits for locks."""
        found = self._found(group)
        if found is None:
            self.wait(group, again, done)
        else:
            found.write(commands, size, done, waits=waits)

    def wait_for_lock(
        self, group: int, command: Lock, seconds: float, done: WriteDone, again: Again
    ) -> Leave:
        """As `Host.wait_for_lock`."""
        found = self._found(group)
        if found is None:
            return self.wait(group, again, done)
        if self._refuses_waiters:
            found.locks.abandon()  # nobody has asked for anything there before
        return found.locks.wait(command, seconds, done)

    def read(
        self,
        group: int,
        keys: KeysOfRead,
        done: ReadDone,
        again: Again,
        *,
        fresh: bool = False,
        needed: int | None = None,
    ) -> None:
        """As `Host.read_keys`."""
        found = self._found(group)
        if found is None:
            self.wait(group, again, done)
        else:
            found.read(keys, done, fresh=fresh, needed=needed)

    def read_scripts(self, group: int, done: ReadDone, again: Again, *, fresh: bool) -> None:
        """As `Host.read`; a group elsewhere shows its scripts and libraries, and no key."""
        self.read(group, lambda: _SCRIPTS, done, again, fresh=fresh)

    def read_stale(self, group: int, done: ReadDone, again: Again) -> None:
        """As `Host.read_stale`: there is no replica to read."""
        if self._found(group) is None:
            self.wait(group, again, done)
        else:
            self._context.clock.call_soon(partial(done, TooStale(group)))

    def has(self, group: int) -> bool:
        """Whether a group is elsewhere, and some of its members are known."""
        return self._found(group) is not None

    def query(self, group: int, query: bytes, done: QueryDone, *, fresh: bool) -> None:
        """Ask a group elsewhere what `KeyQueries.answer` gives there. `done` is called later."""
        found = self._found(group)
        if found is None:
            self._context.clock.call_soon(partial(done, NoLeader(group)))
        else:
            found.query(query, done, fresh=fresh)

    def wait(self, group: int, again: Again, done: Callable[[NoLeader], object]) -> Leave:
        """Let a request wait until its group serves, or refuse it after a while, as one without a leader.

        A node that stops or was removed cannot recover, so the client is refused at once.
        """
        over = self._context.peers.removed or self.over
        seconds = 0.0 if over else self._config.client.leader_wait
        return self._early.wait(group, seconds, again, partial(done, NoLeader(group)))

    def _found(self, group: int) -> AbsentGroup | None:
        """The group, if it is elsewhere; None if nothing is known of it, or the node is to get a replica.

        A node that is being added waits for its replicas: none was destroyed here.
        """
        if group in self._groups or self._context.peers.removed or not self.has_left(group):
            return None
        if group not in self.directory.places:
            return None
        found = self.absent.get(group)
        if found is None:
            timing, first = settings.timing(self._config), self._jitter(1 << 31) << 20
            found = AbsentGroup(group, self.directory, self._context, timing, first)
            self.absent[group] = found
        return found

    # -- what is known --------------------------------------------------------------------------------
    # Also of a group whose replica is on its way: clients may be sent to its leader, and requests that wait
    # may not get an answer before somebody reaches its members.

    def leader(self, group: int) -> str:
        """The leader of a group elsewhere as known here, '' when there is none."""
        place = self.directory.places.get(group)
        return "" if place is None else place.leader

    def version(self, group: int) -> int:
        """The machine version in force in a group elsewhere, 0 if it is not known."""
        place = self.directory.places.get(group)
        return 0 if place is None else place.version

    def obstacle(self, group: int) -> str:
        """Why no request to a group elsewhere can succeed now, in words; '' if no reason is known."""
        place = self.directory.places.get(group)
        if place is None or not self._context.peers.connected.isdisjoint(place.members):
            return ""
        return f"this node has no link to a member of group {group}: {', '.join(place.members)}"

    @property
    def newest(self) -> int:
        """The latest stamp (Unix ms) that was found elsewhere."""
        return max([group.reads.newest for group in self.absent.values()], default=0)

    # -- the other nodes ------------------------------------------------------------------------------

    def link_up(self, peer: str, hello: Hello) -> None:
        """A link to `peer` is ready for messages."""
        self.reports.link_up(peer, hello)
        for group in self.absent.values():
            group.news()

    def link_down(self, peer: str) -> None:
        """The link to `peer` is gone."""
        self.reports.link_down(peer)
        for group in self.absent.values():
            group.link_down(peer)

    def told(self, group: int, place: GroupPlace) -> None:
        """A member tells where a group is."""
        if self.directory.told(group, place):
            if group in self.absent:
                self.absent[group].news()
            self._early.served(group)

    def received(self, peer: str, group: int, message: Message) -> None:
        """Take a message for a group that this node has no replica of.

        It is an answer to a request from here; or the peer believes that there is a replica, and hears that
        there is none, so that it asks another node.
        """
        post = self._context.turns.post
        if isinstance(message, ForwardReply | ReadKeysReply):
            if group in self.absent:
                self.absent[group].received(peer, message)
        elif isinstance(message, Forward):
            post(peer, group, ForwardReply(message.request, NOT_PROPOSED, b""))
        elif isinstance(message, ReadKeys | QueryKeys):
            post(peer, group, ReadKeysReply(message.request, NOT_READ, b""))
        elif isinstance(message, ReadIndex):
            post(peer, group, ReadIndexReply(message.request, 0, 0))

    def answered(self, peer: str, group: int, message: Message) -> bool:
        """Take a message for a group that has a replica by now, if it answers what was asked before that."""
        ours = isinstance(message, ForwardReply) and self.absent[group].writes.awaits(message)
        if ours:
            self.absent[group].received(peer, message)
        return ours

    def unsent(self, peer: str, messages: Iterable[tuple[int, Message]]) -> None:
        """The link to `peer` did not take these messages."""
        for group, message in messages:
            if isinstance(message, GroupPlace):
                self.reports.unsent(peer)
            elif group in self.absent:
                self.absent[group].unsent(peer, message)

    # -- time -----------------------------------------------------------------------------------------

    @property
    def active(self) -> bool:
        """Whether a request to a group elsewhere has no answer yet."""
        return any(absent.pending for absent in self.absent.values())

    def tick(self, now: float, awake: Iterable[Group]) -> None:
        """One tick of the host passed, at `now`. Groups that are not `awake` have not changed."""
        self.reports.tick(awake)
        for id_, absent in list(self.absent.items()):
            if id_ in self._groups:
                absent.hand_over(self._groups[id_])
                if not absent.pending:
                    del self.absent[id_]
                    continue
            absent.tick(now)

    def refuse_waiters(self) -> None:
        """The node stops: no client waits for a lock any longer."""
        self._refuses_waiters = True
        for group in self.absent.values():
            group.locks.abandon()

    def abandon(self) -> None:
        """The node stops: answer everybody who waits."""
        self.over = True
        self._early.abandon()
        for group in self.absent.values():
            group.abandon()
