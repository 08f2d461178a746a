"""Transactions over several groups in the simulator: clients of all nodes, while nodes crash and links fail.

    python -m tests.simulation.cross_groups 0:200         # these seeds, up to one that fails
    python -m tests.simulation.cross_groups 0:200 moves   # slots move between the groups, and these are split
    python -m tests.simulation.cross_groups 0:200 replicas   # nodes leave groups and come back

The clients append unique elements to lists in all groups and read them: in transactions over groups, in plain
writes and reads, in reads over groups, in transactions that watch what they have read, and in those that
compute from it what they write. In half of the runs many transactions have a token of KRAFT ONCE, and are
often sent again through any node, whatever came of them: each element may be there once, and all attempts
that are answered have one reply. In the end all locks and decisions have to be gone, and one order in real
time has to explain everything (`tests.serializability`).
"""

import sys
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from functools import partial
from itertools import product
from random import Random
from typing import Any

from kraft.host.requests.round import View
from kraft.host.transactions.token_use import Remembered, TokenUse
from kraft.kv.commands import (
    AppendValue,
    CommitOnce,
    Exec,
    Look,
    OnceToken,
    Step,
    Watched,
)
from kraft.kv.replies import CommandFailure
from kraft.node.errors import Uncertain
from tests.serializability import APPEND, DONE, INFINITY, NOT_DONE, READ, UNKNOWN, Attempt, Operation, check
from tests.simulation.cluster import SimulatedCluster
from tests.simulation.cross_group_question import Place, Question, Rewrite, element_of, name_of, values_of
from tests.simulation.fault_kinds import KINDS
from tests.simulation.move_faults import ACTS, MoveFaults
from tests.simulation.network import Weather
from tests.simulation.process import Process
from tests.simulation.replica_faults import ACTS as REPLICA_ACTS
from tests.simulation.replica_faults import ReplicaFaults
from tests.simulation.run import MOVED_SECONDS
from tests.simulation.slot_owners import moves_left
from tests.simulation.transactions import elements
from tests.simulation.violation import demand
from tests.simulation.world import World

SECONDS = 12.0  # of faults
SETTLED_SECONDS = 30.0  # within which all locks have to be gone after that
CLIENTS = 5
LISTS = (b"x", b"y")  # in each group


@dataclass(slots=True)
class Client:
    """One client: it asks a node, waits, thinks, and asks perhaps another one. `attempts` is its history."""

    cluster: SimulatedCluster
    number: int
    random: Random
    attempts: list[Attempt] = field(default_factory=list)
    asked: int = 0
    seen: dict[Place, tuple[Watched, list[str]]] = field(default_factory=dict)
    open: Question | None = None
    process: Process | None = None
    stopped: bool = False
    once: Random | None = None  # decides on tokens, if there are any
    unfinished: Question | None = None  # is to be asked again, with the same token

    def start(self) -> None:
        self.cluster.on_crash.append(self._crashed)
        self._think()

    def _think(self) -> None:
        self.cluster.world.call_later(self.random.expovariate(8), self._ask)

    def _ask(self) -> None:
        if self.stopped:
            return
        processes = [p for p in self.cluster.processes() if self._serves(p)]
        if not processes:
            self._think()
            return
        self.process = self.random.choice(processes)
        if self.unfinished is not None:
            self._ask_again(self.unfinished, self.process)
            return
        self.asked += 1
        kind = self.random.random()
        homes = self.cluster.homes
        groups = {home: homes.asked(self.process.host, home, self.random) for home in range(homes.count)}
        places = list(product(range(homes.count), LISTS))
        self.random.shuffle(places)
        name = f"c{self.number}-{self.asked}"
        if kind < 0.2:
            steps: Any = tuple((READ, place) for place in places[: self.random.randrange(2, len(places) + 1)])
        elif kind < 0.35:
            steps = ((self.random.choice((READ, APPEND)), places[0]),)
        else:
            steps = tuple(
                (self.random.choice((READ, APPEND, APPEND)), place)
                for place in places[: self.random.randrange(2, 5)]
            )
        self.open = question = Question(name, self.cluster.world.now, steps, groups)
        if len({groups[home] for _, (home, _) in steps}) > 1:
            if self.seen and any(kind == APPEND for kind, _ in steps) and self.random.random() < 0.4:
                place = self.random.choice(list(self.seen))
                question.watched = (place, *self.seen[place])
            question.computed = question.watched is None and self.random.random() < 0.3
            if (
                self.once is not None
                and self.once.random() < 0.5
                and any(kind == APPEND for kind, _ in steps)
            ):
                question.token = name.encode()
            self._execute(question)
        elif len(steps) == 1 and steps[0][0] == READ:
            place = steps[0][1]
            keys = [homes.key(*place)]
            self.process.host.read_keys(groups[place[0]], lambda: keys, partial(self._viewed, question))
        else:
            _, place = steps[0]
            question.steps = ((APPEND, place),)  # one: several commands of a pipeline are not one
            command = AppendValue(homes.key(*place), b"|" + element_of(question, 0).encode())
            self.process.host.write(groups[place[0]], [command], 20, partial(self._written, question))

    def _serves(self, process: Process) -> bool:
        """Whether a node has replayed its groups; where it leaves some, it serves these through others."""
        if self.cluster.scattered:
            return process.ready and 0 in process.host.groups
        return len(process.host.groups) == self.cluster.group_count

    def _ask_again(self, question: Question, process: Process) -> None:
        """Ask with the same token, perhaps without what was watched."""
        homes, self.open, self.unfinished = self.cluster.homes, question, None
        question.groups = {home: homes.asked(process.host, home, self.random) for home in range(homes.count)}
        demand(self.once is not None, "a token has its dice")
        if self.once.random() < 0.5:  # type: ignore[union-attr]
            question.watched = None
        self.cluster.world.counts["asked again"] += 1
        if len({question.groups[home] for _, (home, _) in question.steps}) > 1:
            self._execute(question)
        else:  # the client port would make one command of it, for one group
            self.open, self.unfinished = None, question
            self.finish()
            self._think()

    def _execute(self, question: Question) -> None:
        if question.computed:
            rewrite = Rewrite(question, self.cluster.homes)
            computed = partial(self._rewritten, question, rewrite)
            use = self._use(question, lambda _: [rewrite.lists[place] for _, place in question.steps])
            self.process.host.transactions.compute(rewrite, 50, computed, use)  # type: ignore[union-attr]
        else:
            self._transact(question)

    def _use(self, question: Question, united: Callable[[Mapping[int, Any]], list[Any]]) -> TokenUse | None:
        if not question.token:
            return None
        home, key = question.groups[question.steps[0][1][0]], self.cluster.homes.key(*question.steps[0][1])
        return TokenUse(OnceToken(question.token, bytes(16), key, 3_600_000), home, united, 1 << 20)

    def _transact(self, question: Question) -> None:
        parts: dict[int, list[Step]] = {}
        for number, (kind, place) in enumerate(question.steps):
            element, key = b"|" + element_of(question, number).encode(), self.cluster.homes.key(*place)
            step: Step = AppendValue(key, element) if kind == APPEND else Look((key,))
            parts.setdefault(question.groups[place[0]], []).append(step)
        watches: dict[int, Watched] = {}
        if question.watched is not None:
            (home, _), watch, _ = question.watched
            watches[question.groups[home]] = watch
        executions = {
            group: Exec((watches[group],) if group in watches else (), tuple(parts.get(group, ())))
            for group in sorted(parts.keys() | watches.keys())
        }
        demand(self.process is not None, "a client asks a node")
        transactions = self.process.host.transactions  # type: ignore[union-attr]
        done = partial(self._transacted, question)
        if all(kind == READ for kind, _ in question.steps):
            transactions.cut(executions, 50, done, fresh=False)
        else:
            values = partial(values_of, question.steps, dict(question.groups))
            transactions.execute(executions, 50, done, self._use(question, values))

    # -- outcomes

    def _transacted(self, question: Question, outcome: Any) -> None:
        values: Any = None
        if isinstance(outcome, dict):
            values = values_of(question.steps, question.groups, outcome)
        elif question.token and isinstance(outcome, Remembered):
            values = outcome.reply
        if not isinstance(values, list):
            self._not_executed(question, outcome)
            return
        found: list[Operation] = []
        if question.watched is not None and not question.token:
            place, _, seen = question.watched
            found.append((READ, name_of(place), seen))
        for number, ((kind, place), value) in enumerate(zip(question.steps, values, strict=True)):
            if kind == APPEND:
                found.append((APPEND, name_of(place), element_of(question, number)))
            else:
                found.append((READ, name_of(place), elements(value)))
        self._ended(question, DONE, found)

    def _rewritten(self, question: Question, rewrite: Rewrite, outcome: Any) -> None:
        values: Any = None
        if isinstance(outcome, dict):
            values = [rewrite.lists[place] for _, place in question.steps]
        elif question.token and isinstance(outcome, Remembered):
            values = outcome.reply
        if not isinstance(values, list):
            self._not_executed(question, outcome)
            return
        found: list[Operation] = [
            (READ, name_of(place), elements(value or None))
            for (_, place), value in zip(question.steps, values, strict=True)
        ]
        self.cluster.world.counts["computed"] += 1
        self._ended(question, DONE, found + self._appends(question))

    def _not_executed(self, question: Question, outcome: Any) -> None:
        """That a watched key has changed is the reply of a token."""
        if question.token and (outcome is None or outcome == Remembered(None)):
            self._ended(question, DONE, ())
        else:
            self._failed(question, outcome)

    def _written(self, question: Question, outcome: Any) -> None:
        if isinstance(outcome, Exception) or type(outcome[0]) is CommandFailure:
            self._failed(question, outcome)
        else:
            self._ended(question, DONE, self._appends(question))

    def _viewed(self, question: Question, outcome: Any) -> None:
        if not isinstance(outcome, View):
            self._failed(question, outcome)
            return
        [(_, place)] = question.steps
        keyspace, key = outcome.keyspace, self.cluster.homes.key(*place)
        values = elements(keyspace.get(key))
        self.seen[place] = Watched(key, keyspace.revision(key), outcome.revision), values
        self._ended(question, DONE, [(READ, name_of(place), values)])

    def _failed(self, question: Question, outcome: Any) -> None:
        fate = UNKNOWN if isinstance(outcome, Uncertain) else NOT_DONE
        name = outcome[0].name if isinstance(outcome, list) else type(outcome).__name__
        self.cluster.world.counts[outcome.name if isinstance(outcome, CommandFailure) else name] += 1
        self._ended(question, fate, self._appends(question))

    def _appends(self, question: Question) -> list[Operation]:
        return [
            (APPEND, name_of(place), element_of(question, number))
            for number, (kind, place) in enumerate(question.steps)
            if kind == APPEND
        ]

    def _ended(self, question: Question, fate: str, found: Sequence[Operation]) -> None:
        if self.open is not question:
            demand(False, f"{question.name} was answered twice")
        self.open = None
        now = self.cluster.world.now
        self.cluster.world.counts[fate] += 1
        if question.token:
            self._attempted(question, fate, found)
        else:
            returned = INFINITY if fate == UNKNOWN else now
            self.attempts.append(Attempt(question.name, fate, question.called, returned, found))
        self._think()

    def _attempted(self, question: Question, fate: str, found: Sequence[Operation]) -> None:
        """One attempt with a token is over: perhaps another one follows."""
        question.fates.append(fate)
        if fate == DONE:
            demand(question.reply in (None, found), f"{question.name} has two replies")
            question.reply = found
            question.returned = min(question.returned, self.cluster.world.now)
        self.unfinished = question
        if self.once is None or self.once.random() < (0.7 if fate == DONE else 0.2):
            self.finish()

    def finish(self) -> None:
        """What was asked with a token is not asked again."""
        question, self.unfinished = self.unfinished, None
        if question is None:
            return
        fate, found = NOT_DONE, self._appends(question)
        if question.reply:
            fate, found = DONE, list(question.reply)
        elif question.reply is None and UNKNOWN in question.fates:
            fate = UNKNOWN
        returned = INFINITY if fate == UNKNOWN else min(question.returned, self.cluster.world.now)
        self.attempts.append(Attempt(question.name, fate, question.called, returned, found))

    def _crashed(self, process: Process) -> None:
        """The node of this client is gone, and with it the answer."""
        if self.process is process and self.open is not None:
            self._ended(self.open, UNKNOWN, self._appends(self.open))


class Faults:
    """Crashes nodes and cuts them off, one at a time, and hands over leaders."""

    def __init__(self, cluster: SimulatedCluster, random: Random) -> None:
        self._cluster = cluster
        self._random = random
        self._over = False

    def next(self) -> None:
        """The next fault, in a while."""
        if not self._over:
            self._cluster.world.call_later(self._random.expovariate(1.2), self._strike)

    def end(self) -> None:
        """Everything works again, and no further fault comes."""
        self._over = True
        self._cluster.network.heal()
        for node in self._cluster.nodes.values():
            if node.process is None:
                node.start()

    def _strike(self) -> None:
        if self._over:
            return
        id_ = self._random.choice(sorted(self._cluster.nodes))
        seconds = self._random.uniform(0.05, 2.5)
        if self._random.random() < 0.5:
            self._cluster.nodes[id_].crash()
            self._cluster.world.call_later(seconds, partial(self._start, id_))
        else:
            others = [each for each in self._cluster.nodes if each != id_]
            self._cluster.network.block([(id_, n) for n in others] + [(n, id_) for n in others])
            self._cluster.world.call_later(seconds, self._heal)

    def _start(self, id_: str) -> None:
        if not self._over and self._cluster.nodes[id_].process is None:
            self._cluster.nodes[id_].start()
        self.next()

    def _heal(self) -> None:
        if not self._over:
            self._cluster.network.heal()
        self.next()


class Moves:
    """Moves slots all the time, cancels some of the moves, and splits groups."""

    def __init__(self, cluster: SimulatedCluster, random: Random) -> None:
        self._cluster = cluster
        self._random = random
        self.faults = MoveFaults(cluster, lambda id_, seconds: None)

    def next(self) -> None:
        """The next move, in a while."""
        if not self.faults.over:
            self._cluster.world.call_later(self._random.expovariate(2.0), self._begin)

    def _begin(self) -> None:
        kind = self._random.choice(("move", "move", "moves at once", "move that is cancelled", "split"))
        ACTS[kind](self.faults, KINDS[kind].details(self._random, ()))
        self.next()


class Replicas:
    """Lets nodes leave groups and come back to them all the time."""

    def __init__(self, cluster: SimulatedCluster, random: Random) -> None:
        self._cluster = cluster
        self._random = random
        self.faults = ReplicaFaults(cluster, lambda id_, seconds: None)

    def next(self) -> None:
        """The next change, in a while."""
        if not self.faults.over:
            self._cluster.world.call_later(self._random.expovariate(1.5), self._begin)

    def _begin(self) -> None:
        kind = self._random.choice(tuple(REPLICA_ACTS))
        REPLICA_ACTS[kind](self.faults, KINDS[kind].details(self._random, tuple(self._cluster.nodes)))
        self.next()


def in_force(cluster: SimulatedCluster) -> bool:
    """Whether all groups serve, and know transactions, moves of slots, and tokens over groups."""
    groups = [group for p in cluster.processes() for group in p.host.groups.values()]
    led = all(cluster.leaders(group) for group in cluster.groups)
    return led and all(_is_whole(cluster, group) for group in cluster.groups) and all(
        group.state.machine.version >= CommitOnce.since for group in groups
    )  # fmt: skip


def _is_whole(cluster: SimulatedCluster, group: int) -> bool:
    """Whether all members of a group have their replicas, and nobody else has one."""
    holding = {p.id for p in cluster.processes() if group in p.host.groups}
    return holding == {member.id for member in cluster.checks.committed[group].configuration.members}


def unfinished(cluster: SimulatedCluster) -> int:
    """How many transactions are not over, on any replica."""
    machines = [group.state.machine for p in cluster.processes() for group in p.host.groups.values()]
    indexes = [machine.keyspace.transactions for machine in machines]
    return sum(len(index.prepared) + len(index.decisions) for index in indexes)


def run_moving(seed: int) -> World:
    """As `run`; slots move between the groups."""
    return run(seed, moving=True)


def run_replicas(seed: int) -> World:
    """As `run`; nodes leave groups and come back to them."""
    return run(seed, replicas=True)


def run(seed: int, *, moving: bool = False, replicas: bool = False) -> World:
    """One run. Raises an AssertionError if a promise is broken."""
    world = World(seed)
    random = world.dice("plan")
    weather = Weather(
        loss=random.choice((0, 0.01, 0.05)), repeat=random.choice((0, 0.05)), ancient=random.choice((0, 0.01))
    )
    groups = random.choice((2, 3))
    cluster = SimulatedCluster(world, weather, groups=groups, moving=moving, scattered=replicas)
    cluster.start()
    demand(cluster.run(20, partial(in_force, cluster)), "no group serves")
    clients = [Client(cluster, number, world.dice(f"client {number}")) for number in range(CLIENTS)]
    if world.dice("once").random() < 0.5:
        for client in clients:
            client.once = world.dice(f"once of client {client.number}")
    faults, moves = Faults(cluster, world.dice("faults")), Moves(cluster, world.dice("move faults"))
    comings = Replicas(cluster, world.dice("replica faults"))
    for client in clients:
        client.start()
    faults.next()
    if moving:
        moves.next()
    if replicas:
        comings.next()
    cluster.run(SECONDS)
    faults.end()
    moves.faults.over = comings.faults.over = True
    for client in clients:
        client.stopped = True
    calm = cluster.run(
        SETTLED_SECONDS,
        lambda: in_force(cluster) and not any(client.open for client in clients) and not unfinished(cluster),
    )
    demand(calm, f"{unfinished(cluster)} transactions are not over, or clients have no answer")
    cluster.run(MOVED_SECONDS, lambda: not (moves.faults.asked or moves_left(cluster)))
    demand(not moves_left(cluster), f"moves of slots do not end: {moves_left(cluster)}")
    for client in clients:
        client.finish()
    lists = {}
    for home in range(cluster.homes.count):
        group = cluster.homes.group(cluster.processes()[0].host, home)
        [leader] = [p for p in cluster.processes() if p.id in cluster.leaders(group)][:1]
        keyspace = leader.host.groups[group].state.machine.keyspace
        found = {name: elements(keyspace.get(cluster.homes.key(home, name))) for name in LISTS}
        lists.update({name_of((home, name)): value for name, value in found.items()})
    world.counts["effective"] = check([each for client in clients for each in client.attempts], lists)
    cluster.close()
    return world


def search(seeds: range, *, moving: bool = False, replicas: bool = False) -> tuple[int, str] | None:
    """The first seed that fails, and how; None if none does."""
    for seed in seeds:
        try:
            run(seed, moving=moving, replicas=replicas)
        except Exception as failure:
            return seed, repr(failure)
    return None


if __name__ == "__main__":
    first, last = map(int, sys.argv[1].split(":"))
    wanted = sys.argv[2:]
    found = search(range(first, last), moving="moves" in wanted, replicas="replicas" in wanted)
    sys.stdout.write(f"seed {found[0]}: {found[1]}\n" if found else f"{last - first} seeds, no failure\n")
    sys.exit(found is not None)
