"""What this node knows of the nodes, zones and votes of its cluster, as the arguments of a plan."""

from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass

from kraft.host.background import Background
from kraft.host.group.group import Group
from kraft.host.membership.peers import Peers
from kraft.host.placement.replica_plan import PlacedGroup, PlacedNode, ReplicaPlan
from kraft.kv.placement import UNPLACED, PlacementState, saved_placement
from kraft.raft.membership.configuration import NOBODY

Inputs = tuple[tuple[PlacedNode, ...], tuple[PlacedGroup, ...]]
Planned = Callable[[ReplicaPlan], None]

FIRST_GROUP_VOTERS = 5  # at least, where there are several groups: group 0 decides for all of them


@dataclass(frozen=True, slots=True)
class PlacementView:
    """The `groups` of the node, by id, and its peers. Plans are made in the `background`."""

    groups: Mapping[int, Group]
    peers: Peers
    background: Background

    @property
    def state(self) -> PlacementState:
        """What the replica of group 0 here says."""
        first = self.groups.get(0)
        return UNPLACED if first is None else saved_placement(first.state.machine.keyspace.ledger)

    @property
    def members(self) -> tuple[str, ...]:
        """The ids of all members."""
        return tuple(member.id for member in self.peers.formation.members)

    def plan(self, state: PlacementState, most: int, *, balance: bool, done: Planned) -> None:
        """Give `done` the first `most` steps from the votes that are to those that should be by `state`."""
        self.compute(self.inputs(state, {}), most, balance=balance, done=done)

    def compute(self, inputs: Inputs, most: int, *, balance: bool, done: Planned) -> None:
        """Give `done` the plan of `inputs`, with the first `most` steps. It never runs inside this call."""
        plan = ReplicaPlan(*inputs)
        self.background.add(_parts(plan, most, balance, done))

    def inputs(self, state: PlacementState, avoid: Mapping[int, frozenset[str]]) -> Inputs:
        """The arguments of a plan. `avoid` has nodes that could not be given a vote of a group lately."""
        nodes = tuple(
            PlacedNode(id_, self.peers.zone(id_), self.is_able(id_), id_ in state.leaving)
            for id_ in self.members
        )
        none: frozenset[str] = frozenset()
        groups = self.groups.values()
        return nodes, tuple(self._placed(group, state, avoid.get(group.id, none)) for group in groups)

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
        return tuple(id_ for id_, group in self.groups.items() if not group.raft.state.leader)

    @property
    def learners(self) -> tuple[str, ...]:
        """The members that are to stay without a vote in some group."""
        known = [group.raft.state.configuration for group in self.groups.values()]
        joining = {each.id for configuration in known for each in configuration.joining}
        return tuple(sorted({id_ for configuration in known for id_ in configuration.learners} - joining))

    def votes(self) -> dict[str, int]:
        """In how many groups each member votes."""
        votes = dict.fromkeys(self.members, 0)
        for group in self.groups.values():
            for id_ in group.raft.state.configuration.electors:
                votes[id_] = votes.get(id_, 0) + 1
        return votes

    def counting_on(self, node: str) -> list[int]:
        """The groups in which `node` votes, or in a change under way would."""
        return [id_ for id_, each in self.groups.items() if node in each.raft.state.configuration.electors]

    @property
    def changing(self) -> bool:
        """Whether the members of a group are being changed."""
        return any(_is_changing(group) for group in self.groups.values())

    def _placed(self, group: Group, state: PlacementState, avoid: frozenset[str]) -> PlacedGroup:
        wanted = state.replication or len(self.members)
        if group.id == 0 and len(self.groups) > 1:
            wanted = max(wanted, FIRST_GROUP_VOTERS)
        raft = group.raft.state
        fixed = _is_changing(group)
        return PlacedGroup(group.id, raft.configuration.voters, wanted, raft.leader, fixed=fixed, avoid=avoid)


def _parts(plan: ReplicaPlan, most: int, balance: bool, done: Planned) -> Iterator[None]:
    yield from plan.compute(most, balance=balance)
    done(plan)


def _is_changing(group: Group) -> bool:
    configuration = group.raft.state.configuration
    return configuration is NOBODY or configuration.joint or bool(configuration.joining)
