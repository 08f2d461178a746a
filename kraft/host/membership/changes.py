"""Changes of a group's membership at its leader: administrators' commands, and promotions by themselves.

Commands are carried out one after the other. Each waits until the change before it is over, is turned into
the configuration to aim at, refused when that would put the quorum at risk, and is done when the change is
committed, a joint one on both of its sides. Nothing here decides anything for consensus: the core refuses
what is not safe, and leaves a joint configuration by itself. Driven by ticks, so that nothing is ever missed.
"""

from collections import deque
from collections.abc import Sequence
from dataclasses import dataclass

from kraft.config.kinds import Address, NodeId
from kraft.host.membership import quorum_safety
from kraft.host.membership.admission import Admission
from kraft.host.membership.formation import Formation
from kraft.host.membership.invitations import Greeting, Invitations
from kraft.host.ports import HostObserver, Network
from kraft.node.admin import (
    Add,
    AdminDone,
    AdminOutcome,
    Demote,
    MembershipChange,
    Promote,
    Readdress,
    Remove,
    Replace,
)
from kraft.node.errors import AdminRefused, NotLeader, Stopping, Uncertain
from kraft.node.ports import Clock
from kraft.raft.errors import ChangeRefused, LogFull, NotLeading
from kraft.raft.membership import changes
from kraft.raft.membership.configuration import NOBODY, Configuration, Member
from kraft.raft.progress import FollowerStatus
from kraft.raft.raft import Raft

COMMANDS_MAX = 16  # that wait; people and scripts type them
COMMAND_SECONDS = 20.0  # for one, from asking to the answer
LAG_ENTRIES = 100  # a replica that lacks no more has caught up, however quiet the group is
STEADY_TIMEOUTS = 4  # election timeouts without interruption before a learner gets its vote
CHANGING = "another change of the members is under way"


@dataclass(slots=True)
class _Waiting:
    """A command. `reason` says why it has not begun, for the one who asked."""

    command: MembershipChange
    deadline: float
    done: AdminDone
    reason: str = ""


@dataclass(frozen=True, slots=True)
class _Logged:
    """A change in the log at (`index`, `term`), `joint` or not; nobody waits for a promotion."""

    index: int
    term: int
    joint: bool
    deadline: float
    done: AdminDone | None

    def committed(self, node: Raft) -> bool:
        """It is decided: its entry, and for a joint one its target's too, which is the next one."""
        state = node.state
        if not state.log.first_index <= self.index <= state.commit or state.term_at(self.index) != self.term:
            return False
        return not self.joint or self.index < state.configuration_index <= state.commit


class Membership:
    """The membership of one group as seen from one of its replicas; it acts only where that one leads.

    `greeting` gives the Hello of the open link to a node. `groups` is the number of groups of the cluster. An
    election timeout lasts `election_ticks` of `tick_seconds`.
    """

    def __init__(
        self,
        group: int,
        node: Raft,
        formation: Formation,
        *,
        clock: Clock,
        network: Network,
        greeting: Greeting,
        observer: HostObserver,
        election_ticks: int,
        tick_seconds: float,
        groups: int = 1,
    ) -> None:
        self._group = group
        self._node = node
        self._clock = clock
        self._greeting = greeting
        self._observer = observer
        self._election_ticks = election_ticks
        self._steady_seconds = STEADY_TIMEOUTS * election_ticks * tick_seconds
        self._waiting: deque[_Waiting] = deque()
        self._logged: _Logged | None = None
        self._admission = Admission(formation, network, greeting)
        self._invitations = Invitations(group, formation, network, greeting, groups)
        self._lasts: deque[int] = deque(maxlen=election_ticks)  # the log's end at each of the last ticks
        self._steady_since: dict[str, float] = {}  # learners that have caught up
        self._committed = NOBODY  # the last configuration known to be

    @property
    def pending(self) -> int:
        """Commands that wait for their turn, or for their outcome."""
        return len(self._waiting) + (self._logged is not None and self._logged.done is not None)

    def do(self, command: MembershipChange, done: AdminDone, timeout: float = COMMAND_SECONDS) -> None:
        """Carry it out within `timeout` seconds; `done` never runs inside this call.

        It gets 'OK', or an Exception: `AdminRefused` or `NotLeader` (nothing was done), or `Uncertain`.
        """
        if not self._leads:
            outcome: AdminOutcome = NotLeader(self._group, self._node.state.leader)
        elif len(self._waiting) >= COMMANDS_MAX:
            outcome = AdminRefused(f"{COMMANDS_MAX} changes of the members wait: repeat this one later")
        else:
            self._waiting.append(_Waiting(command, self._clock.seconds() + timeout, done))
            return
        self._clock.call_later(0, lambda: done(outcome))

    def tick(self, now: float) -> None:
        """One tick of the host, `now` in monotonic seconds."""
        node = self._node
        if node.state.configuration_index <= node.state.commit:
            self._committed = node.state.configuration
        self._follow_up(now)
        if not self._leads:
            self._rest()
            return
        self._lasts.append(node.state.log.last_index)
        progress = node.progress()
        self._observe(progress, now)
        self._invitations.tick(now, self._committed, {p.peer: p.match for p in progress})
        self._next_command(now)
        if self._idle and not self._admission.under_way:
            self._promote(now)

    def abandon(self) -> None:
        """The node stops."""
        self._refuse_waiting(Stopping())
        if self._logged is not None:
            self._answer(self._logged, Uncertain())

    @property
    def _leads(self) -> bool:
        return self._node.state.leader == self._node.state.id

    @property
    def _idle(self) -> bool:
        """A change may begin, as far as can be seen from here."""
        node = self._node
        settled = not node.state.configuration.joint and node.state.configuration_index <= node.state.commit
        return self._logged is None and settled and node.state.leads_with_commit

    def _rest(self) -> None:
        """Another node leads: whoever waits asks there."""
        self._refuse_waiting(NotLeader(self._group, self._node.state.leader))
        self._steady_since.clear()
        self._lasts.clear()
        self._invitations.rest()

    def _refuse_waiting(self, outcome: Exception) -> None:
        self._admission.end(accepted=False)
        waiting, self._waiting = self._waiting, deque()
        for each in waiting:
            each.done(outcome)

    # -- a change in the log --------------------------------------------------------------------------

    def _follow_up(self, now: float) -> None:
        """Answer for the change in the log once its outcome is known, or never will be here."""
        logged, node = self._logged, self._node
        if logged is None:
            return
        if logged.committed(node):
            self._answer(logged, "OK")
        elif not self._leads or node.state.term != logged.term or now >= logged.deadline:
            self._answer(logged, Uncertain())

    def _answer(self, logged: _Logged, outcome: AdminOutcome) -> None:
        self._logged = None
        if logged.done is not None:
            logged.done(outcome)

    def _log(self, target: Configuration, deadline: float, done: AdminDone | None) -> None:
        """Give the change to the core, which raises `ChangeRefused`, `NotLeading` or `LogFull`."""
        index, term = self._node.reconfigure(target)
        self._logged = _Logged(index, term, self._node.state.configuration.joint, deadline, done)

    # -- commands -------------------------------------------------------------------------------------

    def _next_command(self, now: float) -> None:
        """Bring the first command forward, and refuse all that waited too long."""
        if self._waiting:
            self._attempt(self._waiting[0], now)
        late = [each for each in self._waiting if each.deadline <= now]
        if late:
            if self._waiting[0] is late[0]:
                self._admission.end(accepted=False)
            self._waiting = deque(each for each in self._waiting if each.deadline > now)
        for each in late:
            each.done(AdminRefused(f"not done in time: {each.reason or 'others were first'}"))

    def _attempt(self, waiting: _Waiting, now: float) -> None:
        if not self._idle:
            begun = self._node.state.leads_with_commit
            waiting.reason = CHANGING if begun else "the leader has only just begun to lead"
            return
        try:
            target = self._target(waiting.command, now)
            if target is None:
                waiting.reason = "the node has not greeted"
                return
            self._log(target, waiting.deadline, waiting.done)
        except LogFull:
            waiting.reason = "the log of the leader has no room"
        except ChangeRefused as error:
            self._dismiss(waiting, AdminRefused(str(error)))
        except NotLeading:
            self._dismiss(waiting, NotLeader(self._group, self._node.state.leader))
        else:
            self._waiting.popleft()
            self._admission.end(accepted=True)

    def _dismiss(self, waiting: _Waiting, outcome: Exception) -> None:
        self._waiting.popleft()
        self._admission.end(accepted=False)
        waiting.done(outcome)

    def _target(self, command: MembershipChange, now: float) -> Configuration | None:
        """The configuration to aim at; None while a node still has to be met. Raises `ChangeRefused`."""
        current = self._node.state.configuration
        member = None
        if isinstance(command, Add | Replace):
            member = self._newcomer(current, command, now)
            if member is None:
                return None
        elif isinstance(command, Readdress):
            _check_address(command.address)
        target = _changed(current, command, member)
        objection = None if command.force else self._risk(current, target, command)
        if objection is not None:
            raise ChangeRefused(objection)
        return target

    def _newcomer(self, current: Configuration, command: Add | Replace, now: float) -> Member | None:
        """The node that is to become a member, None while it is dialled."""
        id_ = command.id if isinstance(command, Add) else command.new
        if not self._admission.under_way:
            self._check_early(current, command, id_)
            self._admission.begin(id_, command.address, now)
        return self._admission.greeted(now, force=command.force)

    def _check_early(self, current: Configuration, command: Add | Replace, id_: str) -> None:
        """Refuse what no greeting could change, before anybody is dialled."""
        _check_id(id_)
        _check_address(command.address)
        known = current.member(id_)
        if isinstance(command, Add) and known is not None:
            kind = "voter" if id_ in current.voters else "learner"
            raise ChangeRefused(
                f"{id_} is a member already, a {kind}; if its data directory is lost, re-admit it with KRAFT "
                f"REPLACE {id_} {id_} {known.peer}"
            )
        hello = self._greeting(id_)
        if hello is None:
            _changed(current, command, Member(id_, "unknown yet", command.address))
        else:
            _changed(current, command, Member(id_, hello.incarnation, command.address))

    # -- health ---------------------------------------------------------------------------------------

    @property
    def _lag(self) -> int:
        """Entries that a replica in good health may lack: about what arrives in an election timeout."""
        return max(LAG_ENTRIES, self._lasts[-1] - self._lasts[0])

    @property
    def _well(self) -> frozenset[str]:
        """The replicas that a quorum can count on."""
        state, progress = self._node.state, self._node.progress()
        return quorum_safety.healthy(state.id, progress, state.commit, self._election_ticks, self._lag)

    def _risk(self, current: Configuration, target: Configuration, command: MembershipChange) -> str | None:
        """What `command` would do to the quorum, None for nothing bad."""
        if not isinstance(command, Readdress):
            return quorum_safety.objection(current, target, self._well)
        if command.id not in self._well or command.id == self._node.state.id:
            return None
        hello = self._greeting(command.id)
        if hello is not None and hello.peer == command.address:
            return None
        if quorum_safety.objection(current, target, self._well - {command.id}) is None:
            return None
        return (
            f"without {command.id} there is no majority, and it does not say it is at {command.address}: "
            "start it with that peer.advertise first, or repeat with FORCE"
        )

    # -- promotion ------------------------------------------------------------------------------------

    def _observe(self, progress: Sequence[FollowerStatus], now: float) -> None:
        """Since when each learner has kept up without interruption."""
        last, lag = self._node.state.log.last_index, self._lag
        keeping_up = {
            p.peer
            for p in progress
            if p.state == "replicate" and p.silent_ticks <= self._election_ticks and last - p.match <= lag
        }
        self._steady_since = {
            j.id: self._steady_since.get(j.id, now)
            for j in self._node.state.configuration.joining
            if j.id in keeping_up
        }

    def _promote(self, now: float) -> None:
        """Give one learner that is ready its vote, unless that would put the quorum at risk."""
        current = self._node.state.configuration
        for id_, since in self._steady_since.items():
            if now - since < self._steady_seconds:
                continue
            try:
                target = changes.promoted(current, id_)
                if quorum_safety.objection(current, target, self._well) is None:
                    self._log(target, now + COMMAND_SECONDS, None)
                    self._observer.event("learner_promoted", group=self._group, node=id_)
                    return
            except (ChangeRefused, LogFull, NotLeading):
                return  # not now; perhaps at the next tick


def _changed(current: Configuration, command: MembershipChange, member: Member | None) -> Configuration:
    """What `command` means for `current`; `member` is the node it brings in, if it does."""
    if isinstance(command, Add) and member is not None:
        return changes.added(current, member, joining=not command.learner)
    if isinstance(command, Replace) and member is not None:
        return changes.replaced(current, command.old, member)
    if isinstance(command, Remove):
        return changes.removed(current, command.id)
    if isinstance(command, Promote):
        return changes.promoted(current, command.id)
    if isinstance(command, Demote):
        return changes.demoted(current, command.id)
    if isinstance(command, Readdress):
        return changes.readdressed(current, command.id, command.address)
    raise TypeError(f"{type(command).__name__} needs the node that it brings in")


def _check_id(id_: str) -> None:
    try:
        NodeId().convert(id_)
    except ValueError as error:
        raise ChangeRefused(str(error)) from None


def _check_address(address: str) -> None:
    try:
        Address().convert(address)
    except ValueError as error:
        raise ChangeRefused(str(error)) from None
