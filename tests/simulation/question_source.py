"""What a client of the simulated cluster asks next: drawn from its dice and from what it has read."""

from dataclasses import replace
from random import Random
from typing import Any

from kraft.host.requests.round import View
from tests.simulation import lock_waits, locks, once, scripts, transactions
from tests.simulation.cluster import SimulatedCluster
from tests.simulation.linearizability import FLUSH, READ, SET_IF_UNCHANGED, SWAP
from tests.simulation.logged import mark
from tests.simulation.process import Process
from tests.simulation.questions import (
    COUNTERS,
    ELEMENTS,
    EXPIRING,
    KEYS,
    LIST,
    MOST_MS,
    PAIR,
    READS,
    SELDOM,
    STALE_READ,
    WATCHED,
    Question,
)
from tests.simulation.scripts import LIST_SCRIPT
from tests.simulation.transactions import LISTS, TRANSACTION, Seen

ALONE = 0.1  # how many of the other writes are transactions of one command
FLUSHING = 0.15  # how many runs flush groups, and use no lists: a list must keep all its elements
FLUSHES = 0.04  # how many of the writes of such a run are flushes
COUNTING = 0.3  # how many runs have a counter that is incremented with KRAFT ONCE
SOON = 0.2  # how often a client that has read a key sets it if it has not changed since
NEVER_ALONE = (*READS, SET_IF_UNCHANGED, TRANSACTION, LIST_SCRIPT, locks.WAIT, *scripts.CALLS)
LONG = b";" * 600  # a value larger than half a batch


class QuestionSource:
    """Draws the questions of one client, and remembers what it has read and what it asks again."""

    def __init__(self, cluster: SimulatedCluster, number: int, dice: Random) -> None:
        self._habits = cluster.habits
        self._cluster = cluster
        self._world = cluster.world
        self._dice = dice
        self._homes = cluster.homes
        self._flushes = FLUSHES if cluster.world.dice("flush").random() < FLUSHING else 0.0
        keys = [key for key in KEYS if not (self._flushes and key == LIST)]
        if cluster.world.dice("once").random() < COUNTING:
            keys.append(once.COUNTED)
        self._scripts = cluster.world.dice("scripts").random() < scripts.RUNS
        if self._scripts and not cluster.homes.moving:  # else groups have caches of different content
            keys.append(scripts.CALLED)
        self._keys = cluster.world.dice("keys").sample(keys, self._habits.hot or len(keys))
        waits = cluster.world.dice("waits").random() < lock_waits.RUNS
        if waits:
            self._keys = [*[key for key in self._keys if key != locks.LOCK][:2], locks.LOCK]
        self.tokens = locks.Tokens(number, self._dice, lock_waits.SHARE if waits else 0.0)
        self._seen: dict[tuple[int, bytes], Seen] = {}  # what was read last, by home and key
        self._just_read: tuple[int, bytes] | None = None
        self._again: Question | None = None  # a request to send once more
        self._number = number
        self.count = 0  # of the questions so far

    def draw(self, process: Process) -> Question:
        """A new request, or the last one again with a new mark, because it is another one to the server."""
        self.count += 1
        marked = mark(self._number, self.count)
        again, self._again = self._again, None
        if again is not None:
            group = self._homes.asked(process.host, again.home, self._dice)
            return replace(again, process=process, group=group, mark=marked, called=self._world.now)
        unique = b"%d.%d" % (self._number, self.count)
        just_read, self._just_read = self._just_read, None
        argument: Any
        if just_read is not None and self._dice.random() < SOON:
            home, key = just_read
            group = self._homes.asked(process.host, home, self._dice)
            name, argument = SET_IF_UNCHANGED, (self._seen[just_read], unique)
        else:
            home = self._dice.randrange(self._homes.count)
            group = self._homes.asked(process.host, home, self._dice)
            key = self._dice.choice(self._keys)
            name, argument = self._draw(home, group, key, unique)
        script: str = ""
        if self._scripts and name not in READS:
            name, argument, script = scripts.drawn(self._dice, name, argument)
            saw = self._seen.get((home, key))
            if key in WATCHED and saw is not None and self._dice.random() < 0.15:
                name, argument, script = SWAP, (saw.value, unique), scripts.COMPLETE
        key = b"" if name == FLUSH else key
        alone = name not in NEVER_ALONE and self._dice.random() < ALONE
        return Question(process, home, group, key, name, argument, marked, self._world.now, alone, script)

    def _moment(self, group: int) -> int:
        """A time soon, by the median of all clocks, or by log time if that is late: no key stays for long."""
        processes = [p for p in self._cluster.processes() if group in p.host.groups]
        walls = sorted(p.clock.wall_ms() for p in processes)
        stamps = [p.host.groups[group].state.machine.stamp for p in processes]
        now = min(walls[(len(walls) - 1) // 2], max(stamps)) if processes else 0
        return now + self._dice.randrange(1, MOST_MS)

    def _draw(self, home: int, group: int, key: bytes, unique: bytes) -> tuple[str, Any]:
        random = self._dice
        if random.random() < 0.4:
            return (STALE_READ if random.random() < self._habits.stale else READ), None
        if self._flushes and random.random() < self._flushes:
            return FLUSH, None
        if key == LIST:
            known = {name: seen for name in LISTS if (seen := self._seen.get((home, name)))}
            return TRANSACTION, transactions.draw(random, known)
        if key == locks.LOCK:
            return self.tokens.draw(home, unique)
        if key == once.COUNTED:
            return once.ONCE, once.draw(random, unique)
        if key == scripts.CALLED:
            return random.choice(scripts.CALLS), None
        if key in COUNTERS:
            return "increment", random.randrange(1, 10)
        if key == ELEMENTS:
            return "append", b"|" + unique
        if key == PAIR:
            return "set", unique
        saw = self._seen.get((home, key))
        if saw is not None and random.random() < (0.4 if key == SELDOM else 0.1):
            return SET_IF_UNCHANGED, (saw, unique)
        names = ["delete", "take", "set if missing"]
        if key == SELDOM:
            names.append("set for a while")
        else:
            names += ["set", "set", "append", "append", "overwrite", "overwrite"]
        if key in EXPIRING:
            names += ["set for a while"] * 4 + ["set until"] * 2
        name = random.choice(names)
        if name == "set until":
            return name, (unique, self._moment(group))
        if name in ("delete", "take"):
            return name, None
        if name == "overwrite":
            return name, (random.randrange(8), unique)
        return name, unique + (LONG if random.random() < 0.1 else b"")

    def remember(self, question: Question, view: View, *, elsewhere: bool) -> None:
        """Keep what a transaction needs to watch the keys that were read, perhaps by another node."""
        home, group = question.home, question.group
        if elsewhere:
            self._world.counts["read elsewhere"] += 1
            if self._homes.moving:
                return  # nobody can tell the epoch of the slot
            place = (0, self._cluster.checks.replicas.index_of(group, view.revision))
        else:
            place = self._homes.place(question.process.host, home, group)
        for key in LISTS if question.key == LIST else (question.key,):
            self._seen[(home, key)] = transactions.seen(key, view, place)
        if question.key in WATCHED:
            self._just_read = (home, question.key)

    def perhaps_again(self, question: Question, fate: str) -> None:
        """Repeat the request with some probability, most likely on another node."""
        rate = self._habits.repeat if fate == "done" else self._habits.retry
        if question.name == once.ONCE:
            rate = once.AGAIN[fate]
        if rate and self._dice.random() < rate:
            self._again = question
            self._world.counts["write asked again"] += 1
