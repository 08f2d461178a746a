"""aiohttp-session: sessions of an aiohttp application."""

import asyncio

import redis.asyncio
from aiohttp import CookieJar, web
from aiohttp.test_utils import TestClient, TestServer
from aiohttp_session import get_session, setup
from aiohttp_session.redis_storage import RedisStorage


async def visit(request: web.Request) -> web.Response:
    session = await get_session(request)
    session["visits"] = session.get("visits", 0) + 1
    return web.Response(text=str(session["visits"]))


def test_sessions(site, run):
    async def story() -> None:
        pool = redis.asyncio.Redis(port=site.port)
        app = web.Application()
        setup(app, RedisStorage(pool, max_age=600))
        app.router.add_get("/", visit)
        async with TestClient(TestServer(app), cookie_jar=CookieJar(unsafe=True)) as browser:
            for expected in ("1", "2", "3"):
                if expected == "3":
                    await asyncio.to_thread(site.kill_leader)
                assert await (await browser.get("/")).text() == expected
        await pool.aclose()

    run(story())
