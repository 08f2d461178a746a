"""pybreaker: processes that share one circuit breaker."""

import pytest
import redis
from pybreaker import STATE_CLOSED, CircuitBreaker, CircuitBreakerError, CircuitRedisStorage


def pay() -> None:
    """The call of a service that is down."""
    raise OSError("the bank does not answer")


def test_a_circuit_opens_for_all(site):
    with redis.Redis(port=site.port) as client, redis.Redis(port=site.port) as another:
        mine, theirs = (
            CircuitBreaker(
                fail_max=3,
                reset_timeout=3600,
                state_storage=CircuitRedisStorage(STATE_CLOSED, each, namespace="bank"),
            )
            for each in (client, another)
        )
        for breaker in (mine, theirs):
            with pytest.raises(OSError, match="the bank"):
                breaker.call(pay)
        assert mine.fail_counter == theirs.fail_counter == 2
        site.kill_leader()
        with pytest.raises(CircuitBreakerError):
            mine.call(pay)
        assert theirs.current_state == "open"
        with pytest.raises(CircuitBreakerError):
            theirs.call(lambda: None)
        theirs.close()
        assert mine.call(lambda: "paid") == "paid"
        assert mine.fail_counter == 0
