"""The host: one owner of all groups of a node, of their disk transactions and of their links.

Input of any kind (requests, messages, ticks, finished writes) only wakes groups. A turn at the end of the
reactor's iteration then serves every woken group once, in this order: each group carries out what its
consensus wants; messages leave, one frame per peer; the disk gets one transaction; committed entries are
applied and answered.
"""

from collections import defaultdict
from collections.abc import Callable, Sequence
from functools import partial

from kraft.config import Config
from kraft.host import settings
from kraft.host.absent.absent_groups import AbsentGroups
from kraft.host.admin.executor import AdminExecutor
from kraft.host.admin.image_commands import ImageCommands
from kraft.host.admin.leader_spread import LeaderSpread
from kraft.host.admin.transfers import LeadershipTransfers
from kraft.host.background import Background
from kraft.host.backpressure import Backpressure
from kraft.host.backup.lent_logs import LentLogs
from kraft.host.backup.pinned_images import PinDone, PinnedImages
from kraft.host.backup.remote_checkpoints import RemoteCheckpoints
from kraft.host.backup.remote_logs import RemoteLogs
from kraft.host.beats import Beats
from kraft.host.checkpoint_budget import CheckpointBudget
from kraft.host.context import GroupContext
from kraft.host.data_memory import DataMemory
from kraft.host.fast_election import FastElection
from kraft.host.group.group import Group
from kraft.host.group.stillness import lacks_leader
from kraft.host.hibernation import Hibernation
from kraft.host.idleness import Idleness
from kraft.host.key_indexes import KeyIndexes
from kraft.host.lifecycle import Lifecycle
from kraft.host.membership.peers import Peers
from kraft.host.moves.moves import Moves
from kraft.host.moves.planner import MovePlanner
from kraft.host.peer_receiver import PeerReceiver
from kraft.host.persistence import Persistence, Written
from kraft.host.placement.placer import Placer
from kraft.host.ports import BackupTaker, Disk, Fatal, HostObserver, KeyQueries, Network, ScriptEvaluator
from kraft.host.requests.early_requests import EarlyRequests
from kraft.host.requests.proposal import WriteDone
from kraft.host.requests.round import ReadDone
from kraft.host.requests.transaction_waits import KeysOfRead
from kraft.host.slots import SlotMap
from kraft.host.slowness import Slowness
from kraft.host.status import full_leader, node_condition, node_status
from kraft.host.ticker import Ticker
from kraft.host.transactions.transactions import Transactions
from kraft.host.turns import Turns
from kraft.host.user_watch import UserWatch
from kraft.kv.commands import Command, Lock
from kraft.kv.versions import MACHINE_VERSION
from kraft.node.admin import LOCAL, AdminCommand, AdminDone
from kraft.node.ports import Clock
from kraft.node.status import SERVING, STOPPING, Status
from kraft.node.values import Loaded
from kraft.peerwire.messages import without_numbers
from kraft.raft.errors import InvariantViolation
from kraft.raft.ports import Jitter, RaftObserver


class Host:
    """One node. `peer_receiver` is the receiver of its links to other nodes."""

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
        fatal: Fatal,
        machine_version: int = MACHINE_VERSION,
    ) -> None:
        self.groups = groups = dict[int, Group]()  # by id, from the end of its replay on
        background = Background(clock)
        self.indexes = KeyIndexes(self.groups, background, clock)
        self._config = config
        self._clock = clock
        self._started_at = clock.seconds()
        formation = settings.formation(config, loaded.identity, machine_version)
        self.slots = slots = SlotMap(formation.groups, loaded.identity.created)
        session = jitter(1 << 62)
        self.peers = peers = Peers(config, clock, formation, observer, loaded.starts, session=session)
        self.persistence = persistence = Persistence(disk, clock, self)
        slow = Slowness(persistence, observer, config.raft.election_timeout)
        self._turns = turns = Turns(clock, self)
        self.backpressure = pressure = Backpressure(config.limits.pending_proposals)
        self.users = users = UserWatch(self.groups)
        self._context = context = GroupContext(
            clock, disk, persistence, slow, pressure, observer, peers, turns, fatal, users=users, slots=slots
        )
        early = EarlyRequests(clock)
        self.elsewhere = elsewhere = AbsentGroups(config, groups, self._context, early, jitter)
        self.transactions = Transactions(config, session, groups, elsewhere, slots, clock)
        self._lifecycle = Lifecycle(config, loaded, self._context, self.groups, early, jitter, raft_observer)
        self.transfers = LeadershipTransfers(clock, config.raft.election_timeout, turns, self.peers)
        self._checkpoints = CheckpointBudget(config.snapshot.checkpoint_bytes)
        first = jitter(1 << 31) << 20
        remote, self.logs = RemoteCheckpoints(elsewhere.has), RemoteLogs(self.leader)
        self.images = PinnedImages(config.node.id, groups, slots, formation, clock, disk, remote, first)
        self._image_commands = images = ImageCommands(self.images, LentLogs(groups, disk, clock))
        election = FastElection(clock, jitter, config.raft.heartbeat_interval, turns, self.peers)
        self.beats = beats = Beats(config, groups, peers, slots, turns, clock, loaded.starts)
        self.hibernation = sleep = Hibernation(config, self.groups, beats, election, self._context)
        self._spread = LeaderSpread(self.groups, self.peers, self.transfers, sleep.wake)
        self.moves = Moves(config, self.groups, self._context, self.transactions, self.indexes, sleep.wake)
        self.memory = DataMemory(self.groups, sleep, background)
        self._placer = Placer(groups, elsewhere.directory, context, self.transactions, self.read, background)
        plans = (MovePlanner(self.moves, slots, clock, self.read), self._placer.commands)
        self._admin = AdminExecutor(
            groups, elsewhere.directory, context, self.transfers, images, plans, sleep.wake, self.read, first
        )
        remote.ask = self.logs.ask = self._admin.ask_at_once
        active = (self.transfers, self._admin, self.images, self.moves, elsewhere)
        idleness = Idleness(config, groups, context, self._lifecycle, beats, sleep, active)
        self._ticker = ticker = Ticker(config, clock, idleness, self)
        self.elsewhere.has_left = self._lifecycle.replicas.has_left
        self._lifecycle.replicas.parts = (sleep, beats, peers, self.transactions, self.moves, self.indexes)
        self.peer_receiver = PeerReceiver(
            groups, context, self._lifecycle, self._admin, election, beats, sleep, elsewhere, ticker, self
        )

    @property
    def id(self) -> str:
        """This node's id."""
        return self._config.node.id

    # -- start and stop -------------------------------------------------------------------------------

    def start(self, network: Network, started: Callable[[], None]) -> None:
        """Replay the log of every group, then call `started`. A node that has not formed calls it at once."""
        self.peers.start(network)
        self._ticker.start()
        self._lifecycle.start(started)

    def stop(self, transferred: Callable[[], None]) -> None:
        """Transfer leadership away. Calls `transferred` when no group is led here, or no more can be moved.

        Clients of this node are served until `abandon`.
        """
        self._lifecycle.phase = STOPPING
        self.elsewhere.over = True
        for group in self.groups.values():
            group.drain(True)
        self.transfers.transfer_all(self.groups.values(), transferred)

    def refuse_peers(self) -> None:
        """Take no more writes from other nodes, and let no client wait for a lock."""
        self.elsewhere.refuse_waiters()
        for group in self.groups.values():
            group.requests.refuse_peers()

    def abandon(self) -> None:
        """Answer every caller that still waits. Nothing may be asked of the host after that."""
        self._admin.abandon()
        self.images.abandon()
        self.elsewhere.abandon()
        self.transactions.abandon()
        for group in self.groups.values():
            group.abandon()

    def use_evaluator(self, evaluator: ScriptEvaluator, queries: KeyQueries | None = None) -> None:
        """Evaluate scripts with `evaluator` from now on, and answer other nodes with `queries`."""
        self._context.evaluators.evaluator, self._context.evaluators.queries = evaluator, queries

    def use_backups(self, taker: BackupTaker) -> None:
        """Write backups with `taker` from now on."""
        self._image_commands.taker = taker

    def open_image(self, done: PinDone) -> None:
        """Open an image of all groups with what was acknowledged so far. `done` gets it, or an exception."""
        self.images.open(self._admin.mark, done)

    # -- requests of clients --------------------------------------------------------------------------

    def write(self, group: int, commands: Sequence[Command], size: int, done: WriteDone) -> None:
        """Make `commands` durable on a majority and apply them as one. `size` is their approximate bytes.

        `done` gets the replies in order, or a `Refused` (certainly not done) or `Uncertain`. It never runs
        inside this call.
        """
        target = self.groups.get(group)
        if target is None or self.peers.removed:
            again = partial(self.write, group, commands, size, done)
            self.elsewhere.write(group, commands, size, done, again)
        elif self.slots.groups > 1:
            target.requests.transaction_waits.write(commands, size, done)
        else:
            target.requests.writes.write(commands, size, done)

    def wait_for_lock(self, group: int, command: Lock, seconds: float, done: WriteDone) -> Callable[[], None]:
        """Take a lock, or wait for it, as `LockWaits.wait`. Returns what the client calls if it leaves."""
        target = self.groups.get(group)
        if target is None or self.peers.removed:
            again = partial(self.wait_for_lock, group, command, seconds, done)
            return self.elsewhere.wait_for_lock(group, command, seconds, done, again)
        return target.requests.lock_waits.wait(command, seconds, done)

    def read(self, group: int, done: ReadDone, fresh: bool = False) -> None:
        """Confirm a linearizable read of `group`. `done` gets a `View` to look at, or a `Refused`.

        A `fresh` read relies on no lease, whatever the configuration says.
        """
        target = self.groups.get(group)
        if target is None or self.peers.removed:
            self.elsewhere.read_scripts(group, done, partial(self.read, group, done, fresh), fresh=fresh)
        else:
            target.requests.reads.read(done, fresh)

    def read_keys(
        self, group: int, keys: KeysOfRead, done: ReadDone, fresh: bool = False, needed: int | None = None
    ) -> None:
        """As `read`, but not while a transaction over several groups may have changed one of `keys`.

        `done` gets `NotOwner` if the slot of one of them belongs to another group by now. Of a group
        elsewhere, keys after the first `needed` ones may be left out.
        """
        target = self.groups.get(group)
        if target is None or self.peers.removed:
            again = partial(self.read_keys, group, keys, done, fresh, needed)
            self.elsewhere.read(group, keys, done, again, fresh=fresh, needed=needed)
        else:
            target.requests.transaction_waits.read(keys, done, fresh)

    def read_stale(self, group: int, done: ReadDone, keys: KeysOfRead = list) -> None:
        """Read the replica here. `done` gets a `View`, `TooStale` (`reads.max_staleness`), or `NotOwner`."""
        target = self.groups.get(group)
        if target is None or self.peers.removed:
            self.elsewhere.read_stale(group, done, partial(self.read_stale, group, done, keys))
        elif self.slots.groups > 1:
            self.hibernation.wake((group,))  # it has not looked at the beats
            target.requests.transaction_waits.read_stale(keys, done)
        else:
            target.requests.reads.read_stale(done)

    def admin(self, command: AdminCommand, done: AdminDone) -> None:
        """Carry out an administrator's command, here or at the leader.

        `done` gets its result or an exception, later. A command for all groups waits until they are known.
        """
        self._ticker.hurry()
        if self.groups or isinstance(command, LOCAL):
            self._admin.do(command, done)
        else:
            self.elsewhere.wait(0, partial(self.admin, command, done), done)

    def version_obstacle(self, group: int, needed: int) -> str:
        """Why `group` may not log commands of the machine version `needed` yet, '' when it may soon."""
        target = self.groups.get(group)
        version = self.elsewhere.version(group) if target is None else target.state.machine.version
        return self.peers.version_obstacle(needed, version) if version else ""

    def obstacle(self, group: int) -> str:
        """Why no request to `group` can succeed now, in words; '' if no reason is known."""
        target = self.groups.get(group)
        return self._lifecycle.obstacle(target) or ("" if target else self.elsewhere.obstacle(group))

    def leader(self, group: int) -> str:
        """The id of the leader of `group` as known here, '' when there is none."""
        target = self.groups.get(group)
        return target.raft.state.leader if target is not None else self.elsewhere.leader(group)

    def client_address(self, node: str) -> str:
        """`host:port` of the client port of a member, '' until it has greeted."""
        return self.peers.client_address(node)

    def status(self) -> Status:
        """What this node reports about itself, as plain values."""
        parts = (self._lifecycle, self.groups, self.transactions, self.moves, self.beats, self._placer)
        return node_status(self._config, self._context, *parts, self._started_at)

    # -- turns ----------------------------------------------------------------------------------------

    def turn(self) -> None:
        """Serve every woken group once: see the module."""
        turns = self._turns
        while not self.hibernation.asleep.keys().isdisjoint(turns.woken):  # a tick may wake others
            self.hibernation.wake(turns.woken)
        if self._ticker.span > 1:
            self._ticker.look(turns.woken)
        woken, turns.woken = turns.woken, {}
        groups = self.groups
        if not groups.keys() >= woken.keys():  # the disk has done something for a replica that has left
            woken = {id_: None for id_ in woken if id_ in groups}
        scheduled, turns.scheduled = turns.scheduled, True  # messages posted meanwhile leave in this turn
        try:
            for id_ in woken:
                groups[id_].turn()
        except Exception as error:
            self._context.broken(error)
            raise
        turns.scheduled = scheduled
        if turns.outbox:
            self._send()
        if self.persistence.waiting:
            self.persistence.flush()
        for id_ in woken:
            groups[id_].finish()
        if self.backpressure.paused:
            self.backpressure.relieve()

    def _send(self) -> None:
        outbox, self._turns.outbox = self._turns.outbox, defaultdict(list)
        for peer, messages in outbox.items():
            if not self.peers.network.send(peer, messages):
                self._admin.unsent(messages)
                self.elsewhere.unsent(peer, messages)
                for id_, message in [each for each in messages if each[0] in self.groups]:
                    self.groups[id_].unsent(peer, without_numbers(message))

    def tick(self) -> None:
        """One tick passed: groups, then the parts of the node, look at the time."""
        try:
            now = self._clock.seconds()
            self._context.slowness.tick(now)
            self._lifecycle.tick(now)
            self.hibernation.tick(now, serving=self._lifecycle.phase == SERVING)
            awake = tuple(self.hibernation.awake.values())  # what a tick answers may wake others
            for group in awake:
                group.tick()
            self.beats.tick(now)
            self._checkpoints.tick(now, self.groups.values(), awake)
            self.transfers.leave(awake, slow=self._context.slowness.leaves)
            if self.slots.groups > 1 and self._lifecycle.phase == SERVING:
                self._spread.tick(now, awake)
                self.elsewhere.tick(now, awake)
                self.transactions.tick(awake)
                self.moves.tick(awake)
            self.transfers.tick()
            self._placer.tick(now, self._admin.ask)
            self._admin.tick()
            self.images.tick()
            condition = node_condition(self._context, awake, memory_full=self.memory.full)
            self.peers.tick(now, self.leader(0), condition, leaderless=lacks_leader(awake))
        except InvariantViolation as error:
            self._context.broken(error)
            raise
        self.memory.tick(full_leader(self.peers, self.groups))

    # -- the disk -------------------------------------------------------------------------------------

    def durable(self, written: Sequence[Written]) -> None:
        """A transaction is durable: its groups go on, and send what waited for it."""
        turns = self._turns
        scheduled, turns.scheduled = turns.scheduled, True
        for group, persist, send_after_persist in written:
            group.persisted(persist.sequence, send_after_persist)
        turns.scheduled = scheduled
        if turns.woken or turns.outbox:
            self.turn()

    def disk_full(self, full: bool) -> None:
        """The disk has no room, or has room again: suspend or resume every group."""
        self._context.observer.event("disk_full" if full else "disk_has_room")
        for group in self.groups.values():
            (group.raft.suspend if full else group.raft.resume)()
            self._turns.wake(group.id)
