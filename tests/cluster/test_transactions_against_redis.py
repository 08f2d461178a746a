"""The same transactions of three connections to redis-server and to kraft: replies equal to the byte.

As in test_against_redis.py the client port is the real one on a real state machine. The connections take
turns, so that what one watches is changed by another. With three groups the keys of most commands and
transactions are in several.
"""

import re
from collections.abc import Callable, Sequence
from contextlib import ExitStack, closing
from functools import partial
from itertools import groupby
from random import Random

import pytest
from hypothesis import HealthCheck, example, given, settings
from hypothesis import strategies as st

from tests.cluster.redis_sequences import COMMANDS, DIFFERENCES, INTEGERS, KEYS, VALUES, Words
from tests.cluster.redis_server import NUMBER, Exchange, RealTime, ask_all, in_other_orders
from tests.server.fake_host import FakeTransactions
from tests.server.fakes import Port, Talk, encode

pytestmark = pytest.mark.slow

CONNECTIONS = 3
Step = tuple[int, Words]  # the place of a connection, and what it sends
Part = Step | list[Step]  # of a sequence: a list is a transaction that arrives in one piece
# Replies that differ in docs/redis-differences.md (DBSIZE where a key is past its expiry), changes that Redis
# counts although nothing changes (the same bit, the same expiry), and commands that kraft refuses in MULTI.
LEFT_OUT = frozenset(
    b"TTL PTTL EXPIRETIME OBJECT DUMP RESTORE GETEX COPY INCRBYFLOAT SETBIT BITFIELD EXPIRE PEXPIRE KEYS"
    b" SCAN DBSIZE".split()
)

# Commands that concern all groups are done in each of them, and refused after MULTI: docs/groups.md.
OF_ALL_GROUPS = frozenset(b"DBSIZE FLUSHALL FLUSHDB RANDOMKEY".split())

# What HELLO says of a server, also in the array of EXEC: the version, and the id of the connection.
SERVER = re.compile(rb"(?<=\$7\r\nversion\r\n)\$\d+\r\n[0-9.]+\r\n|(?<=\$2\r\nid\r\n):\d+\r\n")

FRAME = st.sampled_from([
    [b"MULTI"], [b"MULTI"], [b"EXEC"], [b"EXEC"], [b"EXEC"], [b"DISCARD"], [b"UNWATCH"], [b"exec"],
])  # fmt: skip
WATCHES = st.lists(KEYS, min_size=1, max_size=3).map(lambda keys: [b"WATCH", *keys])
RARE = st.sampled_from([
    [b"PING"], [b"ECHO", b"x"], [b"SELECT", b"0"], [b"RESET"], [b"GET"], [b"NOSUCH"],
    [b"CLIENT", b"NOSUCH"], [b"MULTI", b"x"], [b"EXEC", b"x"], [b"WATCH"], [b"DISCARD", b"x"],
    [b"PING", b"x"],
    [b"UNWATCH", b"x"], [b"CLIENT", b"GETNAME"], [b"CLIENT", b"SETNAME", b"x"], [b"OBJECT", b"ENCODING"],
    [b"COMMAND", b"COUNT", b"x"], [b"HELLO", b"9"], [b"TIME", b"x"],
])  # fmt: skip
DATA = COMMANDS.filter(lambda words: words[0].upper() not in LEFT_OUT)
STEPS = st.tuples(
    st.sampled_from([0, 0, 0, 1, 1, 2]),
    st.one_of(FRAME, FRAME, WATCHES, WATCHES, DATA, DATA, DATA, DATA, RARE),
)
SIMPLE = st.one_of(
    st.tuples(st.sampled_from([b"SET", b"SETNX", b"getset", b"DEL"]), KEYS, VALUES),
    st.tuples(st.sampled_from([b"SET", b"INCRBY", b"DECRBY", b"MSET", b"MSETNX", b"RENAME"]), KEYS, INTEGERS),
    st.tuples(st.sampled_from([b"INCR", b"decr", b"GETDEL", b"PERSIST", b"UNLINK", b"SET"]), KEYS),
).map(list)
# One that consists of such writes is executed without a queue, one with anything else is queued.
WHOLE = st.tuples(
    st.sampled_from([0, 1, 2]),
    st.lists(st.one_of(SIMPLE, SIMPLE, DATA), min_size=1, max_size=5),
).map(lambda found: [(found[0], words) for words in ([b"MULTI"], *found[1], [b"EXEC"])])
SEQUENCES = st.lists(st.one_of(STEPS, STEPS, STEPS, WHOLE), min_size=40, max_size=120)


@pytest.fixture(scope="module")
def redis(redis_port):
    """Connections to a redis-server."""
    with ExitStack() as stack:
        yield [stack.enter_context(closing(Exchange(redis_port))) for _ in range(CONNECTIONS)]


def aborted_by_a_flush(theirs: bytes, ours: bytes, history: list[Step]) -> bool:
    """Whether kraft alone took FLUSHALL for a change of a missing key that was watched.

    From then on, the two servers hold different data.
    """
    flushed = any(words[0].upper() in (b"FLUSHALL", b"FLUSHDB") for _, words in history)
    return flushed and theirs[:1] == b"*" and theirs != b"*-1\r\n" and ours in (b"*-1\r\n", b"_\r\n")


def aborted_by_what_is_past(theirs: bytes, ours: bytes, history: list[Step]) -> bool:
    """Whether Redis alone took a SET with an expiry in the past for a change of a missing key.

    Redis makes the key and removes it. From then on, the two servers hold different data.
    """
    past = any(
        words[0].upper() == b"SET" and not {b"EXAT", b"PXAT"}.isdisjoint(words) for _, words in history
    )
    return past and theirs in (b"*-1\r\n", b"_\r\n") and ours[:1] == b"*" and ours != b"*-1\r\n"


def comparable(words: Words, theirs: bytes, ours: bytes) -> bool:
    """Whether the replies are equal, or differ as documented."""
    if SERVER.sub(b"", theirs) == SERVER.sub(b"", ours):
        return True
    return any(rule(words, theirs, ours) for rule in DIFFERENCES.values())


def steps_of(parts: list[Part]) -> list[Step]:
    """All steps, one after the other."""
    return [step for part in parts for step in (part if isinstance(part, list) else [part])]


def answers(steps: list[Step], clients: Sequence[Callable[[list[bytes]], list[bytes]]]) -> list[bytes]:
    """The replies to all steps; what one connection sends before another one does is sent at once."""
    found = []
    for place, run in groupby(steps, lambda step: step[0]):
        found += clients[place]([encode(*words) for _, words in run])
    return found


@example(
    [(0, [b"WATCH", b"a"]), (1, [b"SET", b"a", b"1"]), (1, [b"DEL", b"a"]), (0, [b"MULTI"]), (0, [b"EXEC"])],
    2,
    1,
    Random(0),
)
@example(
    [(0, [b"MULTI"]), (0, [b"HELLO", b"3"]), (0, [b"GET", b"a"]), (0, [b"DISCARD"]), (0, [b"EXEC"])],
    2,
    1,
    Random(0),
)
@example([
    (0, [b"SET", b"a", b"1"]), (0, [b"RENAME", b"a", b"b"]), (0, [b"MSETNX", b"b", b"1", b"c", b"2"]),
    (0, [b"WATCH", b"c"]), (0, [b"MULTI"]), (0, [b"BITOP", b"OR", b"c", b"a", b"b"]), (0, [b"GET", b"c"]),
    (0, [b"RENAME", b"c", b"a"]), (0, [b"INCR", b"a"]), (0, [b"EXEC"]),
], 3, 3, Random(0))  # fmt: skip
@example([
    (0, [b"MULTI"]), (0, [b"HELLO", b"3"]), (0, [b"GET", b"a"]), (0, [b"EXEC"]),
    (0, [b"WATCH", b"a"]), (1, [b"SET", b"a", b"x", b"EXAT", b"1"]), (0, [b"MULTI"]), (0, [b"EXEC"]),
    (0, [b"SET", b"a", b""]), (0, [b"WATCH", b"a"]), (1, [b"SET", b"a", b"x", b"EXAT", b"1"]),
    (0, [b"MULTI"]), (0, [b"EXEC"]),
], 2, 1, Random(0))  # fmt: skip
@example(
    [(0, [b"SET", b"a", b"1"]), (0, [b"MULTI"]), (0, [b"DBSIZE"]), (0, [b"EXEC"])],
    2,
    1,
    Random(0),
)
@example(
    [(0, [b"MULTI"]), (0, [b"INCR", b"a"]), (0, [b"BITOP", b"NOT", b"b", b"b", b"a"]), (0, [b"EXEC"])],
    2,
    3,
    Random(0),
)
@settings(max_examples=NUMBER, deadline=None, suppress_health_check=list(HealthCheck), print_blob=True)
@given(SEQUENCES, st.sampled_from([2, 3]), st.sampled_from([1, 3]), st.randoms(use_true_random=True))
def test_replies_are_those_of_redis(redis, sequence, protocol, groups, dice):
    talks = connected(groups)
    for parts in in_other_orders(sequence, dice):
        steps = steps_of(parts)
        if groups > 1:
            steps = [step for step in steps if step[1][0].upper() not in OF_ALL_GROUPS]
        for client in (*redis, *talks):
            for request in (b"RESET\r\n", b"HELLO %d\r\n" % protocol, b"FLUSHALL\r\n"):
                client.ask(request)
        one_by_one = dice.random() < 0.5
        kraft = [partial(ask_all, client, one_by_one) for client in talks]
        theirs, ours = answers(steps, [client.ask_all for client in redis]), answers(steps, kraft)
        for number, (step, one, other) in enumerate(zip(steps, theirs, ours, strict=True)):
            if comparable(step[1], one, other):
                continue
            history = steps[: number + 1]
            if aborted_by_a_flush(one, other, history) or aborted_by_what_is_past(one, other, history):
                break
            raise AssertionError(f"redis {one!r}, kraft {other!r}, after {history}")


def connected(groups: int) -> list[Talk]:
    """Clients of a kraft with the time of this machine."""
    port = Port(groups=groups)
    port.clock = port.host._clock = port.factory.port.clock = RealTime()
    port.host.transactions = FakeTransactions(port.host, port.clock)
    return [port.connect() for _ in range(CONNECTIONS)]
