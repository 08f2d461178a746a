"""What this node knows of the nodes, zones and votes of its cluster, as the arguments of a plan.

Of a group that it has no replica of, the members tell it (`GroupPlace`).
"""

from collections import Counter
from collections.abc import Callable, Collection, Container, Iterable, Iterator, Mapping
from dataclasses import dataclass, replace
from itertools import chain

from kraft.host.absent.directory import GroupDirectory
from kraft.host.absent.place_reports import place_of
from kraft.host.background import Background
from kraft.host.group.group import Group
from kraft.host.membership.peers import Peers
from kraft.host.placement.replica_plan import PlacedGroup, PlacedNode, ReplicaPlan
from kraft.host.slots import SlotMap
from kraft.kv.placement import UNPLACED, PlacementState, saved_placement
from kraft.peerwire.messages import GroupPlace

Inputs = tuple[tuple[PlacedNode, ...], tuple[PlacedGroup, ...]]
Planned = Callable[[ReplicaPlan], None]

FIRST_GROUP_VOTERS = 5  # at least, where there are several groups: group 0 decides for all of them


@dataclass(frozen=True, slots=True)
class PlacementView:
    """The `groups` of the node, by id, and its peers. Plans are made in the `background`.

    `directory` has the other groups of the `slots`.
    """

    groups: Mapping[int, Group]
    directory: GroupDirectory
    slots: SlotMap
    peers: Peers
    background: Background

    @property
    def state(self) -> PlacementState:
        """What the replica of group 0 here says."""
        first = self.groups.get(0)
        return UNPLACED if first is None else saved_placement(first.state.machine.keyspace.ledger)

    def places(self) -> dict[int, GroupPlace]:
        """The groups whose members are known, by id."""
        return {id_: place_of(group) for id_, group in self.groups.items()} | self.elsewhere()

    def elsewhere(self) -> dict[int, GroupPlace]:
        """The groups that this node has no replica of, as their members tell, by id."""
        places, groups = self.directory.places, self.groups
        lacked = [id_ for id_ in range(self.slots.groups) if id_ in places and id_ not in groups]
        return {id_: places[id_] for id_ in lacked if places[id_].voters}

    @property
    def own(self) -> str:
        """The id of this node."""
        return self.peers.formation.identity.id

    @property
    def members(self) -> tuple[str, ...]:
        """The ids of all members."""
        return tuple(member.id for member in self.peers.formation.members)

    def plan(self, state: PlacementState, most: int, *, balance: bool, done: Planned) -> None:
        """Give `done` the first `most` steps from the votes that are to those that should be by `state`."""
        self.compute(self.inputs(state, {}, ()), most, balance=balance, done=done)

    def compute(self, inputs: Inputs, most: int, *, balance: bool, done: Planned) -> None:
        """Give `done` the plan of `inputs`, with the first `most` steps. It never runs inside this call."""
        plan = ReplicaPlan(*inputs)
        self.background.add(_parts(plan, most, balance, done))

    def voters_of_new(self, count: int) -> list[tuple[str, ...]] | None:
        """Who should have a replica, and a vote, of each of `count` groups that are to be created.

        There are fewer if no node can be given a vote. None where all members have a replica of every group.
        """
        state = self.state
        if not (state.replication and self.peers.moves_replicas):
            return None
        nodes, groups = self.inputs(state, {}, ())
        first = self.slots.groups
        new = [PlacedGroup(id_, (), state.replication) for id_ in range(first, first + count)]
        plan = ReplicaPlan(nodes, [*(replace(group, fixed=True) for group in groups), *new])
        for _ in plan.compute(count, balance=False):
            pass
        return [step.voters for step in plan.moves]

    def inputs(
        self, state: PlacementState, avoid: Mapping[int, frozenset[str]], lost: Container[str]
    ) -> Inputs:
        """The arguments of a plan.

        `avoid` has nodes that could not be given a vote of a group lately, `lost` those that were away for
        long.
        """
        nodes = tuple(
            PlacedNode(id_, self.peers.zone(id_), self.is_able(id_), id_ in state.leaving, id_ in lost)
            for id_ in self.members
        )
        none: frozenset[str] = frozenset()
        places = sorted(self.places().items())
        return nodes, tuple(self._placed(id_, place, state, avoid.get(id_, none)) for id_, place in places)

    def is_able(self, node: str) -> bool:
        """Whether `node` could take a vote now, as far as is known."""
        now = self.peers.condition_of(node)
        if now is None:
            return self.peers.is_able(node)
        slow = now.disk_slow or now.loop_slow
        hindered = slow or now.disk_full or now.memory_full or now.drained or now.fenced
        return self.peers.is_able(node) and not hindered

    @property
    def unable(self) -> tuple[str, ...]:
        """The members that could not take a vote now."""
        return tuple(id_ for id_ in self.members if not self.is_able(id_))

    @property
    def leaderless(self) -> tuple[int, ...]:
        """The groups of which this node knows no leader."""
        linked = self.peers.connected
        here = [id_ for id_, group in self.groups.items() if not group.raft.state.leader]
        return (*here, *(id_ for id_, place in self.elsewhere().items() if place.leader not in linked))

    @property
    def learners(self) -> tuple[str, ...]:
        """The members that are to stay without a vote in some group."""
        known = [group.raft.state.configuration for group in self.groups.values()]
        joining = {each.id for configuration in known for each in configuration.joining}
        return tuple(sorted({id_ for configuration in known for id_ in configuration.learners} - joining))

    def votes(self) -> dict[str, int]:
        """In how many groups each member votes."""
        return self._counted(place.voters for place in self.places().values())

    def replicas(self) -> dict[str, int]:
        """Of how many groups each member has a replica, or is about to get one."""
        return self._counted(place.members for place in self.places().values())

    def _counted(self, ids: Iterable[Collection[str]]) -> dict[str, int]:
        """How often each id is there; every member is in the result."""
        return dict.fromkeys(self.members, 0) | Counter(chain.from_iterable(ids))

    def counting_on(self, node: str) -> list[int]:
        """The groups in which `node` votes, or in a change under way would."""
        return [id_ for id_, place in self.places().items() if node in place.voters]

    def incoming(self) -> Counter[str]:
        """How many new replicas are on their way to a vote, by node."""
        return Counter(each.id for place in self.places().values() for each in place.coming)

    def replaced(self) -> set[str]:
        """The nodes whose place a new replica is to take."""
        return {each.replaces for place in self.places().values() for each in place.coming}

    @property
    def changing(self) -> bool:
        """Whether the members of a group are being changed, or not known."""
        places = self.places()
        return len(places) < self.slots.groups or any(p.changing or p.coming for p in places.values())

    def _placed(
        self, group: int, place: GroupPlace, state: PlacementState, avoid: frozenset[str]
    ) -> PlacedGroup:
        wanted = state.replication or len(self.members)
        if group == 0 and self.slots.groups > 1:
            wanted = max(wanted, FIRST_GROUP_VOTERS)
        moves = group > 0 and self.peers.moves_replicas
        return PlacedGroup(
            group,
            place.voters,
            wanted,
            place.leader,
            fixed=place.changing or bool(place.coming),
            avoid=avoid,
            replicas=place.members if moves else None,
            coming=place.coming,
        )


def _parts(plan: ReplicaPlan, most: int, balance: bool, done: Planned) -> Iterator[None]:
    yield from plan.compute(most, balance=balance)
    done(plan)
