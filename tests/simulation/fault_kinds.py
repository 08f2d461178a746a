"""The kinds of faults, their families, and how the details of each are drawn."""

from collections.abc import Callable, Sequence
from random import Random
from typing import Any, NamedTuple

HOUR = 3_600.0
MOVES = "moves"  # the family of faults that only plans with moves have
VOTES = "votes"  # the same of plans in which the cluster places votes
REPLICAS = "replicas"  # the same of plans in which nodes leave groups and come back

Details = dict[str, Any]


class Kind(NamedTuple):
    """A kind of fault: its family, how its details are drawn, and the number of nodes it needs."""

    family: str
    details: Callable[[Random, Sequence[str]], Details]
    standing: bool = False
    nodes: int = 1


def node_ids(count: int) -> tuple[str, ...]:
    return tuple(f"K{number}" for number in range(1, count + 1))


def _who(random: Random, ids: Sequence[str]) -> str:
    """A victim: the leader more often than a random node; determined when the fault happens."""
    return random.choice(("leader", "leader", "follower", random.choice(ids)))


def _span(random: Random) -> float:
    return round(0.05 + random.expovariate(0.5), 3)


def _nothing(random: Random, ids: Sequence[str]) -> Details:
    return {}


def _victim(random: Random, ids: Sequence[str]) -> Details:
    return {"who": _who(random, ids)}


def _for_a_while(random: Random, ids: Sequence[str]) -> Details:
    return {"who": _who(random, ids), "seconds": _span(random)}


def _rate(most: float) -> Callable[[Random, Sequence[str]], Details]:
    return lambda random, _: {"rate": round(random.uniform(most / 20, most), 3)}


def _choice(name: str, *values: Any) -> Callable[[Random, Sequence[str]], Details]:
    return lambda random, _: {name: random.choice(values)}


def _pair(random: Random, ids: Sequence[str]) -> Details:
    return {"pair": tuple(sorted(random.sample(ids, 2)))}


def _pair_for_a_while(random: Random, ids: Sequence[str]) -> Details:
    return _pair(random, ids) | {"seconds": _span(random)}


def _path(random: Random, ids: Sequence[str]) -> Details:
    return {"path": tuple(random.sample(ids, 2)), "seconds": _span(random)}


def _slow_path(random: Random, ids: Sequence[str]) -> Details:
    return _path(random, ids) | {"delay": random.choice((0.05, 0.3, 1.0))}


def _narrow_path(random: Random, ids: Sequence[str]) -> Details:
    """So narrow that a batch takes several heartbeat intervals."""
    return _path(random, ids) | {"rate": random.choice((1_000.0, 3_000.0, 10_000.0))}


def _side(random: Random, ids: Sequence[str]) -> Details:
    side = random.sample(ids, random.randrange(1, len(ids)))
    return {"side": tuple(sorted(side)), "seconds": _span(random)}


def _order(random: Random, ids: Sequence[str]) -> Details:
    return {"order": tuple(random.sample(ids, len(ids))), "seconds": _span(random)}


def _flapping(random: Random, ids: Sequence[str]) -> Details:
    return _pair(random, ids) | {"times": random.randrange(3, 12), "every": random.choice((0.05, 0.2, 0.6))}


def _strand(random: Random, ids: Sequence[str]) -> Details:
    """Mostly a leader, long enough for another one to be elected and to receive writes."""
    who = random.choice(("leader", "leader", "leader", "follower"))
    return {"who": who, "seconds": round(1.0 + random.expovariate(0.25), 3), "slower": 20.0}


def _restart(random: Random, ids: Sequence[str]) -> Details:
    return {"who": _who(random, ids), "back": random.choice((0.01, 0.3, 4.0))}


def _restarts(random: Random, ids: Sequence[str]) -> Details:
    return {"order": tuple(random.sample(ids, len(ids))), "back": random.choice((0.01, 0.3, 4.0))}


def _restart_of_all(random: Random, ids: Sequence[str]) -> Details:
    long = random.random() < 0.1
    return {"skip": HOUR} if long else {"back": random.choice((0.01, 0.3, 4.0))}


def _recovery(random: Random, ids: Sequence[str]) -> Details:
    return {"who": _who(random, ids), "times": random.randrange(2, 5), "back": random.choice((0.002, 0.02))}


def _slow_disk(random: Random, ids: Sequence[str]) -> Details:
    return _for_a_while(random, ids) | {"factor": random.choice((10.0, 100.0, 1000.0))}


def _hang(random: Random, ids: Sequence[str]) -> Details:
    """Long enough for a leader to notice, to hand over, and to be caught if it does not."""
    who = random.choice(("leader", "leader", "leader", "follower"))
    return {"who": who, "seconds": round(random.uniform(8.0, 15.0), 3)}


def _day_ahead(random: Random, ids: Sequence[str]) -> Details:
    return {"seconds": round(random.uniform(1.0, 4.0), 3)}


def _flip(random: Random, ids: Sequence[str]) -> Details:
    return _victim(random, ids) | {"file": random.choice(("log.db", "log.db-wal", "highwater", "state"))}


def _backup(random: Random, ids: Sequence[str]) -> Details:
    return _victim(random, ids) | {"seconds": round(random.uniform(1.0, 5.0), 3)}


def _jump(random: Random, ids: Sequence[str]) -> Details:
    return _victim(random, ids) | {"ms": random.choice((-3_600_000, -500, 500, 3_600_000))}


def _long_pause(random: Random, ids: Sequence[str]) -> Details:
    return _for_a_while(random, ids) | {"ahead": random.choice((30.0, 120.0, 600.0))}


def _busy(random: Random, ids: Sequence[str]) -> Details:
    return _for_a_while(random, ids) | {"upto": random.choice((0.002, 0.02, 0.2))}


def _learner(random: Random, ids: Sequence[str]) -> Details:
    return {"learner": random.random() < 0.3}


def _removal(random: Random, ids: Sequence[str]) -> Details:
    return {"who": _who(random, ids), "fewest": random.choice((1, 2, 3))}


def _cut_off(random: Random, ids: Sequence[str]) -> Details:
    """Long enough for another leader to be elected."""
    return {"demote": random.random() < 0.5, "seconds": round(1.0 + random.expovariate(0.5), 3)}


def _compaction(random: Random, ids: Sequence[str]) -> Details:
    return {"who": _who(random, ids), "keep": random.choice((0, 3, 30))}


def _old_programs(random: Random, ids: Sequence[str]) -> Details:
    """Which nodes begin with a program of the first machine version; `spares`: so do those to be added."""
    nodes = random.sample(ids, random.randrange(1, len(ids) + 1))
    return {"nodes": tuple(sorted(nodes)), "spares": random.random() < 0.5}


def _target(random: Random, ids: Sequence[str]) -> Details:
    return {"to": random.choice(("", *ids))}


def _hand_over(random: Random, ids: Sequence[str]) -> Details:
    after = random.choice((0.002, 0.003, 0.005))
    return {"after": after, "seconds": round(0.5 + random.expovariate(0.5), 3)}


def _standstill(random: Random, ids: Sequence[str]) -> Details:
    return {"who": _who(random, ids), "skip": HOUR}


def _move(random: Random, ids: Sequence[str]) -> Details:
    """Any slot of the clients, to any other group; `more`: with slots before and after it, up to so many."""
    return {"slot": random.random(), "to": random.random(), "more": random.choice((0, 0, 100, 4000))}


def _moves(random: Random, ids: Sequence[str]) -> Details:
    return {"count": random.randrange(2, 5)} | _move(random, ids)


def _cancelled_move(random: Random, ids: Sequence[str]) -> Details:
    return _move(random, ids) | {"after": round(random.expovariate(10.0), 4)}


def _leaderless_move(random: Random, ids: Sequence[str]) -> Details:
    """A leader that the move needs crashes, or is cut off, at any moment of it."""
    who = {"of": random.choice(("source", "receiver", "map")), "cut": random.random() < 0.4}
    times = {"after": round(random.uniform(0.0, 0.25), 4), "seconds": _span(random)}
    return _move(random, ids) | who | times


def _split(random: Random, ids: Sequence[str]) -> Details:
    """Any group; those that are created for it are new ones, as long as there are few."""
    return {"group": random.random(), "parts": random.choice((2, 2, 3))}


def _merge(random: Random, ids: Sequence[str]) -> Details:
    return {"group": random.random(), "into": random.random()}


def _voters(random: Random, ids: Sequence[str]) -> Details:
    """How many nodes vote in a group, 0 for all; mostly as many as survive the loss of one."""
    return {"count": random.choice((0, 1, 2, 3, 3, 3))}


def _replica(random: Random, ids: Sequence[str]) -> Details:
    """Any group but group 0, and any node; mostly one that is to vote."""
    return {"group": random.random(), "who": random.choice(ids), "vote": random.random() < 0.7}


def _return(random: Random, ids: Sequence[str]) -> Details:
    return _replica(random, ids) | {"down": random.random() < 0.3, "seconds": _span(random)}


def _replica_move(random: Random, ids: Sequence[str]) -> Details:
    return _replica(random, ids) | {"to": random.random()}


KINDS: dict[str, Kind] = {
    "loss": Kind("network", _rate(0.3), standing=True, nodes=2),
    "repetition": Kind("network", _rate(0.5), standing=True, nodes=2),
    "ancient messages": Kind("network", _rate(0.3), standing=True, nodes=2),
    "long delays": Kind("network", _choice("upto", 0.02, 0.06), standing=True, nodes=2),
    "heavy tail": Kind("network", _rate(0.1), standing=True, nodes=2),
    "clogged path": Kind("network", _path, nodes=2),
    "slow path": Kind("network", _slow_path, nodes=2),
    "narrow path": Kind("network", _narrow_path, nodes=2),
    "narrow links": Kind("network", _choice("rate", 5_000.0, 20_000.0), standing=True, nodes=2),
    "reset": Kind("network", _pair, nodes=2),
    "reset amidst a batch": Kind("network", _pair, nodes=2),
    "halves": Kind("partition", _side, nodes=2),
    "isolated": Kind("partition", _for_a_while, nodes=2),
    "bridge": Kind("partition", _order, nodes=3),
    "ring": Kind("partition", _order, nodes=4),
    "dead link": Kind("partition", _pair_for_a_while, nodes=2),
    "one way": Kind("partition", _path, nodes=2),
    "flapping": Kind("partition", _flapping, nodes=2),
    "stranded": Kind("partition", _strand, nodes=2),
    "one": Kind("crash", _restart),
    "minority": Kind("crash", _restarts, nodes=3),
    "majority": Kind("crash", _restarts, nodes=3),
    "all": Kind("crash", _restart_of_all),
    "at a commit": Kind("crash", _restart),
    "during recovery": Kind("crash", _recovery),
    "disk full": Kind("storage", _for_a_while),
    "slow disk": Kind("storage", _slow_disk),
    "hung disk": Kind("storage", _hang),
    "failed sync": Kind("storage", _for_a_while),
    "read error": Kind("storage", _for_a_while),
    "bit flip": Kind("storage", _flip, nodes=3),
    "wiped directory": Kind("storage", _victim, nodes=3),
    "old directory": Kind("storage", _backup, nodes=3),
    "skewed clocks": Kind("time", _choice("ms", 200.0, 5_000.0, 60_000.0), standing=True),
    "drifting clocks": Kind("time", _choice("rate", 0.01, 0.3), standing=True),
    "jump of a clock": Kind("time", _jump),
    "clocks a day ahead": Kind("time", _day_ahead, nodes=3),
    "pause": Kind("time", _for_a_while),
    "pause of minutes": Kind("time", _long_pause),
    "busy": Kind("time", _busy),
    "standstill": Kind("time", _standstill, nodes=3),
    "add": Kind("cluster", _learner, nodes=3),
    "promote": Kind("cluster", _nothing, nodes=3),
    "demote": Kind("cluster", _nothing, nodes=3),
    "remove": Kind("cluster", _removal, nodes=3),
    "change cut off": Kind("cluster", _cut_off, nodes=3),
    "replace": Kind("cluster", _victim, nodes=3),
    "address change": Kind("cluster", _victim, nodes=3),
    "transfer": Kind("cluster", _target, nodes=3),
    "transfer cut off": Kind("cluster", _hand_over, nodes=3),
    "drain": Kind("cluster", _for_a_while, nodes=3),
    "snapshot": Kind("cluster", _nothing, nodes=3),
    "compaction": Kind("cluster", _compaction, nodes=3),
    "verify": Kind("cluster", _nothing, nodes=3),
    "old programs": Kind("versions", _old_programs, standing=True),
    "upgrade": Kind("versions", _restart),
    "rolling upgrade": Kind("versions", _restarts, nodes=3),
    "downgrade": Kind("versions", _restart),
    "retries": Kind("clients", _rate(0.9), standing=True),
    "repeats": Kind("clients", _rate(0.3), standing=True),
    "impatience": Kind("clients", _choice("seconds", 0.15, 0.7), standing=True),
    "stale reads": Kind("clients", _rate(0.8), standing=True),
    "hot key": Kind("clients", _choice("keys", 1), standing=True),
    "move": Kind(MOVES, _move),
    "moves at once": Kind(MOVES, _moves),
    "move that is cancelled": Kind(MOVES, _cancelled_move),
    "move that loses a leader": Kind(MOVES, _leaderless_move, nodes=3),
    "split": Kind(MOVES, _split),
    "merge": Kind(MOVES, _merge),
    "rebalance": Kind(MOVES, _nothing),
    "number of voters": Kind(VOTES, _voters, nodes=3),
    "rebalance of votes": Kind(VOTES, _nothing, nodes=3),
    "replica leaves": Kind(REPLICAS, _replica, nodes=3),
    "replica comes": Kind(REPLICAS, _replica, nodes=3),
    "replica returns": Kind(REPLICAS, _return, nodes=3),
    "replica moves": Kind(REPLICAS, _replica_move, nodes=3),
    "votes of replicas": Kind(REPLICAS, _replica, nodes=3),
    "node leaves all groups": Kind(REPLICAS, _replica, nodes=3),
}
FAMILIES = tuple(dict.fromkeys(kind.family for kind in KINDS.values()))
OPTIONAL = (MOVES, VOTES, REPLICAS)  # families that only the plans have which ask for them
DESTRUCTIVE = ("bit flip", "wiped directory", "old directory")  # kinds that lose a member
SELDOM = (
    "standstill",
    "drifting clocks",
    "clocks a day ahead",
)  # kinds that cost much time or change everything
