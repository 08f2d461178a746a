"""Pottery's Redlock. Its containers are hashes, lists and sets, and do not run."""

import pytest
import redis
from pottery import Redlock
from pottery.exceptions import ReleaseUnlockedLock


def test_redlock(site):
    with redis.Redis(port=site.port) as client, redis.Redis(port=site.port) as another:
        lock = Redlock(key="report", masters={client}, auto_release_time=600)
        rival = Redlock(key="report", masters={another}, auto_release_time=600)
        assert lock.acquire()
        site.kill_leader()
        assert not rival.acquire(blocking=False)
        assert 0 < lock.locked() <= 600
        lock.extend()
        lock.release()
        assert rival.acquire(timeout=60)
        rival.release()
        with pytest.raises(ReleaseUnlockedLock):
            lock.release()
