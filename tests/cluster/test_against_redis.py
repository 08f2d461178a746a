"""The same sequences of commands to redis-server and to kraft's client port: replies equal to the byte.

The client port is the real one on a real state machine, without sockets and replication, which have tests of
their own. Differences that are meant are in `redis_sequences.DIFFERENCES`.
"""

from contextlib import closing

import pytest
from hypothesis import HealthCheck, example, given, settings
from hypothesis import strategies as st

from tests.cluster.redis_sequences import DIFFERENCES, SEQUENCES, Words, whole_reply
from tests.cluster.redis_server import NUMBER, RawClient, RealTime
from tests.server.fakes import Port, encode

pytestmark = pytest.mark.slow

KEYS_AND_VALUES = [b"%d" % number for number in range(60)]  # for MSET: more keys than one SCAN returns


@pytest.fixture(scope="module")
def redis(redis_port):
    """A connection to a redis-server."""
    with closing(RawClient(redis_port)) as client:
        yield client


def line(words: Words) -> bytes:
    """A request as a line with quotes."""
    quoted = ["".join(f"\\x{byte:02x}" for byte in word) for word in words]
    return " ".join(f'"{word}"' for word in quoted).encode() + b"\r\n"


@example([[b"SET", b"a", b"1.5"], [b"INCRBYFLOAT", b"a", b"1.1"], [b"GET", b"a"]], 2, False)
@example([[b"BITFIELD", b"a", b"OVERFLOW", b"FAIL", b"SET", b"u2", b"30", b"9"], [b"GET", b"a"]], 3, False)
@example([[b"MSET", *KEYS_AND_VALUES], [b"SCAN", b"0", b"MATCH", b"COUNT", b"type", b"x"]], 2, True)
@example(
    [[b"MSET", *KEYS_AND_VALUES], [b"SCAN", b"0", b"COUNT", b"1"], [b"scan", b"0", b"MATCH", b"*1*"]],
    3,
    False,
)
@settings(max_examples=NUMBER, deadline=None, suppress_health_check=list(HealthCheck), print_blob=True)
@given(SEQUENCES, st.sampled_from([2, 3]), st.booleans())
def test_replies_are_those_of_redis(redis, sequence, protocol, inline):
    redis.ask(b"FLUSHALL\r\n")
    redis.ask(b"HELLO %d\r\n" % protocol)
    port = Port()
    port.clock = port.host._clock = port.factory.port.clock = RealTime()
    kraft = port.connect()
    kraft.run("HELLO", str(protocol))

    def answer(server, words: Words) -> bytes:
        return whole_reply(words, lambda asked: server.ask(line(asked) if inline else encode(*asked)))

    for words in sequence:
        theirs, ours = answer(redis, words), answer(kraft, words)
        same = theirs == ours or any(rule(words, theirs, ours) for rule in DIFFERENCES.values())
        assert same, f"{words}: redis {theirs!r}, kraft {ours!r}"
