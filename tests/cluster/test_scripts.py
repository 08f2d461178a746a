"""Scripts that append to lists, through every node, while leaders are killed, paused and cut off.

All that was done is explained by one order in real time, no script is there in part, and a script that was
loaded is known to every node ever after.
"""

import random
import threading
import time
from collections import Counter
from collections.abc import Sequence
from typing import Any

import pytest

from tests.cluster.faults import (
    CALL_SECONDS,
    NOT_DONE_PREFIXES,
    cut_off,
    kill,
    on_every_node,
    pause,
    under_faults,
)
from tests.cluster.harness import Cluster, Server
from tests.cluster.load import PAUSE_SECONDS
from tests.cluster.proxy import Cuts
from tests.cluster.wire import Client, Refusal
from tests.serializability import APPEND, DONE, INFINITY, NOT_DONE, READ, UNKNOWN, Attempt, Operation, check

pytestmark = pytest.mark.slow

LISTS = [f"list:{n}" for n in range(4)]
STEPS = """
local found = {}
for place, key in ipairs(KEYS) do
    if ARGV[place] == '' then
        found[place] = redis.call('GET', key) or ''
    else
        found[place] = redis.call('APPEND', key, ARGV[place])
    end
end
if ARGV[#KEYS + 1] then error(ARGV[#KEYS + 1]) end
return found
"""
LIBRARY = f"#!lua name=lists\nredis.register_function('steps', function(KEYS, ARGV)\n{STEPS}\nend)\n"
WAYS = ("EVAL", "EVALSHA", "FCALL", "ONCE", "MULTI")
UNDONE_RATE = 0.15

Words = list[str | int]


class Lists:
    """Sends scripts, and records what became of them."""

    def __init__(self, sha: str) -> None:
        self.attempts: dict[str, Attempt] = {}
        self.ways = dict.fromkeys(WAYS, 0)  # how many were done
        self._sha = sha

    def work(self, server: Server, number: int, stop: threading.Event) -> None:
        """Send one script after the other to a node."""
        random_ = random.Random(number)
        with server.client(CALL_SECONDS) as client:
            while not stop.wait(PAUSE_SECONDS):
                self._attempt(client, f"{number}.{time.monotonic_ns()}", random_)

    def _attempt(self, client: Client, name: str, random_: random.Random) -> None:
        """One request, recorded before it is sent: a lost connection leaves it unknown."""
        way, steps = random_.choice(WAYS), drawn(name, random_)
        undone = way != "MULTI" and random_.random() < UNDONE_RATE
        appends = [step for step in steps if step[0] == APPEND]
        called = time.monotonic()
        self.attempts[name] = Attempt(name, UNKNOWN, called, INFINITY, appends)
        if way == "MULTI":
            reply, steps = self._transaction(client, name, steps)
        else:
            reply = self._sent(client, name, way, words(steps, undone=undone))
        fate = fate_of(reply)
        assert not (undone and fate == DONE), reply
        found: Sequence[Operation] = [step for step in steps if step[0] == APPEND]
        if fate == DONE:
            self.ways[way] += 1
            found = [
                step if step[0] == APPEND else (READ, step[1], elements(value))
                for step, value in zip(steps, reply, strict=True)
            ]
        returned = INFINITY if fate == UNKNOWN else time.monotonic()
        self.attempts[name] = Attempt(name, fate, called, returned, found)

    def _sent(self, client: Client, name: str, way: str, script: Words) -> Any:
        if way == "EVALSHA":
            return client.call("EVALSHA", self._sha, *script)
        if way == "FCALL":
            return client.call("FCALL", "steps", *script)
        if way == "EVAL":
            return client.call("EVAL", STEPS, *script)
        until = time.monotonic() + CALL_SECONDS
        while time.monotonic() < until:
            reply = client.call("KRAFT", "ONCE", name, "EVAL", STEPS, *script)
            if not isinstance(reply, Refusal) or "undone" in reply:
                return reply
            time.sleep(0.02)
        return Refusal("UNCERTAIN")

    def _transaction(self, client: Client, name: str, steps: list[Operation]) -> tuple[Any, list[Operation]]:
        """An append, a script that fails, the script, and a read. Returns the replies and the steps."""
        first: Operation = (APPEND, LISTS[0], f"{name}.first")
        lost: Operation = (APPEND, LISTS[1], f"{name}.undone")
        self.attempts[f"{name}.undone"] = Attempt(f"{name}.undone", NOT_DONE, 0.0, INFINITY, [lost])
        all_steps = [first, *steps, (READ, LISTS[0], None)]
        appends = [step for step in all_steps if step[0] == APPEND]
        self.attempts[name] = Attempt(name, UNKNOWN, time.monotonic(), INFINITY, appends)
        requests: list[Words] = [
            ["MULTI"],
            ["APPEND", first[1], f"|{first[2]}"],
            ["EVAL", STEPS, *words([lost], undone=True)],
            ["EVALSHA", self._sha, *words(steps)],
            ["GET", LISTS[0]],
            ["EXEC"],
        ]
        reply = [client.call(*request) for request in requests][-1]
        if not isinstance(reply, list):
            return reply, all_steps
        length, failed, found, last = reply
        assert isinstance(failed, Refusal), reply
        if isinstance(found, Refusal):  # it was stopped: on a machine with too much to do
            return [length, last], [all_steps[0], all_steps[-1]]
        return [length, *found, last], all_steps


def drawn(name: str, random_: random.Random) -> list[Operation]:
    """The steps of a script, with the elements that they append."""
    only_reads = random_.random() < 0.1
    steps: list[Operation] = []
    for place in range(random_.randrange(1, 4)):
        kind = READ if only_reads or random_.random() < 0.4 else APPEND
        steps.append((kind, random_.choice(LISTS), f"{name}.{place}" if kind == APPEND else None))
    return steps


def words(steps: Sequence[Operation], *, undone: bool = False) -> Words:
    """The number of keys, the keys and the arguments of a script."""
    arguments = [f"|{element}" if kind == APPEND else "" for kind, _, element in steps]
    return [len(steps), *[key for _, key, _ in steps], *arguments, *(["undone"] if undone else [])]


def fate_of(reply: Any) -> str:
    """What became of a script."""
    if isinstance(reply, list):
        return DONE
    if reply.prefix == "UNCERTAIN":
        return UNKNOWN
    stopped = "undone" in reply or "scripts.time" in reply  # a machine with too much to do
    assert stopped or reply.prefix in NOT_DONE_PREFIXES, reply
    return NOT_DONE


def elements(value: bytes | None) -> list[str]:
    """The elements of a list."""
    return (value or b"").decode().split("|")[1:]


def test_scripts_on_lists_are_serializable(cuts: tuple[Cluster, Cuts]) -> None:
    """EVAL, EVALSHA, FCALL, after KRAFT ONCE and in MULTI; some fail after their last write."""
    cluster, proxies = cuts
    first, *_ = cluster
    lists = Lists(first.ask("SCRIPT", "LOAD", STEPS).decode())
    assert first.ask("FUNCTION", "LOAD", LIBRARY) == b"lists"
    workers = on_every_node(cluster, lists.work)
    under_faults(cluster, workers, lambda: sum(lists.ways.values()), [kill, pause, cut_off(proxies)])
    cluster.wait_equal(*[server.id for server in cluster])
    attempts = list(lists.attempts.values())
    for server in cluster:
        with server.client() as client:
            found = {key: elements(client.call("GET", key)) for key in LISTS}
        assert check(attempts, found) > 500
    fates = Counter(attempt.fate for attempt in attempts)
    assert fates[DONE] > 500
    assert fates[NOT_DONE]
    assert all(lists.ways.values()), lists.ways
