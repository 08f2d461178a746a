"""Litestar: its store, for sessions, caches and rate limits."""

import asyncio

from litestar.stores.redis import RedisStore


def test_a_store(site, run):
    """It renews by a script, and deletes all of a namespace by one that calls SCAN."""

    async def story() -> None:
        store = RedisStore.with_client(site.url)
        async with store:
            sessions, pages = store.with_namespace("sessions"), store.with_namespace("pages")
            await sessions.set("a", "text", expires_in=60)
            await sessions.set("b", b"\xff")
            await pages.set("a", "page")
            assert await sessions.get("a", renew_for=3600) == b"text"
            await asyncio.to_thread(site.kill_leader)
            assert 60 < (await sessions.expires_in("a") or 0) <= 3600
            assert await sessions.exists("b")
            await sessions.delete("b")
            assert await sessions.get("b") is None
            await sessions.delete_all()
            assert [await sessions.get("a"), await pages.get("a")] == [None, b"page"]

    run(story())
