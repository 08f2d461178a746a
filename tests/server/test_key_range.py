"""KRAFT RANGE at the client port."""

from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from kraft.host.slots import SlotMap
from kraft.kv.commands import Delete, Expiry, Flush, Import, Open, Put, Row, Set
from kraft.kv.key_order import KeyOrder
from kraft.kv.machine import Machine
from kraft.kv.move_reply import MoveOutcome, move_reply
from kraft.kv.slots import slot_of
from kraft.node.errors import NoLeader
from kraft.server.commands.key_range import HIDDEN_KEYS_MAX, RANGE_BYTES, RANGE_KEYS_MAX, KeyRange
from tests.server.fake_host import WALL_MS
from tests.server.fakes import Port


def filled(count=300, value=b"v%d"):
    port = Port()
    machine = port.host.machines[0]
    machine.apply(WALL_MS, [Put(b"key:%04d" % number, value % number) for number in range(count)])
    return port, port.connect()


def ask(client, *words):
    """The cursor and the elements of one reply."""
    reply = client.run("KRAFT", "RANGE", *words)
    assert reply.startswith(b"*2\r\n$"), reply
    if reply.startswith(b"*2\r\n$-1\r\n"):
        cursor, rest = None, reply[len(b"*2\r\n$-1\r\n") :]
    else:
        _, _, cursor, rest = reply.split(b"\r\n", 3)
    lines = rest.split(b"\r\n")
    assert lines[0] == b"*%d" % ((len(lines) - 2) // 2)
    return cursor, lines[2::2]


def all_of(client, *words, between=lambda step: None):
    """All elements of a range, by as many calls as it takes, and how many those were."""
    cursor, found = ask(client, *words)
    calls = 1
    while cursor is not None:
        between(calls)
        cursor, more = ask(client, *words, "AFTER", cursor)
        found += more
        calls += 1
    return found, calls


def names(first, last):
    return [b"key:%04d" % number for number in range(first, last)]


def test_keys_and_values_in_order_from_the_start_up_to_the_end():
    _, client = filled(20)
    assert ask(client, "key:0003", "key:0006") == (
        None, [b"key:0003", b"v3", b"key:0004", b"v4", b"key:0005", b"v5"],
    )  # fmt: skip
    assert ask(client, "key:0003", "key:0006", "KEYSONLY") == (None, names(3, 6))
    assert ask(client, "key:0003", "key:0006", "rev", "keysonly") == (None, names(3, 6)[::-1])
    assert ask(client, "", "key:0002", "KEYSONLY") == (None, names(0, 2))
    assert ask(client, "key:0018", "", "KEYSONLY") == (None, names(18, 20))
    assert ask(client, "", "", "KEYSONLY") == (None, names(0, 20))
    assert ask(client, "x", "a") == (None, [])


def test_a_prefix():
    port, client = filled(3)
    others = [b"key", b"key;", b"key:\xff", b"\xff", b"\xff\xff1", b"prefix"]
    port.host.machines[0].apply(WALL_MS, [Put(key, b"") for key in others])
    assert ask(client, "PREFIX", "key:", "KEYSONLY") == (None, [*names(0, 3), b"key:\xff"])
    assert ask(client, "prefix", b"\xff", "KEYSONLY") == (None, [b"\xff", b"\xff\xff1"])
    assert ask(client, "PREFIX", "prefix", "KEYSONLY") == (None, [b"prefix"])
    assert len(ask(client, "PREFIX", "", "KEYSONLY")[1]) == 9


def test_a_range_goes_on_after_the_cursor_in_both_directions():
    _, client = filled(25)
    assert ask(client, "", "", "LIMIT", "2", "KEYSONLY") == (b"key:0001", names(0, 2))
    assert ask(client, "", "", "LIMIT", "2", "KEYSONLY", "REV") == (b"key:0023", [b"key:0024", b"key:0023"])
    assert ask(client, "", "", "LIMIT", "25", "KEYSONLY")[0] is None
    for words in (["", "", "LIMIT", "4"], ["PREFIX", "key:", "LIMIT", "4"]):
        assert all_of(client, *words, "KEYSONLY") == (names(0, 25), 7)
        assert all_of(client, *words, "KEYSONLY", "REV") == (names(0, 25)[::-1], 7)
    assert ask(client, "key:0003", "key:0006", "AFTER", "key:0001", "KEYSONLY") == (None, names(3, 6))
    assert ask(client, "key:0003", "key:0006", "AFTER", "key:0007", "KEYSONLY") == (None, [])


def test_a_toldhas_a_bound_of_keys_and_of_bytes():
    """Whatever LIMIT is: the reactor is free for others in between."""
    _, client = filled(2500)
    for words in ([], ["LIMIT", "9223372036854775807"]):
        assert len(ask(client, "", "", "KEYSONLY", *words)[1]) == RANGE_KEYS_MAX
        assert all_of(client, "", "", "KEYSONLY", *words) == (names(0, 2500), 5)
    _, client = filled(50, b"%0100000d")
    cursor, found = ask(client, "", "")
    assert RANGE_BYTES <= sum(map(len, found)) <= RANGE_BYTES + 100_008
    assert cursor == found[-2]
    assert all_of(client, "", "")[0][::2] == names(0, 50)


changes = st.lists(st.tuples(st.integers(0, 30), st.booleans()), max_size=6)


@settings(deadline=None)
@given(
    st.sets(st.integers(0, 30)),
    st.lists(changes, max_size=12),
    st.tuples(st.integers(0, 30), st.integers(0, 30)),
    st.integers(1, 4),
    st.booleans(),
)
def test_each_toldis_of_one_moment_and_a_key_that_stays_is_returned_once(present, turns, ends, limit, rev):
    """The calls alternate between two nodes; between any two of them keys come and go."""
    ports = [Port(), Port()]
    clients = [port.connect() for port in ports]
    machines: list[Machine] = [port.host.machines[0] for port in ports]
    for machine in machines:
        machine.apply(WALL_MS, [Put(b"%02d" % number, b"v") for number in sorted(present)])
    stay, ever = set(present), set(present)
    start, end = (b"%02d" % number for number in ends)
    cursor, found = None, []
    for call in range(40):
        there = sorted((b"%02d" % number for number in present), reverse=rev)
        left = [key for key in there if start <= key < end]
        if cursor is not None:
            left = [key for key in left if (key < cursor if rev else key > cursor)]
        words = [start, end, "LIMIT", str(limit), "KEYSONLY"]
        words += ["REV"] * rev + (["AFTER", cursor] if cursor is not None else [])
        cursor, some = ask(clients[call % 2], *words)
        assert some == left[:limit]
        assert (cursor is None) == (len(left) <= limit)
        found += some
        if cursor is None:
            break
        for number, there_now in turns[call] if call < len(turns) else ():
            key = b"%02d" % number
            for machine in machines:
                machine.apply(WALL_MS, [Put(key, b"v") if there_now else Delete((key,))])
            if there_now:
                present.add(number)
            else:
                present.discard(number)
            stay &= present
            ever |= present
    assert cursor is None
    assert found == sorted(set(found), reverse=rev)
    inside = [number for number in range(31) if start <= b"%02d" % number < end]
    assert {b"%02d" % number for number in stay if number in inside} <= set(found)
    assert set(found) <= {b"%02d" % number for number in ever}


def test_expired_keys_are_not_in_a_range():
    port, client = filled(3)
    soon = Set(b"key:0001", b"v", expiry=Expiry.RELATIVE, expiry_ms=1000)
    port.host.machines[0].apply(WALL_MS, [soon])
    assert ask(client, "", "", "KEYSONLY") == (None, names(0, 3))
    port.clock.advance(1)
    assert ask(client, "", "", "KEYSONLY") == (None, [b"key:0000", b"key:0002"])


def test_a_flush_and_a_replaced_keyspace_between_two_calls():
    """After a snapshot was installed, the index of the new keyspace is built first."""
    port, client = filled(30)
    cursor, _ = ask(client, "", "", "LIMIT", "10")
    port.host.machines[0].apply(WALL_MS, [Flush(), Put(b"key:0020", b"v")])
    assert ask(client, "", "", "AFTER", cursor, "KEYSONLY") == (None, [b"key:0020"])
    port.host.machines[0] = Machine()
    port.host.machines[0].apply(WALL_MS, [Put(b"key:0025", b"v")])
    assert ask(client, "", "", "AFTER", cursor, "KEYSONLY") == (None, [b"key:0025"])


def test_a_keyspace_that_is_replaced_while_a_range_waits_for_its_view():
    port, client = filled(30)
    client.send(client.encode("KRAFT", "RANGE", "", "", "KEYSONLY"))
    port.host.machines[0] = Machine()
    port.host.machines[0].apply(WALL_MS, [Put(b"other", b"v")])
    port.settle()
    assert client.read() == b"*2\r\n$-1\r\n*1\r\n$5\r\nother\r\n"


def test_in_resp3_and_plain_text():
    _, client = filled(2)
    client.run("HELLO", "3")
    reply = client.run("KRAFT", "RANGE", "", "", "KEYSONLY")
    assert reply == b"*2\r\n_\r\n*2\r\n$8\r\nkey:0000\r\n$8\r\nkey:0001\r\n"
    _, client = filled(2)
    client.ask(b"kraft output plain\r\n")
    assert client.ask(b'kraft range "" "" limit 1\r\n') == b"key:0000\nkey:0000\nv0\n"
    assert client.ask(b"kraft range prefix key: rev\r\n") == b"null\nkey:0001\nv1\nkey:0000\nv0\n"


@pytest.mark.parametrize(
    ("words", "error"),
    [
        (["a", "b", "LIMIT"], "syntax error"),
        (["a", "b", "AFTER"], "syntax error"),
        (["a", "b", "FOO", "1"], "syntax error"),
        (["a", "b", "LIMIT", "0"], "value is out of range, must be positive"),
        (["a", "b", "LIMIT", "-1"], "value is out of range, must be positive"),
        (["a", "b", "LIMIT", "x"], "value is not an integer or out of range"),
        (["a"], "wrong number of arguments for 'kraft|range' command"),
    ],
)
def test_wrong_arguments(words, error):
    _, client = filled(3)
    assert client.run("KRAFT", "RANGE", *words) == f"-ERR {error}\r\n".encode()


def test_failed_reads_stale_reads_and_transactions():
    port, client = filled(3)
    client.run("READONLY")
    assert ask(client, "", "", "KEYSONLY") == (None, names(0, 3))
    assert port.host.levels == ["stale"]
    port.host.failing = NoLeader(0)
    assert client.run("KRAFT", "RANGE", "", "").startswith(b"-CLUSTERDOWN")
    client.run("MULTI")
    refused = client.run("KRAFT", "RANGE", "", "")
    assert refused == b"-ERR Command not allowed inside a transaction\r\n"
    assert client.run("EXEC").startswith(b"-EXECABORT")


# -- keys that have come for a move of slots, and are hidden


@pytest.mark.parametrize("reverse", [False, True])
@pytest.mark.parametrize("groups", [1, 2])
def test_many_hidden_keys_are_passed_over_in_several_replies(reverse, groups):
    """A group of a million keys may be arriving, and whoever asks serves clients on the same thread."""
    own, foreign = b"own", b"foreign"
    machines = [Machine() for _ in range(groups)]
    shown = [b"%c%d{%b}" % (letter, number, own) for letter in b"az" for number in range(5)]
    machines[0].apply(WALL_MS, [Put(key, b"v") for key in shown])
    slot = slot_of(b"{%b}" % foreign)
    first, last = (0, slot - 1) if slot_of(b"{%b}" % own) < slot else (slot + 1, 16383)
    machines[-1].apply(WALL_MS, [Open(1, slot, slot, (first, last) if groups == 1 else (0, -1))])
    rows = [Row(b"m%06d{%b}" % (number, foreign), b"v", 0, 1) for number in range(3 * HIDDEN_KEYS_MAX + 7)]
    [reply] = machines[-1].apply(WALL_MS, [Import(1, 0, tuple(rows))])
    assert move_reply(reply).outcome is MoveOutcome.OPEN
    for machine in machines:
        for _ in machine.keyspace.build_index(KeyOrder):
            pass
    found: list[bytes] = []
    after: bytes | None = None
    calls = 0
    while calls == 0 or after is not None:
        wanted = KeyRange(b"", None, after, reverse=reverse, keys_only=True)
        parts = wanted.parts(range(groups), SlotMap(groups))
        answers = {group: part.answer(machines[group].keyspace) for group, part in parts.items()}
        before = after
        told: Any = wanted.merge(range(groups), SlotMap(groups), answers)
        after, keys = told
        assert after is None or before is None or (after < before if reverse else after > before)
        found += keys
        calls += 1
    assert found == sorted(shown, reverse=reverse)
    assert calls == 4
