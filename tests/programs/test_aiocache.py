"""aiocache: a cache with its RedLock, and its compare-and-set."""

import asyncio
from typing import Any

import pytest
from aiocache import Cache, cached_stampede
from aiocache.lock import OptimisticLock, OptimisticLockError, RedLock
from aiocache.serializers import JsonSerializer

CALLERS = 20


def open_cache(site: Any, **options: object) -> Any:
    """Without a time limit of its own: a change of leader takes longer on a busy machine."""
    return Cache(Cache.REDIS, endpoint="127.0.0.1", port=site.port, timeout=0, **options)


def test_aiocache(site, run):
    async def story() -> None:
        cache = open_cache(site, namespace="main", serializer=JsonSerializer())
        assert await cache.set("a", [1, 2], ttl=100)
        assert await cache.get("a") == [1, 2]
        with pytest.raises(ValueError, match="already exists"):
            await cache.add("a", 1)
        assert await cache.multi_set([("b", 1), ("c", 2)], ttl=100)
        assert await cache.multi_get(["b", "c", "missing"]) == [1, 2, None]
        assert await cache.increment("b", 41) == 42
        assert await cache.exists("c")
        assert await cache.expire("c", 0)
        async with OptimisticLock(cache, "c") as lock:
            await cache.set("c", 3)
            with pytest.raises(OptimisticLockError):
                await lock.cas(4)
        async with OptimisticLock(cache, "c") as lock:
            assert await lock.cas(5, ttl=100)
        site.kill_leader()
        assert await cache.get("c") == 5
        assert await cache.delete("c") == 1
        assert await cache.clear(namespace="main")
        assert await cache.get("a") is None
        await cache.close()

    run(story())


def test_redlock_lets_one_through(site, run):
    """Many callers of one slow function, which is called once although the leader dies in it."""
    calls: list[None] = []

    async def story() -> None:
        cache = open_cache(site)

        async def slow() -> str:
            calls.append(None)
            await asyncio.to_thread(site.kill_leader)
            await cache.set("used meanwhile", "1")
            return "result"

        async def call() -> str:
            async with RedLock(cache, "slow", lease=100):
                found = await cache.get("slow")
                if found is None:
                    found = await slow()
                    await cache.set("slow", found)
                return str(found)

        assert await asyncio.gather(*(call() for _ in range(CALLERS))) == ["result"] * CALLERS
        await cache.close()

    run(story())
    assert len(calls) == 1


def test_a_decorator_against_stampedes(site, run):
    calls: list[None] = []

    async def story() -> None:
        @cached_stampede(
            ttl=100, lease=100, cache=Cache.REDIS, key="page", endpoint="127.0.0.1", port=site.port, timeout=0
        )
        async def page() -> str:
            calls.append(None)
            await asyncio.sleep(0)
            return "page"

        assert await asyncio.gather(*(page() for _ in range(CALLERS))) == ["page"] * CALLERS
        await page.cache.close()

    run(story())
    assert len(calls) == 1
