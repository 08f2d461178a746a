"""dogpile.cache with a distributed lock: two processes, as it were, and one that makes the value."""

import threading
from concurrent.futures import ThreadPoolExecutor

from dogpile.cache import make_region
from dogpile.cache.api import NO_VALUE


def region_at(port):
    """A region as a process of its own would have it."""
    return make_region().configure(
        "dogpile.cache.redis",
        expiration_time=3600,
        arguments={
            "host": "127.0.0.1",
            "port": port,
            "redis_expiration_time": 7200,
            "distributed_lock": True,
            "thread_local_lock": False,
            "lock_timeout": 120,
        },
    )


def test_dogpile(site):
    region = region_at(site.port)
    region.set("a", {"any": "object"})
    assert region.get("a") == {"any": "object"}
    region.set_multi({"b": 1, "c": 2})
    assert region.get_multi(["b", "c", "missing"]) == [1, 2, NO_VALUE]
    site.kill_leader()
    made = region.get_or_create_multi(["b", "d"], lambda *keys: [f"made {key}" for key in keys])
    assert made == [1, "made d"]
    region.delete_multi(["b", "c"])
    region.delete("a")
    assert region.get("a") is NO_VALUE

    @region.cache_on_arguments()
    def double(number: int) -> int:
        return 2 * number

    assert double(4) == double(4) == 8
    double.invalidate(4)
    assert double.get(4) is NO_VALUE


def test_one_makes_the_value(site):
    """The second waits for the lock of the first, whose leader dies while the value is made."""
    begun = threading.Event()
    made: list[None] = []

    def make() -> str:
        made.append(None)
        site.kill_leader()
        begun.set()
        return "value"

    first, second = region_at(site.port), region_at(site.port)
    with ThreadPoolExecutor(2) as pool:
        one = pool.submit(first.get_or_create, "key", make)
        assert begun.wait(60)
        two = pool.submit(second.get_or_create, "key", make)
        assert [one.result(120), two.result(120)] == ["value", "value"]
    assert len(made) == 1
