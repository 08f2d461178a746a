"""cashews: decorators, locks, limits and bits, with errors shown instead of swallowed."""

import asyncio

import pytest
from cashews import Cache, RateLimitError
from cashews.exceptions import CacheBackendInteractionError

CALLERS = 10


async def opened(url: str) -> Cache:
    cache = Cache()
    cache.setup(url, suppress=False, socket_timeout=120)
    await cache.init()
    return cache


def test_cashews(site, run):
    async def story() -> None:
        cache = await opened(site.url)
        await cache.set("a", {"any": "object"}, expire="1h")
        assert await cache.get("a") == {"any": "object"}
        assert 3590 < await cache.get_expire("a") <= 3600
        assert not await cache.set("a", 1, exist=False)
        await cache.set_many({"page:1": "x", "page:2": "y", "q": 1}, expire=600)
        assert await cache.get_many("page:1", "missing", default=0) == ("x", 0)
        assert await cache.incr("n", 5, expire=600) == 5
        assert await cache.incr("n") == 6
        assert await cache.get_size("a") > 0
        assert sorted([key async for key in cache.scan("page:*")]) == ["page:1", "page:2"]
        site.kill_leader()
        assert dict([each async for each in cache.get_match("page:*")]) == {"page:1": "x", "page:2": "y"}
        await cache.delete_match("page:*")
        assert await cache.get_keys_count() == 3
        assert await cache.incr_bits("bits", 0, 1, 4) == (1, 1, 1)
        assert await cache.get_bits("bits", 0, 2, 4) == (1, 0, 1)
        await cache.clear()
        await cache.close()

    run(story())


def test_decorators(site, run):
    """Cached, locked, early and limited calls; the leader dies in the one that is locked."""

    async def story() -> None:
        cache = await opened(site.url)
        calls = []

        @cache(ttl="10m", key="page:{number}", lock=True)
        async def page(number: int) -> str:
            calls.append(number)
            await asyncio.to_thread(site.kill_leader)
            return f"page {number}"

        assert await asyncio.gather(*(page(1) for _ in range(CALLERS))) == ["page 1"] * CALLERS
        assert calls == [1]

        @cache.early(ttl="10m", early_ttl="5m", key="early:{number}")
        async def early(number: int) -> int:
            return number

        assert [await early(2), await early(2)] == [2, 2]

        @cache.rate_limit(limit=3, period="10m", key="limit:{user}")
        async def limited(user: str) -> str:
            return user

        assert [await limited("a") for _ in range(3)] == ["a"] * 3
        with pytest.raises(RateLimitError):
            await limited("a")
        assert await limited("b") == "b"

        async with cache.lock("lock", expire="1m"):
            assert await cache.is_locked("lock")
        assert not await cache.is_locked("lock")
        await cache.close()

    run(story())


def test_what_does_not_run(site, run):
    """Tags are sets, and a sliding limit is a sorted set."""

    async def story() -> None:
        cache = await opened(site.url)
        with pytest.raises(CacheBackendInteractionError) as refused:
            await cache.set_add("tag", "key")
        assert "unknown command 'SADD'" in str(refused.value.__cause__)
        with pytest.raises(CacheBackendInteractionError) as refused:
            await cache.slice_incr("limit", 0, 1, 5)
        assert "Unknown Redis command called from script" in str(refused.value.__cause__)
        await cache.close()

    run(story())
