"""The client port of a node with several groups: pipelines, and commands that concern all groups."""

import itertools
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from kraft.host.slots import SlotMap
from kraft.kv.commands import Delete, Put
from kraft.kv.slots import slot_of
from kraft.node.errors import NoLeader, Uncertain
from tests.server.fake_host import WALL_MS
from tests.server.fakes import Port, encode
from tests.server.groups import RETURN_ONE, THREE, fill, key_in, keys_in, pipeline, three
from tests.server.test_scan import all_of, array, scan

SIXTEEN = SlotMap(16)


# -- runs of requests


def test_a_pipeline_over_sixteen_groups_is_under_way_in_all_of_them_at_once() -> None:
    port = Port(groups=16)
    client = port.connect()
    keys = [key_in(group, SIXTEEN) for group in range(16)]
    client.send(pipeline(*(("SET", key, "1") for key in keys)))
    assert sorted(group for group, _ in port.host.writes) == list(range(16))
    assert port.host.waiting == 16
    port.host.turn()
    assert client.read() == b"+OK\r\n" * 16
    client.send(pipeline(*(("GET", key) for key in keys)))
    assert sorted(port.host.reads) == list(range(16))
    port.host.turn()
    assert client.read() == b"$1\r\n1\r\n" * 16


def test_replies_keep_the_order_of_requests_and_a_group_that_of_its_commands() -> None:
    port, client = three()
    keys = [key_in(group) for group in (0, 1, 2, 1, 0, 0, 2, 1)]
    answer = client.ask(pipeline(*(("INCR", key) for key in keys), ("SET", keys[0], "x", "GET"), ("NOSUCH",)))
    assert answer.startswith(b":1\r\n:1\r\n:1\r\n:2\r\n:2\r\n:3\r\n:2\r\n:3\r\n$1\r\n3\r\n-ERR unknown")
    assert [(group, len(commands)) for group, commands in port.host.writes] == [(0, 4), (1, 3), (2, 2)]


def test_a_part_that_answers_late_holds_up_the_replies_of_the_others() -> None:
    port, client = three()
    client.send(pipeline(*(("INCR", key_in(group)) for group in (2, 0, 1))))
    first, *others = port.host._pending
    port.host._pending = []
    for answer in others:
        answer()
    assert client.read() == b""
    first()
    assert client.read() == b":1\r\n:1\r\n:1\r\n"


def test_one_group_that_fails_costs_its_own_requests_only() -> None:
    port, client = three()
    port.host.failing_in[1] = NoLeader(1)
    port.host.failing_in[2] = Uncertain()
    answer = client.ask(pipeline(*(("INCR", key_in(group)) for group in (1, 0, 2, 1, 0))))
    none = b"-CLUSTERDOWN No leader for group 1\r\n"
    unknown = b"-UNCERTAIN write may or may not be applied; check before retrying\r\n"
    assert answer == none + b":1\r\n" + unknown + none + b":2\r\n"


def test_a_request_that_is_refused_stays_in_its_place() -> None:
    _, client = three()
    one, two = key_in(1), key_in(2)
    answer = client.ask(
        pipeline(("SET", one, "1"), ("SET", two), ("INCR", one), ("SET", two, "x", "EX", "0"))
    )
    wrong = b"-ERR wrong number of arguments for 'set' command\r\n"
    assert answer == b"+OK\r\n" + wrong + b":2\r\n" + b"-ERR invalid expire time in 'set' command\r\n"


def test_large_replies_of_several_groups_come_in_their_order_and_count_once() -> None:
    port, client = three()
    keys = [next(itertools.islice(keys_in(group), n, None)) for n in range(4) for group in (0, 1, 1, 2)]
    values = {key: b"%d" % n * 300_000 for n, key in enumerate(dict.fromkeys(keys))}
    client.ask(pipeline(*(("SET", *pair) for pair in values.items())))
    answer = client.ask(pipeline(*(("GET", key) for key in keys)))
    assert answer == b"".join(b"$%d\r\n%b\r\n" % (len(values[key]), values[key]) for key in keys)
    assert (port.statistics.hits, port.statistics.misses) == (16, 0)


def test_shapes_and_failures_reach_the_right_place() -> None:
    _, client = three()
    zero, one = key_in(0), key_in(1)
    answer = client.ask(
        pipeline(
            ("SET", one, "x"),
            ("INCR", one),
            ("COPY", zero, zero + b"{"),
            ("RENAME", one, one),
            ("INCR", zero),
        )
    )
    assert answer.startswith(b"+OK\r\n-ERR value is not an integer or out of range\r\n")
    assert answer.endswith(b"+OK\r\n:1\r\n")


def test_a_bug_in_one_part_ends_this_connection_only(monkeypatch: pytest.MonkeyPatch) -> None:
    port, client = three()
    other = port.connect()
    from kraft.server.segments import WriteSegment

    whole = WriteSegment.replies

    def replies(segment: WriteSegment, outcome: Any) -> Any:
        return whole(segment, outcome) if segment.group != 1 or len(segment.items) > 1 else 1 // 0

    monkeypatch.setattr(WriteSegment, "replies", replies)
    client.send(pipeline(*(("SET", key_in(group), "1") for group in (0, 1, 2))))
    other.send(pipeline(*(("SET", key_in(group), "1") for group in (0, 2))))
    port.settle()
    assert client.transport.aborted
    assert other.read() == b"+OK\r\n" * 2


def test_a_node_may_learn_late_how_many_groups_there_are() -> None:
    """One that is added to a cluster: its client port is open before."""
    port = Port(groups=3)
    port.host.slots.groups = 1
    client = port.connect()
    assert client.run("PING") == b"+PONG\r\n"
    port.host.slots.groups = 3
    fill(port, 30)
    assert client.run("DBSIZE") == b":30\r\n"
    client.run("SET", key_in(2), "new")
    assert port.host.writes[-1][0] == 2


# -- commands that concern all groups


def test_dbsize_is_that_of_all_groups_also_in_a_pipeline() -> None:
    port, client = three()
    fill(port)
    answer = client.ask(pipeline(("GET", "key:1"), ("DBSIZE",), ("DEL", "key:1"), ("dbsize",)))
    assert answer == b"$8\r\nof key:1\r\n:300\r\n:1\r\n:299\r\n"
    assert port.kinds == {"read": 3, "write": 1}
    port.host.failing_in[1] = NoLeader(1)
    assert client.run("DBSIZE") == b"-CLUSTERDOWN No leader for group 1\r\n"


def test_a_scan_over_groups_returns_every_key_once() -> None:
    port, client = three()
    keys = fill(port)
    found, calls = all_of(client)
    assert sorted(found) == sorted(keys)
    assert calls > 10
    found, calls = all_of(client, "COUNT", "100000")
    assert sorted(found) == sorted(keys)
    assert calls == 3


def test_cursors_of_one_group_are_positions_as_before() -> None:
    one, several = Port(), Port(groups=3)
    keys = list(itertools.islice(keys_in(0), 200))
    for port in (one, several):
        port.host.machines[0].apply(WALL_MS, [Put(key, b"v") for key in keys])
    cursor, found = scan(one.connect(), b"0")
    assert scan(several.connect(), b"0") == (cursor, found)
    assert int(cursor) < 1 << 53


def test_a_scan_over_groups_goes_on_at_another_node_and_returns_what_exists_throughout() -> None:
    (one, client), (other, second) = three(), three()
    fill(one), fill(other)
    stay = {b"key:%d" % number for number in range(0, 300, 10)}
    others = [b"key:%d" % number for number in range(300) if number % 10]
    cursor, found, step = b"0", [], 0
    while step == 0 or cursor != b"0":
        cursor, keys = scan(client, cursor, "COUNT", "7")
        found += keys
        gone = others[step * 20 : step * 20 + 20]
        for port in (one, other):
            for machine in port.host.machines:
                machine.apply(WALL_MS, [Delete(tuple(gone))])
        client, second = second, client
        step += 1
    assert len(found) == len(set(found))
    assert stay <= set(found)


def test_a_cursor_that_no_node_gave_ends_the_scan() -> None:
    port, client = three()
    fill(port)
    assert scan(client, b"5") == (b"0", [])
    assert scan(client, b"18446744073709551615") == (b"0", [])


def test_keys_and_a_random_key_of_all_groups() -> None:
    port, client = three()
    assert client.run("RANDOMKEY") == b"$-1\r\n"
    assert client.run("KEYS", "*") == b"*0\r\n"
    keys = fill(port)
    assert sorted(array(client.run("KEYS", "*"))) == sorted(keys)
    assert sorted(array(client.run("KEYS", "key:1?"))) == [b"key:1%d" % n for n in range(10)]
    found = {client.run("RANDOMKEY").split(b"\r\n")[1] for _ in range(100)}
    assert found <= keys
    assert {THREE.group_of(slot_of(key)) for key in found} == {0, 1, 2}
    port.host.failing_in[2] = NoLeader(2)
    assert client.run("KEYS", "*") == b"-CLUSTERDOWN No leader for group 2\r\n"


@given(
    keys=st.sets(st.binary(min_size=1, max_size=3), max_size=60),
    count=st.integers(1, 40),
    reverse=st.booleans(),
    only=st.booleans(),
)
def test_a_range_over_groups_is_that_of_one_group(keys: Any, count: int, reverse: bool, only: bool) -> None:
    """Page by page: the same keys and values, in the same order, though pages may be shorter."""
    one, several = Port(), Port(groups=3)
    flags = (*(["REV"] if reverse else []), *(["KEYSONLY"] if only else []))
    pages = []
    for port in (one, several):
        for key in keys:
            group = port.host.slots.group_of(slot_of(key))
            port.host.machines[group].apply(WALL_MS, [Put(key, b"of " + key)])
        client = port.connect()
        found: list[bytes] = []
        after: tuple[bytes | str, ...] = ()
        while True:
            reply = client.run("KRAFT", "RANGE", "", "", "LIMIT", str(count), *after, *flags)
            cursor, rest = cursor_of(reply)
            page = bulks(rest)
            assert len(page) <= count * (1 if only else 2)
            found += page
            if cursor is None:
                break
            assert page
            after = ("AFTER", cursor)
        pages.append(found)
    assert pages[0] == pages[1]


def bulks(reply: bytes) -> list[bytes]:
    """The bulk strings of an array, which may contain line ends."""
    head, rest = reply.split(b"\r\n", 1)
    found = []
    for _ in range(int(head[1:])):
        size, rest = rest.split(b"\r\n", 1)
        length = int(size[1:])
        found.append(rest[:length])
        rest = rest[length + 2 :]
    return found


def cursor_of(reply: bytes) -> tuple[bytes | None, bytes]:
    """The first element of an array of two, and the rest."""
    assert reply.startswith(b"*2\r\n$")
    head, rest = reply[5:].split(b"\r\n", 1)
    if head == b"-1":
        return None, rest
    return rest[: int(head)], rest[int(head) + 2 :]


def test_a_flush_takes_one_group_after_the_other() -> None:
    port, client = three()
    fill(port)
    client.send(encode("FLUSHALL"))
    port.host.turn()  # each group tells its slots
    for group in range(3):
        assert [each for each, _ in port.host.writes] == list(range(group + 1))
        assert client.read() == b""
        port.host.turn()
    port.host.turn()  # and again
    assert client.read() == b"+OK\r\n"
    assert client.run("DBSIZE") == b":0\r\n"
    fill(port)
    assert client.run("FLUSHDB", "ASYNC") == b"+OK\r\n"
    assert client.run("FLUSHDB", "NEVER") == b"-ERR syntax error\r\n"
    assert client.run("DBSIZE") == b":0\r\n"


def test_a_flush_that_fails_says_what_is_done() -> None:
    port, client = three()
    fill(port)
    port.host.failing_in[0] = NoLeader(0)
    assert client.run("FLUSHALL") == b"-CLUSTERDOWN No leader for group 0\r\n"
    assert client.run("CLUSTER", "COUNTKEYSINSLOT", "1") == b"-CLUSTERDOWN No leader for group 0\r\n"
    sizes = [len(machine.keyspace) for machine in port.host.machines]
    assert sum(sizes) == 300
    port.host.failing_in = {2: NoLeader(2)}
    assert client.run("FLUSHALL") == (
        b"-UNCERTAIN done in groups 0, 1, but not for certain in group 2, and in none after it;"
        b" send it again: CLUSTERDOWN No leader for group 2\r\n"
    )
    assert [len(machine.keyspace) for machine in port.host.machines] == [0, 0, sizes[2]]
    port.host.failing_in = {}
    assert client.run("FLUSHALL") == b"+OK\r\n"


def test_what_concerns_all_groups_is_no_part_of_a_transaction() -> None:
    _, client = three()
    for words in (("FLUSHALL",), ("DBSIZE",), ("SCRIPT", "LOAD", RETURN_ONE), ("FUNCTION", "FLUSH")):
        refused = b"-ERR Command not allowed inside a transaction\r\n"
        aborted = b"-EXECABORT Transaction discarded because of previous errors.\r\n"
        assert client.ask(pipeline(("MULTI",), words, ("EXEC",))) == b"+OK\r\n" + refused + aborted


def test_tokens_and_locks_are_in_the_group_of_their_keys() -> None:
    port, client = three()
    fill(port)
    key, other = key_in(1), key_in(2)
    assert client.run("KRAFT", "ONCE", "t1", "INCR", key + b"n") is not None
    assert client.run("KRAFT", "LOCK", key, "10000", "OWNER", "me")[:1] == b"$"
    crossed = b"-CROSSSLOT Keys in request don't hash to the same slot\r\n"
    assert client.run("KRAFT", "GUARD", key, "1", "FLUSHALL").startswith(b"-CROSSSLOT a lock guards")
    cas = ("KRAFT", "GUARD", key, "1", "KRAFT", "CAS", other, "0", "x")
    assert client.ask(pipeline(("MULTI",), cas, ("EXEC",))).startswith(b"+OK\r\n" + crossed)


def test_a_flush_with_a_token_happens_once_in_each_group() -> None:
    port, client = three()
    fill(port)
    port.host.failing_in = {1: NoLeader(1)}
    assert client.run("KRAFT", "ONCE", "t", "FLUSHALL").startswith(b"-UNCERTAIN done in group 0,")
    port.host.failing_in = {}
    client.run("SET", key_in(0), "new")
    assert client.run("KRAFT", "ONCE", "t", "FLUSHALL") == b"+OK\r\n"
    assert client.run("DBSIZE") == b":1\r\n"
