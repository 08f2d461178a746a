"""The same scripts to redis-server and to kraft's client port: replies equal to the byte.

Differences that are meant are in `redis_scripts.DIFFERENCES`.
"""

from contextlib import closing

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from kraft.config.values import ScriptsConfig
from tests.cluster.redis_scripts import DIFFERENCES, PROLOGUE, SCRIPTS
from tests.cluster.redis_server import NUMBER, Exchange
from tests.server.fakes import Port, encode

pytestmark = pytest.mark.slow


@pytest.fixture(scope="module")
def redis(redis_port):
    """A connection to a redis-server."""
    with closing(Exchange(redis_port)) as client:
        yield client


@pytest.fixture(scope="module")
def kraft():
    """A connection to a client port whose scripts have time enough on a busy machine."""
    return Port(scripts=ScriptsConfig(time=1.0)).connect()


@settings(max_examples=NUMBER, deadline=None, suppress_health_check=list(HealthCheck), print_blob=True)
@given(SCRIPTS, st.sampled_from([2, 3]))
def test_scripts_reply_as_in_redis(redis, kraft, script, protocol):
    def answer(server):
        server.ask(encode("HELLO", str(protocol)))
        server.ask(encode("FLUSHALL"))
        return server.ask(encode("EVAL", script, "1", "a", "argument"))

    theirs, ours = answer(redis), answer(kraft)
    same = theirs == ours or any(rule(script, theirs, ours) for rule in DIFFERENCES.values())
    assert same, f"{script.removeprefix(PROLOGUE)}\nredis {theirs!r}\nkraft {ours!r}"
