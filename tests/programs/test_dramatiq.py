"""The rate limiters of Dramatiq: mutexes, buckets and windows. They work without its queues."""

import pytest
from dramatiq.errors import RateLimitExceeded
from dramatiq.rate_limits import BucketRateLimiter, ConcurrentRateLimiter, WindowRateLimiter
from dramatiq.rate_limits.backends import RedisBackend

DAY_MS = 86_400_000


def test_a_mutex(site):
    """One holder at a time, also while the leader dies."""
    mutex = ConcurrentRateLimiter(RedisBackend(url=site.url), "mutex", limit=1, ttl=600_000)
    rival = ConcurrentRateLimiter(RedisBackend(url=site.url), "mutex", limit=1, ttl=600_000)
    with mutex.acquire():
        site.kill_leader()
        with rival.acquire(raise_on_failure=False) as acquired:
            assert not acquired
        with pytest.raises(RateLimitExceeded), rival.acquire():
            pass
    with rival.acquire() as acquired:
        assert acquired


@pytest.mark.parametrize(("limiter", "duration"), [(BucketRateLimiter, DAY_MS), (WindowRateLimiter, 600)])
def test_counts_go_on_after_the_leader(site, limiter, duration):
    option = {"bucket": duration} if limiter is BucketRateLimiter else {"window": duration}
    limited = limiter(RedisBackend(url=site.url), "mails", limit=3, **option)

    def allowed() -> bool:
        with limited.acquire(raise_on_failure=False) as acquired:
            return bool(acquired)

    assert [allowed(), allowed()] == [True, True]
    site.kill_leader()
    assert [allowed(), allowed(), allowed()] == [True, False, False]
