"""The state of one replica: its log, term, vote and role, and what follows from its configuration.

The roles read and change a `ReplicaState`. The host reads the one of `Raft.state` and changes nothing in it.
A role never replaces itself: it asks for a `RoleChange`, and `Roles.change` carries that out.
"""

from collections import deque
from collections.abc import Mapping

from kraft.raft.effects import Effects
from kraft.raft.errors import InvariantViolation, invariant
from kraft.raft.log.log import Log
from kraft.raft.membership.configuration import Base, Configuration
from kraft.raft.membership.quorum import Quorum, quorum_of
from kraft.raft.membership.replica_number import any_replica
from kraft.raft.messages import Entry, HardState
from kraft.raft.ports import Jitter, RaftObserver, RaftSettings, Restored, WallClock
from kraft.raft.ready import Persist
from kraft.raft.role_change import RoleChange

FOLLOWER = "follower"
LEARNER = "learner"  # the role of a follower that is a member without a vote
PRECANDIDATE = "precandidate"
CANDIDATE = "candidate"
LEADER = "leader"

NEVER = 1 << 63  # an index that no log reaches
NO_LINKS: Mapping[str, int] = {}


class ReplicaState:
    """Plain attributes, and the few rules that every role shares.

    * `id`, `incarnation` ("" if unknown) and `group` name the replica, `leader` is that of `term` ("" when
      unknown). `term` and `vote` may not be durable yet; `durable_hard_state` is what the disk has.
    * `role` is leader, candidate, precandidate, follower or learner (a follower without a vote); `leads` is
      whether it is leader.
    * `matched` is the index up to which the log is known to be that of the leader of `term` (0 for unknown).
    * `commit` is the highest index known to be committed; `applied` the highest that was given out in
      `Ready.apply`, or replayed before.
    * `configuration` is the one in force, the last of the log, committed or not (RD 4.1), and
      `configuration_index` its entry's index (0 for none). `quorum`, `electors` and `elector` (whether this
      node is one) follow from it. `reconfigured` renews them all whenever the log got another one.
    * `ticks` counts all ticks, `elapsed` those since a leader was heard, a vote was granted or a campaign
      began, and since that vote was on disk; at `timeout` that is too long. `heard` is the tick at which a
      leader of any term was last heard.
    * A `slow` node leaves leadership to others that are not.
    * While `quiet`, the beats of nodes speak for the group instead of its heartbeats: see `Raft.rest`.
    * A leader's `noop_index` is its first entry; entries from there on may be committed by counting.
      `links` has the bytes that links carry within their round trip and a short queue, as far as is known.
      `pace` bounds the bytes that a leader should have uncommitted, so that they are not older than that.
      `transferring` is the node to which it transfers leadership, `vote_clocks` are those of its voters.
    """

    __slots__ = (
        "_handed_hard_state",
        "_jitter",
        "_promises",
        "applied",
        "commit",
        "configuration",
        "configuration_index",
        "draining",
        "durable_hard_state",
        "effects",
        "elapsed",
        "elector",
        "electors",
        "group",
        "heard",
        "id",
        "incarnation",
        "leader",
        "leads",
        "links",
        "log",
        "matched",
        "noop_index",
        "observer",
        "pace",
        "quiet",
        "quorum",
        "role",
        "role_change",
        "settings",
        "slow",
        "suspended",
        "term",
        "ticks",
        "timeout",
        "transferring",
        "vote",
        "vote_clocks",
        "wall_clock",
    )

    def __init__(
        self,
        *,
        id: str,  # noqa: A002 - it is called so everywhere
        group: int,
        settings: RaftSettings,
        restored: Restored,
        jitter: Jitter,
        wall_clock: WallClock,
        observer: RaftObserver,
        incarnation: str,
    ) -> None:
        self.id = id
        self.incarnation = incarnation
        self.group = group
        self.settings = settings
        self.wall_clock = wall_clock
        self.observer = observer
        self._jitter = jitter
        self.log = Log(restored)
        self.effects = Effects()
        self.term = restored.hard_state.term
        self.vote = restored.hard_state.vote
        invariant(self.term >= self.log.last_term, "the restored term is at least that of the last entry")
        self.matched = 0
        self.commit = restored.commit
        self.applied = restored.commit
        self.leader = ""
        self.leads = False
        self.role = FOLLOWER
        self.role_change: RoleChange | None = None  # what the role asks for during this input
        self.suspended = False
        self.draining = False
        self.slow = False
        self.quiet = False
        self.ticks = 0
        self.heard = 0
        self.restart_timer()
        self.noop_index = NEVER
        self.links = NO_LINKS
        self.pace = settings.inflight_bytes
        self.transferring = ""
        self.vote_clocks: Mapping[str, int] = {}
        self.durable_hard_state = restored.hard_state
        self._handed_hard_state = restored.hard_state
        self._promises: deque[tuple[int, HardState]] = deque()  # hard states being written, by sequence
        self._follow_log()

    # Questions

    @property
    def following(self) -> bool:
        """Whether this node neither leads nor campaigns."""
        return self.role in (FOLLOWER, LEARNER)

    @property
    def vote_durable(self) -> bool:
        """Whether the disk has the present term, and the vote in it."""
        durable = self.durable_hard_state
        return durable.term == self.term and durable.vote == self.vote

    @property
    def leads_with_commit(self) -> bool:
        """Whether this node leads and has committed an entry of its own term."""
        return self.commit >= self.noop_index

    @property
    def has_ready(self) -> bool:
        """Whether `Raft.take_ready` has effects to return."""
        log, handed, applied = self.log, self._handed_hard_state, self.applied
        if log.unwritten or (self.commit > applied and log.durability.durable > applied):
            return True
        return self.term != handed.term or self.vote != handed.vote or self.effects.pending

    @property
    def hears_leader(self) -> bool:
        """Whether there is a leader, this node included, heard within the shortest election timeout."""
        return bool(self.leader) and self.elapsed < self.settings.election_ticks

    @property
    def electable(self) -> bool:
        """Whether this node may campaign.

        A node without a vote may, as long as the configuration that took the vote away is not known to be
        committed: perhaps no other node has a log that can win (RD 4.2.2). It does not count itself then, and
        steps down again when that configuration is committed.
        """
        if self.suspended or self.draining:
            return False
        return self.elector or (self.configuration_index > self.commit and self._was_elector())

    def _was_elector(self) -> bool:
        return self._votes_in(self.log.configurations.at(self.commit)[1])

    def is_current_incarnation(self, peer: str, incarnation: str) -> bool:
        """Whether the node `peer` with this incarnation is that of the member that has that id.

        It may also be one that was removed. Requests may go only to it, and only its
        answers count: those of another node under the same id would be taken for a vote that the member never
        gave, or for a log that it does not have.
        """
        member = self.configuration.member(peer)
        if member is None:
            return not {incarnation, any_replica(incarnation)}.isdisjoint(self.configuration.retired)
        return member.node == incarnation

    def term_at(self, index: int) -> int:
        """The term of the entry at `index`, up to the last one; 0 for an index before the log's base."""
        return self.log.term(index) if index >= self.log.base.index else 0

    def base_at(self, index: int) -> Base:
        """The label of a copy of the state machine at `index`: from the base of the log to `applied`.

        Its configuration is the one in force at `index`: later ones may never be committed. The stamp is
        exact while the entry is in memory, else it may be a later one.
        """
        invariant(self.log.base.index <= index <= self.applied, "a copy contains applied entries only")
        return self.log.base_at(index)

    # Changes that roles make

    def commit_to(self, index: int) -> None:
        """Entries up to `index` are committed; a lower index is old news."""
        if index > self.commit:
            if index > self.log.last_index:
                raise InvariantViolation("a commit index lies within the log")
            self.commit = index

    def follow(self, leader: str) -> None:
        """The leader of this term showed itself."""
        self.leader = leader
        self.restart_timer()
        self.report()

    def restart_timer(self, spread: int = 0) -> None:
        """Begin a new election timeout of random length, up to `spread` ticks longer than others."""
        self.elapsed = 0
        self.timeout = self.settings.election_ticks + self._jitter(self.settings.election_ticks + spread)

    def await_turn(self, ticks: int) -> None:
        """The election timeout under way has so many ticks."""
        self.timeout = ticks

    def reconfigured(self) -> None:
        """The log has another last configuration: put it in force."""
        elector = self.elector
        self._follow_log()
        if elector != self.elector:
            self.report()

    def _follow_log(self) -> None:
        configurations = self.log.configurations
        self.configuration: Configuration = configurations.current
        self.configuration_index: int = configurations.index
        self.quorum: Quorum = quorum_of(self.configuration)
        self.electors: tuple[str, ...] = self.configuration.electors
        self.elector: bool = self._votes_in(self.configuration)
        if self.following:
            self.take_role(FOLLOWER)

    def _votes_in(self, configuration: Configuration) -> bool:
        """Whether this node is an elector: under the id of a former member, or one to come, it is not."""
        member = configuration.member(self.id)
        if member is None or self.id not in configuration.electors:
            return False
        return self.incarnation in ("", member.incarnation)

    # Changes that `Raft` makes

    def take_role(self, role: str) -> None:
        """Take `role`; a follower that is a member without a vote takes that of a learner."""
        learns = role == FOLLOWER and not self.elector and self.configuration.member(self.id) is not None
        self.role = LEARNER if learns else role
        self.leads = role == LEADER
        self.quiet = False

    def enter(self, term: int, vote: str) -> None:
        """Begin `term` with this `vote`.

        Messages of the old term that wait for a write not even begun are dropped: in the new term that write
        may no longer contain what they promise.
        """
        self.term = term
        self.vote = vote
        self.matched = 0
        self.effects.outgoing_after_persist.clear()

    def report(self) -> None:
        """Let the observer know of role, term and leader."""
        self.observer.role_changed(self.group, self.role, self.term, self.leader)

    def persisted(self, sequence: int) -> None:
        """The write `sequence`, and every one before it, is durable."""
        self.log.durability.finish(sequence)
        promises = self._promises
        while promises and promises[0][0] <= sequence:
            self.durable_hard_state = promises.popleft()[1]
            if self.vote and self.vote_durable and self.following and not self.leader:
                self.elapsed = 0  # only now the vote leaves: give the candidate time to win by it

    def take_persist(self) -> Persist | None:
        """The write that the disk lacks, None for nothing.

        An empty one is given out for messages that must wait for earlier writes.
        """
        log, effects, handed = self.log, self.effects, self._handed_hard_state
        promise = None
        if self.term != handed.term or self.vote != handed.vote:
            promise = HardState(self.term, self.vote)
        waiting = effects.outgoing_after_persist and log.durability.writing
        if not (log.unwritten or promise or waiting or effects.state_file is not None):
            return None
        sequence, truncate_from, entries, base = log.begin_write()
        if promise is not None:
            self._handed_hard_state = promise
            self._promises.append((sequence, promise))
        state_file = effects.state_file
        if base is None and state_file is None:  # most often
            return Persist(sequence, promise, truncate_from, entries, self.commit)
        effects.state_file = None
        return Persist(sequence, promise, truncate_from, entries, self.commit, base, state_file)

    def take_committed(self) -> tuple[Entry, ...]:
        """The entries to apply now, which count as applied from now on: committed, and durable here."""
        if self.commit <= self.applied:
            return ()
        log = self.log
        upto = min(self.commit, log.durability.durable)
        if upto <= self.applied:
            return ()
        entries = log.entries(self.applied + 1, upto)
        self.applied = upto
        log.trim(upto, self.settings.tail_bytes if self.leads else self.settings.short_tail_bytes)
        return entries
