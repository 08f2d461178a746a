"""The plan of a run: drawn from its seed before the run begins, so that it can be printed and made smaller.

A plan names every fault with its time and all its parameters. Rates are drawn per run (swarm testing): some
plans have one family of faults, some have all, some kinds strike three times a second. Any fault can be left
out by its index without changing the others.
"""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace
from random import Random
from typing import Any

from tests.simulation.fault_kinds import (
    DESTRUCTIVE,
    FAMILIES,
    KINDS,
    MOVES,
    OPTIONAL,
    REPLICAS,
    SELDOM,
    VOTES,
    Details,
    node_ids,
)

CALM = 0.05  # share of runs with hardly a fault, to find what breaks only without faults
FAMILIES_MIN = 3  # of a run that is not calm
DISKS = (60, 15, 25)  # of a hundred runs: on the plain model, on the real storage, on both
DISAGREEMENTS = 0.1  # share of runs in which a founder begins with another number of groups
LEASES = 0.25  # share of runs with lease reads
RESTING = 0.5  # share of runs with several groups in which little is written
SECONDS = (22.0, 30.0, 40.0)  # of faults
NODES_PLACING = 5  # where the cluster places replicas: so many that some of them mostly have none
# Commands for the members of all groups at once, which refuse nodes that some groups lack.
FOR_ALL_GROUPS = ("add", "promote", "demote", "remove", "change cut off", "replace", "address change")


@dataclass(frozen=True, slots=True)
class Fault:
    """One fault. `at` is in seconds of virtual time without leaps. A standing fault lasts from the beginning
    until healing.
    """

    index: int
    at: float
    kind: str
    details: Details

    @property
    def family(self) -> str:
        return KINDS[self.kind].family

    def __str__(self) -> str:
        details = " ".join(f"{name}={_text(value)}" for name, value in self.details.items())
        when = "standing" if KINDS[self.kind].standing else f"{self.at:.3f} s"
        return f"{self.index:4} {when:>12}  {self.family}: {self.kind}  {details}".rstrip()


@dataclass(frozen=True, slots=True)
class Plan:
    """The plan of a run: everything heals after `seconds`; `calm` runs need not meet many faults."""

    seed: int
    nodes: int
    groups: int
    clients: int
    thinking: float  # the most seconds between two operations of a client
    keys: int  # number of keys the clients use; 0 for all
    seconds: float
    calm: bool
    checkpoint_entries: int
    keep_entries: int
    chunk_bytes: int
    disks: str  # plain, real or mixed
    leases: bool  # reads rely on leases
    disagreement: float  # seconds until one founder has the same number of groups in its file as the others
    faults: tuple[Fault, ...]
    moving: bool = False  # slots move between the groups
    placing: bool = False  # the cluster places votes itself
    replicas: bool = False  # nodes leave groups and come back to them
    leasing: bool = False  # reads rely on leases whatever the dice say

    @property
    def options(self) -> str:
        """The options of `tests.simulation.schedule` that draw such a plan, each after a space."""
        wanted = {
            "moves": self.moving,
            "votes": self.placing,
            "replicas": self.replicas,
            "leases": self.leasing,
        }
        return "".join(f" --{name}" for name, set_ in wanted.items() if set_)

    def without(self, indexes: Iterable[int]) -> "Plan":
        """The same plan without these faults."""
        left_out = frozenset(indexes)
        return replace(self, faults=tuple(f for f in self.faults if f.index not in left_out))

    def until(self, seconds: float) -> "Plan":
        """The same plan, healed after at most `seconds`."""
        faults = tuple(f for f in self.faults if f.at <= seconds)
        return replace(self, seconds=min(self.seconds, seconds), faults=faults)

    def of_clients(self, clients: int) -> "Plan":
        """The same plan with another number of clients."""
        return replace(self, clients=clients)


@dataclass(slots=True)
class Habits:
    """The behaviour of the clients of a run. A client pauses for at most `thinking` seconds, waits `patience`
    seconds for an answer (by default longer than every timeout of the server), and repeats failed requests
    elsewhere with probability `retry`, successful ones with probability `repeat`. A read is `READONLY` with
    probability `stale`. If `hot` is not 0, only that many keys are used. `strangers` says whether nodes that
    are no members are asked, too: such a node refuses after a while.
    """

    thinking: float = 0.15
    patience: float = 8.0
    retry: float = 0.0
    repeat: float = 0.0
    stale: float = 0.0
    hot: int = 0
    strangers: bool = True


# -- drawing


def draw(
    seed: int, *, moving: bool = False, placing: bool = False, leasing: bool = False, replicas: bool = False
) -> Plan:
    """The plan of a seed. If `moving` is set, slots move in addition; if `placing`, votes are placed; if
    `leasing`, reads rely on leases; if `replicas`, nodes leave groups and come back, with `placing` as the
    placement wants it.
    """
    plan = _draw(seed, leasing)
    if replicas and plan.nodes >= KINDS["replica leaves"].nodes:
        plan = _with_replicas(plan, placing=placing)
    plan = _with_moves(plan) if moving else plan
    return _with_votes(plan) if placing and plan.nodes >= KINDS["number of voters"].nodes else plan


def _with_replicas(plan: Plan, *, placing: bool) -> Plan:
    """The same plan with replicas that come and go, by dice of their own, and at least two groups.

    Where the cluster places replicas itself, nobody else moves them. Otherwise the faults are left out after
    which a node has to be taken back into all groups.
    """
    random = Random(f"{plan.seed} replicas")
    ids, every, at = node_ids(plan.nodes), random.choice((0.3, 1.0, 3.0)), 1.5
    kinds = [name for name, kind in KINDS.items() if kind.family == REPLICAS]
    kinds = random.sample(kinds, random.randrange(2, len(kinds) + 1))
    faults = list(plan.faults)
    if not placing:
        faults = [each for each in faults if each.kind not in (*DESTRUCTIVE, *FOR_ALL_GROUPS)]
    number = len(plan.faults)
    while at < plan.seconds and not placing:
        kind = random.choice(kinds)
        faults.append(Fault(number, round(at, 3), kind, KINDS[kind].details(random, ids)))
        number += 1
        at += random.expovariate(1.0 / every)
    groups = max(plan.groups, random.choice((2, 3)))
    nodes = NODES_PLACING if placing else plan.nodes
    faults.sort(key=lambda fault: fault.at)
    return replace(plan, nodes=nodes, groups=groups, faults=tuple(faults), replicas=True)


def _with_votes(plan: Plan) -> Plan:
    """The same plan with votes that the cluster places, by dice of their own."""
    random = Random(f"{plan.seed} votes")
    ids, every, at = node_ids(plan.nodes), random.choice((1.0, 3.0)), 2.0
    kinds = [name for name, kind in KINDS.items() if kind.family == VOTES]
    faults = list(plan.faults)
    number = max([fault.index for fault in faults], default=-1) + 1
    while at < plan.seconds:
        kind = kinds[0] if len(faults) == len(plan.faults) else random.choice(kinds)
        faults.append(Fault(number, round(at, 3), kind, KINDS[kind].details(random, ids)))
        number += 1
        at += random.expovariate(1.0 / every)
    return replace(plan, faults=tuple(sorted(faults, key=lambda fault: fault.at)), placing=True)


def _with_moves(plan: Plan) -> Plan:
    """The same plan with moves of slots, by dice of their own, so that its faults stay as they are.

    One group is split first: slots have no other way to go.
    """
    random = Random(f"{plan.seed} moves")
    ids, every, at = node_ids(plan.nodes), random.choice((0.5, 1.5, 4.0)), 1.5
    kinds = [name for name, kind in KINDS.items() if kind.family == MOVES and plan.nodes >= kind.nodes]
    kinds = random.sample(kinds, random.randrange(1, len(kinds) + 1))
    if plan.groups == 1:
        kinds.append("split")
    faults = list(plan.faults)
    number = max([fault.index for fault in faults], default=-1) + 1
    while at < plan.seconds:
        first = len(faults) == len(plan.faults)
        kind = "split" if plan.groups == 1 and first else random.choice(kinds)
        faults.append(Fault(number, round(at, 3), kind, KINDS[kind].details(random, ids)))
        number += 1
        at += random.expovariate(1.0 / every)
    return replace(plan, faults=tuple(sorted(faults, key=lambda fault: fault.at)), moving=True)


def _draw(seed: int, leasing: bool) -> Plan:
    random = Random(f"{seed} plan")
    nodes = random.choices((3, 5, 1), (75, 20, 5))[0]
    calm = nodes == 1 or random.random() < CALM
    kinds = _kinds(random, nodes, calm)
    leases = random.random() < LEASES or leasing
    if leases and not calm:
        # Leases must not trust a deposed leader that has not noticed.
        kinds.append(["stranded", "transfer cut off"])
    seconds = random.choice(SECONDS)
    every = random.choice((0.3, 1.0, 3.0))
    faults = _faults(random, node_ids(nodes), kinds, seconds, every)
    if calm and nodes > 1:  # nothing excuses a leader that stays on a hung disk
        at, hang = round(random.uniform(2.0, 6.0), 3), {"who": "leader", "seconds": 10.0}
        faults = sorted([*faults, Fault(len(faults), at, "hung disk", hang)], key=lambda fault: fault.at)
    changing = any(fault.family == "cluster" or fault.kind in DESTRUCTIVE for fault in faults)
    if leases:  # leases rely on clocks whose rates differ by less than a tenth
        tame = {"rate": 0.04}
        faults = [replace(f, details=tame) if f.kind == "drifting clocks" else f for f in faults]
    grouping = Random(f"{seed} groups")  # its own dice, so that other plans stay as they were
    changing_groups, disagreement = grouping.choice((1, 1, 2, 3)), round(grouping.uniform(0.5, 3.0), 3)
    disagrees = nodes > 1 and grouping.random() < DISAGREEMENTS
    groups = changing_groups if changing else random.choice((1, 2))
    clients = random.choice((4, 4, 6))
    thinking = 0.05 if leases else random.choice((0.3, 0.15))  # a lease is short
    if groups > 1 and grouping.random() < RESTING:
        thinking = 1.5  # so long that groups come to rest in between
    return Plan(
        seed=seed,
        nodes=nodes,
        groups=groups,
        clients=clients,
        thinking=thinking,
        keys=random.choice((2, 4, 0)),
        seconds=seconds,
        calm=calm,
        checkpoint_entries=random.choice((10, 20, 50)),
        keep_entries=random.choice((0, 5, 20)),
        chunk_bytes=1024,
        disks=random.choices(("plain", "mixed", "real"), DISKS)[0],
        leases=leases,
        disagreement=disagreement if disagrees else 0.0,
        faults=tuple(faults),
        leasing=leasing,
    )


def _kinds(random: Random, nodes: int, calm: bool) -> list[list[str]]:
    """The kinds of faults of this run, by family."""
    drawn = [family for family in FAMILIES if family not in OPTIONAL]
    possible = [[n for n, k in KINDS.items() if k.family == f and nodes >= k.nodes] for f in drawn]
    possible = [names for names in possible if names]
    count = random.randrange(2) if calm else random.randrange(FAMILIES_MIN, len(possible) + 1)
    chosen = random.sample(possible, count)
    found = []
    for names in chosen:
        weights = [name for name in names if name not in SELDOM or random.random() < 0.2]
        found.append(random.sample(weights, random.randrange(1, len(weights) + 1)))
    return found


def _faults(
    random: Random, ids: Sequence[str], kinds: list[list[str]], seconds: float, every: float
) -> list[Fault]:
    faults: list[Fault] = []

    def add(at: float, name: str) -> None:
        faults.append(Fault(len(faults), round(at, 3), name, KINDS[name].details(random, ids)))

    passing = []
    for names in kinds:
        for name in names:
            if KINDS[name].standing:
                add(0.0, name)
        passing.append([name for name in names if not KINDS[name].standing])
    passing = [names for names in passing if names]
    first = [random.choice(names) for names in passing]  # each family strikes at least once, and early
    random.shuffle(first)
    at = 0.5
    while passing:
        at += random.expovariate(1.0 / every)
        if at >= seconds:
            if not first:
                break
            at = random.uniform(1.0, seconds)
        add(at, first.pop() if first else random.choice(random.choice(passing)))
    return sorted(faults, key=lambda fault: fault.at)


def _text(value: Any) -> str:
    if isinstance(value, tuple):
        return ",".join(map(str, value))
    return f"{value:g}" if isinstance(value, float) else str(value)
