"""Which nodes should vote in which group, and have a replica of it: a pure function of what is to steps.

A plan of a large cluster takes a second, so it is made in small parts, between which the node does its work.
A step gives one group other voters, in one change. First every group is *repaired*: it gets as many voters as
it should have, none on a node that leaves, and in as many zones as there are. To *balance* is to move votes
from nodes with many to nodes with few, where that makes no zone more crowded. The same arguments give the
same steps on every node.

Where only voters have replicas, a node without one gets it first, in the place of one voter at a time: the
group lets it vote once it has caught up. A replica without a vote is dropped once its group needs no repair.
"""

from collections import Counter
from collections.abc import Container, Iterable, Iterator, Sequence
from dataclasses import dataclass
from itertools import islice

from kraft.raft.membership.configuration import Joining


@dataclass(frozen=True, slots=True)
class PlacedNode:
    """A member. Nodes of one `zone` may fail together.

    `available`: it can be given votes now. `leaving`: it gets none, and loses its votes to others. `lost`: no
    group waits for its new replica on that node any more.
    """

    id: str
    zone: str
    available: bool = True
    leaving: bool = False
    lost: bool = False


@dataclass(frozen=True, slots=True)
class PlacedGroup:
    """The voters that a group has, and how many it should have. One that is `fixed` is left as it is.

    The nodes in `avoid` can be given no vote of this group now. `replicas` are the nodes that have one, None
    where all members have and keep them. `coming` are new replicas that will vote.
    """

    group: int
    voters: tuple[str, ...]
    wanted: int
    leader: str = ""
    fixed: bool = False
    avoid: frozenset[str] = frozenset()
    replicas: tuple[str, ...] | None = None
    coming: tuple[Joining, ...] = ()

    @property
    def expected(self) -> set[str]:
        """The voters once the new replicas vote."""
        replaced = {each.replaces for each in self.coming}
        return {id_ for id_ in self.voters if id_ not in replaced}.union(each.id for each in self.coming)


@dataclass(frozen=True, slots=True)
class VoteStep:
    """`voters` vote in `group`, in the place of those `before`. Both are in the order of their ids."""

    group: int
    before: tuple[str, ...]
    voters: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class ReplicaStep:
    """`node` gets a replica of `group`, which is to vote in the place of `replaces`; '': in addition."""

    group: int
    before: tuple[str, ...]
    node: str
    replaces: str


@dataclass(frozen=True, slots=True)
class DropStep:
    """`node` loses its replica of `group`, which has no vote. `coming`: it was to get one."""

    group: int
    before: tuple[str, ...]
    node: str
    coming: bool


Step = VoteStep | ReplicaStep | DropStep


class ReplicaPlan:
    """The votes of all groups while steps are planned. `votes` counts those of each node.

    When `compute` has ended, `moves` are the votes that are to move, in the order of the groups and at most
    one for each, `steps` are what is to be done now, also at most one for each group, and `stuck` are the
    groups that need a repair for which there is no node.
    """

    def __init__(self, nodes: Iterable[PlacedNode], groups: Iterable[PlacedGroup]) -> None:
        self._nodes = {node.id: node for node in sorted(nodes, key=lambda node: node.id)}
        self._groups = {group.group: group for group in sorted(groups, key=lambda group: group.group)}
        self._staying = [node for node in self._nodes.values() if not node.leaving]
        self._open = [node for node in self._staying if node.available]
        self._zones = {id_: node.zone for id_, node in self._nodes.items()}
        self._voters = {id_: group.voters for id_, group in self._groups.items()}
        self.votes = Counter(dict.fromkeys(self._nodes, 0))
        self.moves: list[VoteStep] = []
        self.steps: list[Step] = []
        self.stuck: list[int] = []

    def compute(self, most: int, *, balance: bool) -> Iterator[None]:
        """Plan the first `most` steps: when they are done, another plan goes on from there.

        Each part takes some milliseconds at most, with as many nodes and groups as there can be.
        """
        broken = []
        for id_, group in self._groups.items():
            if group.fixed:
                self.votes.update(group.expected)
            elif self._is_sound(group):
                self.votes.update(group.voters)
            else:
                broken.append(id_)
                self.votes.update(self._kept(group))
            yield
        repaired = 0
        for id_ in broken:
            if repaired == most:
                break
            group = self._groups[id_]
            self.votes.subtract(self._kept(group))
            self._voters[id_] = voters = tuple(sorted(self._repaired(group)))
            self.votes.update(voters)
            if self._is_changed(id_):
                repaired += 1
            else:
                self.stuck.append(id_)
            yield
        if balance and repaired < most:
            yield from self._balance(most - repaired)
        self.moves = [
            VoteStep(id_, group.voters, self._voters[id_])
            for id_, group in self._groups.items()
            if self._is_changed(id_)
        ]
        self.steps = [self._first_step(move) for move in self.moves]
        drops = self._drops({*broken, *(move.group for move in self.moves)})
        self.steps += islice(drops, max(0, most - len(self.steps)))

    def _is_changed(self, group: int) -> bool:
        return set(self._voters[group]) != set(self._groups[group].voters)

    # -- replicas

    def _first_step(self, move: VoteStep) -> Step:
        """What is to be done first for the votes of a group to move, where nodes lack a replica.

        Those that have one get their votes at once. Each of the others takes the place of one voter.
        """
        group = self._groups[move.group]
        has = set(move.voters if group.replicas is None else (*group.replicas, *move.before))
        lacking = [id_ for id_ in move.voters if id_ not in has]
        going = sorted(set(move.before).difference(move.voters), key=lambda id_: (not self._is_up(id_), id_))
        kept = going[: len(lacking)]  # until the nodes that lack a replica have it
        voters = tuple(sorted([*has.intersection(move.voters), *kept]))
        if voters != move.before:
            return VoteStep(move.group, move.before, voters)
        return ReplicaStep(move.group, move.before, lacking[0], kept[-1] if kept else "")

    def _is_up(self, node: str) -> bool:
        return node in self._nodes and self._nodes[node].available

    def _drops(self, busy: Container[int]) -> Iterator[DropStep]:
        """Replicas that are not needed: those in groups that are not `busy`, and those for which it is no use
        to wait.
        """
        for id_, group in self._groups.items():
            gone = [each.id for each in group.coming if self._is_gone(each.id)]
            if gone:
                yield DropStep(id_, group.voters, gone[0], coming=True)
            elif not group.fixed and id_ not in busy and group.replicas is not None:
                idle = [node for node in group.replicas if node not in group.voters]
                if idle:
                    yield DropStep(id_, group.voters, idle[0], coming=False)

    def _is_gone(self, node: str) -> bool:
        known = self._nodes.get(node)
        return known is None or known.leaving or known.lost

    # -- repairs

    def _wanted(self, group: PlacedGroup) -> int:
        return max(1, min(group.wanted, len(self._staying)))

    def _kept(self, group: PlacedGroup) -> list[str]:
        """The voters of a group in need of repair that it keeps in any case: they count from the start."""
        staying = [id_ for id_ in group.voters if id_ in self._nodes and not self._nodes[id_].leaving]
        return staying if len(staying) <= self._wanted(group) else []

    def _is_sound(self, group: PlacedGroup) -> bool:
        """Whether a group needs no repair."""
        if len(group.voters) != self._wanted(group):
            return False
        if any(id_ not in self._nodes or self._nodes[id_].leaving for id_ in group.voters):
            return False
        crowds = self._crowds(group.voters)
        return max(crowds.values(), default=0) < 2 or self._relief(group, group.voters, crowds) is None

    def _repaired(self, group: PlacedGroup) -> list[str]:
        wanted = self._wanted(group)
        known = [id_ for id_ in group.voters if id_ in self._nodes]
        voters = self._best(wanted, [id_ for id_ in known if not self._nodes[id_].leaving], group.leader)
        while len(voters) < wanted and (found := self._addition(group, voters)) is not None:
            voters.append(found)
        leaving = [id_ for id_ in known if self._nodes[id_].leaving]
        voters += leaving[: wanted - len(voters)]  # until another node can take its vote
        while (swap := self._relief(group, voters, self._crowds(voters))) is not None:
            voters[voters.index(swap[0])] = swap[1]
        return voters

    def _best(self, wanted: int, voters: Sequence[str], leader: str) -> list[str]:
        """The voters that a group keeps: at most so many."""
        if len(voters) <= wanted:
            return list(voters)
        left, crowds = dict.fromkeys(sorted(voters)), Counter[str]()
        kept: list[str] = []
        while len(kept) < wanted:
            best = min(
                left,
                key=lambda id_: (
                    not self._nodes[id_].available,
                    crowds[self._zones[id_]],
                    self.votes[id_] - (id_ == leader),  # a leader that stays hands nothing over
                    id_,
                ),
            )
            del left[best]
            kept.append(best)
            crowds[self._zones[best]] += 1
        return kept

    def _addition(self, group: PlacedGroup, voters: Sequence[str]) -> str | None:
        """The node that should vote in addition to `voters`; None if no other one can."""
        crowds = self._crowds(voters)
        free = [node for node in self._open if node.id not in voters and node.id not in group.avoid]
        has = group.replicas or ()
        best = min(
            free,
            key=lambda node: (crowds[node.zone], node.id not in has, self.votes[node.id], node.id),
            default=None,
        )
        return None if best is None else best.id

    def _relief(
        self, group: PlacedGroup, voters: Sequence[str], crowds: Counter[str]
    ) -> tuple[str, str] | None:
        """A voter of the most crowded zone, and a node of a zone with two fewer voters, at least."""
        crowd = max(crowds.values(), default=0)
        found = self._addition(group, voters) if crowd > 1 else None
        if found is None or crowds[self._zones[found]] > crowd - 2:
            return None
        crowded = [id_ for id_ in voters if crowds[self._zones[id_]] == crowd]
        return max(crowded, key=lambda id_: (not self._nodes[id_].available, self.votes[id_], id_)), found

    def _crowds(self, voters: Iterable[str]) -> Counter[str]:
        """The number of voters in each zone. One that is no member is in a zone of its own."""
        return Counter(self._zones.get(id_, f"of {id_}") for id_ in voters)

    # -- balance

    def _balance(self, most: int) -> Iterator[None]:
        """Move up to `most` votes, one after the other, while a node has two more than another one."""
        placed: dict[str, dict[int, None]] = {id_: {} for id_ in self._nodes}
        for id_, voters in self._voters.items():
            for voter in voters if not self._groups[id_].fixed else ():
                if voter in placed:
                    placed[voter][id_] = None
        stuck: set[tuple[str, str]] = set()  # pairs of nodes between which no vote can move
        while most and (pair := self._uneven(stuck)) is not None:
            yield
            donor, receiver = pair
            group = self._movable(placed[donor.id], donor, receiver)
            if group is None:
                stuck.add((donor.id, receiver.id))
                continue
            most -= 1
            others = [id_ for id_ in self._voters[group] if id_ != donor.id]
            self._voters[group] = tuple(sorted([*others, receiver.id]))
            del placed[donor.id][group]
            placed[receiver.id][group] = None
            self.votes[donor.id] -= 1
            self.votes[receiver.id] += 1
            stuck = {(d, r) for d, r in stuck if donor.id not in (d, r) and receiver.id not in (d, r)}

    def _uneven(self, stuck: Container[tuple[str, str]]) -> tuple[PlacedNode, PlacedNode] | None:
        """The two nodes between which a vote should move next, by those that they have."""
        donors = sorted(self._staying, key=lambda node: (-self.votes[node.id], node.id))
        receivers = sorted(self._open, key=lambda node: (self.votes[node.id], node.id))
        for donor in donors:
            for receiver in receivers:
                if self.votes[donor.id] - self.votes[receiver.id] < 2:
                    break
                if (donor.id, receiver.id) not in stuck:
                    return donor, receiver
        return None

    def _movable(self, groups: Iterable[int], donor: PlacedNode, receiver: PlacedNode) -> int | None:
        """A group whose vote may go to another node; rather one without a step, that is not led there."""
        found, worst = None, (True, True)
        for id_ in groups:
            voters = self._voters[id_]
            if receiver.id in voters or receiver.id in self._groups[id_].avoid:
                continue
            crowds = self._crowds(voters)
            if donor.zone != receiver.zone and crowds[receiver.zone] >= crowds[donor.zone]:
                continue
            rank = (voters != self._groups[id_].voters, self._groups[id_].leader == donor.id)
            if not any(rank):
                return id_
            if found is None or rank < worst:
                found, worst = id_, rank
        return found
