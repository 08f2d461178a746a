"""sherlock: locks with names, whose holder renews them."""

import pytest
import redis
from sherlock import LockException, RedisLock

TERMS = {"expire": 600, "timeout": 0.5, "retry_interval": 0.1}


def test_a_lock_outlives_the_leader(site, other):
    with redis.Redis(port=site.port) as mine, redis.Redis(port=other.client_port) as theirs:
        lock = RedisLock("report", namespace="jobs", client=mine, **TERMS)
        assert lock.acquire()
        site.kill_leader()
    with redis.Redis(port=site.port) as mine, redis.Redis(port=site.port) as theirs:
        lock.client = mine
        rival = RedisLock("report", namespace="jobs", client=theirs, **TERMS)
        assert rival.locked()
        assert not rival.acquire(blocking=False)
        with pytest.raises(LockException):
            rival.release()
        assert lock.renew()
        lock.release()
        with rival:
            assert rival.locked()
        assert not rival.locked()
