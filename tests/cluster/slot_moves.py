"""Slots that move back and forth between groups, and clients who know what must be true meanwhile.

Whatever a client sees is checked at once. What ends without a reply is counted as unknown; any error that a
client may not see is raised, and fails the test.
"""

import random
import threading
import time
from collections import Counter
from collections.abc import Callable, Iterator
from itertools import pairwise
from typing import Any

import redis

from kraft.host.slots import SlotMap
from kraft.kv.slots import SLOTS, slot_of
from tests.cluster.faults import CALL_SECONDS
from tests.cluster.harness import Cluster, Server, maps, wait_until
from tests.cluster.load import PAUSE_SECONDS
from tests.cluster.test_groups import GROUPS
from tests.cluster.wire import Refusal

BLOCKS = 12  # ranges of slots that move as a whole
SPLIT_GROUPS = 6  # that are split and merged
MOVED_SECONDS = 60.0  # a move on a busy machine
HOUR_MS = 3_600_000
STAY = [f"stay:{number}" for number in range(600)]  # keys that are there all the time, in all slots
TOGETHER = [f"together:{number}" for number in range(6)]  # are always changed together
TIMED = [f"timed:{number}" for number in range(40)]

Expected = Callable[[Exception], bool]
"""Whether a client may see this error: it says that nothing was done, or that it is not known."""


def never(_: Exception) -> bool:
    """No client may see any error."""
    return False


class SlotMoves:
    """Moves ranges of slots to other groups until told to stop. `done` counts the moves that took place."""

    def __init__(self, cluster: Cluster, seed: int = 1) -> None:
        self.done = 0
        self.refusals: Counter[str] = Counter()
        self._servers = list(cluster)
        self._dice = random.Random(seed)
        bounds = [block * SLOTS // BLOCKS for block in range(BLOCKS + 1)]
        self._blocks = [(first, last - 1) for first, last in pairwise(bounds)]

    def run(self, stop: threading.Event) -> None:
        """One move after the other."""
        while not stop.wait(PAUSE_SECONDS):
            first, last = self._dice.choice(self._blocks)
            words = ("MOVE", "SLOTS", first, last, "TO", self._dice.randrange(GROUPS))
            answer = self._order(*words)
            if isinstance(answer, int):
                self._follow(answer, stop)
            elif answer:
                self.refusals[answer.prefix] += 1

    def _follow(self, move: int, stop: threading.Event) -> None:
        end = time.monotonic() + MOVED_SECONDS
        while not stop.wait(PAUSE_SECONDS) and time.monotonic() < end:
            found = self._order("MOVES")
            if isinstance(found, list) and move not in [
                row.get("id", row.get("move")) for row in maps(found)
            ]:
                self.done += 1
                return

    def _order(self, *words: str | int) -> Any:
        try:
            return self._dice.choice(self._servers).order(*words)
        except OSError:
            return None  # that node is down


class Splits(SlotMoves):
    """Splits groups and merges them until told to stop."""

    def run(self, stop: threading.Event) -> None:
        """One command after the other, each with the moves that it has planned."""
        while not stop.wait(PAUSE_SECONDS):
            answer = self._order(*self._next())
            if isinstance(answer, list):
                for move in maps(answer):
                    self._follow(move["id"], stop)
            elif answer:
                self.refusals[answer.prefix] += 1

    def _next(self) -> tuple[str | int, ...]:
        group, other = self._dice.sample(range(SPLIT_GROUPS), 2)
        return ("SPLIT", group) if self._dice.random() < 0.5 else ("MERGE", group, "INTO", other)


def unfinished(server: Server) -> list[dict[str, object]] | None:
    """The moves that a node knows, None if it does not say."""
    try:
        answer = server.order("MOVES")
    except OSError:
        return None
    return None if isinstance(answer, Refusal) else maps(answer)


def fill(server: Server) -> None:
    """Store what the clients below expect."""
    with connected(server) as client:
        client.mset(dict.fromkeys(STAY, "here"))
        client.mset(dict.fromkeys(TOGETHER, 0))
        with client.pipeline(transaction=False) as pipeline:
            for key in TIMED:
                pipeline.set(key, "x", px=HOUR_MS)
            pipeline.execute()


def connected(server: Server, **options: Any) -> Any:
    """redis-py, as it is."""
    port = server.client_port
    return redis.Redis(port=port, decode_responses=True, socket_timeout=CALL_SECONDS, **options)


class Tally:
    """What happened to increments: `acknowledged` is the last value that a reply had.

    `unknown` ones have ended without a reply. They take effect at any time after that, or never: a node that
    was paused may do one long after its client has gone on through another node.
    """

    def __init__(self, key: str) -> None:
        self.key = key
        self.acknowledged = 0
        self.unknown = 0

    def increment(self, client: Any, expected: Expected) -> None:
        """Increment once, and check the reply."""
        self.unknown += 1  # until the reply says otherwise
        try:
            reply = client.incr(self.key)
        except redis.ResponseError as failure:
            if not expected(failure):
                raise
            self.unknown -= not str(failure).startswith("UNCERTAIN")
            return
        low, high = self.acknowledged + 1, self.acknowledged + self.unknown
        if not low <= reply <= high:
            raise AssertionError(f"{self.key}: counted {reply}, not from {low} to {high}")
        self.acknowledged, self.unknown = reply, high - reply

    def check(self, found: int) -> None:
        """Compare with what is there at the end."""
        low, high = self.acknowledged, self.acknowledged + self.unknown
        assert low <= found <= high, f"{self.key}: {found}, not from {low} to {high}"


class Clients:
    """What unchanged clients of redis-py do at one node each. `done` counts their requests.

    Where connections are lost, `options` have to tell redis-py to send nothing again by itself: that would
    count twice.
    """

    def __init__(self, expected: Expected = never, **options: Any) -> None:
        self.expected = expected
        self.options = options
        self.tallies: list[Tally] = []
        self.counts: Counter[str] = Counter()
        self.tokens: dict[str, int] = {}
        self._lock = threading.Lock()

    @property
    def done(self) -> int:
        return sum(self.counts.values())

    def roles(self) -> list[Callable[[Server, int, threading.Event], None]]:
        """Each is the work of one client."""
        return [self.count, self.change_together, self.look, self.repeat, self.list_all]

    def _tally(self, key: str) -> Tally:
        with self._lock:
            tally = next((each for each in self.tallies if each.key == key), None)
            if tally is None:
                tally = Tally(key)
                self.tallies.append(tally)
        return tally

    def _rounds(self, name: str, stop: threading.Event) -> Iterator[int]:
        number = 0
        while not stop.wait(PAUSE_SECONDS):
            yield number
            number += 1
            with self._lock:
                self.counts[name] += 1

    def _may_fail(self, failure: Exception) -> None:
        if not self.expected(failure):
            raise failure

    def count(self, server: Server, number: int, stop: threading.Event) -> None:
        """Increments counters in all slots, each exactly once."""
        tallies = [self._tally(f"count:{number}:{place}") for place in range(20)]
        with connected(server, **self.options) as client:
            for step in self._rounds("increments", stop):
                tallies[step % len(tallies)].increment(client, self.expected)

    def change_together(self, server: Server, number: int, stop: threading.Event) -> None:
        """Changes keys of all groups at once: by MSET, in EXEC, and in EXEC after WATCH."""
        with connected(server, **self.options) as client:
            for step in self._rounds("changes", stop):
                value = f"{number}:{step}"
                try:
                    if step % 3 == 0:
                        client.mset(dict.fromkeys(TOGETHER, value))
                        continue
                    pipeline = client.pipeline()
                    if step % 3 == 1:
                        pipeline.watch(*TOGETHER[:2])
                        self._same(pipeline.mget(TOGETHER))
                        pipeline.multi()
                    for key in TOGETHER:
                        pipeline.set(key, value)
                    pipeline.execute()
                except redis.WatchError:
                    pass
                except redis.ResponseError as failure:
                    self._may_fail(failure)

    def look(self, server: Server, _: int, stop: threading.Event) -> None:
        """Sees keys of all groups as of one moment, and expiries that never change."""
        due: dict[str, int] = {}
        with connected(server, **self.options) as client:
            for step in self._rounds("looks", stop):
                key = TIMED[step % len(TIMED)]
                try:
                    self._same(client.mget(TOGETHER))
                    found = client.pexpiretime(key)
                except redis.ResponseError as failure:
                    self._may_fail(failure)
                else:
                    if found < 0 or due.setdefault(key, found) != found:
                        raise AssertionError(f"{key} expires at {found}, not at {due.get(key)}")

    def _same(self, values: list[str | None]) -> None:
        if len(set(values)) != 1:
            raise AssertionError(f"keys that are changed together: {values}")

    def repeat(self, server: Server, number: int, stop: threading.Event) -> None:
        """Sends increments with a token again and again: each has its effect once."""
        key = f"once:{number}"
        with connected(server, **self.options) as client:
            for step in self._rounds("tokens", stop):
                token = f"{number}:{self.tokens.get(key, 0) + 1}"
                request = ("KRAFT", "ONCE", token, "INCR", key)
                replies = []
                for _ in range(2 + step % 2):
                    try:
                        replies.append(client.execute_command(*request))
                    except redis.ResponseError as failure:
                        self._may_fail(failure)
                    stop.wait(PAUSE_SECONDS)
                if replies:
                    if set(replies) != {self.tokens.get(key, 0) + 1}:
                        raise AssertionError(f"{token} of {key}: {replies}")
                    self.tokens[key] = replies[0]

    def list_all(self, server: Server, _: int, stop: threading.Event) -> None:
        """Finds every key that is there throughout, by each of the ways to list keys."""
        with connected(server, **self.options) as client:
            for step in self._rounds("lists", stop):
                try:
                    if step % 3 == 0:
                        found = list(client.scan_iter("stay:*", count=40))
                    elif step % 3 == 1:
                        found = client.keys("stay:*")
                    else:
                        found = self._pages(client)
                    size = client.dbsize()
                except redis.ResponseError as failure:
                    self._may_fail(failure)
                    continue
                if sorted(found) != sorted(STAY):
                    missing, twice = set(STAY) - set(found), len(found) - len(set(found))
                    raise AssertionError(f"way {step % 3}: {len(missing)} keys missed, {twice} met twice")
                if size < len(STAY):
                    raise AssertionError(f"DBSIZE {size}")

    @staticmethod
    def _pages(client: Any) -> list[str]:
        found: list[str] = []
        after: tuple[str, ...] = ()
        while True:
            cursor, page = client.execute_command(
                "KRAFT", "RANGE", "PREFIX", "stay:", "LIMIT", 100, *after, "KEYSONLY"
            )
            found += page
            if cursor is None:
                return found
            after = ("AFTER", cursor)

    def check(self, server: Server) -> None:
        """What is there at the end, as one node says."""
        with connected(server, **self.options) as client:
            for tally in self.tallies:
                tally.check(int(client.get(tally.key) or 0))
            for key, count in self.tokens.items():
                assert count <= int(client.get(key) or 0) <= count + 1, key
            assert all(HOUR_MS >= client.pttl(key) > 0 for key in TIMED)
            self._same(client.mget(TOGETHER))


def wait_for_owners(cluster: Cluster, seconds: float) -> None:
    """Wait until every slot has an owner that serves it: a key of each block is written through each node.

    In redirect mode a node may name the owner instead.
    """
    static = SlotMap(BLOCKS)
    keys: dict[int, str] = {}
    number = 0
    while len(keys) < BLOCKS:
        key = f"owner:{number}"
        keys.setdefault(static.group_of(slot_of(key.encode())), key)
        number += 1

    def served(key: str) -> bool:
        answers = [server.ask("SET", key, "1") for server in cluster]
        return "OK" in answers and all(each == "OK" or each.prefix == "MOVED" for each in answers)

    wait_until(lambda: all(map(served, keys.values())), "every slot has an owner", seconds)
