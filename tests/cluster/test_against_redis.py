"""The same sequences of commands to redis-server and to kraft's client port: replies equal to the byte.

The client port is the real one on a real state machine, without sockets and replication, which have tests of
their own. Differences that are meant are in `redis_sequences.DIFFERENCES`.
"""

from collections.abc import Callable
from contextlib import closing
from functools import partial
from itertools import groupby
from random import Random

import pytest
from hypothesis import HealthCheck, example, given, settings
from hypothesis import strategies as st

from tests.cluster.redis_sequences import DIFFERENCES, SEQUENCES, Words, is_scan, whole_reply
from tests.cluster.redis_server import NUMBER, Exchange, RealTime, ask_all, in_other_orders
from tests.server.fakes import Port, Talk, encode

pytestmark = pytest.mark.slow

KEYS_AND_VALUES = [b"%d" % number for number in range(60)]  # for MSET: more keys than one SCAN returns


@pytest.fixture(scope="module")
def redis(redis_port):
    """A connection to a redis-server."""
    with closing(Exchange(redis_port)) as client:
        yield client


def line(words: Words) -> bytes:
    """A request as a line with quotes."""
    quoted = ["".join(f"\\x{byte:02x}" for byte in word) for word in words]
    return " ".join(f'"{word}"' for word in quoted).encode() + b"\r\n"


Asked = Callable[[list[bytes]], list[bytes]]  # requests to replies


def whole_replies(sequence: list[Words], ask_all: Asked, request: Callable[[Words], bytes]) -> list[bytes]:
    """The replies to all of `sequence`, which is asked at once as far as no reply tells how to go on."""
    found = []
    for scans, run in groupby(sequence, is_scan):
        if scans:
            found += [whole_reply(words, lambda asked: ask_all([request(asked)])[0]) for words in run]
        else:
            found += ask_all([request(words) for words in run])
    return found


@example([[b"SET", b"a", b"1.5"], [b"INCRBYFLOAT", b"a", b"1.1"], [b"GET", b"a"]], 2, False, Random(0))
@example(
    [[b"MSET", b"", b"1", b"a", b"1"], [b"KEYS", b"***"], [b"SCAN", b"0", b"MATCH", b"**"]],
    2,
    False,
    Random(0),
)
@example(
    [[b"BITFIELD", b"a", b"OVERFLOW", b"FAIL", b"SET", b"u2", b"30", b"9"], [b"GET", b"a"]],
    3,
    False,
    Random(0),
)
@example(
    [[b"MSET", *KEYS_AND_VALUES], [b"SCAN", b"0", b"MATCH", b"COUNT", b"type", b"x"]], 2, True, Random(0)
)
@example(
    [[b"MSET", *KEYS_AND_VALUES], [b"SCAN", b"0", b"COUNT", b"1"], [b"scan", b"0", b"MATCH", b"*1*"]],
    3,
    False,
    Random(0),
)
@settings(max_examples=NUMBER, deadline=None, suppress_health_check=list(HealthCheck), print_blob=True)
@given(SEQUENCES, st.sampled_from([2, 3]), st.booleans(), st.randoms(use_true_random=True))
def test_replies_are_those_of_redis(redis, sequence, protocol, inline, dice):
    def request(words: Words) -> bytes:
        return line(words) if inline else encode(*words)

    kraft = connected()
    for steps in in_other_orders(sequence, dice):
        for server in (redis, kraft):
            server.ask(b"FLUSHALL\r\n")
            server.ask(b"HELLO %d\r\n" % protocol)
        ask_kraft = partial(ask_all, kraft, dice.random() < 0.5)
        theirs, ours = (whole_replies(steps, ask, request) for ask in (redis.ask_all, ask_kraft))
        for number, (words, one, other) in enumerate(zip(steps, theirs, ours, strict=True)):
            same = one == other or any(rule(words, one, other) for rule in DIFFERENCES.values())
            assert same, f"redis {one!r}, kraft {other!r}, after {steps[: number + 1]}"


def connected() -> Talk:
    """A client of a kraft with the time of this machine."""
    port = Port()
    port.clock = port.host._clock = port.factory.port.clock = RealTime()
    return port.connect()
