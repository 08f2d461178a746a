"""FastAPI with fastapi-cache2."""

import asyncio

import redis.asyncio
from fastapi import FastAPI
from fastapi_cache import FastAPICache
from fastapi_cache.backends.redis import RedisBackend
from fastapi_cache.decorator import cache
from httpx import ASGITransport, AsyncClient


def test_fastapi_cache(site, run):
    """Pages are kept with their time, and a namespace is cleared by a script that calls KEYS."""
    app = FastAPI()
    made: list[None] = []

    @app.get("/")
    @cache(namespace="pages", expire=600)
    async def index() -> int:
        made.append(None)
        return len(made)

    async def story() -> None:
        client = redis.asyncio.Redis(port=site.port)
        FastAPICache.init(RedisBackend(client), prefix="shop")
        async with AsyncClient(transport=ASGITransport(app), base_url="http://shop") as browser:
            pages = [(await browser.get("/")).json() for _ in range(2)]
            await asyncio.to_thread(site.kill_leader)
            page = await browser.get("/")
            assert [*pages, page.json()] == [1, 1, 1]
            assert page.headers["x-fastapi-cache"] == "HIT"
            await FastAPICache.clear(namespace="pages")
            assert (await browser.get("/")).json() == 2
        await client.aclose()

    run(story())
