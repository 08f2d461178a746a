"""Segments: runs of one kind share one call of the host, and replies keep the order of requests."""

from typing import Any

import pytest
from twisted.logger import capturedLogs

from kraft.kv import commands as kv
from kraft.node.errors import (
    AdminRefused,
    Busy,
    CheckpointFailed,
    DiskFull,
    NoLeader,
    NotLeader,
    Refused,
    Stopping,
    TooStale,
    Uncertain,
)
from kraft.server import session as session_module
from kraft.server.segments import ReadSegment
from tests.server.fakes import Port, Talk, encode


def test_a_pipeline_of_writes_is_one_proposal_and_one_send(client: Talk) -> None:
    host = client.port.host
    assert client.send(b"".join(encode("SET", f"k{n}", "v") for n in range(16))) == b""
    assert len(host.writes) == 1
    host.turn()
    assert client.transport.writes == 1
    assert client.read() == b"+OK\r\n" * 16
    assert client.port.kinds == {"write": 16}


def test_kinds_alternate_and_replies_keep_their_order(client: Talk) -> None:
    """A read after a write sees it, and nothing later is answered before it."""
    mixed = [("SET", "a", "1"), ("PING",), ("GET", "a"), ("MGET", "a", "b"), ("INCR", "a"), ("ECHO", "x")]
    assert client.send(b"".join(encode(*words) for words in mixed)) == b""
    host = client.port.host
    host.turn()
    assert client.read() == b"+OK\r\n+PONG\r\n"
    assert (len(host.writes), len(host.reads)) == (1, 1)
    host.turn()
    assert client.read() == b"$1\r\n1\r\n*2\r\n$1\r\n1\r\n$-1\r\n"
    host.turn()
    assert client.read() == b":2\r\n$1\r\nx\r\n"
    assert client.port.kinds == {"write": 2, "local": 2, "read": 2}


def test_an_invalid_request_is_answered_in_its_place_and_splits_nothing(client: Talk) -> None:
    batch = [("SET", "a", "1"), ("SET", "a"), ("SET", "a", "2", "EX", "0"), ("INCR", "a"), ("DEL", "a")]
    client.send(b"".join(encode(*words) for words in batch))
    assert [len(commands) for _, commands in client.port.host.writes] == [3]
    client.port.host.settle()
    assert client.read() == (
        b"+OK\r\n-ERR wrong number of arguments for 'set' command\r\n"
        b"-ERR invalid expire time in 'set' command\r\n:2\r\n:1\r\n"
    )
    assert client.ask(encode("GET") + encode("GET", "a") + encode("TTL")) == (
        b"-ERR wrong number of arguments for 'get' command\r\n$-1\r\n"
        b"-ERR wrong number of arguments for 'ttl' command\r\n"
    )


def test_only_invalid_requests_need_no_host(client: Talk) -> None:
    assert client.send(encode("SET", "a") + encode("GET")).count(b"-ERR wrong number") == 2
    assert not client.port.host.writes
    assert not client.port.host.reads


def test_requests_after_a_segment_wait_for_it(client: Talk) -> None:
    client.send(encode("SET", "a", "1"))
    assert client.send(encode("PING")) == b""
    assert client.send(encode("INCR", "a") + encode("INCR", "a")) == b""
    client.port.host.turn()
    assert client.read() == b"+OK\r\n+PONG\r\n"
    client.port.host.turn()
    assert client.read() == b":2\r\n:3\r\n"


def test_long_runs_are_cut(client: Talk) -> None:
    """By number, and by size."""
    answer = client.ask(b"".join(encode("INCR", "n") for _ in range(2500)))
    assert answer == b"".join(b":%d\r\n" % n for n in range(1, 2501))
    assert [len(commands) for _, commands in client.port.host.writes] == [1024, 1024, 452]
    client.port.host.writes.clear()
    assert client.ask(encode("SET", "k", "v" * 100_000) * 5) == b"+OK\r\n" * 5
    assert [len(commands) for _, commands in client.port.host.writes] == [2, 2, 1]


def test_two_connections_do_not_wait_for_each_other(port: Port) -> None:
    first, second = port.connect(), port.connect()
    first.send(encode("SET", "a", "1"))
    assert second.send(encode("PING")) == b"+PONG\r\n"
    port.host.settle()
    assert first.read() == b"+OK\r\n"


def test_every_outcome_has_its_error(client: Talk) -> None:
    """A segment that failed answers each of its commands with the same error."""
    table = {
        Uncertain(): "UNCERTAIN write may or may not be applied; check before retrying",
        NoLeader(0): "CLUSTERDOWN No leader for group 0",
        NotLeader(0, "K2"): "CLUSTERDOWN No leader for group 0",
        Busy(): "BUSY too many pending writes, try again later",
        DiskFull("/data"): "MISCONF Errors writing to the log: /data",
        DiskFull(): "MISCONF Errors writing to the log: no space left",
        CheckpointFailed(): (
            "MISCONF no checkpoint could be written: no disk space, or too many open files;"
            " storage_failed in the log of the leader says which"
        ),
        TooStale(0): (
            "MASTERDOWN Last contact with the leader of group 0 is longer ago than reads.max_staleness"
        ),
        AdminRefused("{0}, so not now"): "ERR {0}, so not now",
        Stopping(): "CLUSTERDOWN This node is shutting down",
        Refused(): "CLUSTERDOWN This node does not serve the group",
    }
    for failure, text in table.items():
        client.port.host.failing = failure
        assert client.ask(encode("INCR", "a") * 2) == f"-{text}\r\n".encode() * 2
    client.port.host.failing = NoLeader(0)
    assert client.run("GET", "a") == b"-CLUSTERDOWN No leader for group 0\r\n"
    assert client.port.statistics.errors["UNCERTAIN"] == 2
    assert client.port.statistics.commands["incr"].failed == 2 * len(table)


def test_an_error_names_the_obstacle_that_it_is_a_consequence_of(client: Talk) -> None:
    """Where the host knows one. Errors that name their reason themselves stay as they are."""
    client.port.host.reason = "disk full on K2 and K3"
    for failure, text in {
        Busy(): "BUSY too many pending writes, try again later: disk full on K2 and K3",
        Uncertain(): (
            "UNCERTAIN write may or may not be applied; check before retrying: disk full on K2 and K3"
        ),
        NoLeader(0): "CLUSTERDOWN No leader for group 0: disk full on K2 and K3",
        DiskFull("/data"): "MISCONF Errors writing to the log: /data",
        AdminRefused("not now"): "ERR not now",
        Stopping(): "CLUSTERDOWN This node is shutting down",
    }.items():
        client.port.host.failing = failure
        assert client.run("INCR", "a") == f"-{text}\r\n".encode()
    client.port.host.failing = NoLeader(0)
    assert client.run("GET", "a") == b"-CLUSTERDOWN No leader for group 0: disk full on K2 and K3\r\n"


def test_protocol_switches_between_two_replies(client: Talk) -> None:
    """Requests before HELLO are answered in the old protocol."""
    answer = client.ask(encode("CLIENT", "GETNAME") + encode("HELLO", "3") + encode("CLIENT", "GETNAME"))
    assert answer.startswith(b"$-1\r\n%7\r\n")
    assert answer.endswith(b"_\r\n")
    assert +client.port.observer.open == {"resp3": 1}


def test_quit_drops_the_requests_after_it(client: Talk) -> None:
    assert client.ask(encode("SET", "a", "1") + encode("QUIT") + encode("SET", "a", "2")) == b"+OK\r\n+OK\r\n"
    assert client.transport.disconnecting
    assert len(client.port.host.writes) == 1
    assert client.ask(encode("PING")) == b""


def test_half_close_still_gets_every_reply(client: Talk) -> None:
    """As `printf ... | nc -N` does."""
    client.send(b"set a 1\r\nincr a\r\nget a\r\n")
    client.half_close()
    assert not client.transport.disconnecting
    client.port.host.settle()
    assert client.read() == b"+OK\r\n:2\r\n$1\r\n2\r\n"
    assert client.transport.disconnecting


def test_half_close_of_an_idle_connection_closes_it(client: Talk) -> None:
    client.half_close()
    assert client.transport.disconnecting


def test_a_lost_client_leaves_its_write_alone(client: Talk) -> None:
    """The write happens; its reply and the requests queued after it are dropped."""
    client.send(encode("SET", "a", "1") + encode("SET", "a", "2") + encode("GET", "a") + encode("DEL", "a"))
    client.lose()
    client.port.host.settle()
    assert client.read() == b""
    assert client.port.host.machines[0].keyspace.get(b"a") == b"2"
    assert not client.port.host.reads
    assert not client.port.factory.port.sessions


def test_groups_share_a_run() -> None:
    """Keys of slots below 8192 are group 0's, the others group 1's."""
    client = Port(groups=2).connect()
    low, high = "bar", "foo"  # slots 5061 and 12182
    sets = [(low, "1"), (low, "2"), (high, "3"), (low, "4")]
    assert client.ask(b"".join(encode("SET", *pair) for pair in sets)) == b"+OK\r\n" * 4
    assert [(group, len(commands)) for group, commands in client.port.host.writes] == [(0, 3), (1, 1)]
    assert client.run("MGET", low, high) == b"*2\r\n$1\r\n4\r\n$1\r\n3\r\n"
    assert client.run("MGET", "{bar}1", "bar") == b"*2\r\n$-1\r\n$1\r\n4\r\n"
    assert client.run("GET", high) == b"$1\r\n3\r\n"


def test_a_plain_set_becomes_the_smallest_command(client: Talk) -> None:
    client.run("SET", "a", "1")
    client.run("SET", "a", "1", "PX", "7", "XX", "GET")
    commands = [command for _, run in client.port.host.writes for command in run]
    options = (kv.Condition.IF_PRESENT, kv.Expiry.RELATIVE, 7, True)
    assert commands == [kv.Put(b"a", b"1"), kv.Set(b"a", b"1", *options)]


def test_requests_are_counted_by_name(client: Talk) -> None:
    client.ask(encode("SET", "a", "x") + encode("INCR", "a") + encode("NOSUCH") + encode("CLIENT", "ID"))
    counted = client.port.statistics
    assert client.port.names == {"set": 1, "incr": 1, "unknown": 1, "client|id": 1}
    assert [name for name, row in counted.commands.items() if row.failed] == ["incr", "unknown"]
    assert counted.errors == {"ERR": 2}
    assert (counted.bytes_received, counted.bytes_sent) == (88, 114)


def test_long_answers_of_reads_come_in_several_rounds(client: Talk) -> None:
    """So that a pipeline of large values holds up nobody else; an invalid request keeps its place."""
    host = client.port.host
    value = b"x" * 600_000
    client.run("SET", "big", value)
    client.send((encode("GET", "big") * 2 + encode("GET")) * 2 + encode("GET", "no"))
    client.half_close()
    host.turn()
    one = b"$600000\r\n" + value + b"\r\n"
    wrong = b"-ERR wrong number of arguments for 'get' command\r\n"
    assert client.read() == one * 2
    assert not client.transport.disconnecting
    host.turn()
    assert client.read() == wrong + one * 2
    host.turn()
    assert client.read() == wrong + b"$-1\r\n"
    assert client.transport.disconnecting
    assert len(host.reads) == 3


def test_client_reply_switches_answers_off_and_on(client: Talk) -> None:
    off = [("CLIENT", "REPLY", "OFF"), ("SET", "a", "1"), ("PING",), ("CLIENT", "REPLY", "ON")]
    skip = [("CLIENT", "REPLY", "SKIP"), ("INCR", "a"), ("INCR", "a"), ("CLIENT", "REPLY", "MAYBE")]
    client.send(b"".join(encode(*words) for words in [*off, *skip]))
    client.port.host.settle()
    assert client.read() == b"+OK\r\n:3\r\n-ERR syntax error\r\n"


def test_a_mistake_of_ours_costs_one_client(client: Talk, monkeypatch: pytest.MonkeyPatch) -> None:
    other = client.port.connect()
    client.send(encode("GET", "a"))
    other.send(encode("GET", "a"))
    replies, planted = ReadSegment.replies, [RuntimeError("planted")]

    def wrong(*arguments: Any) -> Any:
        if planted:
            raise planted.pop()
        return replies(*arguments)

    monkeypatch.setattr(ReadSegment, "replies", wrong)
    with capturedLogs() as events:
        client.port.host.settle()
    assert [str(event["log_failure"].value) for event in events] == ["planted"]
    assert client.transport.aborted
    assert other.read() == b"$-1\r\n"
    assert client.port.observer.rejections == {"internal_error": 1}


@pytest.mark.parametrize(
    ("place", "requests"),
    [
        ("commands.execution.excerpt", b"MULTI\r\nSET a 1\r\nGET a\r\nEXEC\r\n"),
        ("index_segment.render_plain", b"KRAFT OUTPUT plain\r\nKEYS *\r\n"),
        ("index_segment._render_bulk", b"KEYS *\r\n"),
    ],
)
def test_a_mistake_of_ours_in_a_long_answer_costs_one_client(
    client: Talk, monkeypatch: pytest.MonkeyPatch, place: str, requests: bytes
) -> None:
    """Which is not left without an answer for ever."""
    other = client.port.connect()
    other.run("SET", "a", "1")

    def wrong(*_: Any) -> Any:
        raise RuntimeError("planted")

    monkeypatch.setattr(f"kraft.server.{place}", wrong)
    with capturedLogs() as events:
        client.send(requests)
        client.port.host.settle()
    assert [str(event["log_failure"].value) for event in events] == ["planted"]
    assert client.transport.aborted
    assert other.run("GET", "a") == b"$1\r\n1\r\n"


@pytest.mark.parametrize(
    ("garbage", "words"),
    [
        (b"*17\r\n", b"-ERR Protocol error: invalid multibulk length\r\n"),
        (b"*x\r\n", b"-ERR Protocol error: invalid multibulk length\r\n"),
        (b"*1\r\nP", b"-ERR Protocol error: expected '$', got 'P'\r\n"),
        (b"*1\r\n$x\r\n", b"-ERR Protocol error: invalid bulk length\r\n"),
        (b"set a 'b\r\n", b"-ERR Protocol error: unbalanced quotes in request\r\n"),
        (b"x" * 70_000, b"-ERR Protocol error: too big inline request\r\n"),
    ],
)
def test_garbage_gets_an_error_after_the_valid_requests(small: Talk, garbage: bytes, words: bytes) -> None:
    other = small.port.connect()
    small.send(encode("SET", "a", "1") + garbage)
    small.port.host.settle()
    assert small.read() == b"+OK\r\n" + words
    assert small.transport.disconnecting
    assert small.ask(encode("PING")) == b""
    assert other.run("PING") == b"+PONG\r\n"
    assert small.port.observer.rejections == {"protocol_error": 1}


def test_reading_pauses_while_too_much_is_queued(client: Talk, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(session_module, "QUEUE_REQUESTS", 10)
    client.send(encode("SET", "a", "1"))
    client.send(encode("PING") * 10)
    assert client.transport.producerState == "producing"
    client.send(encode("PING"))
    assert client.transport.producerState == "paused"
    assert client.port.observer.paused_now == 1
    client.port.host.settle()
    assert client.read() == b"+OK\r\n" + b"+PONG\r\n" * 11
    assert client.transport.producerState == "producing"
    assert client.port.observer.paused_now == 0


def test_reading_pauses_while_too_many_bytes_are_queued(client: Talk) -> None:
    client.send(encode("SET", "a", "1"))
    client.send(encode("SET", "a", "v" * 1_000_000))
    assert client.transport.producerState == "producing"
    client.send(encode("SET", "a", "v" * 100_000))
    assert client.transport.producerState == "paused"
    client.port.host.settle()
    assert client.transport.producerState == "producing"


def test_the_queue_forgets_what_is_done(client: Talk) -> None:
    """A client that is always a little ahead costs no more for it."""
    client.send(encode("SET", "a", "1"))
    for _ in range(50):
        client.send(encode("SET", "a", "1"))
        client.port.host.turn()
    assert len(client.protocol.session._queue) <= 2


def test_a_saturated_host_pauses_connections_until_relief(client: Talk) -> None:
    client.port.host.backpressure.saturated = True
    client.send(encode("SET", "a", "1"))
    assert client.transport.producerState == "paused"
    client.port.host.settle()
    assert client.read() == b"+OK\r\n"
    assert client.transport.producerState == "paused"
    client.port.host.backpressure.relieve()
    assert client.transport.producerState == "producing"


def test_relief_after_the_client_left_is_harmless(client: Talk) -> None:
    client.port.host.backpressure.saturated = True
    client.send(encode("SET", "a", "1"))
    client.lose()
    assert client.port.observer.paused_now == 0
    client.port.host.backpressure.relieve()
    client.port.host.settle()


def test_local_commands_that_take_long_let_others_have_their_turn(
    client: Talk, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Replies stay in order, and what came meanwhile or is half done by the end is answered as well."""
    monkeypatch.setattr(session_module, "LOCAL_SECONDS", 0)
    sent = b"".join(encode("ECHO", str(n)) for n in range(20)) + encode("SET", "a", "1")
    wanted = b"".join(b"$%d\r\n%d\r\n" % (len(str(n)), n) for n in range(20)) + b"+OK\r\n"
    replies = client.send(sent)
    assert replies == b"$1\r\n0\r\n"
    other = client.port.connect()
    assert other.send(encode("PING")) == b"+PONG\r\n"
    assert client.send(encode("PING")) == b""
    client.protocol.readConnectionLost()
    for _ in range(3):
        client.port.clock.advance(0)
        client.port.host.settle()
        replies += client.read()
    assert replies == wanted + b"+PONG\r\n"
    assert client.transport.disconnecting


def test_values_found_and_not_found_are_counted(client: Talk) -> None:
    """Where a value is what was asked for: EXISTS, TTL and the like only look."""
    client.run("SET", "a", "1")
    client.run("GET", "a")
    client.run("GET", "b")
    client.run("MGET", "a", "b", "a", "c")
    client.run("EXISTS", "a", "b")
    client.run("GET")

    assert (client.port.statistics.hits, client.port.statistics.misses) == (3, 3)


class TestWaitingForALock:
    """KRAFT LOCK ... WAIT holds up its own connection only."""

    def test_it_is_answered_when_the_lock_is_freed(self) -> None:
        port = Port()
        holder, waiter = port.connect(), port.connect()
        assert holder.run("KRAFT", "LOCK", "l", "60000") == b":1\r\n"
        assert waiter.run("KRAFT", "LOCK", "l", "60000", "OWNER", "me", "WAIT", "60000") == b""
        assert holder.run("KRAFT", "UNLOCK", "l", "1") == b":1\r\n"
        port.host.settle()
        assert waiter.read() == b":3\r\n"
        assert holder.run("GET", "l") == b"$2\r\nme\r\n"

    def test_it_is_answered_when_its_time_is_over(self) -> None:
        port = Port()
        holder, waiter = port.connect(), port.connect()
        holder.run("KRAFT", "LOCK", "l", "60000")
        assert waiter.run("KRAFT", "LOCK", "l", "60000", "wait", "100") == b""
        port.clock.advance(0.1)
        assert waiter.read() == b"$-1\r\n"

    def test_a_client_that_is_gone_does_not_get_it(self) -> None:
        port = Port()
        holder, waiter = port.connect(), port.connect()
        holder.run("KRAFT", "LOCK", "l", "60000")
        waiter.run("KRAFT", "LOCK", "l", "60000", "WAIT", "60000")
        waiter.lose()
        holder.run("KRAFT", "UNLOCK", "l", "1")
        port.host.settle()
        assert holder.run("EXISTS", "l") == b":0\r\n"

    def test_a_client_that_closed_its_socket_looks_half_closed_and_does_not_get_it(self) -> None:
        port = Port()
        holder, waiter = port.connect(), port.connect()
        holder.run("KRAFT", "LOCK", "l", "60000")
        waiter.run("KRAFT", "LOCK", "l", "60000", "WAIT", "60000")
        waiter.half_close()
        assert waiter.read() == b"$-1\r\n"
        holder.run("KRAFT", "UNLOCK", "l", "1")
        port.host.settle()
        assert holder.run("EXISTS", "l") == b":0\r\n"

    def test_it_is_refused_in_a_transaction_and_a_lock_without_it_is_not(self) -> None:
        client = Port().connect()
        client.run("MULTI")
        assert client.run("KRAFT", "LOCK", "l", "60000", "WAIT", "1").startswith(b"-ERR")
        client.run("DISCARD")
        client.run("MULTI")
        assert client.run("KRAFT", "LOCK", "l", "60000") == b"+QUEUED\r\n"
        assert client.run("EXEC") == b"*1\r\n:1\r\n"
        client.run("MULTI")
        client.run("KRAFT", "GUARD", "l", "1", "SET", "a", "1")
        client.run("KRAFT", "GUARD", "l", "2", "SET", "a", "2")
        assert b"+OK\r\n-LOCKLOST" in client.run("EXEC")
        assert client.run("GET", "a") == b"$1\r\n1\r\n"
