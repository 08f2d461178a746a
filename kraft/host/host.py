"""The host: one owner of all groups of a node, of their disk transactions and of their links.

Input of any kind (requests, messages, ticks, finished writes) only marks groups; a turn at the end of the
reactor's iteration then serves every marked group once: messages leave, one frame per peer; then the disk
gets one transaction; then what is committed is applied and answered.
"""

from collections.abc import Callable, Sequence

from kraft import __version__
from kraft.config import Config
from kraft.host import fast_election, settings
from kraft.host.admin.executor import AdminExecutor
from kraft.host.admin.transfers import LeadershipTransfers
from kraft.host.backpressure import Backpressure
from kraft.host.group.group import Group, GroupContext
from kraft.host.membership.changes import Membership
from kraft.host.membership.formation import Formation
from kraft.host.membership.peers import Peers
from kraft.host.persistence import RETRY_SECONDS, Persistence, Written
from kraft.host.ports import Disk, HostObserver, Network
from kraft.host.requests.proposals import Done
from kraft.host.requests.read_rounds import ReadDone
from kraft.host.slots import SlotMap
from kraft.host.status import group_status, member_statuses
from kraft.kv.commands import Command
from kraft.node.admin import AdminCommand, AdminDone
from kraft.node.errors import NoLeader
from kraft.node.ports import Clock
from kraft.node.status import Status
from kraft.node.values import Identity, Loaded, Transaction
from kraft.peerwire.hello import Hello
from kraft.peerwire.messages import Invitation, Message
from kraft.raft.errors import InvariantViolation
from kraft.raft.membership.configuration import Configuration
from kraft.raft.messages import Entry, EntryKind, HardState
from kraft.raft.ports import Jitter, RaftObserver, Restored
from kraft.raft.raft import Raft
from kraft.raft.ready import Persist

TRANSFER_GRACE = 0.5  # seconds after an election timeout, in which the core gives a transfer up by itself
GREET_AGAIN_SECONDS = 1.0  # after forming; a peer that formed by itself has long been heard of by then


class Host:
    """See the module. Also the receiver of the peer links: `hello`, `check`, `link_up` and so on."""

    def __init__(
        self,
        config: Config,
        loaded: Loaded,
        *,
        clock: Clock,
        disk: Disk,
        jitter: Jitter,
        observer: HostObserver,
        raft_observer: RaftObserver,
        fatal: Callable[[str], None],
        groups: int = 1,
    ) -> None:
        self.slots = SlotMap(groups)
        self.groups: dict[int, Group] = {}
        self.dataset_bytes = 0  # approximate memory of the data of all groups here, as of the last tick
        self.persistence = Persistence(disk, clock, self._disk_full, self._durable)
        self._config = config
        self._loaded = loaded
        self._clock = clock
        self._disk = disk
        self._jitter = jitter
        self._observer = observer
        self._raft_observer = raft_observer
        self._fatal = fatal
        wanted = frozenset(config.cluster.members) or frozenset([config.node.id])
        formation = Formation(loaded.identity, config.peer.advertise, wanted, standby=config.cluster.standby)
        self.peers = Peers(config, clock, formation, loaded.starts, session=jitter(1 << 62))
        self._forming = False
        self._removed = False  # from the cluster: links that are still up are no reason to serve on
        self._tick_seconds = settings.tick_seconds(config)
        self.transfers = LeadershipTransfers(clock, config.raft.election_timeout + TRANSFER_GRACE, self._wake)
        self.administration = AdminExecutor(self, clock, observer, jitter(1 << 31) << 20)
        self._around = GroupContext(
            clock,
            disk,
            self.persistence,
            observer,
            self.post,
            self._wake,
            self._broken,
            self._reconfigured,
            self.administration,
        )
        self._outbox: dict[str, list[tuple[int, Message]]] = {}
        self._woken: dict[int, Group] = {}
        self._armed = False
        self._started_at = clock.seconds()
        self._state = "starting"
        self._backpressure = Backpressure(config.limits.pending_proposals)
        self._early = fast_election.FastElection(clock, jitter, config.raft.heartbeat_interval)

    # -- life -----------------------------------------------------------------------------------------

    @property
    def id(self) -> str:
        """This node's id."""
        return self._config.node.id

    def start(self, network: Network, started: Callable[[], None]) -> None:
        """Replay the log of every group, then `started`; a node that has not formed starts at once."""
        self.peers.start(network)
        self._clock.call_later(self._tick_seconds, self._tick)
        formation = self.peers.formation
        if formation.formed:
            self._start_groups(self._loaded.groups, started)
        else:
            self._state = "forming"
            self._form(formation.alone())
            self._clock.call_later(0, started)

    @property
    def first_peers(self) -> dict[str, str]:
        """Whom to dial until there is a configuration, by id; the rest follows from that."""
        return {} if self.peers.formation.formed else dict(self._config.cluster.members)

    def stop(self, left: Callable[[], None]) -> None:
        """Hand leadership over, take no more writes from other nodes; `left` when no group is led any more.

        Clients of this node are still served, until `abandon`.
        """
        self._state = "stopping"
        for group in self.groups.values():
            group.drain(True)
        self.transfers.transfer_all(self.groups.values(), left)

    def refuse_peers(self) -> None:
        """Take no more writes from other nodes."""
        for group in self.groups.values():
            group.stop_serving_peers()

    def abandon(self) -> None:
        """Answer everybody who still waits; nothing more will happen here."""
        self.administration.abandon()
        for group in self.groups.values():
            group.abandon()

    def _start_groups(self, restored: dict[int, Restored], started: Callable[[], None]) -> None:
        begun = self._clock.seconds()
        remaining = set(restored)

        def replayed(group: Group) -> None:
            remaining.discard(group.id)
            self.groups[group.id] = group
            for peer, incarnation in self.peers.incarnations.items():
                group.link_up(peer, incarnation)
            self._reconfigured(group)
            if group.raft.configuration.electors == (self.id,):
                group.raft.campaign()  # nobody else could lead: no silence to wait for
            self._wake(group)
            if not remaining:
                seconds = round(self._clock.seconds() - begun, 3)
                self._observer.event("log_replayed", groups=len(restored), seconds=seconds)
                self._state = "serving"
                started()

        for id_, log in sorted(restored.items()):
            group = self._group(id_, log)
            group.replay(log.commit, lambda group=group: replayed(group))  # type: ignore[misc]

    def _group(self, id_: int, restored: Restored) -> Group:
        config = self._config
        node = Raft(
            id=self.id,
            group=id_,
            settings=settings.consensus(config),
            restored=restored,
            jitter=self._jitter,
            wall_clock=self._clock.wall_ms,
            observer=self._raft_observer,
            incarnation=self.peers.formation.identity.incarnation,
        )
        membership = Membership(
            id_,
            node,
            self.peers.formation,
            clock=self._clock,
            network=self.peers.network,
            greeting=self.peers.hello_of,
            observer=self._observer,
            election_ticks=settings.election_ticks(config),
            tick_seconds=self._tick_seconds,
            groups=self.slots.groups,
        )
        return Group(
            id_,
            node,
            membership,
            self._around,
            settings.timing(config),
            settings.checkpoints(config),
            settings.snapshots(config),
            self._loaded.checkpoints.pop(
                id_, None
            ),  # a snapshot may take its place: nobody else holds on to it
            fenced=id_ in self._loaded.fenced,
            first_request=self._jitter(1 << 31) << 20,
        )

    # -- requests of clients --------------------------------------------------------------------------

    def write(self, group: int, commands: Sequence[Command], size: int, done: Done) -> None:
        """Make `commands` durable on a majority and apply them as one; `size` is their bytes, about.

        `done` gets the replies in order, or a `Refused` (certainly not done) or `Uncertain`. It never runs
        inside this call.
        """
        target = self.groups.get(group)
        if target is None or self._removed:
            self._refuse_later(group, done)
        else:
            target.write(commands, size, done)
            self._backpressure.report(group, target.waiting)

    def read(self, group: int, done: ReadDone, fresh: bool = False) -> None:
        """Confirm a linearizable read of `group`; `done` gets a `View` to look at, or a `Refused`.

        A `fresh` read relies on no lease, whatever the configuration says.
        """
        target = self.groups.get(group)
        if target is None or self._removed:
            self._refuse_later(group, done)
        else:
            target.read(done, fresh)

    def read_stale(self, group: int, done: ReadDone) -> None:
        """A view of this node's own replica of `group`, or `TooStale`: see `reads.max_staleness`."""
        target = self.groups.get(group)
        if target is None or self._removed:
            self._refuse_later(group, done)
        else:
            target.read_stale(done)

    def admin(self, command: AdminCommand, done: AdminDone) -> None:
        """Do an administrator's command, here or at the leader; `done` gets its result or an exception."""
        self.administration.do(command, done)

    def _refuse_later(self, group: int, done: Callable[[NoLeader], None]) -> None:
        """Not formed, or not replayed: as without a leader.

        Nobody need wait when the node stops, or is removed: it will not get better here.
        """
        wait = 0.0 if self._removed or self._state == "stopping" else self._config.client.leader_wait
        self._clock.call_later(wait, lambda: done(NoLeader(group)))

    @property
    def saturated(self) -> bool:
        """Too many writes wait unlogged: stop reading from clients until `on_relief`."""
        return self._backpressure.saturated

    def on_relief(self, call: Callable[[], None]) -> None:
        """Run `call` once when half of the pending writes are logged."""
        self._backpressure.on_relief(call)

    def leader(self, group: int) -> str:
        """The id of the leader of `group` as known here, '' when there is none."""
        target = self.groups.get(group)
        return target.raft.leader if target is not None else ""

    def client_address(self, node: str) -> str:
        """`host:port` of the client port of a member, '' until it has greeted."""
        return self.peers.client_address(node)

    # -- links ----------------------------------------------------------------------------------------

    def hello(self) -> Hello:
        """What this node says of itself when a link opens."""
        return self.peers.hello()

    def check(self, hello: Hello) -> str | None:
        """Why to refuse the link, or None. Ends the process when the cluster has disowned this node."""
        disowned = self.peers.formation.disowned(hello)
        if disowned is not None:
            self._fatal(disowned)
            return disowned
        return self.peers.formation.objection(hello)

    def link_up(self, peer: str, hello: Hello) -> None:
        """A link to `peer` is ready for messages."""
        self.peers.link_up(peer, hello)
        for group in self.groups.values():
            group.link_up(peer, hello.incarnation)
        self._form(self.peers.formation.met(hello))

    def link_down(self, peer: str, closed_by_peer: bool) -> None:
        """The link to `peer` is gone. Its process closing it is news: prevote early."""
        self.peers.link_down(peer)
        self.administration.link_down(peer)
        for group in self.groups.values():
            if group.link_down(peer, closed_by_peer):
                self._early.begin(group, self._wake)

    def received(self, peer: str, messages: Sequence[tuple[int, Message]]) -> None:
        """Checked messages from an authenticated peer.

        They are served at once: a peer's answer is what others wait for, while requests of clients gain from
        being gathered until the end of the reactor's iteration.
        """
        armed, self._armed = self._armed, True  # the turn follows at once: no need to arrange for it
        try:
            for id_, message in messages:
                group = self.groups.get(id_)
                if group is not None:
                    group.received(peer, message)
                elif isinstance(message, Invitation):
                    self._invited(message)
        except InvariantViolation as error:
            self._broken(error)
            raise
        finally:  # also when a peer sent nonsense: its link ends, the groups go on
            self._armed = armed
            if self.peers.unformed:
                self.peers.unformed.discard(peer)
            self._turn()

    # -- forming and joining --------------------------------------------------------------------------

    def _form(self, identity: Identity | None) -> None:
        """Make the new identity durable together with the first entry of every group, then begin."""
        if identity is None:
            return
        configuration = Configuration.of_voters(identity.members)
        first = Entry(1, 1, 0, EntryKind.CONFIGURATION, configuration.encode())
        persist = Persist(0, HardState(term=1), None, (first,), commit=1)
        restored = Restored(HardState(term=1), 1, 1, ((1, 1),), (first,), ((1, configuration),), 0)
        self._begin(identity, persist, restored, joining=False)

    def _invited(self, invitation: Invitation) -> None:
        """Join a cluster that has added this node: with nothing in the log, the leader will fill it."""
        identity = self.peers.formation.invited(invitation)
        if identity is not None:
            persist = Persist(0, HardState(), None, (), commit=0)
            self._begin(identity, persist, Restored(HardState(), 0, 0, (), (), (), 0), joining=True)

    def _begin(self, identity: Identity, persist: Persist, restored: Restored, *, joining: bool) -> None:
        """Belong to a cluster as soon as the disk says so, and start the groups."""
        if self._forming:
            return
        self._forming = True
        writes = tuple((id_, persist) for id_ in range(self.slots.groups))

        def begun(durable: bool) -> None:
            if not durable:
                self._forming = False
                self._observer.event("disk_full")
                self._clock.call_later(
                    RETRY_SECONDS, lambda: self._begin(identity, persist, restored, joining=joining)
                )
                return
            self.peers.formation.identity = identity
            members = len(identity.members)
            if joining:
                self._observer.event("cluster_joined", cluster=identity.cluster, members=members)
            else:
                self._observer.event("cluster_formed", cluster=identity.cluster, members=members)
            self._start_groups({id_: restored for id_, _ in writes}, lambda: None)
            self._clock.call_later(GREET_AGAIN_SECONDS, self._greet_again)

        self._disk.commit(Transaction(writes, identity), begun)

    def _greet_again(self) -> None:
        """A peer that cannot reach all others learns only from a greeting that there is a cluster now.

        A follower leaves that to its leader: it need not have heard from other followers.
        """
        if not any(group.raft.leader and not group.leads for group in self.groups.values()):
            self.peers.greet_again()

    def _reconfigured(self, group: Group) -> None:
        configuration = group.raft.configuration
        self._observer.event(
            "configuration_changed",
            group=group.id,
            voters=configuration.voters,
            learners=configuration.learners,
            joint=configuration.joint,
        )
        if group.id == 0:
            self.peers.reconfigured(configuration)
            self._removed = bool(self.peers.formation.removed)

    # -- turns ----------------------------------------------------------------------------------------

    def post(self, peer: str, group: int, message: Message) -> None:
        """Send `message` at the end of this turn."""
        box = self._outbox.get(peer)
        if box is None:
            box = self._outbox[peer] = []
        box.append((group, message))
        if not self._armed:
            self._arm()

    def _wake(self, group: Group) -> None:
        self._woken[group.id] = group
        if not self._armed:
            self._arm()

    def _arm(self) -> None:
        self._armed = True
        self._clock.call_later(0, self._armed_turn)

    def _armed_turn(self) -> None:
        self._armed = False
        self._turn()

    def _turn(self) -> None:
        woken, self._woken = self._woken, {}
        armed, self._armed = self._armed, True  # what is posted meanwhile leaves in this very turn
        try:
            for group in woken.values():
                group.turn()
        except Exception as error:
            self._broken(error)
            raise
        self._armed = armed
        self._send()
        self.persistence.flush()
        for group in woken.values():
            group.finish()
        if self._backpressure.total:
            for group in woken.values():
                self._backpressure.report(group.id, group.waiting)
            self._backpressure.relieve()

    def _send(self) -> None:
        outbox, self._outbox = self._outbox, {}
        for peer, messages in outbox.items():
            if not self.peers.network.send(peer, messages):
                self.administration.unsent(messages)
                for id_, message in messages:
                    if id_ in self.groups:
                        self.groups[id_].unsent(peer, message)

    def _tick(self) -> None:
        self._clock.call_later(self._tick_seconds, self._tick)
        try:
            for group in self.groups.values():
                group.tick()
                if group.fenced and group.leads:  # what it answers to writers comes from a wrong state
                    self.transfers.transfer_away(group)
            self.transfers.tick()
            self.administration.tick()
            if self.groups:
                self.peers.seek(self._clock.seconds(), self.leader(0))
        except InvariantViolation as error:
            self._broken(error)
            raise
        self.dataset_bytes = sum(group.machine.keyspace.bytes for group in self.groups.values())

    def _broken(self, error: Exception) -> None:
        """Consensus or state machine met what they exclude: going on could break what was promised."""
        self._fatal(f"stopped, something impossible happened: {type(error).__name__}: {error}")

    def _durable(self, written: Sequence[Written]) -> None:
        armed, self._armed = self._armed, True
        for group, persist, after in written:
            group.persisted(persist.sequence, after)
        self._armed = armed
        self._turn()

    def _disk_full(self, full: bool) -> None:
        self._observer.event("disk_full" if full else "disk_has_room")
        for group in self.groups.values():
            if full:
                group.raft.suspend()
            else:
                group.raft.resume()
            self._wake(group)

    # -- status ---------------------------------------------------------------------------------------

    def status(self) -> Status:
        """Everything there is to say, as plain values."""
        identity = self.peers.formation.identity
        return Status(
            node=self.id,
            version=__version__,
            cluster=identity.cluster,
            incarnation=identity.incarnation,
            state=self._state,
            problem=self.problem,
            disk_full=self.persistence.full,
            client=self._config.client.advertise,
            http=self.peers.http_address(self.id),
            uptime_seconds=self._clock.seconds() - self._started_at,
            members=member_statuses(self.peers, self.groups.get(0), self._tick_seconds),
            groups=tuple(group_status(g, self._tick_seconds) for g in self.groups.values()),
        )

    @property
    def problem(self) -> str:
        """Why this node cannot serve writes now, in words; '' when it can."""
        formation = self.peers.formation
        if self._state == "forming":
            if self._config.cluster.standby:
                return "standby: waiting to be added with KRAFT ADD"
            missing = formation.missing
            return "waiting for a first greeting from " + ", ".join(missing) if missing else "forming"
        if self._state != "serving":
            return self._state
        if formation.removed:
            return formation.removed
        leaderless = [str(g.id) for g in self.groups.values() if not g.raft.leader]
        if leaderless:
            return "no leader is known for group " + ", ".join(leaderless)
        fenced = [str(g.id) for g in self.groups.values() if g.fenced]
        if fenced:
            return f"the data of group {', '.join(fenced)} differs from the others': KRAFT RESEED {self.id}"
        return ""
