"""From a data directory to groups that serve: a node forms a cluster or joins one, and replays its logs."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field, replace
from functools import partial

from kraft.config import Config
from kraft.host import beginning, settings
from kraft.host.beginning import Beginning
from kraft.host.context import GroupContext
from kraft.host.fast_election import await_turn
from kraft.host.group.group import Group
from kraft.host.group_builder import GroupBuilder
from kraft.host.membership.formation import Formation
from kraft.host.membership.quorum_obstacle import election_obstacle, slow_obstacle
from kraft.host.membership.roll_call import RollCall
from kraft.host.persistence import RETRY_SECONDS
from kraft.host.replicas import NEVER_HELD, Replicas
from kraft.host.requests.early_requests import EarlyRequests
from kraft.node.status import (
    FENCED,
    FORMING,
    LEADERLESS,
    REFUSED,
    REMOVED,
    SERVING,
    STANDBY,
    STARTING,
    STOPPING,
    NodeState,
)
from kraft.node.values import Identity, Loaded, Transaction
from kraft.peerwire.hello import Hello
from kraft.peerwire.messages import Invitation
from kraft.raft.membership.configuration import Configuration
from kraft.raft.ports import Jitter, RaftObserver, Restored

FAREWELL_SECONDS = 0.2  # before a disowned node ends: its refusal tells the member that it lost its data
LEADERLESS_SHARE = 0.01  # of the groups: a node serves while it knows a leader of all others
GROUPS_NAMED_MAX = 8  # in one sentence
NEW_TIMEOUTS = 10  # election timeouts in which a created group is to get its first leader


class Lifecycle:
    """Starts a node, and lets it form or join a cluster.

    It adds each group to `groups` once its log is replayed, and makes its `early` requests again. When the
    node joins a cluster it sets the number of groups in the slot map; where that grows later, it begins
    replicas of those that were created. `phase` is how far the node has come: starting, forming, serving or
    stopping.
    """

    def __init__(
        self,
        config: Config,
        loaded: Loaded,
        context: GroupContext,
        groups: dict[int, Group],
        early: EarlyRequests,
        jitter: Jitter,
        raft_observer: RaftObserver,
    ) -> None:
        self.phase = STARTING
        self._config = config
        self._loaded = loaded
        self._context = context
        self._peers = context.peers
        self._groups = groups
        self._slots = context.slots
        self._early = early
        self._builder = GroupBuilder(config, loaded, context, jitter, raft_observer)
        self.replicas = Replicas(loaded, context, groups, self)
        self._roll_call = RollCall(context.peers, partial(self._form, founds=True))
        self._ending = False
        self._writing = False  # a new identity is on its way to the disk
        self._create_at = 0.0  # monotonic seconds, after the disk was full
        self._created_at: dict[int, float] = {}  # monotonic seconds: when replicas began meanwhile

    def start(self, started: Callable[[], None]) -> None:
        """Replay the log of every group, then call `started`. A node that has not formed calls it at once."""
        formation = self._peers.formation
        if formation.formed:
            if formation.unused_groups:
                self._context.observer.event("groups_option_ignored", reason=formation.unused_groups)
            self._start_groups(_Replay(self._loaded.groups, self._context.clock.seconds(), started))
        else:
            self.phase = FORMING
            self._roll_call.begin()
            self._context.clock.call_soon(started)

    @property
    def state(self) -> NodeState:
        """The state of this node: the only place that names it."""
        formation = self._peers.formation
        if self.phase == FORMING:
            return self._before_forming()
        if self.phase != SERVING:
            return NodeState(self.phase, self.phase)
        if formation.removed:
            return NodeState(REMOVED, formation.removed)
        leaderless = [g for g in self._groups.values() if not (g.raft.state.leader or self._is_new(g))]
        if len(leaderless) > LEADERLESS_SHARE * len(self._groups):
            return self._without_leader(leaderless)
        fenced = [group for group in self._groups.values() if group.state.fenced]
        if fenced:
            id_ = self._config.node.id
            problem = f"the data of {_named(fenced)} differs from the others': KRAFT RESEED {id_}"
            return NodeState(FENCED, problem)
        return NodeState(SERVING)

    def _before_forming(self) -> NodeState:
        formation = self._peers.formation
        if self._config.cluster.standby:
            way_in = formation.way_in or f"KRAFT ADD {self._config.node.id} {formation.address}"
            return NodeState(STANDBY, f"standby: waiting to be added with {way_in}{formation.way_in_needs}")
        missing = formation.missing
        text = "waiting for a first greeting from " + ", ".join(missing) if missing else "forming"
        return NodeState(FORMING, "; ".join([text, *_refusals(formation)]))

    def _is_new(self, group: Group) -> bool:
        """Whether a group or its replica here began just now, and may still wait for its first leader.

        One that has none after some elections has a problem, such as voters that are gone.
        """
        age = self._context.clock.seconds() - self._created_at.get(group.id, float("-inf"))
        few = NEW_TIMEOUTS * self._config.raft.election_timeout
        return group.raft.state.log.last_index <= 1 and age < few

    def _without_leader(self, groups: Sequence[Group]) -> NodeState:
        removed = self._peers.formation.removed_unseen
        if removed:
            return NodeState(REMOVED, removed)
        refusals = _refusals(self._peers.formation)
        if refusals:
            return NodeState(REFUSED, "; ".join(refusals))
        problem = f"no leader is known for {_named(groups)}"
        obstacle = election_obstacle(self._peers, groups[0].raft.state.configuration)
        return NodeState(LEADERLESS, f"{problem}: {obstacle}" if obstacle else problem)

    def obstacle(self, group: Group | None) -> str:
        """Why no request to `group` can succeed now, in words; '' if no reason is known."""
        state = self.state
        if group is None or state.word not in (SERVING, LEADERLESS):
            return state.problem
        configuration = group.raft.state.configuration
        return election_obstacle(self._peers, configuration) or slow_obstacle(self._peers, configuration)

    # -- forming and joining --------------------------------------------------------------------------

    def check(self, hello: Hello) -> str | None:
        """The reason to refuse the link of a peer that greets so, or None.

        Ends the process when the greeting shows that the cluster has disowned this node, or that this program
        is too old for it.
        """
        formation = self._peers.formation
        disowned = formation.disowned(hello)
        if disowned is not None:
            self._end(disowned)
            return disowned
        outdated = formation.outdated(hello)
        if outdated is not None:
            self._context.fatal(outdated, outdated=True)
            return outdated
        return formation.objection(hello)

    def refused(self, hello: Hello, reason: str) -> None:
        """The proved peer that greets so refuses this node. Ends the process if that is for good."""
        formation = self._peers.formation
        if (outdated := formation.outdated(hello)) is not None:
            self._context.fatal(outdated, outdated=True)
        elif (disowned := formation.refused(hello, reason)) is not None:
            self._end(disowned)

    def _end(self, reason: str) -> None:
        """A formed cluster has disowned this node, which has not formed: it can do no harm meanwhile."""
        if not self._ending:
            self._ending = True
            self._context.clock.call_later(FAREWELL_SECONDS, partial(self._ended, reason))

    def _ended(self, reason: str) -> None:
        """The peer has had time to hear why: end, unless another member has accepted this node meanwhile."""
        self._ending = False
        if not (self._writing or self._peers.formation.formed):
            self._context.fatal(reason)

    def greeted(self, hello: Hello) -> None:
        """A link to a peer is open: join its cluster, or form one if this was the last missing greeting."""
        adopted = self._peers.formation.met(hello)
        if adopted is not None:
            self._form(adopted, founds=False)
        else:
            self._roll_call.begin()

    def invited(self, invitation: Invitation) -> None:
        """Join the cluster that has added this node. Its log is empty at first; the leader fills it."""
        identity = self._peers.formation.invited(invitation)
        if identity is not None:
            self._begin(_Start(identity, beginning.EMPTY, joins=True, first_only=invitation.first_only))

    def _form(self, identity: Identity, *, founds: bool) -> None:
        """Make the new identity durable, together with the first entry of every group."""
        configuration = Configuration.of_voters(identity.members)
        self._begin(_Start(identity, beginning.first_entry(configuration), joins=False, founds=founds))

    def _begin(self, start: "_Start") -> None:
        self._start = start  # the newest one is written where the disk was full
        if not (self._writing or self._peers.formation.formed):
            self._write(start)

    def _write(self, start: "_Start") -> None:
        self._writing = True
        writes = tuple((id_, start.beginning.persist) for id_ in start.held)
        replicas = tuple((id_, NEVER_HELD) for id_ in start.lacked)
        transaction = Transaction(writes, start.identity, replicas)
        self._context.disk.commit(transaction, partial(self._begun, start))

    def _write_again(self) -> None:
        """There was no room. A cluster is not formed with members that have lost their links meanwhile."""
        self._writing = False
        if self._start.founds:
            self._roll_call.begin()
        else:
            self._write(self._start)

    def _begun(self, start: "_Start", durable: bool) -> None:
        """The node belongs to the cluster from the moment when the disk says so."""
        clock, observer, identity = self._context.clock, self._context.observer, start.identity
        if not durable:
            observer.event("disk_full")
            clock.call_later(RETRY_SECONDS, self._write_again)
            return
        self._writing = False
        self._peers.formation.identity = identity
        if self._slots.groups != identity.groups:
            self._early.abandon()  # they were meant for the group that would have had their keys
            self._slots.join(identity.groups)
        cluster, members = identity.cluster, len(identity.members)
        if start.joins:
            observer.event("cluster_joined", cluster=cluster, members=members)
        else:
            observer.event("cluster_formed", cluster=cluster, members=members, groups=identity.groups)
        self.replicas.note_never(start.lacked)
        restored = dict.fromkeys(start.held, start.beginning.restored)
        self._peers.greet_again()
        self._start_groups(_Replay(restored, clock.seconds(), None))

    def tick(self, now: float) -> None:
        """One tick of the host passed, at `now`: begin replicas of groups that were created meanwhile.

        Destroy those that have left their groups.
        """
        if self.phase == SERVING:
            self.replicas.tick(now)
        missing = range(self._peers.formation.identity.total, self._slots.groups)
        if missing and self.phase == SERVING and not self._writing and now >= self._create_at:
            self._create(missing)

    def _create(self, missing: range) -> None:
        """Make it durable that this node has replicas of these groups, together with how each one begins.

        Of those that it was no member of it has none, where nodes may have replicas of some groups only.
        """
        formed = self._peers.formation.identity
        identity = replace(formed, created=missing.stop - formed.groups)
        ledger = self._groups[0].state.machine.keyspace.ledger
        begin = {id_: beginning.of_created(ledger, id_, identity) for id_ in missing}
        moves = self._peers.moves_replicas
        lacked = [id_ for id_, each in begin.items() if moves and each is beginning.EMPTY]
        self._writing = True
        writes = tuple((id_, each.persist) for id_, each in begin.items() if id_ not in lacked)
        restored = {id_: each.restored for id_, each in begin.items() if id_ not in lacked}
        done = partial(self._created, identity, restored, lacked)
        replicas = tuple((id_, NEVER_HELD) for id_ in lacked)
        self._context.disk.commit(Transaction(writes, identity, replicas), done)

    def _created(
        self, identity: Identity, restored: dict[int, Restored], lacked: list[int], durable: bool
    ) -> None:
        """The node has these replicas from the moment when the disk says so."""
        self._writing = False
        now = self._context.clock.seconds()
        if not durable:
            self._context.observer.event("disk_full")
            self._create_at = now + RETRY_SECONDS
            return
        self._peers.formation.identity = identity
        self._created_at |= dict.fromkeys(restored, now)
        self.replicas.note_never(lacked)
        if self.phase != SERVING:
            return  # the node stops: its next start finds them
        self._context.observer.event("groups_created", groups=identity.total)
        for group in self._groups.values():
            group.raft.contest()
        self._start_groups(_Replay(restored, now, None))
        for id_ in lacked:
            self._early.served(id_)

    def may_begin(self, id_: int) -> bool:
        """Whether the node may begin a replica of a group now, with which it did not begin."""
        return self.phase == SERVING and 0 < id_ < self._peers.formation.identity.total

    def begin_replica(self, group: int) -> None:
        """Begin an empty replica of a group, which the disk has noted."""
        if self.phase == SERVING:
            now = self._context.clock.seconds()
            self._context.observer.event("replica_begun", group=group)
            self._created_at[group] = now
            replay = _Replay({group: beginning.EMPTY.restored}, now, None)
            self._start_groups(replay)

    # -- groups ---------------------------------------------------------------------------------------

    def _start_groups(self, replay: "_Replay") -> None:
        for id_, restored in sorted(replay.groups.items()):
            group = self._builder.build(id_, restored, self.replicas.number(id_))
            group.applier.replay(restored.commit, partial(self._replayed, replay, group))

    def _replayed(self, replay: "_Replay", group: Group) -> None:
        """The log of `group` is applied: it serves from now on."""
        replay.remaining.discard(group.id)
        group.drain(any(each.drained for each in self._groups.values()))
        if self._context.persistence.full:
            group.raft.suspend()
        self._groups[group.id] = group
        group.applier.learn_slots()
        for peer, incarnation in self._peers.incarnations.items():
            group.link_up(peer, incarnation)
        group.reconfigured()
        await_turn(group, settings.election_ticks(self._config), self._slots.groups)
        self._context.turns.wake(group.id)
        self._early.served(group.id)
        if not replay.remaining:
            seconds = round(self._context.clock.seconds() - replay.begun, 3)
            self._context.observer.event("log_replayed", groups=len(replay.groups), seconds=seconds)
            if self.phase != STOPPING:
                self.phase = SERVING
            if replay.started is not None:
                replay.started()


def _refusals(formation: Formation) -> list[str]:
    """Why members refuse this node, each reason once."""
    by_reason: dict[str, list[str]] = {}
    for id_, reason in sorted(formation.refusals.items()):
        by_reason.setdefault(reason, []).append(id_)
    return [
        f"{', '.join(ids)} {'refuses' if len(ids) == 1 else 'refuse'} this node: {reason}"
        for reason, ids in by_reason.items()
    ]


def _named(groups: Sequence[Group]) -> str:
    """`group 0`, `groups 0, 1 and 2`; of many, the first ones and how many more there are."""
    ids = sorted(group.id for group in groups)
    if len(ids) == 1:
        return f"group {ids[0]}"
    more = len(ids) - GROUPS_NAMED_MAX
    first = ids[:GROUPS_NAMED_MAX] if more > 0 else ids[:-1]
    last = f"{more} more" if more > 0 else f"{ids[-1]}"
    return f"groups {', '.join(map(str, first))} and {last}"


@dataclass(frozen=True, slots=True)
class _Start:
    """A new identity, and how every group begins. `joins`: the cluster exists, and has added this node.

    `founds`: as far as this node knows there is no cluster yet.
    `first_only`: the node has a replica of group 0 at first, and gets others with their first messages.
    """

    identity: Identity
    beginning: Beginning
    joins: bool
    founds: bool = False
    first_only: bool = False

    @property
    def held(self) -> range:
        """The groups that begin."""
        return range(1 if self.first_only else self.identity.groups)

    @property
    def lacked(self) -> range:
        """The groups of which the node has no replica at first."""
        return range(len(self.held), self.identity.groups)


@dataclass(slots=True)
class _Replay:
    """The groups that are replayed, by id, since `begun` (monotonic seconds)."""

    groups: dict[int, Restored]
    begun: float
    started: Callable[[], None] | None
    remaining: set[int] = field(init=False)

    def __post_init__(self) -> None:
        self.remaining = set(self.groups)
