"""Flask-Caching, Flask-Session and Flask-Limiter in applications, and the limits library itself."""

from itertools import count

import limits
import pytest
import redis
from flask import Flask, session
from flask_caching import Cache
from flask_limiter import Limiter
from flask_limiter.util import get_remote_address
from flask_session import Session

HOUR = "5 per hour"


def test_flask_caching(site):
    app = Flask("pages")
    cache = Cache(app, config={"CACHE_TYPE": "RedisCache", "CACHE_REDIS_URL": site.url})
    made = count(1)

    @app.get("/page")
    @cache.cached(timeout=600, query_string=True)
    def page() -> str:
        return f"made {next(made)}"

    @cache.memoize(600)
    def square(number: int) -> tuple[int, int]:
        return number * number, next(made)

    browser = app.test_client()
    assert [browser.get("/page").text for _ in range(3)] == ["made 1"] * 3
    site.kill_leader()
    assert browser.get("/page").text == "made 1"
    assert browser.get("/page?other").text == "made 2"
    with app.app_context():
        assert square(3) == square(3) == (9, 3)
        assert square(4) == (16, 4)
        cache.delete_memoized(square, 3)
        assert square(3) == (9, 5)
        assert square(4) == (16, 4)
        cache.delete_memoized(square)
        assert square(4) == (16, 6)
        assert cache.set_many({"a": 1, "b": [2]}, timeout=60)
        assert cache.get_many("a", "b", "missing") == [1, [2], None]
        assert cache.get_dict("a", "b") == {"a": 1, "b": [2]}
        assert cache.add("a", 5) is False
        assert cache.has("b")
        assert cache.cache.inc("a", 4) == 5
        assert cache.delete_many("a", "b")
        assert cache.clear()
        assert square(4) == (16, 7)


def test_flask_session(site):
    app = Flask("shop")
    with redis.Redis(port=site.port) as client:
        app.config.update(SESSION_TYPE="redis", SESSION_REDIS=client)
        Session(app)

        @app.get("/")
        def index() -> str:
            session["visits"] = session.get("visits", 0) + 1
            return str(session["visits"])

        @app.get("/leave")
        def leave() -> str:
            session.clear()
            return "bye"

        browser = app.test_client()
        assert [browser.get("/").text for _ in range(2)] == ["1", "2"]
        site.kill_leader()
        assert browser.get("/").text == "3"
        assert app.test_client().get("/").text == "1"
        [mine] = [key for key in client.scan_iter("session:*") if b"visits\x03" in client.get(key)]
        assert client.ttl(mine) > 600
        assert browser.get("/leave").text == "bye"
        assert not client.exists(mine)


@pytest.mark.parametrize("strategy", ["fixed-window", "sliding-window-counter"])
def test_flask_limiter_counts_across_the_death_of_the_leader(site, strategy):
    app = Flask("limited")
    limiter = Limiter(
        get_remote_address, app=app, storage_uri=site.url, strategy=strategy, headers_enabled=True
    )

    @app.get("/")
    @limiter.limit(HOUR)
    def index() -> str:
        return "welcome"

    browser = app.test_client()
    first = browser.get("/")
    assert (first.status_code, first.headers["X-RateLimit-Remaining"]) == (200, "4")
    assert [browser.get("/").status_code for _ in range(2)] == [200, 200]
    site.kill_leader()
    assert [browser.get("/").status_code for _ in range(4)] == [200, 200, 429, 429]
    stranger = {"REMOTE_ADDR": "10.0.0.9"}
    assert browser.get("/", environ_base=stranger).status_code == 200


@pytest.mark.parametrize("strategy", ["FixedWindowRateLimiter", "SlidingWindowCounterRateLimiter"])
def test_limits(site, strategy):
    storage = limits.storage.storage_from_string(site.url)
    limiter = getattr(limits.strategies, strategy)(storage)
    item = limits.parse(HOUR)
    assert storage.check()
    assert limiter.hit(item, "user", cost=3)
    assert limiter.test(item, "user")
    site.kill_leader()
    assert limiter.get_window_stats(item, "user").remaining == 2
    assert limiter.hit(item, "user", cost=2)
    assert not limiter.test(item, "user")
    limiter.clear(item, "user")
    assert limiter.hit(item, "user")
    assert storage.reset() > 0
    assert limiter.get_window_stats(item, "user").remaining == 5


def test_what_does_not_run(site):
    """The moving window is a list: a clear error."""
    storage = limits.storage.storage_from_string(site.url)
    limiter = limits.strategies.MovingWindowRateLimiter(storage)
    with pytest.raises(redis.ResponseError, match="Unknown Redis command called from script"):
        limiter.hit(limits.parse(HOUR), "user")
