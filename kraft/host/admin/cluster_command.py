"""A command for the whole cluster, where there are several groups: every group is asked for itself.

Each group's leader decides for its own group. A change of the members is rehearsed first: if any group
refuses it, no group is changed. It is answered when all groups have done it. One that ended half-way is
finished by the same command: groups that are as the command wants them are left out.

New members come into group 0 first, because its leader invites them, and leave it last. A node keeps the
links to the members of all groups (`membership.peers`).
"""

from collections.abc import Callable, Collection, Mapping, Sequence
from functools import partial

from kraft.node.admin import (
    DONE,
    AdminCommand,
    AdminDone,
    AdminOutcome,
    AdminResult,
    MembershipChange,
    Rehearse,
    Remove,
    Replace,
    Reseed,
    TakeSnapshot,
    Verify,
)
from kraft.node.errors import AdminRefused, NoLeader, Refused, Uncertain

NAMED_MAX = 3  # groups in a refusal
LEADERLESS = (
    "without a leader no group can change its members. Start the nodes that are down; if the majority of a "
    "group is lost for good, only a restore or `kraft recover` helps"
)
# A leader that has not noticed the start yet would take the node for the member that is there already.
OTHER_NODE = "not all leaders know yet that the node was started anew: repeat the command in a moment"

Ask = Callable[[int, AdminCommand, AdminDone], None]  # give a group's leader a command
Outcomes = dict[int, AdminOutcome]  # by group


class GroupRound:
    """One command, asked of several groups at once. `done` gets the outcome of each, by group."""

    def __init__(
        self, ask: Ask, groups: Sequence[int], command: AdminCommand, done: Callable[[Outcomes], None]
    ):
        self._outcomes: Outcomes = {}
        self._count = len(groups)
        self._done = done
        for group in groups:
            ask(group, command, partial(self._answered, group))

    def _answered(self, group: int, outcome: AdminOutcome) -> None:
        self._outcomes[group] = outcome
        if len(self._outcomes) == self._count:
            self._done(dict(sorted(self._outcomes.items())))


class ClusterCommand:
    """Carries out one command in the groups 0 up to `groups` - 1. `ask` gives it to the leader of one.

    `again`: it is done in a part of them, and the others were created meanwhile. `everywhere`: each group has
    all members, so none is left out that lacks the one to be changed.
    """

    def __init__(
        self, groups: int, ask: Ask, done: AdminDone, *, again: bool = False, everywhere: bool = False
    ) -> None:
        self._groups = range(groups)
        self._ask = ask
        self._done = done
        self._again = again
        self._everywhere = everywhere
        self._rounds: list[list[int]] = []  # groups that are still to be changed
        self._changed: Outcomes = {}
        self._left_out: list[int] = []  # groups that seemed to be as the command wants them

    # -- changes of the members -----------------------------------------------------------------------

    def change(self, command: MembershipChange) -> None:
        """Change the members of all groups."""
        self._rehearse(command, partial(self._rehearsed, command))

    def _rehearse(self, command: MembershipChange, done: Callable[[Outcomes], None]) -> None:
        GroupRound(self._ask, self._groups, Rehearse(command, self._everywhere), done)

    def _rehearsed(self, command: MembershipChange, outcomes: Outcomes) -> None:
        refusal = _failure(outcomes, changed=self._again)
        left = _not_done(outcomes)
        if refusal is not None:
            self._done(refusal)
        elif _differ(outcomes):
            self._done(AdminRefused(OTHER_NODE if self._again else f"nothing was done: {OTHER_NODE}"))
        elif not left and self._again:
            self._done("OK")
        else:
            left = left or [0]  # group 0 says why there is nothing to do, unless there is by now
            first: list[int] = [group for group in left if not group]
            others: list[int] = [group for group in left if group]
            order = [others, first] if isinstance(command, Remove) else [first, others]
            self._rounds = [groups for groups in order if groups]
            self._left_out = [group for group in outcomes if group not in left]
            self._next(command, {})

    def _next(self, command: MembershipChange, outcomes: Outcomes) -> None:
        self._changed |= outcomes
        failure = _failure(self._changed, changed=True)
        if failure is not None:
            self._done(failure)
        elif self._rounds:
            GroupRound(self._ask, self._rounds.pop(0), command, partial(self._next, command))
        elif self._left_out:
            self._rehearse(command, partial(self._checked, command))
        else:
            self._done("OK")

    def _checked(self, command: MembershipChange, outcomes: Outcomes) -> None:
        """Change groups that were left out, and are not as the command wants them after all.

        The leader of such a group had not noticed yet that the member was started anew, without its data. The
        others know the new incarnation, and as long as one does not tell it, nothing can be compared with it.
        """
        left = _not_done(outcomes)
        again = [group for group in self._left_out if group in left]
        emptied = isinstance(command, Replace) and command.old == command.new
        self._left_out = []
        failure = _failure(outcomes, changed=True)
        if failure is not None:
            self._done(failure)
        elif _differ(outcomes) or (emptied and not all(_node(outcomes[group]) for group in left)):
            self._done(AdminRefused(OTHER_NODE))
        else:
            self._rounds = [again] if again else []
            self._next(command, {})

    # -- other commands -------------------------------------------------------------------------------

    def ask_all(self, command: AdminCommand) -> None:
        """Ask all groups at once, and join their results."""
        GroupRound(self._ask, self._groups, command, partial(self._joined, command))

    def _joined(self, command: AdminCommand, outcomes: Outcomes) -> None:
        results = {g: outcome for g, outcome in outcomes.items() if not isinstance(outcome, Exception)}
        if isinstance(command, Reseed) and results:
            self._done("OK")  # in the other groups its data is right
            return
        failure = _failure(outcomes, changed=True)
        self._done(_join(command, results) if failure is None else failure)


def _not_done(outcomes: Outcomes) -> list[int]:
    """The groups whose rehearsal says that there is something to do."""
    return [group for group, outcome in outcomes.items() if str(outcome).partition(" ")[0] != DONE]


def _differ(outcomes: Outcomes) -> bool:
    """Whether the leaders that have rehearsed a command know different nodes under one id."""
    return len({node for each in outcomes.values() if (node := _node(each))}) > 1


def _node(outcome: AdminOutcome) -> str:
    """The incarnation that a rehearsal tells, '' if its leader does not know it."""
    return str(outcome).partition(" ")[2]


def _join(command: AdminCommand, results: Mapping[int, AdminResult]) -> AdminResult:
    if isinstance(command, TakeSnapshot):
        return list(results.values())
    if isinstance(command, Verify):
        return [{"group": group, **row} for group, rows in results.items() for row in _rows(rows)]
    return ", ".join(dict.fromkeys(map(str, results.values())))  # nodes that lead now


def _rows(result: AdminResult) -> list[dict[str, object]]:
    return [row for row in result if isinstance(row, dict)] if isinstance(result, list) else []


def _failure(outcomes: Outcomes, *, changed: bool) -> Exception | None:
    """What to answer when a group has not done it; None when all have. `changed`: others may have."""
    failed = {group: each for group, each in outcomes.items() if isinstance(each, Exception)}
    if not failed:
        return None
    refused = {group: str(each) for group, each in failed.items() if isinstance(each, AdminRefused)}
    others = [each for group, each in failed.items() if group not in refused]
    begun = changed and len(failed) < len(outcomes)
    leaderless = [group for group, each in failed.items() if isinstance(each, NoLeader)]
    if leaderless and len(leaderless) == len(failed) < len(outcomes) and not changed:
        return AdminRefused(f"nothing was done: {LEADERLESS} ({named(leaderless)})")
    if any(isinstance(each, Uncertain) or not isinstance(each, Refused) for each in others):
        return (
            Uncertain()
            if changed
            else AdminRefused("nothing was done: a leader was lost meanwhile, repeat it")
        )
    if refused:
        text = refusal(refused, len(outcomes))
        rest = "; the other groups have done it, and are left out when it is repeated" if begun else ""
        return AdminRefused(text + rest)
    return Uncertain() if begun else others[0]


def refusal(reasons: Mapping[int, str], groups: int) -> str:
    """Why some of so many `groups` refuse; at most `NAMED_MAX` of them are named.

    A reason that all groups have is told as if there were one.
    """
    by_reason: dict[str, list[int]] = {}
    for group, reason in reasons.items():
        by_reason.setdefault(reason, []).append(group)
    if len(by_reason) == 1 and len(reasons) == groups:
        return next(iter(by_reason))
    return "; ".join(f"{named(ids)}: {reason}" for reason, ids in list(by_reason.items())[:NAMED_MAX])


def named(groups: Collection[int]) -> str:
    """`group 1`, `groups 1 and 2`, or `groups 0, 1, 2 and 5 more`."""
    ids = [str(group) for group in groups]
    if len(ids) == 1:
        return f"group {ids[0]}"
    if len(ids) > NAMED_MAX:
        ids = [*ids[:NAMED_MAX], f"{len(ids) - NAMED_MAX} more"]
    return f"groups {', '.join(ids[:-1])} and {ids[-1]}"
