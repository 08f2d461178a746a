"""A change of the members in all groups, with those that are created while it is under way."""

from collections.abc import Callable
from functools import partial

from kraft.host.admin.cluster_command import Ask, ClusterCommand
from kraft.host.slots import SlotMap
from kraft.node.admin import AdminDone, AdminOutcome, MembershipChange, Remove, Replace
from kraft.node.errors import Uncertain

Count = Callable[[Callable[[int | Exception], None]], None]  # tells how many groups there are


class ClusterChange:
    """Carries out `command`; `done` gets the outcome. `ask` gives it to the leader of one group.

    `count` reads the number of groups; the node `own`, which carries it out, knows those of `slots`.
    `everywhere`: each group has all members.
    """

    def __init__(
        self,
        command: MembershipChange,
        ask: Ask,
        count: Count,
        own: str,
        slots: SlotMap,
        done: AdminDone,
        *,
        everywhere: bool = False,
    ) -> None:
        self._command = command
        self._ask = ask
        self._count = count
        self._own = own
        self._slots = slots
        self._done = done
        self._everywhere = everywhere

    def begin(self, groups: int) -> None:
        """Change the members of so many groups, as far as this node knows."""
        if _leaver(self._command) == self._own:
            self._count(self._counted_before)  # it may know fewer, and nobody tells it once it has left
        else:
            self._change(groups)

    def _counted_before(self, total: int | Exception) -> None:
        if isinstance(total, Exception):
            self._done(total)  # nothing was done
        else:
            self._change(total)

    def _change(self, groups: int, *, again: bool = False) -> None:
        """`again`: a part of the groups has done it for this very command."""
        ended = partial(self._ended, groups)
        if groups == 1:
            self._ask(0, self._command, ended)
        else:
            change = ClusterCommand(groups, self._ask, ended, again=again, everywhere=self._everywhere)
            change.change(self._command)

    def _ended(self, groups: int, outcome: AdminOutcome) -> None:
        counted = partial(self._counted, groups, outcome)
        if isinstance(outcome, Exception):
            self._done(outcome)
        elif _leaver(self._command) == self._own:
            counted(max(groups, self._slots.groups))
        else:
            self._count(counted)

    def _counted(self, groups: int, outcome: AdminOutcome, total: int | Exception) -> None:
        """Repeat it where groups were created meanwhile: they may have begun without the change.

        Those that are created later begin with it, as group 0 has it.
        """
        if isinstance(total, Exception):
            self._done(Uncertain())  # it is done in all groups that this node knows
        elif total == groups:
            self._done(outcome)
        else:
            self._change(total, again=True)


def _leaver(command: MembershipChange) -> str:
    """The node that leaves the cluster, '' if none does."""
    if isinstance(command, Replace):
        return command.old if command.new != command.old else ""
    return command.id if isinstance(command, Remove) else ""
