"""taskiq: the results of its tasks. Its queues need lists or streams."""

import pytest
from taskiq import TaskiqResult
from taskiq_redis import RedisAsyncResultBackend
from taskiq_redis.exceptions import ResultIsMissingError


def test_results(site, run):
    async def story() -> None:
        kept = RedisAsyncResultBackend(site.url, result_ex_time=600, prefix_str="kept")
        once = RedisAsyncResultBackend(site.url, keep_results=False)
        result: TaskiqResult[int] = TaskiqResult(
            is_err=False, log="done", return_value=42, execution_time=0.5
        )
        for backend in (kept, once):
            assert not await backend.is_result_ready("a")
            await backend.set_result("a", result)
        site.kill_leader()
        for backend in (kept, once):
            assert await backend.is_result_ready("a")
            assert (await backend.get_result("a", with_logs=True)).return_value == 42
        assert (await kept.get_result("a")).log is None
        with pytest.raises(ResultIsMissingError):
            await once.get_result("a")
        await kept.shutdown()
        await once.shutdown()

    run(story())
