"""Commands of clients on a node whose cluster has one group, and gets more while they are under way."""

from typing import Any

import pytest

from kraft.kv import commands as kv
from kraft.kv.checkpoint import moved_sum, record_hash
from kraft.kv.machine import Machine
from kraft.kv.slots import slot_of
from kraft.kv.versions import MACHINE_VERSION
from kraft.raft.membership.configuration import Configuration, Member
from tests.server.fakes import Port, Talk
from tests.server.groups import pipeline

KEY = b"a"
SLOT = slot_of(KEY)
ALL, NONE = (0, 16383), (0, -1)  # the slots of group 0, and of a group that was created
MEMBERS = Configuration.of_voters((Member("K1", 32 * "a", "h:1"),)).encode()


class Growth:
    """One group; `grow` creates another one, to which the slot of KEY moves."""

    def __init__(self) -> None:
        self.port = Port()
        self.client: Talk = self.port.connect()
        self.client.run("SET", KEY, "1")

    def grow(self) -> None:
        host = self.port.host
        created = Machine()
        created.version = MACHINE_VERSION
        host.machines.append(created)
        host.leaders.append("K1")
        [row] = host.machines[0].keyspace.records.values()
        given = kv.Row(row.key, row.value, row.expires, row.revision)
        added = int.from_bytes(record_hash(row.key, row.value, row.revision, row.expires), "big")
        revision, stamp = host.machines[0].revision, self.port.clock.wall_ms()
        sum_ = moved_sum(bytes(16), added, 0)
        steps: list[tuple[int, Any]] = [
            (0, kv.AddGroups(1, 1, MEMBERS)),
            (1, kv.Open(1, SLOT, SLOT, NONE)),
            (0, kv.Freeze(1, SLOT, SLOT, 1, ALL)),
            (1, kv.Activate(1, 0, (given,), (), revision, stamp, 1, sum_)),
            (0, kv.Release(1, SLOT, SLOT, 1)),
            (0, kv.Sweep(1, (KEY,))),
        ]
        for group, step in steps:
            host.machines[group].apply(stamp, [step])
            host.slots.follow(group, host.machines[group].keyspace)

    def later(self) -> bytes:
        self.port.clock.advance(0.01)
        self.port.settle()
        return self.client.read()


@pytest.fixture
def growth() -> Growth:
    return Growth()


@pytest.mark.parametrize(
    ("requests", "reply"),
    [
        ([("GET", KEY)], b"$1\r\n1\r\n"),
        ([("GET", KEY), ("STRLEN", KEY), ("GET", "b")], b"$1\r\n1\r\n:1\r\n$-1\r\n"),
        ([("MGET", KEY, "b")], b"*2\r\n$1\r\n1\r\n$-1\r\n"),
        ([("DBSIZE",)], b":1\r\n"),
        ([("INCR", KEY)], b":2\r\n"),
        ([("MULTI",), ("GET", KEY), ("EXEC",)], b"*1\r\n$1\r\n1\r\n"),
        ([("MULTI",), ("INCR", KEY), ("EXEC",)], b"*1\r\n:2\r\n"),
    ],
    ids=lambda value: str(value)[:30],
)  # fmt: skip
def test_what_was_asked_before_follows_its_slot(growth: Growth, requests: Any, reply: bytes) -> None:
    growth.client.send(pipeline(*requests))
    growth.grow()
    assert growth.later().endswith(reply)


def test_what_is_asked_later_is_asked_of_all_groups(growth: Growth) -> None:
    growth.grow()
    assert growth.client.run("SET", "b", "2") == b"+OK\r\n"
    assert growth.client.run("DBSIZE") == b":2\r\n"
    assert growth.client.run("FLUSHALL") == b"+OK\r\n"
    assert [len(machine.keyspace) for machine in growth.port.host.machines] == [0, 0]


def test_a_command_for_all_groups_that_was_queued_before_is_refused_by_exec(growth: Growth) -> None:
    growth.client.ask(pipeline(("MULTI",), ("FLUSHALL",)))
    growth.grow()
    reply = growth.client.run("EXEC")
    assert reply == (
        b"-EXECABORT Transaction discarded because of: groups were created meanwhile, and 'flushall' concerns"
        b" all of them\r\n"
    )
    assert len(growth.port.host.machines[1].keyspace) == 1


def test_a_scan_that_began_with_one_group_goes_on_there(growth: Growth) -> None:
    for number in range(50):
        growth.client.run("SET", f"{{b}}{number}", "x")
    found: set[bytes] = set()
    cursor = b"0"
    grown = False
    while True:
        reply = growth.client.run("SCAN", cursor, "COUNT", "5")
        words = [word for word in reply.split(b"\r\n") if word and word[:1] not in b"$*"]
        cursor, found = words[0], found | set(words[1:])
        if not grown:
            assert cursor != b"0"
            grown = True
            created = Machine()
            created.version = MACHINE_VERSION
            growth.port.host.machines.append(created)
            growth.port.host.leaders.append("K1")
            growth.port.host.slots.groups = 2
        if cursor == b"0":
            break
    assert found == {KEY, *(b"{b}%d" % number for number in range(50))}
