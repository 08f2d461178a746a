"""Unchanged clients of redis-py or its RedisCluster that notice whether slots move: a process of its own.

The only argument is a JSON object: ports, redirect (whether they are clients of a cluster), keys,
value_bytes, writers, readers and name. They work until their standard input ends, and one JSON object with
the fields of `Seen` is printed.
"""

import asyncio
import json
import random
import sys
import time
from collections import Counter
from collections.abc import Awaitable, Callable
from dataclasses import asdict, dataclass, field
from typing import Any

import redis.asyncio as redis
from redis.asyncio.cluster import ClusterNode, RedisCluster

from bench.client import key
from bench.measure import percentile

READ_TOGETHER = 10  # keys of one MGET
COUNTERS = 40
EXPIRING = 40
EXPIRY_MS = 3_600_000
SEED = 12


@dataclass
class Seen:
    """Requests by kind, latencies of writes, and what went wrong.

    `failed` are error replies by their text, and `wrong` counts replies that are not true: a counter that is
    not one more, an expiry that has changed, a key that is missing.
    """

    requests: dict[str, int] = field(default_factory=dict)
    seconds: float = 0.0
    rate: float = 0.0
    p50_ms: float = 0.0
    p99_ms: float = 0.0
    max_ms: float = 0.0
    failed: dict[str, int] = field(default_factory=dict)
    wrong: int = 0


class Clients:
    """All clients. Each has one request in flight."""

    def __init__(self, plan: dict[str, Any]) -> None:
        self._plan = plan
        self._stopping = False
        self._latencies: list[float] = []
        self._requests: Counter[str] = Counter()
        self._failed: Counter[str] = Counter()
        self._wrong = 0

    async def run(self) -> Seen:
        """Work until standard input ends."""
        plan, begun = self._plan, time.monotonic()
        roles = [self._set] * plan["writers"] + [self._mget] * plan["readers"] + [self._count, self._expiry]
        tasks = [asyncio.create_task(self._work(number, role)) for number, role in enumerate(roles)]
        await asyncio.to_thread(sys.stdin.read)
        self._stopping = True
        await asyncio.gather(*tasks)
        seconds = time.monotonic() - begun
        p50, p99, most = (percentile(self._latencies, share) * 1e3 for share in (0.5, 0.99, 1.0))
        return Seen(
            dict(self._requests), seconds, self._requests["set"] / seconds, p50, p99, most,
            dict(self._failed), self._wrong,
        )  # fmt: skip

    async def _work(self, number: int, role: Callable[[Any, random.Random], Awaitable[None]]) -> None:
        dice, client = random.Random(SEED + number), self._client(number)  # noqa: S311  repeatable, not secret
        try:
            while not self._stopping:
                try:
                    await role(client, dice)
                except redis.RedisError as error:
                    self._failed[str(error)] += 1
        finally:
            await client.aclose()

    def _client(self, number: int) -> Any:
        ports = self._plan["ports"]
        if self._plan["redirect"]:
            return RedisCluster(startup_nodes=[ClusterNode("127.0.0.1", port) for port in ports])
        return redis.Redis(port=ports[number % len(ports)])

    def _any_key(self, dice: random.Random) -> bytes:
        return key(dice.randrange(self._plan["keys"]))

    async def _set(self, client: Any, dice: random.Random) -> None:
        name, begun = self._any_key(dice), time.perf_counter()
        await client.set(name, b"v" * self._plan["value_bytes"])
        self._latencies.append(time.perf_counter() - begun)
        self._requests["set"] += 1

    async def _mget(self, client: Any, dice: random.Random) -> None:
        names = [self._any_key(dice) for _ in range(READ_TOGETHER)]
        values = await (client.mget_nonatomic if self._plan["redirect"] else client.mget)(names)
        self._requests["mget"] += 1
        self._wrong += None in values

    async def _count(self, client: Any, _: random.Random) -> None:
        place, round_ = self._requests["incr"] % COUNTERS, self._requests["incr"] // COUNTERS
        name = f"{self._plan['ports'][0]} {self._plan['name']} {place}"
        self._wrong += await client.incr(name) != round_ + 1
        self._requests["incr"] += 1

    async def _expiry(self, client: Any, _: random.Random) -> None:
        round_, place = divmod(self._requests["expiry"], EXPIRING)
        name = f"expiring {self._plan['name']} {place}"
        if round_ == 0:
            await client.set(name, "x", px=EXPIRY_MS)
        self._wrong += not EXPIRY_MS - 600_000 < await client.pttl(name) <= EXPIRY_MS
        self._requests["expiry"] += 1
        await asyncio.sleep(0.01)


if __name__ == "__main__":
    print(json.dumps(asdict(asyncio.run(Clients(json.loads(sys.argv[1])).run()))))
