"""Commands of clients while slots move to other groups: nobody is told of it, and nothing is done twice."""

from typing import Any

import pytest

from kraft.config.values import ClientConfig
from kraft.kv import commands as kv
from kraft.kv.slots import slot_of
from kraft.node.errors import Uncertain
from kraft.server.commands.scan import RandomKey
from tests.server.fakes import encode
from tests.server.groups import MovingSlots, key_in, keys_in, pipeline, settled

A, B, C = (key_in(group) for group in range(3))
STAYS = next(key for key in keys_in(0) if slot_of(key) != slot_of(A))
AGAIN = b"-TRYAGAIN a slot of its keys moves to another group; nothing was done, try again\r\n"


@pytest.fixture
def moving() -> MovingSlots:
    return MovingSlots()


def groups_written(moving: MovingSlots) -> list[int]:
    return [group for group, _ in moving.port.host.writes]


def test_a_write_and_a_read_follow_their_slot(moving: MovingSlots) -> None:
    moving.client.run("SET", A, "1")
    moving.move(A, 2)
    moving.client.send(encode("INCR", A))
    moving.learn()
    assert moving.later() == b":2\r\n"
    assert groups_written(moving) == [0, 0, 2]
    assert moving.client.run("GET", A) == b"$1\r\n2\r\n"
    moving.move(A, 1)
    moving.client.send(encode("GET", A))
    moving.learn()
    assert moving.later() == b"$1\r\n2\r\n"


def test_a_node_that_is_late_asks_again_until_it_knows(moving: MovingSlots) -> None:
    moving.client.run("SET", A, "1")
    moving.move(A, 2)
    assert moving.client.ask(encode("INCR", A)) == b""
    assert moving.later() == b""
    moving.learn()
    assert moving.later() == b":2\r\n"


def test_after_a_while_the_client_is_told_that_nothing_was_done(moving: MovingSlots) -> None:
    moving.client.run("SET", A, "1")
    moving.move(A, 2)
    for request in (encode("INCR", A), encode("GET", A)):
        assert moving.client.ask(request) == b""
        assert moving.later(ClientConfig().leader_wait) == AGAIN
    moving.learn()
    assert moving.client.run("GET", A) == b"$1\r\n1\r\n"


def test_what_was_done_in_a_pipeline_is_not_done_again(moving: MovingSlots) -> None:
    moving.client.run("MSET", A, "0", STAYS, "10", B, "20")
    moving.move(A, 2)
    keys = (STAYS, A, B, A, STAYS)
    moving.client.send(pipeline(*(("INCR", key) for key in keys), ("INCR",)))
    moving.learn()
    assert moving.later() == b":11\r\n:1\r\n:21\r\n:2\r\n:12\r\n" + _arity("incr")
    moving.move(A, 1)
    moving.client.send(pipeline(*(("GET", key) for key in keys), ("GET",)))
    moving.learn()
    assert moving.later() == b"$2\r\n12\r\n$1\r\n2\r\n$2\r\n21\r\n$1\r\n2\r\n$2\r\n12\r\n" + _arity("get")


def _arity(name: str) -> bytes:
    return b"-ERR wrong number of arguments for '%b' command\r\n" % name.encode()


def test_keys_of_one_group_that_are_in_two_by_now(moving: MovingSlots) -> None:
    moving.client.run("MSET", A, "1", STAYS, "2")
    moving.move(A, 2)
    moving.client.send(pipeline(("DEL", A, STAYS), ("MSET", STAYS, "3", A, "4"), ("APPEND", A, "x")))
    moving.learn()
    assert moving.later() == b":2\r\n+OK\r\n:2\r\n"
    moving.move(A, 1)
    moving.client.send(encode("MGET", A, STAYS))
    moving.learn()
    assert moving.later() == b"*2\r\n$2\r\n4x\r\n$1\r\n3\r\n"


@pytest.mark.parametrize(
    ("words", "reply"),
    [
        (("MSET", A, "5", B, "6"), b"+OK\r\n"),
        (("MGET", A, B), b"*2\r\n$1\r\n1\r\n$1\r\n2\r\n"),
        (("RENAME", A, C), b"+OK\r\n"),
        (("COPY", B, A, "REPLACE"), b":1\r\n"),
        (("EVAL", "return redis.call('GET', KEYS[2])", "2", A, B), b"$1\r\n2\r\n"),
    ],
)
def test_a_command_over_groups_is_planned_again(
    moving: MovingSlots, words: tuple[Any, ...], reply: bytes
) -> None:
    moving.client.run("MSET", A, "1", B, "2")
    moving.move(A, 2)
    moving.client.send(encode(*words))
    moving.learn()
    assert moving.later() == reply
    assert settled(moving.port)


def test_a_slot_that_moves_between_prepare_and_commit_ends_the_attempt_alone(moving: MovingSlots) -> None:
    moving.client.run("MSET", A, "1", C, "2")
    moving.client.send(encode("MSET", A, "3", C, "4"))
    moving.port.host.turn()  # A is locked, and C is not
    moving.move(C, 1, known=True)
    assert moving.later() == b"+OK\r\n"
    assert moving.client.run("MGET", A, C) == b"*2\r\n$1\r\n3\r\n$1\r\n4\r\n"


def test_exec_is_planned_again_with_what_it_watches(moving: MovingSlots) -> None:
    moving.client.run("MSET", A, "1", STAYS, "2")
    moving.client.run("WATCH", A, STAYS)
    moving.client.run("MULTI")
    moving.client.run("INCR", A)
    moving.client.run("INCR", STAYS)
    moving.move(A, 2)
    moving.client.send(encode("EXEC"))
    moving.learn()
    assert moving.later() == b"*2\r\n:2\r\n:3\r\n"


def test_exec_that_is_planned_again_sees_that_a_watched_key_has_changed(moving: MovingSlots) -> None:
    moving.client.run("SET", A, "1")
    moving.client.run("WATCH", A)
    moving.client.run("MULTI")
    moving.client.run("INCR", A)
    moving.move(A, 2)
    machine = moving.port.host.machines[2]
    machine.apply(machine.stamp, [kv.Put(A, b"other")])
    moving.client.send(encode("EXEC"))
    moving.learn()
    assert moving.later() == b"*-1\r\n"
    assert moving.client.run("GET", A) == b"$5\r\nother\r\n"


def test_watch_follows_its_slot(moving: MovingSlots) -> None:
    moving.client.run("SET", A, "1")
    moving.move(A, 2)
    moving.client.send(encode("WATCH", A, STAYS))
    moving.learn()
    assert moving.later() == b"+OK\r\n"
    for words in (("MULTI",), ("INCR", A)):
        moving.client.run(*words)
    assert moving.client.run("EXEC") == b"*1\r\n:2\r\n"


def test_a_script_follows_its_keys(moving: MovingSlots) -> None:
    moving.client.run("SET", A, "1")
    moving.move(A, 2)
    moving.client.send(encode("EVAL", "return redis.call('INCR', KEYS[1])", "1", A))
    moving.learn()
    assert moving.later() == b":2\r\n"


def test_a_script_does_not_see_what_is_hidden_in_its_group(moving: MovingSlots) -> None:
    moving.client.run("MSET", A, "1", B, "2")
    moving.move(A, 1)
    moving.move(B, 2, known=True)
    assert moving.client.run("EVAL", "return redis.call('GET', ARGV[1])", "1", A, A) == b"$1\r\n1\r\n"
    foreign = moving.client.run("EVAL", "return redis.call('GET', ARGV[1])", "1", A, B)
    assert b"non local key" in foreign


def test_a_token_is_used_once_wherever_its_slot_is(moving: MovingSlots) -> None:
    request = ("KRAFT", "ONCE", "token", "INCR", A)
    assert moving.client.run(*request) == b":1\r\n"
    moving.move(A, 2)
    moving.client.send(encode(*request))
    moving.learn()
    assert moving.later() == b":1\r\n"
    assert moving.client.run("GET", A) == b"$1\r\n1\r\n"


def test_exec_with_a_token_follows_its_slot(moving: MovingSlots) -> None:
    for _ in range(2):
        for words in (("MULTI",), ("INCR", A)):
            moving.client.run(*words)
        moving.client.send(encode("KRAFT", "ONCE", "token", "EXEC"))
        moving.learn()
        assert moving.later() == b"*1\r\n:1\r\n"
        moving.move(A, 2 if moving.moves == 0 else 1)


def test_who_waits_for_a_lock_waits_in_the_other_group_for_the_rest_of_the_time(moving: MovingSlots) -> None:
    token = moving.client.run("KRAFT", "LOCK", A, "60000")[1:-2]
    other = moving.port.connect()
    assert other.ask(encode("KRAFT", "LOCK", A, "60000", "WAIT", "1000")) == b""
    moving.later(0.4)
    moving.move(A, 2, known=True)
    assert moving.later(0.4) + other.read() == b""
    moving.client.run("KRAFT", "UNLOCK", A, token)
    moving.later(0.1)
    assert other.read().startswith(b":")


def test_who_waits_for_a_lock_in_vain_waits_no_longer_than_it_said(moving: MovingSlots) -> None:
    moving.client.run("KRAFT", "LOCK", A, "60000")
    other = moving.port.connect()
    other.ask(encode("KRAFT", "LOCK", A, "60000", "WAIT", "1000"))
    moving.later(0.9)
    moving.move(A, 2, known=True)
    moving.port.host.turn()
    moving.later(0.2)
    assert other.read() == b"$-1\r\n"


def test_a_client_that_leaves_gives_up_its_place_in_the_other_group(moving: MovingSlots) -> None:
    moving.client.run("KRAFT", "LOCK", A, "60000")
    other = moving.port.connect()
    other.ask(encode("KRAFT", "LOCK", A, "60000", "WAIT", "60000"))
    moving.move(A, 2, known=True)
    moving.port.host.turn()
    moving.later()
    waits = moving.port.host._lock_waits
    assert (waits[0].count, waits[2].count) == (0, 1)
    other.lose()
    assert waits[2].count == 0


def test_a_stale_read_follows_its_slot(moving: MovingSlots) -> None:
    moving.client.run("MSET", A, "1", B, "2")
    moving.client.run("READONLY")
    moving.move(A, 2)
    moving.client.send(encode("GET", A))
    moving.learn()
    assert moving.later() == b"$1\r\n1\r\n"
    assert moving.client.run("MGET", A, B) == b"*2\r\n$1\r\n1\r\n$1\r\n2\r\n"


def test_commands_on_all_keys_show_each_key_once(moving: MovingSlots) -> None:
    """What is left in the source and what has come for a move that is not over is hidden."""
    moving.client.run("MSET", A, "1", STAYS, "2", B, "3")
    moving.move(A, 2, known=True)
    moving.freeze(B, 2)  # its keys have not come
    keys = sorted([A, STAYS, B])
    machine = moving.port.host.machines[0]
    assert A in machine.keyspace.records
    moving.bring(STAYS, 1)
    assert STAYS in moving.port.host.machines[1].keyspace.records
    run = moving.client.run
    assert run("DBSIZE") == b":3\r\n"
    assert run("KEYS", "*").count(b"$") == 3
    assert sorted(scanned(run)) == keys
    assert [key in run("KRAFT", "RANGE", "", "", "KEYSONLY") for key in keys] == [True] * 3
    assert run("KRAFT", "RANGE", "", "", "KEYSONLY").count(b"key:") == 3
    assert run("CLUSTER", "COUNTKEYSINSLOT", str(slot_of(A))) == b":1\r\n"
    assert b"key:" in run("RANDOMKEY")


def scanned(run: Any) -> list[bytes]:
    found, cursor = [], b"0"
    while True:
        _, _, cursor, _, *rest = run("SCAN", cursor).split(b"\r\n")
        found += rest[1:-1:2]
        if cursor == b"0":
            return found


def test_randomkey_finds_the_only_key_that_is_not_hidden(moving: MovingSlots) -> None:
    others = [b"{%b}%d" % (A, number) for number in range(200)]
    moving.client.run("MSET", STAYS, "1", *(word for key in others for word in (key, "x")))
    moving.move(A, 2, known=True)
    answered = {moving.client.run("RANDOMKEY") for _ in range(3)}
    assert moving.port.host.machines[0].keyspace.slots is not None
    found = RandomKey().answer(moving.port.host.machines[0].keyspace)
    assert found == (1, STAYS)
    assert b"$-1\r\n" not in answered


def test_kraft_groups_and_cluster_slots_show_the_map_in_force(moving: MovingSlots) -> None:
    slots: Any = moving.port.host.slots
    slots.ranges = lambda: [(0, 99, 1), (100, 8000, 0), (8001, 16_383, 1)]
    moving.port.host.leaders[:2] = ["K1", "K2"]
    shown = moving.client.run("KRAFT", "GROUPS")
    assert [part in shown for part in (b"100-8000", b"0-99,8001-16383", b"$0\r\n")] == [True] * 3
    found = moving.client.run("CLUSTER", "SLOTS")
    assert found.startswith(b"*3\r\n*3\r\n:0\r\n:99\r\n")
    assert b"16383" in found
    lines = moving.client.run("CLUSTER", "NODES").split(b"\n")
    assert sorted(line.split(b" connected ")[1] for line in lines if b" connected " in line) == [
        b"0-99 8001-16383", b"100-8000"
    ]  # fmt: skip
    assert moving.client.run("CLUSTER", "SHARDS").count(b"slots") == 2


def test_a_client_of_another_leader_is_sent_to_it() -> None:
    moving = MovingSlots(client=ClientConfig(routing="redirect"))
    moving.port.host.leaders[2] = "K2"
    moving.client.run("SET", A, "1")
    moving.move(A, 2)
    moving.client.send(pipeline(("INCR", A), ("SET", STAYS, "1"), ("GET", A)))
    moving.learn()
    sent = b"-MOVED %d 127.0.0.1:10012\r\n" % slot_of(A)
    assert moving.later() == sent + b"+OK\r\n" + sent


def test_an_outcome_that_is_unknown_is_never_planned_again(moving: MovingSlots) -> None:
    moving.client.run("SET", A, "1")
    moving.move(A, 2, known=True)
    moving.client.send(pipeline(("INCR", A)))
    moving.port.host.failing = Uncertain()
    assert moving.later().startswith(b"-UNCERTAIN")
    assert len(moving.port.host.writes) == 2
