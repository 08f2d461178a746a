"""KRAFT ONCE in front of commands and transactions with keys in several groups."""

from itertools import chain, islice
from types import SimpleNamespace
from typing import Any

import pytest

from kraft.config.values import LimitsConfig, OnceConfig
from kraft.host.transactions.recovery import TransactionRecovery
from kraft.kv.commands import CommitOnce
from kraft.kv.ledger import LedgerKind
from kraft.kv.slots import slot_of
from kraft.node.errors import NoLeader, Uncertain
from kraft.server.errors import ONCE_REVISION, ONCE_WATCHED
from tests.server.fakes import Port, Talk, encode
from tests.server.groups import A, B, C, MovingSlots, array, keys_in, pipeline, settled, three
from tests.server.users import PLAIN, Client, user

Words = tuple[str | bytes, ...]
ONCE: Words = ("KRAFT", "ONCE", "token")
COUNT = "redis.call('INCR', KEYS[1]); return {redis.call('INCR', KEYS[2]), 'x'}"
NOTES = "redis.call('INCR', KEYS[2]); return 'done'"  # does not look at its first key


def tokens(port: Port) -> list[int]:
    """How many tokens each group remembers."""
    return [machine.keyspace.ledger.counts[LedgerKind.TOKEN] for machine in port.host.machines]


def single(*words: str | bytes) -> list[Words]:
    return [(*ONCE, *words)]


def transaction(*commands: Words) -> list[Words]:
    return [("MULTI",), *commands, (*ONCE, "EXEC")]


def inside(*commands: Words) -> list[Words]:
    """The form of client libraries."""
    return [("MULTI",), ONCE, *commands, ("EXEC",)]


SHAPES: dict[str, tuple[list[Words], bytes]] = {
    "MSET": (single("MSET", C, "1", A, "2"), b"+OK\r\n"),
    "DEL": (single("DEL", A, "none", C), b":2\r\n"),
    "MSETNX": (single("MSETNX", A, "1", C, "2"), b":0\r\n"),
    "RENAME": (single("RENAME", A, C), b"+OK\r\n"),
    "COPY": (single("COPY", A, B), b":1\r\n"),
    "BITOP": (single("BITOP", "OR", B, A, C), b":1\r\n"),
    "an error": (single("RENAME", b"missing", C), b"-ERR no such key\r\n"),
    "a script": (single("EVAL", COUNT, "2", A, C), b"*2\r\n:8\r\n$1\r\nx\r\n"),
    "a script that fails": (single("EVAL", "error({err='MINE no'})", "2", A, C), b"-MINE no"),
    "EXEC": (
        transaction(("INCR", C), ("MGET", C, A, b"none", C), ("APPEND", A, "x"), ("GET", A), ("PING",)),
        b"*5\r\n:8\r\n" + array(b"8", b"5", None, b"8") + b":2\r\n$2\r\n5x\r\n+PONG\r\n",
    ),
    "EXEC of a library": (
        inside(("INCR", A), ("INCR", C), ("STRLEN", A)),
        b"*4\r\n+OK\r\n:6\r\n:8\r\n:1\r\n",
    ),
    "EXEC with errors": (
        transaction(("SETRANGE", A, "-1", "x"), ("SET", B, "no"), ("INCR", B), ("INCR", C)),
        b"*4\r\n-ERR offset is out of range\r\n+OK\r\n-ERR value is not an integer or out of range\r\n:8\r\n",
    ),
    "EXEC that only reads": (transaction(("GET", A), ("EXISTS", A, C)), b"*2\r\n$1\r\n5\r\n:2\r\n"),
    "EXEC with what is computed": (
        transaction(("RENAME", A, C), ("INCR", C), ("EVAL", COUNT, "2", B, C)),
        b"*3\r\n+OK\r\n:6\r\n*2\r\n:7\r\n$1\r\nx\r\n",
    ),
}


def ready(port: Port, client: Talk) -> None:
    client.run("MSET", A, "5", C, "7")
    port.host.writes.clear()


def asked(client: Talk, requests: list[Words]) -> bytes:
    """The reply to the last of the requests."""
    return [client.run(*words) for words in requests][-1]


@pytest.fixture(params=list(SHAPES))
def shape(request: pytest.FixtureRequest) -> tuple[list[Words], bytes]:
    return SHAPES[request.param]


def state(port: Port) -> list[Any]:
    """What the keys of all groups hold."""
    return [
        sorted((key, record.value, record.expires) for key, record in machine.keyspace.records.items())
        for machine in port.host.machines
    ]


def test_the_first_attempt_takes_effect_and_others_get_its_reply(shape: tuple[list[Words], bytes]) -> None:
    port, client = three()
    ready(port, client)
    requests, reply = shape
    first = asked(client, requests)
    assert first.startswith(reply)
    assert settled(port)
    assert sorted(tokens(port)) == [0, 0, 1]
    after, writes = state(port), len(port.host.writes)
    assert asked(port.connect(), requests) == first
    assert state(port) == after
    assert len(port.host.writes) == writes, "a repetition is a read"


def test_a_reply_is_the_same_as_without_a_token(shape: tuple[list[Words], bytes]) -> None:
    requests, _ = shape
    replies = []
    for words in (ONCE, ()):
        port, client = three()
        ready(port, client)
        plain = [each[len(ONCE) :] if each[:3] == ONCE and not words else each for each in requests]
        reply = [client.run(*each) for each in plain if each][-1]
        replies.append(reply.replace(b"*4\r\n+OK\r\n:6", b"*3\r\n:6"))
    assert replies[0] == replies[1]


def lost(port: Port, client: Talk, requests: list[Words]) -> None:
    """All of it takes effect, and the client hears of none of it."""
    client.send(pipeline(*requests))
    port.settle()
    client.read()


@pytest.mark.parametrize("receivers", [{A: 1}, {C: 1}, {A: 2}, {C: 0}, {A: 1, C: 1}, {A: 2, C: 1}, {B: 2}])
def test_the_reply_stays_wherever_slots_go(
    shape: tuple[list[Words], bytes], receivers: dict[bytes, int]
) -> None:
    """Also where all keys are in one group afterwards, or were before."""
    moving = MovingSlots()
    ready(moving.port, moving.client)
    requests, reply = shape
    lost(moving.port, moving.client, requests)
    after = sorted(chain(*state(moving.port)))
    for key, receiver in receivers.items():
        moving.move(key, receiver, known=True)
    assert asked(moving.client, requests).startswith(reply)
    assert sorted(set(chain(*state(moving.port)))) == after
    assert settled(moving.port)


@pytest.mark.parametrize("script", [COUNT, NOTES])
@pytest.mark.parametrize("parted", [A, C])
def test_a_token_of_one_group_is_known_when_its_keys_have_parted(script: str, parted: bytes) -> None:
    """Also where the script did not look at the first key, with which the token goes."""
    moving = MovingSlots()
    moving.move(C, 0, known=True)
    requests = single("EVAL", script, "2", A, C)
    first = asked(moving.client, requests)
    moving.carry(parted, 1)
    assert asked(moving.client, requests) == first
    assert moving.client.run("GET", C) == b"$1\r\n1\r\n"


def test_a_watched_key_that_had_changed_is_remembered_when_keys_have_parted() -> None:
    moving = MovingSlots()
    moving.move(C, 0, known=True)
    commands: list[Words] = [("EVAL", "return 1", "1", A), ("INCR", C)]
    watching(moving.port, moving.client, C)
    assert asked(moving.client, transaction(*commands)) == b"*-1\r\n"
    moving.carry(A, 1)
    assert asked(moving.client, transaction(*commands)) == b"*-1\r\n"


def watching(port: Port, client: Talk, key: bytes) -> None:
    """Watch a key that changes."""
    client.run("WATCH", key)
    port.connect().run("SET", key, "1")


@pytest.mark.parametrize("key", [A, B, C])
def test_that_a_watched_key_had_changed_is_a_reply(key: bytes) -> None:
    port, client = three()
    commands: list[Words] = [("INCR", B), ("INCR", A)]
    watching(port, client, key)
    before = state(port)
    assert asked(client, transaction(*commands)) == b"*-1\r\n"
    assert asked(port.connect(), transaction(*commands)) == b"*-1\r\n"
    assert state(port) == before
    assert settled(port)
    assert tokens(port) == [0, 1, 0]


def test_who_finds_a_watched_key_changed_gets_the_reply_of_a_faster_attempt() -> None:
    """The refusal is recorded in an entry that looks for the token, too."""
    port, client = three()
    commands: list[Words] = [("INCR", A), ("INCR", C)]
    watching(port, client, B)
    client.run("MULTI")
    for words in commands:
        client.run(*words)
    client.send(encode(*ONCE, "EXEC"))
    port.host.turn()  # it has found no token
    other = port.connect()
    other.send(pipeline(*transaction(*commands)))
    for _ in range(3):
        port.host.turn()
    port.settle()
    replies = {client.read(), other.read().rpartition(b"+QUEUED\r\n")[2]}
    assert len(replies) == 1
    assert (client.run("GET", A) == b"$1\r\n1\r\n") == (b"*2" in replies.pop())


def test_attempts_of_two_nodes_at_once_take_effect_once(shape: tuple[list[Words], bytes]) -> None:
    """However their steps fall together: the second one begins after so many turns of the first."""
    requests, reply = shape
    for turns in range(8):
        port, client = three()
        ready(port, client)
        other = port.connect()
        *before, last = requests
        for each in (client, other):
            for words in before:
                each.run(*words)
        client.send(encode(*last))
        for _ in range(turns):
            port.host.turn()
        other.send(encode(*last))
        for _ in range(40):
            port.settle()
            port.clock.advance(0.1)
        first = client.read()
        assert first.startswith(reply)
        assert other.read() == first
        assert settled(port)
        port_alone, alone = three()
        ready(port_alone, alone)
        asked(alone, requests)
        assert state(port) == state(port_alone)


# -- one token for two operations, and no room


def test_a_token_of_another_command_is_refused() -> None:
    port, client = three()
    client.run(*ONCE, "MSET", A, "1", C, "2")
    after = state(port)
    for words in (("MSET", A, "1", C, "3"), ("DEL", A, C), ("INCR", A)):
        assert client.run(*ONCE, *words).startswith(b"-ONCEREUSED")
    assert asked(client, transaction(("INCR", A), ("INCR", C))).startswith(b"-ONCEREUSED")
    assert state(port) == after


def test_a_token_is_not_known_where_another_first_key_is() -> None:
    """docs/once.md says so: only the group of the first key is asked."""
    _, client = three()
    for _ in range(2):
        assert client.run(*ONCE, "INCRBY", A, "5") == b":5\r\n"
        assert client.run(*ONCE, "INCRBY", C, "7") == b":7\r\n"
    assert client.run(*ONCE, "DEL", A).startswith(b"-ONCEREUSED")


def test_a_token_is_forgotten_by_log_time() -> None:
    port, client = three()
    for count in (b"1", b"2"):
        assert asked(client, transaction(("INCR", A), ("INCR", C))) == b"*2\r\n:%b\r\n:%b\r\n" % (
            count,
            count,
        )
        port.clock.advance(3601)


def test_no_room_for_a_token_refuses_and_repeats_what_is_known() -> None:
    port, client = three(once=OnceConfig(tokens=1))
    first = client.run(*ONCE, "MSET", A, "1", C, "2")
    assert client.run("KRAFT", "ONCE", "second", "MSET", A, "3", C, "4").startswith(b"-ONCEFULL")
    assert client.run(*ONCE, "MSET", A, "1", C, "2") == first == b"+OK\r\n"
    assert client.run("MGET", A, C) == array(b"1", b"2")
    assert settled(port)


def test_room_that_goes_during_an_attempt_is_looked_for_again() -> None:
    port, client = three(once=OnceConfig(tokens=1))
    client.send(encode(*ONCE, "MSET", A, "1", C, "2"))
    port.host.turn()
    _, another = islice(keys_in(0), 2)
    port.connect().send(encode("KRAFT", "ONCE", "other", "SET", another, "x"))
    port.settle()
    assert client.read().startswith(b"-ONCEFULL")
    assert client.run("MGET", A, C) == array(None, None)
    assert settled(port)


# -- failures


@pytest.mark.parametrize("turns", range(6))
@pytest.mark.parametrize("lost_replies", [False, True])
def test_whoever_fails_the_next_attempt_tells_what_became_of_it(turns: int, lost_replies: bool) -> None:
    requests = transaction(("INCR", A), ("INCR", C))
    for group in range(3):
        port, client = three()
        client.send(pipeline(*requests))
        for _ in range(turns):
            port.host.turn()
        if lost_replies:
            port.host.lost = True
        else:
            port.host.failing_in = {group: Uncertain()}
        for _ in range(60):
            port.host.turn()
            port.clock.advance(0.1)
        client.read()
        port.host.lost, port.host.failing_in = False, {}
        recover(port)
        recover(port)
        assert settled(port)
        assert asked(port.connect(), requests) == b"*2\r\n:1\r\n:1\r\n"
        assert client.run("MGET", A, C) == array(b"1", b"1")


def recover(port: Port) -> None:
    """The leaders do what they do about transactions that their coordinator has left."""
    for group, machine in enumerate(port.host.machines):
        applied: Any = SimpleNamespace(machine=machine)
        recovery = TransactionRecovery(group, applied, port.host.transactions, port.clock, patience=0)
        recovery.tick(leads=True)
    port.settle()


def test_a_group_without_leader_leaves_no_trace() -> None:
    port, client = three()
    for group in (0, 2):
        port.host.failing_in = {group: NoLeader(group)}
        assert client.run(*ONCE, "MSET", A, "1", C, "3").startswith(b"-CLUSTERDOWN")
    port.host.failing_in = {}
    assert tokens(port) == [0, 0, 0]
    assert client.run(*ONCE, "MSET", A, "1", C, "3") == b"+OK\r\n"


@pytest.mark.parametrize("words", [("EVALSHA", "0" * 40), ("EVAL", "while true do end"), ("EVAL", "no lua")])
def test_a_script_that_was_not_run_to_its_end_leaves_no_trace(words: Words) -> None:
    port, client = three()
    reply = client.run(*ONCE, *words, "2", A, C)
    assert reply.startswith((b"-NOSCRIPT", b"-ERR", b"-BUSY"))
    assert tokens(port) == [0, 0, 0]
    assert settled(port)


def test_a_slot_that_moves_during_an_attempt() -> None:
    moving = MovingSlots()
    moving.client.send(encode(*ONCE, "MSET", A, "1", C, "2"))
    moving.port.host.turn()  # no token was found
    moving.move(A, 1)
    moving.port.settle()
    moving.learn()
    assert moving.later() == b"+OK\r\n"
    assert tokens(moving.port) == [0, 1, 0]


def test_the_slot_of_the_token_stays_while_it_is_being_recorded_that_a_watched_key_had_changed() -> None:
    moving = MovingSlots()
    watching(moving.port, moving.client, C)
    moving.client.run("MULTI")
    for words in (("INCR", A), ("INCR", C)):
        moving.client.run(*words)
    moving.client.send(encode(*ONCE, "EXEC"))
    while not any(machine.keyspace.transactions.prepared for machine in moving.port.host.machines):
        moving.port.host.turn()
    while moving.port.host.machines[2].keyspace.transactions.prepared:
        moving.port.host.turn()
    moving.port.settle()
    assert moving.client.read() == b"*-1\r\n"


# -- what is refused


def test_commands_whose_reply_is_a_revision() -> None:
    port, client = three()
    for words in (("KRAFT", "CAS", A, "0", "1"), ("KRAFT", "LOCK", A, "1000")):
        assert asked(client, transaction(words, ("INCR", C))) == f"-{ONCE_REVISION}\r\n".encode()
    assert port.host.writes == []


def test_watched_keys_of_several_groups_alone() -> None:
    _, client = three()
    client.run("WATCH", A, C)
    assert asked(client, transaction(("PING",))) == f"-{ONCE_WATCHED}\r\n".encode()
    client.run("WATCH", A)
    assert asked(client, transaction(("PING",))) == b"*1\r\n+PONG\r\n"


def test_a_reply_that_is_too_long_to_remember() -> None:
    port, client = three(limits=LimitsConfig(request_bytes=100_000, value_bytes=90_000))
    client.run("MSET", A, b"x" * 40_000, C, b"y" * 40_000)
    requests = transaction(("GET", A), ("GET", C), ("APPEND", A, "x"))
    assert len(asked(client, requests)) > 80_000
    client.run("APPEND", A, b"x" * 30_000)
    other = [("MULTI",), ("GET", A), ("GET", C), ("APPEND", A, "x"), ("KRAFT", "ONCE", "other", "EXEC")]
    assert asked(client, other).startswith(b"-ERR the reply exceeds 100000 bytes, and KRAFT ONCE would")
    assert client.run("STRLEN", A) == b":70001\r\n"
    assert settled(port)


def test_members_that_do_not_know_the_step_are_waited_for() -> None:
    port, client = three()
    for machine in port.host.machines:
        machine.version = CommitOnce.since - 1
    refused = client.run(*ONCE, "MSET", A, "1", C, "2")
    assert refused == b"-ERR 'kraft|once' needs machine version 7, but version 6 is in force\r\n"
    assert client.run("MSET", A, "1", C, "2") == b"+OK\r\n"


def test_a_token_belongs_to_the_rights_of_the_user_whose_script_it_is() -> None:
    port, _ = three(users=PLAIN)
    admin = Client(port)
    words = (*ONCE, "EVAL", COUNT, "2", A, C)
    admin.words(*words)
    other = user(admin, "~* +eval +incr +kraft|once")
    assert other.words(*words).startswith(b"-ONCEREUSED")


@pytest.mark.parametrize("turns", range(10))
def test_the_slot_of_the_first_key_may_move_while_it_is_computed(turns: int) -> None:
    """The map that says where the token is, and that by which the keys are divided, may differ then."""
    port = MovingSlots()
    other = next(key for key in keys_in(0) if slot_of(key) != slot_of(A))
    port.client.run("MSET", A, "5", other, "7", C, "1")
    requests = transaction(("INCR", A), ("COPY", other, C, "REPLACE"))
    port.client.send(pipeline(*requests))
    for _ in range(turns):
        if port.port.host.waiting:
            port.port.host.turn()
        else:
            port.port.clock.advance(0)
    try:
        port.move(A, 1, known=True)
    except AssertionError:
        assert turns  # the slot is locked by then, and does not move
    for _ in range(30):
        port.port.clock.advance(0.1)
        port.port.settle()
    first = port.client.read()
    client = port.port.connect()
    again = [client.run(*request) for request in requests]
    assert again[-1] in first
    assert client.run("GET", A) == b"$1\r\n6\r\n"
