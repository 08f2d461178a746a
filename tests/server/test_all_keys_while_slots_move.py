"""Commands on all keys while slots move between groups: each key is met, and once."""

import itertools
import random
from collections.abc import Callable
from typing import Any

import pytest

from kraft.config.values import ClientConfig
from kraft.kv.machine import Machine
from kraft.kv.slots import SLOTS, slot_of
from kraft.kv.versions import MACHINE_VERSION
from kraft.node.errors import NoLeader
from kraft.server.flush_rounds import STILL_MOVING
from tests.server.fakes import encode
from tests.server.groups import MovingSlots, fill, key_in, keys_in
from tests.server.test_scan import all_of, array, scan

A, B, C = (key_in(group) for group in range(3))
RETURNS = next(key for key in keys_in(0) if slot_of(key) != slot_of(A))
AGAIN = b"-TRYAGAIN a slot of its keys moves to another group; nothing was done, try again\r\n"


@pytest.fixture
def moving() -> MovingSlots:
    return MovingSlots()


def total(reply: bytes) -> int:
    return int(reply[1:-2])


ALL_KEYS: list[tuple[tuple[str, ...], Callable[[bytes], int]]] = [
    (("DBSIZE",), total),
    (("KEYS", "*"), lambda reply: len(array(reply))),
    (("SCAN", "0", "COUNT", "100000"), lambda reply: reply.count(b"key:")),
    (("KRAFT", "RANGE", "", "", "KEYSONLY"), lambda reply: reply.count(b"key:") - (b"$-1" not in reply)),
]


# -- SCAN


def test_a_scan_finds_keys_whose_slots_move_back_to_groups_that_it_has_left(moving: MovingSlots) -> None:
    keys = fill(moving.port)
    dice = random.Random(3)
    cursor, found = b"0", []
    while True:
        cursor, part = scan(moving.client, cursor, "COUNT", "5")
        found += part
        if cursor == b"0":
            break
        key = dice.choice(sorted(keys))
        owner = moving.port.host.slots.group_of(slot_of(key))
        moving.carry(key, dice.choice([group for group in range(3) if group != owner]))
    assert sorted(found) == sorted(keys)
    assert moving.moves > 20


def test_a_scan_of_one_call_for_each_share_of_the_slots(moving: MovingSlots) -> None:
    keys = fill(moving.port)
    for group, key in ((2, A), (1, A), (0, C), (2, B)):
        moving.carry(key, group)
    found, calls = all_of(moving.client, "COUNT", "100000")
    assert (sorted(found), calls) == (sorted(keys), 3)


def test_a_scan_of_a_share_in_groups_of_very_different_size(moving: MovingSlots) -> None:
    """The index of a small group has few and wide buckets."""
    keys = set(itertools.islice(keys_in(0), 300))
    moving.client.run("MSET", *(word for key in keys for word in (key, "1")))
    for key in sorted(keys)[:5]:
        moving.carry(key, 2)
    found, calls = all_of(moving.client)
    assert sorted(found) == sorted(keys)
    assert calls > 10


def test_a_scan_asks_only_groups_that_have_slots_of_its_share(moving: MovingSlots) -> None:
    fill(moving.port)
    moving.move(A, 2, known=True)
    moving.port.host.reads.clear()
    scan(moving.client, b"0")
    scan(moving.client, b"1")
    assert moving.port.host.reads == [0, 2, 1]


def test_a_scan_goes_on_at_a_node_that_does_not_know_of_the_move(moving: MovingSlots) -> None:
    keys = fill(moving.port)
    cursor, found = scan(moving.client, b"0")
    moving.move(A, 2)
    moving.client.send(encode("SCAN", cursor))
    moving.port.settle()
    assert moving.client.read() == b""
    moving.learn()
    reply = moving.later()
    cursor, found = reply.split(b"\r\n")[2], found + array(reply.split(b"\r\n", 3)[3])
    while cursor != b"0":
        cursor, part = scan(moving.client, cursor)
        found += part
    assert sorted(found) == sorted(keys)


def test_in_redirect_mode_a_node_scans_what_the_groups_that_it_leads_have_now() -> None:
    moving = MovingSlots(client=ClientConfig(routing="redirect"))
    keys = fill(moving.port)
    moving.port.host.leaders = ["K1", "K2", "K2"]
    moving.move(C, 0, known=True)
    moving.move(A, 1, known=True)
    found, _ = all_of(moving.client)
    slots = moving.port.host.slots
    assert sorted(found) == sorted(key for key in keys if slots.group_of(slot_of(key)) == 0)
    assert C in found
    assert moving.client.run("DBSIZE") == b":%d\r\n" % len(found)


# -- a slot that moves between two looks


def answer_first(moving: MovingSlots, request: bytes, meanwhile: Callable[[], None]) -> bytes:
    """The reply to a request that has looked at group 0 when something happens `meanwhile`."""
    moving.client.send(request)
    host: Any = moving.port.host
    [zero] = [place for place, group in enumerate(host.reads) if group == 0]
    host._pending.pop(zero)()
    meanwhile()
    host.settle()
    return moving.client.read() or moving.later()


def check_count(
    moving: MovingSlots,
    words: tuple[str, ...],
    counted: Callable[[bytes], int],
    meanwhile: Callable[[], None],
) -> None:
    """The command counts the same keys if something happens `meanwhile`."""
    fill(moving.port, 60)
    moving.carry(RETURNS, 2)
    expected = counted(moving.client.run(*words))
    moving.port.host.reads.clear()
    assert counted(answer_first(moving, encode(*words), meanwhile)) == expected


@pytest.mark.parametrize(("words", "counted"), ALL_KEYS, ids=["DBSIZE", "KEYS", "SCAN", "RANGE"])
@pytest.mark.parametrize(("key", "receiver"), [(A, 2), (RETURNS, 0)], ids=["met twice", "missed"])
def test_the_same_while_another_group_is_created(
    moving: MovingSlots, words: tuple[str, ...], counted: Callable[[bytes], int], key: bytes, receiver: int
) -> None:
    """The node has more groups when it has all answers than when it asked."""

    def grow() -> None:
        created = Machine()
        created.version = MACHINE_VERSION
        moving.port.host.machines.append(created)
        moving.port.host.leaders.append("K1")
        moving.port.host.slots.groups = 4
        moving.carry(key, receiver)

    check_count(moving, words, counted, grow)


@pytest.mark.parametrize(("words", "counted"), ALL_KEYS, ids=["DBSIZE", "KEYS", "SCAN", "RANGE"])
@pytest.mark.parametrize(("key", "receiver"), [(A, 2), (RETURNS, 0)], ids=["met twice", "missed"])
def test_keys_that_would_be_met_twice_or_missed(
    moving: MovingSlots, words: tuple[str, ...], counted: Callable[[bytes], int], key: bytes, receiver: int
) -> None:
    check_count(moving, words, counted, lambda: moving.carry(key, receiver))


def test_after_a_while_the_client_is_told(moving: MovingSlots) -> None:
    """A replica that knows the new owner of a slot, and one of that owner that is late."""
    fill(moving.port)
    moving.freeze(A, 2)
    table = moving.port.host.machines[0].keyspace.slots
    assert table is not None
    table.change(0, SLOTS - 1, lambda part: part.__class__(part.first, part.last, 0, 99))
    for words in (("DBSIZE",), ("KEYS", "*"), ("RANDOMKEY",), ("CLUSTER", "COUNTKEYSINSLOT", "1")):
        assert moving.client.ask(encode(*words)) == b""
        assert moving.later(ClientConfig().leader_wait) == AGAIN


def test_the_keys_of_a_slot_are_those_of_its_owner(moving: MovingSlots) -> None:
    moving.client.run("MSET", A, "1", B, "2")
    count = encode("CLUSTER", "COUNTKEYSINSLOT", str(slot_of(A)))
    moving.move(A, 2)
    moving.client.send(count)
    moving.port.settle()
    moving.learn()
    assert moving.later() == b":1\r\n"
    moving.port.host.reads.clear()
    assert moving.client.run("CLUSTER", "GETKEYSINSLOT", str(slot_of(A)), "9") == b"*1\r\n$%d\r\n%b\r\n" % (
        len(A),
        A,
    )
    assert moving.port.host.reads == [2]


# -- FLUSHALL


def test_a_flush_leaves_no_key_whose_slot_goes_to_a_group_where_it_is_done(moving: MovingSlots) -> None:
    fill(moving.port)
    moving.client.send(encode("FLUSHALL"))
    moving.port.host.turn()  # each group tells its slots
    moving.port.host.turn()  # group 0 is empty
    moving.move(C, 0, known=True)
    assert C in moving.port.host.machines[0].keyspace
    moving.port.settle()
    assert moving.client.read() == b"+OK\r\n"
    assert moving.client.run("DBSIZE") == b":0\r\n"
    assert not any(len(machine.keyspace.records) for machine in moving.port.host.machines)
    assert [group for group, _ in moving.port.host.writes] == [0, 1, 2, 0, 1, 2]


def test_a_flush_while_slots_move_all_the_time_says_so(moving: MovingSlots) -> None:
    fill(moving.port)
    moving.client.send(encode("FLUSHALL"))
    receivers = itertools.cycle((0, 2))
    while moving.port.host.waiting:
        moving.port.host.turn()
        moving.carry(C, next(receivers))
    assert moving.client.read() == b"-" + STILL_MOVING.text.encode() + b"\r\n"
    assert len(moving.port.host.writes) == 15


def test_a_flush_that_fails_the_second_time_was_done_before(moving: MovingSlots) -> None:
    fill(moving.port)
    moving.client.send(encode("FLUSHALL"))
    moving.port.host.turn()
    moving.port.host.turn()
    moving.move(C, 0, known=True)
    for _ in range(3):
        moving.port.host.turn()
    moving.port.host.failing_in[0] = NoLeader(0)
    moving.port.settle()
    assert moving.client.read().startswith(b"-UNCERTAIN done in every group")
