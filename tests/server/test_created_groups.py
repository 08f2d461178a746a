"""Commands of clients on a node whose cluster has one group, and gets more while they are under way."""

from typing import Any

import pytest

from kraft.kv import commands as kv
from kraft.kv.checkpoint import moved_sum, record_hash
from kraft.kv.libraries import library_names
from kraft.kv.machine import Machine
from kraft.kv.scripts import cached_scripts
from kraft.kv.slots import slot_of
from kraft.kv.versions import MACHINE_VERSION
from kraft.node.errors import NoLeader
from kraft.raft.membership.configuration import Configuration, Member
from tests.server.fakes import Port, Talk, encode
from tests.server.groups import LIBRARY, RETURN_ONE, pipeline

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
        row = host.machines[0].keyspace.records[KEY]
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
        ([("MULTI",), ("SET", KEY, "2"), ("EXEC",), ("GET", KEY)], b"*1\r\n+OK\r\n$1\r\n2\r\n"),
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


# -- writes that concern all groups


SHA = b"e0e1f9fabfc9d4800c877a703b823ac0578ff8db"  # of RETURN_ONE


def scripts(growth: Growth, group: int) -> tuple[list[bytes], list[bytes]]:
    """The libraries and the cached scripts of a group."""
    ledger = growth.port.host.machines[group].keyspace.ledger
    return library_names(ledger), [sha for sha, _ in cached_scripts(ledger)]


def copied(growth: Growth) -> None:
    """The group gets the scripts that group 0 has now, as when slots are about to move there."""
    done: list[Any] = []
    growth.port.host.moves.copy_scripts(1, growth.port.host.read, done.append)
    pending, growth.port.host._pending = growth.port.host._pending, growth.port.host._pending[1:]
    kept, growth.port.host._pending = pending[:1], pending[1:]
    while growth.port.host._pending:
        growth.port.host._pending.pop(0)()
    growth.port.host._pending = kept
    assert done == [None]


@pytest.mark.parametrize(
    ("request_", "reply", "left"),
    [
        (("FUNCTION", "LOAD", LIBRARY), b"$4\r\nmine\r\n", ([b"mine"], [])),
        (("SCRIPT", "LOAD", RETURN_ONE), b"$40\r\n" + SHA + b"\r\n", ([], [SHA])),
        (("FUNCTION", "FLUSH"), b"+OK\r\n", ([], [])),
        (("SCRIPT", "FLUSH"), b"+OK\r\n", ([], [])),
    ],
    ids=str,
)  # fmt: skip
def test_scripts_that_change_while_a_group_is_created_are_the_same_there(
    growth: Growth, request_: tuple[str, ...], reply: bytes, left: Any
) -> None:
    """The node has not heard of the group when it is asked."""
    growth.client.send(encode(*request_))
    growth.grow()
    growth.port.host.slots.groups = 1
    assert growth.later() == reply
    assert scripts(growth, 0) == scripts(growth, 1) == left


@pytest.mark.parametrize(
    ("request_", "reply"),
    [(("FUNCTION", "DELETE", "mine"), b"+OK\r\n"), (("FUNCTION", "FLUSH"), b"+OK\r\n")],
    ids=str,
)
def test_a_library_that_goes_while_it_is_copied_does_not_come_back(
    growth: Growth, request_: tuple[str, ...], reply: bytes
) -> None:
    assert growth.client.run("FUNCTION", "LOAD", LIBRARY) == b"$4\r\nmine\r\n"
    growth.client.send(encode(*request_))
    growth.grow()
    copied(growth)
    assert scripts(growth, 1) == ([b"mine"], [])
    assert growth.later() == reply
    assert scripts(growth, 0) == scripts(growth, 1) == ([], [])


@pytest.mark.parametrize(
    ("load", "gone"),
    [
        (("FUNCTION", "LOAD", LIBRARY), ("FUNCTION", "DELETE", "mine")),
        (("FUNCTION", "LOAD", LIBRARY), ("FUNCTION", "FLUSH")),
        (("SCRIPT", "LOAD", RETURN_ONE), ("SCRIPT", "FLUSH")),
    ],
    ids=str,
)
def test_a_copy_that_arrives_after_its_original_went_in_both_groups_goes_again(
    growth: Growth, load: tuple[str, ...], gone: tuple[str, ...]
) -> None:
    growth.client.run(*load)
    growth.grow()
    pending, done = growth.port.host._pending, list[Any]()
    growth.port.host.moves.copy_scripts(1, growth.port.host.read, done.append)
    pending.pop(0)()  # it looks at the new group
    pending.pop(0)()  # it looks at group 0
    late = pending.pop(0)
    assert growth.client.run(*gone).startswith(b"+OK")
    late()
    assert scripts(growth, 1) != ([], [])
    growth.port.settle()
    assert done == [None]
    assert scripts(growth, 1) == ([], [])


def test_a_change_is_uncertain_if_nobody_knows_how_many_groups_there_are(growth: Growth) -> None:
    growth.client.send(encode("SCRIPT", "LOAD", RETURN_ONE))
    growth.port.host._pending.pop()()
    growth.port.host.failing = NoLeader(0)
    assert growth.later().startswith(b"-UNCERTAIN")
    growth.port.host.failing = None
    assert growth.client.run("SCRIPT", "LOAD", RETURN_ONE).endswith(SHA + b"\r\n")


def test_a_change_that_is_refused_asks_for_nothing_else(growth: Growth) -> None:
    assert growth.client.run("FUNCTION", "LOAD", "x").startswith(b"-ERR Missing library metadata")
    growth.port.host.reads.clear()
    growth.port.host.failing = NoLeader(0)
    assert growth.client.run("SCRIPT", "FLUSH") == b"-CLUSTERDOWN No leader for group 0\r\n"
    assert growth.port.host.reads == []


@pytest.mark.parametrize("moment", range(3))
def test_a_flush_that_crosses_the_creation_of_a_group_removes_its_keys_too(
    growth: Growth, moment: int
) -> None:
    growth.client.send(encode("FLUSHALL"))
    for _ in range(moment):
        growth.port.host._pending.pop(0)()
    if moment < 2:
        growth.grow()
    else:  # its keys are gone already
        growth.port.host.machines[0].apply(growth.port.clock.wall_ms(), [kv.Put(KEY, b"1")])
        growth.grow()
    assert growth.later() == b"+OK\r\n"
    assert growth.port.host.machines[1].keyspace.get(KEY) is None


def test_a_flush_in_a_transaction_or_script_that_crosses_it_is_not_done(growth: Growth) -> None:
    """These are for one group, and the slot is in another one by then."""
    growth.client.send(pipeline(("MULTI",), ("FLUSHALL",), ("EXEC",)))
    growth.grow()
    assert growth.later().endswith(
        b"-EXECABORT Transaction discarded because of: groups were created meanwhile, and 'flushall' concerns"
        b" all of them\r\n"
    )
    assert growth.port.host.machines[1].keyspace.get(KEY) == b"1"


def test_a_script_that_removes_all_keys_and_crosses_it_does_nothing(growth: Growth) -> None:
    growth.client.run("SET", "b", "2")
    growth.client.send(encode("EVAL", "return redis.call('flushall')", "0"))
    growth.grow()
    assert b"not allowed from script" in growth.later()
    assert growth.client.run("MGET", KEY, "b") == b"*2\r\n$1\r\n1\r\n$1\r\n2\r\n"


def test_a_transaction_that_changed_scripts_is_uncertain_if_groups_were_created(growth: Growth) -> None:
    growth.client.send(pipeline(("MULTI",), ("SCRIPT", "FLUSH"), ("EXEC",)))
    growth.grow()
    growth.port.host.slots.groups = 1
    assert b"-UNCERTAIN" in growth.later()


def test_a_transaction_that_only_counts_keys_is_not_uncertain(growth: Growth) -> None:
    growth.client.run("MULTI")
    growth.client.run("DBSIZE")
    growth.client.run("INCR", "other")
    growth.port.host.reads.clear()
    assert growth.client.run("EXEC") == b"*2\r\n:1\r\n:1\r\n"
    assert growth.port.host.reads == []


def test_neighbours_of_a_write_for_all_groups_are_done_in_their_order(growth: Growth) -> None:
    requests = (("SET", "x", "1"), ("FLUSHALL",), ("INCR", "x"), ("NOSUCH",), ("SCRIPT", "LOAD", RETURN_ONE))
    reply = growth.client.ask(pipeline(*requests, ("GET", "x")))
    assert reply.startswith(b"+OK\r\n+OK\r\n:1\r\n-ERR unknown command")
    assert reply.endswith(b"$40\r\n" + SHA + b"\r\n$1\r\n1\r\n")
    assert growth.client.run("MULTI") + growth.client.run("FLUSHALL") == b"+OK\r\n+QUEUED\r\n"
    assert growth.client.run("EXEC") == b"*1\r\n+OK\r\n"
    assert growth.client.run("KRAFT", "ONCE", "t", "FLUSHALL") == b"+OK\r\n"
    assert growth.client.run("EVAL", "return redis.call('flushall')", "0") == b"+OK\r\n"
