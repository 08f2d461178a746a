"""Django's own cache backend, and django-redis: caches, sessions and locks."""

import sys
import types
from collections.abc import Iterator

import django
import pytest
from django.conf import settings
from django.core.cache import caches
from django.http import HttpRequest, HttpResponse
from django.test import Client, override_settings
from django.urls import path

URLS = "kraft_test_urls"


def visit(request: HttpRequest) -> HttpResponse:
    """Counts the visits of a session."""
    request.session["visits"] = request.session.get("visits", 0) + 1
    return HttpResponse(request.session["visits"])


@pytest.fixture(params=["django.core.cache.backends.redis.RedisCache", "django_redis.cache.RedisCache"])
def cache(request, site) -> Iterator[object]:
    """The default cache of a Django project whose sessions are in it."""
    if not settings.configured:
        settings.configure(SECRET_KEY="for tests", ALLOWED_HOSTS=["*"])
        django.setup()
        sys.modules[URLS] = types.ModuleType(URLS)
        sys.modules[URLS].urlpatterns = [path("", visit)]  # type: ignore[attr-defined]
    with override_settings(
        CACHES={"default": {"BACKEND": request.param, "LOCATION": site.url}},
        SESSION_ENGINE="django.contrib.sessions.backends.cache",
        MIDDLEWARE=["django.contrib.sessions.middleware.SessionMiddleware"],
        ROOT_URLCONF=URLS,
    ):
        yield caches["default"]


def test_the_cache(cache, site):
    """What django.core.cache documents."""
    cache.set("a", {"any": ["object", 1]}, timeout=100)
    assert cache.get("a") == {"any": ["object", 1]}
    assert cache.get("missing", "default") == "default"
    assert cache.add("a", 1) is False
    assert cache.add("b", 1, timeout=None) is True
    assert cache.get_or_set("c", lambda: 7) == 7
    assert cache.touch("a", 200) is True
    cache.set_many({"d": 1, "e": 2}, timeout=50)
    assert cache.get_many(["d", "e", "missing"]) == {"d": 1, "e": 2}
    site.kill_leader()
    assert cache.incr("d") == 2
    assert cache.decr("d", 5) == -3
    with pytest.raises(ValueError, match="not found"):
        cache.incr("missing")
    assert cache.has_key("e")
    assert cache.incr_version("e") == 2
    assert cache.get("e") is None
    assert cache.get("e", version=2) == 2
    cache.set("negative", 1, timeout=-1)
    assert cache.get("negative") is None
    assert cache.delete("a")
    assert not cache.delete("a")
    cache.delete_many(["b", "c"])
    assert cache.get_many(["a", "b", "c"]) == {}
    cache.clear()
    assert cache.get("d") is None


def test_a_session_survives_the_leader(cache, site):
    browser = Client()
    assert [browser.get("/").content for _ in range(2)] == [b"1", b"2"]
    site.kill_leader()
    assert browser.get("/").content == b"3"
    assert Client().get("/").content == b"1"
    browser.session.flush()
    assert browser.get("/").content == b"1"


@pytest.mark.parametrize("cache", ["django_redis.cache.RedisCache"], indirect=True)
def test_what_django_redis_adds(cache, site):
    """Locks, times to live, and patterns."""
    with cache.lock("lock", timeout=120):
        site.kill_leader()
        assert not cache.lock("lock").acquire(blocking=False)
    assert cache.lock("lock", timeout=10).acquire(blocking_timeout=1)
    cache.set("a", 1, timeout=100)
    assert 90 < cache.ttl("a") <= 100
    assert 90_000 < cache.pttl("a") <= 100_000
    assert cache.persist("a")
    assert cache.ttl("a") is None
    assert cache.ttl("missing") == 0
    assert cache.expire("a", 10)
    assert cache.set("a", 2, nx=True) is False
    cache.set_many({f"page:{number}": number for number in range(3000)})
    assert len(cache.keys("page:*")) == 3000
    assert sum(1 for _ in cache.iter_keys("page:*", itersize=500)) == 3000
    assert cache.delete_pattern("page:1*") == 1111
    assert len(cache.keys("page:*")) == 1889


def test_what_needs_another_limit(cache):
    """Both set many keys in one transaction, which has `limits.multi_commands` commands at most."""
    with pytest.raises(Exception, match="too many commands in transaction"):
        cache.set_many({f"page:{number}": number for number in range(5000)})
    assert cache.get("page:1") is None
