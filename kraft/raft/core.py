"""Term rules, roles and outboxes of one group: what every role obeys, and where alone a role changes.

A message enters through `step`, which first settles whose term is newer (RP 5.1) and then asks the role.
Effects gather in outboxes until `take_ready` puts them in order: what may leave at once, what must be
written, what may only leave after that write and every earlier one.
"""

from collections import deque
from collections.abc import Callable
from typing import Any

from kraft.raft import elections
from kraft.raft.candidate import Candidate, PreCandidate
from kraft.raft.errors import invariant
from kraft.raft.follower import Follower
from kraft.raft.leader import Leader
from kraft.raft.log.log import Log
from kraft.raft.membership.configuration import Base, Configuration
from kraft.raft.membership.quorum import Quorum, quorum_of
from kraft.raft.messages import (
    Append,
    AppendReply,
    Entry,
    HardState,
    Heartbeat,
    HeartbeatReply,
    Message,
    PreVote,
    PreVoteReply,
    TimeoutNow,
    Vote,
    VoteReply,
)
from kraft.raft.ports import Jitter, RaftObserver, Restored, Settings, WallClock
from kraft.raft.ready import Fetch, Outgoing, Persist, ReadState, Ready


class Core:
    """State shared by the roles; they change it through the methods below.

    `elapsed` counts ticks since a leader was heard, a vote granted or a campaign begun; at `timeout` that is
    too long. `heard` is the tick at which a leader, of any term, was heard last. `durable_hard_state` is what
    the disk has, `term` and `vote` may be ahead of it. `quorum`, `electors` and `elector` (whether this node
    is one) follow from the configuration in force and are made when it changes.
    """

    __slots__ = (
        "_follower",
        "_handed_hard_state",
        "_held",
        "_now",
        "_promises",
        "applied",
        "commit",
        "draining",
        "durable_hard_state",
        "elapsed",
        "elector",
        "electors",
        "fetch",
        "group",
        "heard",
        "id",
        "incarnation",
        "jitter",
        "leader",
        "log",
        "observer",
        "quorum",
        "reads",
        "reads_failed",
        "replicating",
        "restored",
        "role",
        "settings",
        "snapshots",
        "state",
        "suspended",
        "term",
        "ticks",
        "timeout",
        "vote",
        "vote_clocks",
        "wall_clock",
    )

    def __init__(
        self,
        id_: str,
        group: int,
        settings: Settings,
        restored: Restored,
        jitter: Jitter,
        wall_clock: WallClock,
        observer: RaftObserver,
        incarnation: str = "",
    ) -> None:
        self.id = id_
        self.incarnation = incarnation
        self.group = group
        self.settings = settings
        self.jitter = jitter
        self.wall_clock = wall_clock
        self.observer = observer
        self.log = Log(restored)
        self.term = restored.hard_state.term
        self.vote = restored.hard_state.vote
        invariant(self.term >= self.log.last_term, "the restored term is at least that of the last entry")
        self.commit = restored.commit
        self.applied = restored.commit
        self.leader = ""
        self.suspended = False
        self.draining = False
        self.ticks = 0
        self.elapsed = 0
        self.heard = 0
        self.timeout = settings.election_ticks + jitter(settings.election_ticks)
        self.vote_clocks: dict[str, int] = {}
        self.durable_hard_state = restored.hard_state
        self._handed_hard_state = restored.hard_state
        self._promises: deque[tuple[int, HardState]] = deque()  # hard states being written, by sequence
        self._now: list[Outgoing] = []
        self._held: list[Outgoing] = []
        self.reads: list[ReadState] = []
        self.reads_failed: list[int] = []
        self.fetch: list[Fetch] = []
        self.snapshots: list[str] = []
        self.restored: Base | None = None
        self.state: int | None = None  # the number of a new state file that the disk was not told of
        self.replicating = False  # whether a leader should look for something to send
        self._follower = Follower(self)
        self.role: Follower | PreCandidate | Candidate | Leader = self._follower
        self.quorum: Quorum
        self.electors: tuple[str, ...] = ()
        self.elector = False
        self._learn_configuration()

    # What roles ask

    @property
    def electable(self) -> bool:
        """Whether this node may campaign.

        Without a vote too, as long as the configuration that took it is not known to be committed: nobody
        else may have a log that could win (RD 4.2.2). It does not count itself then, and steps down again
        when that is committed.
        """
        return (self.elector or self._elector_until_commit) and not self.suspended and not self.draining

    @property
    def _elector_until_commit(self) -> bool:
        if self.log.configuration_index <= self.commit:
            return False
        return self._votes_in(self.log.configurations.at(self.commit)[1])

    @property
    def following(self) -> bool:
        """Whether this node neither leads nor campaigns."""
        return self.role is self._follower

    @property
    def role_name(self) -> str:
        """The role as people call it: a follower that is a member without a vote is a learner."""
        name = self.role.name
        if name == Follower.name and not self.elector and self.log.configuration.member(self.id) is not None:
            return "learner"
        return name

    @property
    def hears_leader(self) -> bool:
        """Whether there is a leader, this node included, heard within the shortest election timeout."""
        return bool(self.leader) and self.elapsed < self.settings.election_ticks

    # What roles do

    def send(self, to: str, message: Message) -> None:
        """Send at once: the message promises nothing that is not on disk."""
        self._now.append(Outgoing(to, message))

    def send_durable(self, to: str, message: Message) -> None:
        """Send when everything this node knows now is on disk."""
        self._held.append(Outgoing(to, message))

    def commit_to(self, index: int) -> None:
        """Entries up to `index` are committed; a lower one is old news."""
        if index > self.commit:
            invariant(index <= self.log.last_index, "a commit index lies within the log")
            self.commit = index

    def reconfigured(self) -> None:
        """Another configuration is in force."""
        elector = self.elector
        self._learn_configuration()
        if elector != self.elector:
            self._report()

    def _learn_configuration(self) -> None:
        configuration = self.log.configuration
        self.quorum = quorum_of(configuration)
        self.electors = configuration.electors
        self.elector = self._votes_in(configuration)

    def _votes_in(self, configuration: Configuration) -> bool:
        """Whether this node is an elector: under the id of a former member, or one to come, it is not."""
        member = configuration.member(self.id)
        if member is None or self.id not in configuration.electors:
            return False
        return self.incarnation in ("", member.incarnation)

    def grant(self, candidate: str) -> None:
        """Vote for `candidate` in the present term."""
        self.vote = candidate
        self.elapsed = 0
        if self.role is not self._follower:
            self.become_follower(self.term, "")

    def follow(self, leader: str) -> None:
        """The leader of this term showed itself."""
        self.leader = leader
        self._restart_timer()
        self._report()

    # Roles

    def become_follower(self, term: int, leader: str) -> None:
        """Follow `leader`, or nobody yet when empty, in `term`.

        A mere change of term leaves a follower's clock running: else a node that cannot win could keep
        others from trying.
        """
        if self.role is not self._follower:
            self.role.left()
            self.role = self._follower
            self._restart_timer()
        if term > self.term:
            self._enter(term, "")
        self.leader = leader
        self._report()

    def become_precandidate(self) -> None:
        """Ask whether an election could be won; restarts one that runs."""
        self.role.left()
        self.role = campaign = PreCandidate(self)
        self.leader = ""
        self._restart_timer()
        self._report()
        campaign.start()

    def become_candidate(self, *, transfer: bool = False) -> None:
        """Vote for itself in a new term, then ask the others; `transfer`: as the leader told it to."""
        self.role.left()
        self._enter(self.term + 1, self.id)
        self.role = campaign = Candidate(self, transfer=transfer)
        self.leader = ""
        self._restart_timer()
        self._report()
        campaign.start()

    def become_leader(self, vote_clocks: dict[str, int]) -> None:
        """Lead the present term, elected with votes that carried `vote_clocks`."""
        self.role.left()
        self.role = leadership = Leader(self)
        self.leader = self.id
        self.elapsed = 0
        self.vote_clocks = vote_clocks
        self._report()
        leadership.start()

    def _enter(self, term: int, vote: str) -> None:
        self.term = term
        self.vote = vote
        # Answers of the old term that wait for a write not even begun: in the new term that write may no
        # longer contain what they promise.
        self._held.clear()

    def _restart_timer(self) -> None:
        self.elapsed = 0
        self.timeout = self.settings.election_ticks + self.jitter(self.settings.election_ticks)

    def _report(self) -> None:
        self.observer.role_changed(self.group, self.role_name, self.term, self.leader)

    # Input

    def tick(self) -> None:
        """One tick of the host passed."""
        self.ticks += 1
        self.role.tick()

    def step(self, sender: str, message: Message) -> None:
        """Take a message from a peer."""
        kind = type(message)
        if kind is PreVote or kind is PreVoteReply:
            _STEPS[kind](self, sender, message)
            return
        term = message.term
        if term > self.term:
            if isinstance(message, Vote) and elections.deaf(self, transfer=message.transfer):
                return
            self.become_follower(term, sender if kind in _FROM_LEADERS else "")
        elif term < self.term:
            self._answer_stale(sender, message)
            return
        _STEPS[kind](self, sender, message)

    def _answer_stale(self, sender: str, message: Message) -> None:
        """Tell a stale leader or candidate the present term. Nothing is promised by that."""
        match message:
            case Append():
                self.send(sender, AppendReply(self.term, message.prev_index, True))
            case Heartbeat():
                # Without its round: that is of another term, and must not confirm a read in this one.
                self.send(sender, HeartbeatReply(self.term, 0, self.wall_clock()))
            case Vote():
                self.send(sender, VoteReply(self.term, False, self.wall_clock()))

    def prevote_reply(self, sender: str, message: PreVoteReply) -> None:
        """Adopt the higher term of a refusal, else this node could never win; a grant has no term yet."""
        if not message.granted and message.term > self.term:
            self.become_follower(message.term, "")
        else:
            self.role.prevote_reply(sender, message)

    def persisted(self, sequence: int) -> None:
        """The write `sequence`, and every one before it, is durable."""
        self.log.durability.finish(sequence)
        promises = self._promises
        while promises and promises[0][0] <= sequence:
            self.durable_hard_state = promises.popleft()[1]
        self.role.persisted()

    def suspend(self) -> None:
        """The disk is full: promise nothing more, lead nobody."""
        self.suspended = True
        if self.role is not self._follower:
            self.become_follower(self.term, "")

    def drain(self, on: bool) -> None:
        """While `on` do not campaign, not even when asked to; a leader leads on."""
        self.draining = on
        if on and self.leader != self.id and self.role is not self._follower:
            self.become_follower(self.term, "")

    # Output

    def take_ready(self) -> Ready | None:
        """Everything to be carried out since the last call, or None."""
        if self.replicating:
            self.replicating = False
            self.role.replicate()
        persist = self._take_persist()
        held: tuple[Outgoing, ...] = ()
        if self._held:
            held = tuple(self._held)
            self._held.clear()
            if persist is None:  # all that it relies on is on disk already
                self._now += held
                held = ()
        applied, upto = self.applied, min(self.commit, self.log.durability.durable)
        results = self.reads or self.reads_failed or self.fetch or self.snapshots or self.restored
        if not (self._now or persist or upto > applied or results):
            return None
        apply: tuple[Entry, ...] = ()
        if upto > applied:
            apply = self.log.entries(applied + 1, upto)
            self.applied = upto
            self.log.trim(upto, self.settings.tail_bytes)
        now = tuple(self._now)
        self._now.clear()
        if not results:  # most often
            return Ready(now, persist, held, apply)
        return Ready(now, persist, held, apply, *self._take_results())

    def _take_results(self) -> tuple[Any, ...]:
        """The rarer fields of `Ready`, in its order."""
        results = (
            tuple(self.reads),
            tuple(self.reads_failed),
            tuple(self.fetch),
            tuple(self.snapshots),
            self.restored,
        )
        self.reads.clear()
        self.reads_failed.clear()
        self.fetch.clear()
        self.snapshots.clear()
        self.restored = None
        return results

    def _take_persist(self) -> Persist | None:
        handed = self._handed_hard_state
        promise = None
        if self.term != handed.term or self.vote != handed.vote:
            promise = HardState(self.term, self.vote)
        log = self.log
        waiting = self._held and log.durability.writing
        if not (promise or log.unwritten or waiting or self.state is not None):
            return None
        sequence, truncate_from, entries = log.begin_write()
        if promise is not None:
            self._handed_hard_state = promise
            self._promises.append((sequence, promise))
        base, state = log.take_base(), self.state
        if base is None and state is None:  # most often
            return Persist(sequence, promise, truncate_from, entries, self.commit)
        self.state = None
        return Persist(sequence, promise, truncate_from, entries, self.commit, base, state)


_FROM_LEADERS = frozenset({Append, Heartbeat, TimeoutNow})

_STEPS: dict[type, Callable[[Core, str, Any], None]] = {
    PreVote: elections.answer_prevote,
    PreVoteReply: Core.prevote_reply,
    Vote: elections.answer_vote,
    VoteReply: lambda core, sender, message: core.role.vote_reply(sender, message),
    Append: lambda core, sender, message: core.role.append(sender, message),
    AppendReply: lambda core, sender, message: core.role.append_reply(sender, message),
    Heartbeat: lambda core, sender, message: core.role.heartbeat(sender, message),
    HeartbeatReply: lambda core, sender, message: core.role.heartbeat_reply(sender, message),
    TimeoutNow: lambda core, sender, _: core.role.timeout_now(sender),
}
