"""What administrators ask of the placement of votes, and what it changes in their other commands.

The node that is asked lets group 0 log what is wanted. The leader of group 0 then moves the votes.
"""

from collections.abc import Callable
from functools import partial
from typing import Protocol

from msgspec.structs import replace

from kraft.host.membership import targets
from kraft.host.placement.placement_view import PlacementView
from kraft.host.placement.replica_plan import ReplicaPlan
from kraft.host.requests.proposal import WriteOutcome
from kraft.host.requests.round import ReadDone, ReadOutcome, View
from kraft.host.transactions.ports import GroupRequests
from kraft.kv.commands import ChangePlacement
from kraft.kv.placement import PlacementState, saved_placement
from kraft.node.admin import (
    Add,
    AdminDone,
    AdminOutcome,
    Demote,
    MembershipChange,
    PlacementChange,
    Promote,
    RebalanceReplicas,
    Remove,
    Replace,
    SetReplication,
    ShowReplication,
)
from kraft.node.errors import AdminRefused, Stopping, Uncertain, VersionTooLow
from kraft.node.ports import Clock
from kraft.raft.membership.configuration import MEMBERS_MAX

COMMAND_BYTES = 64
AGAIN_SECONDS = 0.1  # between two looks at the votes of a node that leaves
TELL_SECONDS = 3.0  # in which this node has to tell what group 0 says
LOOK_SECONDS, PLAN_AGAIN_SECONDS = 5.0, 0.5  # for nodes that can take its votes to be seen; between two plans
LEAVE_SECONDS = 18.0  # for its votes to move: an administrator waits for half a minute at most
STEPS_TOLD = 256  # in one reply
OWN = "the cluster places votes itself: KRAFT REPLICATION ALL first"
ALL = "every member votes in every group, so there is nothing to place: KRAFT REPLICATION 3 first"
RETURNING = (
    "all members are getting their votes back, which waits for those that are down: KRAFT REPLICATION shows "
    "when settling is over"
)
_LEADERLESS = (
    "without a leader no group can change its voters (group {}). Start the nodes that are down; if the "
    "majority of a group is lost for good, only a restore or `kraft recover` helps"
)
VOTERS_SAFE = 3  # the fewest of which one may be lost
COPYING = (
    "{id} leaves: {count} of its replicas are still being copied to other nodes. Repeat the command when "
    "KRAFT REPLICATION shows that it has no votes"
)
CHANGES = "somebody else has changed the placement meanwhile: repeat the command"


class Proceed(Protocol):
    """Changes the members of all groups, or of group 0 alone."""

    def __call__(
        self,
        command: MembershipChange,
        done: AdminDone,
        *,
        first_only: bool = False,
        everywhere: bool = False,
    ) -> None:
        """Carry out `command`. `done` gets the outcome. `everywhere`: each group has all members."""


class PlacementCommands:
    """Carries out the commands that concern where votes are. `read` is as `Host.read`."""

    def __init__(
        self,
        view: PlacementView,
        requests: GroupRequests,
        clock: Clock,
        read: Callable[[int, ReadDone], None],
    ) -> None:
        self.view = self._view = view
        self._requests = requests
        self._clock = clock
        self._read = read

    def do(self, command: PlacementChange, done: AdminDone) -> None:
        """Carry out `command`. `done` gets the outcome, maybe inside this call."""
        self._read(0, partial(self._looked, command, done))

    def _looked(self, command: PlacementChange, done: AdminDone, outcome: ReadOutcome) -> None:
        if not isinstance(outcome, View):
            done(outcome)
            return
        state = saved_placement(outcome.keyspace.ledger)
        if isinstance(command, SetReplication):
            self._set(state, command, done)
        elif isinstance(command, ShowReplication):
            self._show(state, done)
        elif not state.replication:
            done(AdminRefused(RETURNING if state.active else ALL))
        else:
            planned = partial(self._rebalance, command, state, done)
            self._view.plan(state, STEPS_TOLD, balance=True, done=planned)

    def _show(self, state: PlacementState, done: AdminDone) -> None:
        shown = partial(self._shown, state, done)
        if state.active:
            self._view.plan(state, STEPS_TOLD, balance=state.settling, done=shown)
        else:
            shown(None)

    def _shown(self, state: PlacementState, done: AdminDone, plan: ReplicaPlan | None) -> None:
        done(
            {
                "replication": state.replication or "all",
                "settling": int(state.settling),
                "leaving": list(state.leaving),
                "steps": 0 if plan is None else len(plan.steps),
                "votes": self._view.votes(),
                "replicas": self._view.replicas(),
                "zones": {id_: self._view.peers.zone(id_) for id_ in self._view.members},
                "unable": list(self._view.unable),
                "leaderless": list(self._view.leaderless),
                "changing": int(self._view.changing),
            }
        )

    def _set(self, state: PlacementState, command: SetReplication, done: AdminDone) -> None:
        replication = command.replication
        if not 0 <= replication <= MEMBERS_MAX:
            done(AdminRefused(f"a group has 1 to {MEMBERS_MAX} voters"))
        elif not command.force and (risk := self._risk(state, replication)):
            done(AdminRefused(risk))
        elif (replication, ()) == (state.replication, state.leaving):
            done("OK")
        else:
            settling = state.active or replication > 0  # else every member that should vote does
            self._log(ChangePlacement(state.version, replication, settling), done)

    def _risk(self, state: PlacementState, replication: int) -> str:
        """Why so many voters may be a mistake, and what to do instead; '' if they are none."""
        if 0 < replication < VOTERS_SAFE:
            voters = "one voter" if replication == 1 else f"{replication} voters"
            return (
                f"with {voters} no group survives the loss of one: use KRAFT REPLICATION {VOTERS_SAFE}, "
                "or repeat with FORCE"
            )
        learners = () if state.active or not replication else self._view.learners
        if learners:
            named = ", ".join(learners)
            return f"{named} would be given votes: remove or promote the learners first, or repeat with FORCE"
        return ""

    def _rebalance(
        self, command: RebalanceReplicas, state: PlacementState, done: AdminDone, plan: ReplicaPlan
    ) -> None:
        told: list[object] = [
            {"group": move.group, "voters": list(move.before), "to": list(move.voters)} for move in plan.moves
        ]
        if command.dry or not told:
            done(told)
            return
        change = ChangePlacement(state.version, state.replication, True, state.leaving)
        self._log(change, lambda outcome: done(outcome if isinstance(outcome, Exception) else told))

    def _log(self, change: ChangePlacement, done: AdminDone) -> None:
        self._requests.write(0, [change], COMMAND_BYTES, partial(_logged, done))

    # -- changes of the members -----------------------------------------------------------------------

    def admit(self, command: MembershipChange, until: float, proceed: Proceed, done: AdminDone) -> None:
        """Let a change of the members `proceed` before `until` (monotonic seconds), as the placement allows.

        It is asked what group 0 says. What this node knows decides if it cannot tell within some seconds, as
        with a full disk: the command itself needs only the leaders.
        """
        self._ask(command, min(until, self._clock.seconds() + TELL_SECONDS), proceed, done)

    def _ask(self, command: MembershipChange, until: float, proceed: Proceed, done: AdminDone) -> None:
        first = self._view.groups.get(0)
        version = self._view.peers.formation.version.in_force
        if first is None or first.state.fenced or version < ChangePlacement.since:
            self._admit(command, self._view.state, proceed, done)
        else:
            self._read(0, partial(self._seen, command, until, proceed, done))

    def _seen(
        self, command: MembershipChange, until: float, proceed: Proceed, done: AdminDone, outcome: ReadOutcome
    ) -> None:
        if isinstance(outcome, View):
            self._admit(command, saved_placement(outcome.keyspace.ledger), proceed, done)
        elif isinstance(outcome, Stopping):
            done(outcome)
        elif self._clock.seconds() >= until:
            self._admit(command, self._view.state, proceed, done)
        else:
            again = partial(self._ask, command, until, proceed, done)
            self._clock.call_later(AGAIN_SECONDS, again)

    def _admit(
        self, command: MembershipChange, state: PlacementState, proceed: Proceed, done: AdminDone
    ) -> None:
        newcomer = targets.newcomer(command) if isinstance(command, Add | Replace) else ""
        if not state.active:
            proceed(command, done, everywhere=True)
        elif newcomer in state.leaving:  # one of that name was removed before
            again = partial(self._welcome, command, proceed, done)
            self._mark(state, newcomer, again, leaves=False)
        elif isinstance(command, Promote | Demote) or (isinstance(command, Add) and command.learner):
            done(AdminRefused(OWN if state.replication else RETURNING))
        elif isinstance(command, Add):  # it gets its votes by a rebalancing, not in all groups
            learner = Add(command.id, command.address, learner=True, force=command.force)
            added = partial(self._added, done)
            proceed(learner, added, first_only=self._view.peers.moves_replicas)
        elif isinstance(command, Remove) and not command.force and command.id in self._view.members:
            until = self._clock.seconds() + LOOK_SECONDS
            self._rehearse(command, state, until, proceed, done)
        else:
            proceed(command, done)

    def _added(self, done: AdminDone, outcome: AdminOutcome) -> None:
        """A node was added without votes. Nobody else gives it any if all members are to vote by now."""
        if isinstance(outcome, Exception):
            done(outcome)
        else:
            until = self._clock.seconds() + TELL_SECONDS
            self._read(0, partial(self._vote_everywhere, until, done))

    def _vote_everywhere(self, until: float, done: AdminDone, seen: ReadOutcome) -> None:
        """Let all members vote unless the cluster places votes by now. It is tried `until` then."""
        state = saved_placement(seen.keyspace.ledger) if isinstance(seen, View) else None
        if state is not None and state.active:
            done("OK")
        elif isinstance(seen, Stopping) or self._clock.seconds() >= until:
            done(Uncertain())
        elif state is None:
            self._look_again(until, done)
        else:
            change = ChangePlacement(state.version, 0, settling=True)
            self._log(change, partial(self._voting, until, done))

    def _voting(self, until: float, done: AdminDone, outcome: AdminOutcome) -> None:
        """Look again unless it is logged for certain that all members vote: once more does no harm."""
        if outcome == "OK":
            done("OK")
        else:
            self._look_again(until, done)

    def _look_again(self, until: float, done: AdminDone) -> None:
        again = partial(self._read, 0, partial(self._vote_everywhere, until, done))
        self._clock.call_later(AGAIN_SECONDS, again)

    def _welcome(
        self, command: MembershipChange, proceed: Proceed, done: AdminDone, outcome: AdminOutcome
    ) -> None:
        if isinstance(outcome, Exception):
            done(outcome)
        else:
            self.admit(command, self._clock.seconds() + LEAVE_SECONDS, proceed, done)

    def _mark(self, state: PlacementState, node: str, done: AdminDone, *, leaves: bool) -> None:
        """Let group 0, which says `state`, log that `node` leaves, or does not leave."""
        if (node in state.leaving) == leaves:
            done("OK")
            return
        others = tuple(id_ for id_ in state.leaving if id_ != node)
        leaving = tuple(sorted([*others, node])) if leaves else others
        self._log(ChangePlacement(state.version, state.replication, state.settling, leaving), done)

    def _rehearse(
        self, command: Remove, state: PlacementState, until: float, proceed: Proceed, done: AdminDone
    ) -> None:
        """Plan without a node that is to be removed, and change nothing yet."""
        without = replace(state, leaving=(*state.leaving, command.id))
        planned = partial(self._leave, command, state, until, proceed, done)
        self._view.plan(without, self._view.slots.groups, balance=False, done=planned)

    def _leave(
        self,
        command: Remove,
        state: PlacementState,
        until: float,
        proceed: Proceed,
        done: AdminDone,
        plan: ReplicaPlan,
    ) -> None:
        """Let other nodes have the votes of the node, if all of them can be moved: a leader may be missing
        for a moment.
        """
        keeping = {move.group for move in plan.moves if command.id in move.voters}
        keeping.update(plan.stuck, self._view.leaderless)
        stuck = sorted(keeping.intersection(self._view.counting_on(command.id)))
        now = self._clock.seconds()
        if not stuck:
            marked = partial(self._left, command, now + LEAVE_SECONDS, proceed, done)
            self._mark(state, command.id, marked, leaves=True)
        elif now >= until:
            done(AdminRefused(self._indispensable(command.id, stuck)))
        else:
            again = partial(self._rehearse, command, state, until, proceed, done)
            self._clock.call_later(PLAN_AGAIN_SECONDS, again)

    def _indispensable(self, node: str, groups: list[int]) -> str:
        """That groups need the vote of a node, and why no other one has it yet."""
        count = f"{len(groups)} groups" if len(groups) > 1 else f"group {groups[0]}"
        return f"{count} could not do without the vote of {node} yet: {self._hindrance(node)}"

    def _left(
        self, command: Remove, until: float, proceed: Proceed, done: AdminDone, outcome: AdminOutcome
    ) -> None:
        """Wait until no group counts on the node, and remove it then."""
        counting = self._view.counting_on(command.id)
        if isinstance(outcome, Exception):
            done(outcome)
        elif not counting:
            proceed(command, partial(self._removed, command, done))
        elif self._clock.seconds() >= until and command.id in self._view.replaced():
            done(AdminRefused(COPYING.format(id=command.id, count=len(counting))))
        elif self._clock.seconds() >= until:
            self._removed(command, done, AdminRefused(self._indispensable(command.id, counting)))
        else:
            again = partial(self._left, command, until, proceed, done, outcome)
            self._clock.call_later(AGAIN_SECONDS, again)

    def _hindrance(self, leaving: str) -> str:
        """Why votes of the node that leaves may have stayed, and what to do."""
        if groups := self._view.leaderless:
            return _LEADERLESS.format(", ".join(map(str, groups)))
        unable = [id_ for id_ in self._view.unable if id_ != leaving]
        if unable:
            return f"{', '.join(unable)} can take no vote now. See `kraft doctor`, and repeat it then"
        return "repeat it, or see what hinders it in the event votes_not_moved in the log"

    def _removed(self, command: Remove, done: AdminDone, outcome: AdminOutcome) -> None:
        """It is removed, or stays: in either case nobody of that name leaves any more.

        If it stays, it gets as many votes as the others have: some of its own may have gone.
        """
        if isinstance(outcome, AdminRefused) or outcome == "OK":
            stays = outcome != "OK"
            self._read(0, partial(self._unmark, command.id, stays, partial(done, outcome)))
        else:
            done(outcome)

    def _unmark(self, node: str, stays: bool, over: Callable[[], None], seen: ReadOutcome) -> None:
        if isinstance(seen, View):
            state = saved_placement(seen.keyspace.ledger)
            settling = replace(state, settling=state.settling or stays)
            self._mark(settling, node, lambda _: over(), leaves=False)
        else:
            over()  # as in `Placer`, which does it otherwise


def _logged(done: AdminDone, outcome: WriteOutcome) -> None:
    if isinstance(outcome, VersionTooLow):
        done(AdminRefused(f"placing votes {outcome}"))
    elif isinstance(outcome, Exception):
        done(outcome)
    else:
        reply = outcome[0]
        changed = isinstance(reply, list) and reply[0] == 1
        done("OK" if changed else AdminRefused(CHANGES))
