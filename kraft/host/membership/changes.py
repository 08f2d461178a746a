"""Changes of a group's members at its leader: administrators' commands, and promotions of learners.

Commands are carried out one after the other. Each waits until the change before it is complete, is turned
into a target configuration, and is refused when that would put the quorum at risk. It is done when the change
is committed; a joint change must be committed on both of its sides.

Nothing here is needed for safety: consensus refuses an unsafe change, and leaves a joint configuration by
itself. Ticks drive the work, so that no event can be missed.
"""

from collections import deque
from dataclasses import dataclass
from functools import partial

from kraft.host.membership import quorum_safety, targets
from kraft.host.membership.admission import Admission
from kraft.host.membership.health import ReplicaHealth
from kraft.host.membership.invitations import Invitations
from kraft.host.membership.peers import Peers
from kraft.host.membership.promotion import LearnerPromotion
from kraft.host.membership.relocation import Relocation
from kraft.host.pending import Pending, overdue, settle_all
from kraft.host.ports import HostObserver
from kraft.node.admin import (
    DONE,
    Add,
    AdminDone,
    AdminOutcome,
    GroupChange,
    MembershipChange,
    PlaceReplica,
    Readdress,
    Remove,
    Replace,
)
from kraft.node.errors import AdminRefused, NotLeader, Stopping, Uncertain
from kraft.node.ports import Clock
from kraft.raft.errors import ChangeRefused, LogFull, NotLeading
from kraft.raft.membership import changes
from kraft.raft.membership.changes import replica_of
from kraft.raft.membership.configuration import NOBODY, Configuration, Member
from kraft.raft.raft import Raft

COMMANDS_MAX = 16  # commands that wait; people and scripts type them
COMMAND_SECONDS = 20.0  # for one command, from asking to the answer
STEADY_TIMEOUTS = 4  # election timeouts without interruption before a learner gets its vote


class _PendingChange(Pending[AdminOutcome], eq=False):
    """A command that waits for its turn, or for its outcome. `reason` says why it has not begun."""

    command: GroupChange
    reason: str = ""


@dataclass(frozen=True, slots=True)
class _LoggedChange:
    """A change in the log at (`index`, `term`). `pending` is its command, None for a promotion."""

    index: int
    term: int
    joint: bool
    deadline: float
    pending: _PendingChange | None

    def committed(self, raft: Raft) -> bool:
        """Whether its entry is committed, and after a joint one that of the target, which follows it."""
        state = raft.state
        if not state.log.first_index <= self.index <= state.commit or state.term_at(self.index) != self.term:
            return False
        return not self.joint or self.index < state.configuration_index <= state.commit


class MembershipChanges:
    """The changes of one group's members. Only the replica that leads the group acts.

    `pending` holds the commands that wait for their turn, in the order in which they came.
    An election timeout lasts `election_ticks` ticks of `tick_seconds` each.
    """

    def __init__(
        self,
        group: int,
        raft: Raft,
        peers: Peers,
        clock: Clock,
        observer: HostObserver,
        *,
        election_ticks: int,
        tick_seconds: float,
    ) -> None:
        self._group = group
        self._raft = raft
        self._peers = peers
        self._clock = clock
        self._observer = observer
        self.pending: deque[_PendingChange] = deque()
        self._logged: _LoggedChange | None = None
        self._committed = NOBODY  # the last configuration that is known to be committed
        self._led = False  # as of the last tick
        self._health = ReplicaHealth(raft, election_ticks)
        steady_seconds = STEADY_TIMEOUTS * election_ticks * tick_seconds
        self._promotion = LearnerPromotion(raft, self._health, steady_seconds)
        self._admission = Admission(peers)
        self._relocation = Relocation(peers)
        self._invitations = Invitations(group, peers)

    def do(self, command: GroupChange, done: AdminDone, timeout: float = COMMAND_SECONDS) -> None:
        """Carry `command` out within `timeout` seconds. `done` never runs inside this call.

        `done` gets 'OK', or an exception: `AdminRefused` or `NotLeader` (nothing was done), or `Uncertain`.
        """
        if not self._raft.state.leads:
            self._clock.call_soon(partial(done, self._not_leader()))
        elif len(self.pending) >= COMMANDS_MAX:
            refusal = AdminRefused(f"{COMMANDS_MAX} changes of the members wait: repeat this one later")
            self._clock.call_soon(partial(done, refusal))
        else:
            self.pending.append(_PendingChange(self._clock.seconds() + timeout, done, command))

    def rehearse(self, command: MembershipChange, done: AdminDone, *, everywhere: bool = False) -> None:
        """Say whether `command` would be begun. `done` never runs inside this call.

        `everywhere`: every group has all members, as far as the node knows that carries it out.
        `done` gets 'OK', 'DONE' when the members are as the command wants them, or an exception:
        `AdminRefused` or `NotLeader`. While another change is under way it gets 'OK': the command would wait
        for that one. After the word comes the incarnation of the node that the command brings in, as far as
        this leader knows it.
        """
        self._clock.call_soon(partial(done, self._rehearsed(command, everywhere)))

    def _rehearsed(self, command: MembershipChange, everywhere: bool) -> AdminOutcome:
        current = self._raft.state.configuration
        newcomer = targets.newcomer(command) if isinstance(command, Add | Replace) else ""
        hello = self._peers.hello_of(newcomer) if newcomer else None
        if not self._raft.state.leads_with_commit:
            return self._not_leader()
        node = f" {hello.incarnation}" if hello is not None else ""
        if not self._idle:  # what is not committed may still be undone, and is not done
            return "OK" + node
        if targets.is_reached(current, command, hello):
            return DONE + node
        everywhere |= not (self._group and self._peers.moves_replicas)
        try:
            if targets.is_left_out(current, command, self._peers.formation.current, everywhere=everywhere):
                return DONE + node
            target = targets.rehearsed(current, command, hello, self._lacking(current, command))
        except ChangeRefused as error:
            return AdminRefused(str(error))
        risk = None if command.force else quorum_safety.risk(current, target, self._health.replicas)
        return "OK" + node if risk is None else AdminRefused(risk)

    def caught_up(self, id_: str) -> bool:
        """Whether the follower `id_` answers, and lacks hardly an entry, as this leader sees it."""
        return id_ in self._health.caught_up

    def skip(self, ticks: int) -> None:
        """So many ticks passed in which nothing was under way."""
        self._health.skip(ticks)

    def tick(self, now: float) -> None:
        """One tick of the host passed; `now` in monotonic seconds."""
        state = self._raft.state
        if state.configuration_index <= state.commit:
            self._committed = state.configuration
        self._follow_up(now)
        if not state.leads:
            if self.pending or self._admission.under_way:
                self._refuse_pending(self._not_leader())  # the callers ask again at the new leader
            if self._led:
                self._led = False
                self._health.clear()
                self._promotion.clear()
                self._invitations.clear()
            return
        self._led = True
        self._health.tick()
        self._promotion.tick(now)
        if not self._group:  # a node is invited into all groups at once
            self._invitations.tick(now, self._committed, self._raft)
        self._next_command(now)
        if self._idle and not self._admission.under_way:
            self._promote(now)

    @property
    def active(self) -> bool:
        """Whether a change is under way here, or wanted."""
        waits = self.pending or self._logged is not None or self._admission.under_way
        return bool(waits or self._raft.state.configuration.joining)

    def abandon(self) -> None:
        """The node stops."""
        self._refuse_pending(Stopping())
        if self._logged is not None:
            self._answer(self._logged, Uncertain())

    @property
    def is_complete(self) -> bool:
        """Whether the configuration is committed, and no change of it is under way or waits."""
        return self._idle and not (self.pending or self._admission.under_way)

    @property
    def _idle(self) -> bool:
        """Whether a change may begin, as far as can be seen from here."""
        state = self._raft.state
        complete = not state.configuration.joint and state.configuration_index <= state.commit
        return self._logged is None and complete and state.leads_with_commit

    def _not_leader(self) -> NotLeader:
        return NotLeader(self._group, self._raft.state.leader)

    def _refuse_pending(self, outcome: Exception) -> None:
        self._admission.end(accepted=False)
        pending, self.pending = self.pending, deque()
        settle_all(pending, outcome)

    # -- a change in the log --------------------------------------------------------------------------

    def _follow_up(self, now: float) -> None:
        """Answer for the change in the log once its outcome is known, or can never be known here."""
        logged = self._logged
        if logged is None:
            return
        if logged.committed(self._raft):
            self._answer(logged, "OK")
        elif not self._raft.state.leads or self._raft.state.term != logged.term or now >= logged.deadline:
            self._answer(logged, Uncertain())

    def _answer(self, logged: _LoggedChange, outcome: AdminOutcome) -> None:
        self._logged = None
        if logged.pending is not None:
            logged.pending.settle(outcome)

    def _log(self, target: Configuration, deadline: float, pending: _PendingChange | None) -> None:
        """Give the change to consensus, which may raise `ChangeRefused`, `NotLeading` or `LogFull`."""
        index, term = self._raft.reconfigure(target)
        joint = self._raft.state.configuration.joint
        self._logged = _LoggedChange(index, term, joint, deadline, pending)

    # -- commands -------------------------------------------------------------------------------------

    def _next_command(self, now: float) -> None:
        """Try to begin the first command, then refuse all that have waited too long."""
        if not self.pending:
            return
        first = self.pending[0]
        self._attempt(first, now)
        late, left = overdue(self.pending, now)
        if first in late:
            self._admission.end(accepted=False)
        self.pending = deque(left)
        for each in late:
            each.settle(AdminRefused(f"not done in time: {each.reason or 'other changes came first'}"))

    def _attempt(self, pending: _PendingChange, now: float) -> None:
        if not self._idle:
            begun = self._raft.state.leads_with_commit
            another = "another change of the members is under way"
            pending.reason = another if begun else "the leader has only just begun to lead"
            return
        command, current = pending.command, self._raft.state.configuration
        if self._group and isinstance(command, Remove) and current.member(command.id) is None:
            # It has left since the rehearsal. Group 0 says who never was a member.
            self._dismiss(pending, "OK")
            return
        try:
            target = self._target(pending.command, now)
            if target is None:
                pending.reason = "the node has not greeted"
                return
            self._log(target, pending.deadline, pending)
        except LogFull:
            pending.reason = "the log of the leader has no room"
        except ChangeRefused as error:
            self._dismiss(pending, AdminRefused(str(error)))
        except NotLeading:
            self._dismiss(pending, self._not_leader())
        else:
            self.pending.popleft()
            self._admission.end(accepted=True)

    def _dismiss(self, pending: _PendingChange, outcome: AdminOutcome) -> None:
        self.pending.popleft()
        self._admission.end(accepted=False)
        pending.settle(outcome)

    def _target(self, command: GroupChange, now: float) -> Configuration | None:
        """The configuration to aim at, or None while a node still has to greet. Raises `ChangeRefused`."""
        current = self._raft.state.configuration
        member = None
        if isinstance(command, MembershipChange):
            targets.check_not_gone(current, command, self._peers.formation.current)
        if isinstance(command, Add | Replace):
            member = self._admit(current, command, now)
            if member is None:
                return None
        elif isinstance(command, PlaceReplica):
            if not self._peers.moves_replicas:
                raise ChangeRefused("replicas with numbers need a later machine version")
            member = self._peers.member(command.node)
            if member is None or command.node not in self._peers.connected:
                raise ChangeRefused(f"{self._raft.state.id} leads and has no link to {command.node}")
        elif isinstance(command, Readdress):
            targets.check_address(command.address)
        target = targets.target(current, command, member)
        if isinstance(command, Readdress) and not command.force:
            return target if self._relocation.is_confirmed(command, now) else None
        risk = None if command.force else quorum_safety.risk(current, target, self._health.replicas)
        if risk is not None:
            raise ChangeRefused(risk)
        return target

    def _admit(self, current: Configuration, command: Add | Replace, now: float) -> Member | None:
        """The node that is to become a member, or None while it is dialled. Raises `ChangeRefused`.

        A learner that takes the place of another member is a member already, and is not dialled.
        """
        spare = targets.spare(current, command) or self._lacking(current, command)
        if spare is not None:
            return spare
        if not self._admission.under_way:
            id_ = targets.newcomer(command)
            targets.check_newcomer(current, command, self._peers.hello_of(id_))
            self._admission.begin(id_, command.address, now)
        return self._admission.greeted(now, force=command.force)

    def _lacking(self, current: Configuration, command: MembershipChange) -> Member | None:
        """A member of the cluster without a replica of this group, which is to take the place of another one.

        As with one that has a replica, the command names no address.
        """
        if not (isinstance(command, Replace) and self._group and self._peers.moves_replicas):
            return None
        node = self._peers.member(command.new)
        if command.address or command.new == command.old or node is None or current.member(node.id):
            return None
        return replica_of(node)

    # -- promotion ------------------------------------------------------------------------------------

    def _promote(self, now: float) -> None:
        """Give one learner that is ready its vote, unless that would put the quorum at risk."""
        current = self._raft.state.configuration
        for id_ in self._promotion.ready(now):
            try:
                target = changes.promoted(current, id_)
                if quorum_safety.risk(current, target, self._health.replicas) is None:
                    self._log(target, now + COMMAND_SECONDS, None)
                    self._observer.event("learner_promoted", group=self._group, learner=id_)
                    return
            except (ChangeRefused, LogFull, NotLeading):
                return  # not now; perhaps at the next tick
