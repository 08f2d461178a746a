"""Creates groups at the leader of group 0, while the cluster runs.

The entry that creates a group has the configuration with which it begins: that of group 0, in force at the
place of this entry in the log, because no change of the members can come in between. Where nodes have
replicas of some groups only, it has those members that the placement chooses. Every member that applies the
entry begins its replica (`host.lifecycle`), however late that is. A group that a node does not have yet
gets no messages there; consensus repeats them.
"""

from collections.abc import Callable, Collection
from functools import partial

from msgspec.structs import replace

from kraft.host.group.group import Group
from kraft.host.placement.placement_view import PlacementView
from kraft.host.requests.proposal import WriteOutcome
from kraft.host.requests.round import ReadDone, ReadOutcome, View
from kraft.host.slots import SlotMap
from kraft.kv import commands as kv
from kraft.kv.created_groups import created_count
from kraft.kv.placement import saved_placement
from kraft.node.admin import AdminDone, CreateGroups
from kraft.node.errors import AdminRefused, NotLeader, Stopping
from kraft.node.ports import Clock
from kraft.peerwire.codec import GROUPS_MAX
from kraft.raft.membership.configuration import Configuration

AGAIN_SECONDS = 0.5


class GroupCreation:
    """Raises the number of groups in `slots`. `view` is what this node knows of replicas.

    `read` is as `Host.read`.
    """

    def __init__(
        self,
        view: PlacementView,
        slots: SlotMap,
        clock: Clock,
        read: Callable[[int, ReadDone], None],
    ) -> None:
        self._view = view
        self._slots = slots
        self._clock = clock
        self._read = read

    def count(self, until: float, done: Callable[[int | Exception], None]) -> None:
        """Give `done` the number of groups: this node knows fewer until it has applied all that is done.

        It asks again while nobody can tell, until `until` (monotonic seconds).
        """
        self._read(0, partial(self._counted, until, done))

    def _counted(self, until: float, done: Callable[[int | Exception], None], outcome: ReadOutcome) -> None:
        if isinstance(outcome, View):
            done(self._slots.founded + created_count(outcome.keyspace.ledger))
        elif isinstance(outcome, Stopping) or self._clock.seconds() >= until:
            done(outcome)
        else:
            self._clock.call_later(AGAIN_SECONDS, partial(self.count, until, done))

    def do(self, first: Group, command: CreateGroups, done: AdminDone) -> None:
        """Carry out `command`; `first` is group 0. `done` gets the number of groups, or an exception.

        Raises NotLeading.
        """
        total = self._slots.groups
        if first.id or not first.raft.state.leads_with_commit:
            done(NotLeader(0, ""))
        elif command.groups <= total:
            done(total)
        elif obstacle := self._obstacle(first, command):
            done(AdminRefused(obstacle))
        else:
            self._create(first, range(total, command.groups), done)

    def _create(self, first: Group, new: range, done: AdminDone) -> None:
        everyone, voters = first.raft.state.configuration, self._view.voters_of_new(len(new))
        if voters is None:
            creations = [kv.AddGroups(new.start, len(new), everyone.encode())]
        elif len(voters) < len(new):
            done(AdminRefused("no node can be given votes of all the groups now: KRAFT REPLICATION says why"))
            return
        else:
            creations = [
                kv.AddGroups(group, 1, _of_members(everyone, chosen).encode())
                for group, chosen in zip(new, voters, strict=True)
            ]
        size = sum([len(creation.configuration) for creation in creations])
        if not first.requests.log_now(creations, size, partial(_created, done)):
            done(NotLeader(0, ""))

    def _obstacle(self, first: Group, command: CreateGroups) -> str:
        """Why no group can be created now, and what to do; '' if there is nothing against it."""
        version, needed = first.state.machine.version, kv.AddGroups.since
        if command.groups > GROUPS_MAX:
            return f"a cluster has at most {GROUPS_MAX} groups"
        if version < needed:
            return (
                f"groups can be created from machine version {needed} on, and version {version} is in force: "
                "kraft upgrade-check says what is missing"
            )
        if len(self._view.places()) < self._slots.groups:
            return "other groups were created just now: repeat it in a moment"
        if not first.membership.is_complete or self._groups_differ(first):
            return "a change of the members is under way, or has not reached all groups: finish it first"
        return ""

    def _groups_differ(self, first: Group) -> bool:
        """Whether a group has other members than group 0, as far as this node knows.

        Where the cluster places votes itself, groups differ in their voters, and the new ones will too. Where
        it places replicas, they differ in their members.
        """
        if self._view.voters_of_new(0) is not None:
            return False
        wanted = first.raft.state.configuration
        placed = saved_placement(first.state.machine.keyspace.ledger).active
        others = (group.raft.state.configuration for group in self._view.groups.values())
        return any(
            each.members != wanted.members or (each.voters != wanted.voters and not placed) for each in others
        )


def _of_members(everyone: Configuration, chosen: Collection[str]) -> Configuration:
    """The configuration of a group whose members are the `chosen` ones of group 0; all of them vote."""
    members = tuple(member for member in everyone.members if member.id in chosen)
    return replace(Configuration.of_voters(members), retired=everyone.retired)


def _created(done: AdminDone, outcome: WriteOutcome) -> None:
    if isinstance(outcome, Exception):
        done(outcome)
        return
    reply = outcome[-1]
    if not isinstance(reply, list) or reply[0] != 1 or not isinstance(reply[1], int):
        done(AdminRefused("the number of groups has changed meanwhile: repeat it"))
    else:
        done(reply[1])
