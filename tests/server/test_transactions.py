"""MULTI, EXEC, DISCARD, WATCH and UNWATCH of one client port, with replies as in Redis 7."""

import itertools
from collections.abc import Callable

import pytest

from kraft.config.values import ClientConfig, LimitsConfig
from kraft.kv.commands import Exec, Increment, Look, Put, Watched
from kraft.node.errors import NoLeader, Uncertain
from kraft.server.commands.table import TABLE
from tests.server.fakes import Port, Talk, encode

OK, QUEUED, NULL = b"+OK\r\n", b"+QUEUED\r\n", b"$-1\r\n"
ABORTED = b"-EXECABORT Transaction discarded because of previous errors.\r\n"
CHANGED = b"*-1\r\n"


def resp(*requests: str) -> bytes:
    return b"".join(encode(*request.split()) for request in requests)


def array(*replies: bytes) -> bytes:
    return b"*%d\r\n" % len(replies) + b"".join(replies)


def bulk(value: str) -> bytes:
    return b"$%d\r\n%b\r\n" % (len(value), value.encode())


# -- MULTI, EXEC, DISCARD


def test_a_transaction_is_one_logged_command(client: Talk) -> None:
    """In one write, as libraries send it."""
    requests = resp("MULTI", "SET a 1", "INCRBY a 4", "GET a", "PING", "MGET a b", "EXEC", "GET a")
    assert client.ask(requests) == (
        OK + QUEUED * 5 + array(OK, b":5\r\n", bulk("5"), b"+PONG\r\n", array(bulk("5"), NULL)) + bulk("5")
    )
    [(group, [transaction])] = client.port.host.writes
    assert group == 0
    assert isinstance(transaction, Exec)
    assert transaction.watched == ()
    assert transaction.steps[0] == Put(b"a", b"1")
    assert transaction.steps[2:] == (Look((b"a",)), Look((b"a", b"b")))


def test_what_is_queued_together_with_exec_is_answered_together_with_it(client: Talk) -> None:
    assert client.send(resp("MULTI", "SET a 1")) == OK + QUEUED
    assert client.send(resp("SET b 2", "EXEC", "PING")) == b""
    client.port.settle()
    assert client.read() == QUEUED + array(OK, OK) + b"+PONG\r\n"


def test_other_replies_do_not_wait_for_exec(client: Talk) -> None:
    client.run("SET", "a", "1")
    assert client.send(resp("PING", "MULTI", "GET a", "EXEC", "MULTI", "GET a", "EXEC")) == b"+PONG\r\n"
    client.port.host.turn()
    assert client.read() == OK + QUEUED + array(bulk("1"))
    client.port.host.turn()
    assert client.read() == OK + QUEUED + array(bulk("1"))


def test_nothing_is_executed_before_exec_and_after_discard(client: Talk) -> None:
    assert client.ask(resp("MULTI", "SET a 1")) == OK + QUEUED
    other = client.port.connect()
    assert other.run("GET", "a") == NULL
    assert client.ask(resp("DISCARD", "GET a", "EXEC")) == OK + NULL + b"-ERR EXEC without MULTI\r\n"
    assert client.port.host.writes == []


def test_a_read_sees_the_writes_before_it_and_not_those_after_it(client: Talk) -> None:
    steps = ["GET a", "SET a 1", "GET a", "DEL a", "GET a", "EXISTS a a", "DBSIZE", "SET a 2", "DBSIZE"]
    replies = (NULL, OK, bulk("1"), b":1\r\n", NULL, b":0\r\n", b":0\r\n", OK, b":1\r\n")
    assert client.ask(resp("MULTI", *steps, "EXEC")) == OK + QUEUED * len(steps) + array(*replies)


def test_reads_alone_are_not_logged(client: Talk) -> None:
    client.run("SET", "a", "1")
    writes = len(client.port.host.writes)
    assert client.ask(resp("MULTI", "GET a", "STRLEN a", "EXEC")) == (
        OK + QUEUED * 2 + array(bulk("1"), b":1\r\n")
    )
    assert len(client.port.host.writes) == writes
    assert client.port.host.reads == [0]


def test_an_empty_transaction_asks_nobody(client: Talk) -> None:
    assert client.ask(resp("MULTI", "EXEC", "MULTI", "PING", "EXEC")) == (
        OK + array() + OK + QUEUED + array(b"+PONG\r\n")
    )
    assert [*client.port.host.writes, *client.port.host.reads] == []


def test_a_command_that_fails_does_not_undo_the_others(client: Talk) -> None:
    requests = resp("MULTI", "SET a x", "INCR a", "SET a 1 NOSUCH", "INCRBY a y", "SET b 2", "EXEC")
    wrong = b"-ERR value is not an integer or out of range\r\n"
    assert client.ask(requests) == (OK + QUEUED * 5 + array(OK, wrong, b"-ERR syntax error\r\n", wrong, OK))
    assert client.run("MGET", "a", "b") == array(bulk("x"), bulk("2"))


@pytest.mark.parametrize(
    ("request_", "reply"),
    [
        ("NOSUCH", b"-ERR unknown command 'NOSUCH', with args beginning with: \r\n"),
        ("GET", b"-ERR wrong number of arguments for 'get' command\r\n"),
        ("CLIENT NOSUCH", b"-ERR unknown subcommand 'NOSUCH'. Try CLIENT HELP.\r\n"),
        ("CLIENT", b"-ERR wrong number of arguments for 'client' command\r\n"),
        ("OBJECT ENCODING", b"-ERR wrong number of arguments for 'object|encoding' command\r\n"),
        ("WATCH", b"-ERR wrong number of arguments for 'watch' command\r\n"),
        ("MULTI x", b"-ERR wrong number of arguments for 'multi' command\r\n"),
        ("DISCARD x", b"-ERR wrong number of arguments for 'discard' command\r\n"),
        ("UNWATCH x", b"-ERR wrong number of arguments for 'unwatch' command\r\n"),
        ("KRAFT REMOVE K2", b"-ERR Command not allowed inside a transaction\r\n"),
        ("CLIENT REPLY OFF", b"-ERR Command not allowed inside a transaction\r\n"),
    ],
)
def test_an_error_while_queueing_aborts(client: Talk, request_: str, reply: bytes) -> None:
    assert client.ask(resp("MULTI", "SET a 1", request_, "SET b 1", "EXEC")) == (
        OK + QUEUED + reply + QUEUED + ABORTED
    )
    host = client.port.host
    assert [*host.orders, *host.writes, *host.reads] == []
    assert client.ask(resp("MULTI", "PING", "EXEC")) == OK + QUEUED + array(b"+PONG\r\n")


@pytest.mark.parametrize(
    ("request_", "reply"),
    [
        ("MULTI", b"-ERR MULTI calls can not be nested\r\n"),
        ("WATCH a", b"-ERR WATCH inside MULTI is not allowed\r\n"),
    ],
)
def test_errors_that_abort_nothing(client: Talk, request_: str, reply: bytes) -> None:
    assert client.ask(resp("MULTI", request_, "SET a 1", "EXEC")) == OK + reply + QUEUED + array(OK)


def test_exec_with_a_wrong_number_of_words_ends_the_transaction(client: Talk) -> None:
    wrong = b"-EXECABORT Transaction discarded because of: wrong number of arguments for 'exec' command\r\n"
    assert client.ask(resp("MULTI", "EXEC x", "EXEC", "EXEC x")) == (
        OK + wrong + b"-ERR EXEC without MULTI\r\n" + wrong
    )


def test_there_is_nothing_to_end_without_multi(client: Talk) -> None:
    assert client.run("EXEC") == b"-ERR EXEC without MULTI\r\n"
    assert client.run("DISCARD") == b"-ERR DISCARD without MULTI\r\n"
    assert client.run("UNWATCH") == OK


# -- WATCH


def test_a_watched_key_that_changed_aborts(client: Talk) -> None:
    other = client.port.connect()
    assert client.ask(resp("WATCH a b", "MULTI", "SET b 1")) == OK * 2 + QUEUED
    other.run("SET", "a", "2")
    assert client.run("EXEC") == CHANGED
    assert client.run("EXISTS", "b") == b":0\r\n"
    assert client.ask(resp("MULTI", "SET b 1", "EXEC")) == OK + QUEUED + array(OK)  # watches nothing any more


@pytest.mark.parametrize(
    "changes",
    [["SET a 0"], ["DEL a"], ["DEL a", "SET a 0"], ["PEXPIRE a 100000"], ["RENAME a c"], ["APPEND a x"]],
)
@pytest.mark.parametrize("end", [["SET b 1"], ["GET b"], []], ids=["write", "read", "empty"])
def test_every_change_of_a_watched_key_counts(client: Talk, changes: list[str], end: list[str]) -> None:
    """Also with the same value, for a transaction that only reads, and for an empty one."""
    other = client.port.connect()
    client.ask(resp("SET a 0", "WATCH a"))
    other.ask(resp(*changes))
    assert client.ask(resp("MULTI", *end, "EXEC")) == OK + QUEUED * len(end) + CHANGED


@pytest.mark.parametrize("nothing", ["SETNX a 1", "DEL nosuch", "SET a 1 NX", "GET a", "RENAMENX a a"])
def test_a_command_without_effect_is_no_change(client: Talk, nothing: str) -> None:
    other = client.port.connect()
    client.ask(resp("SET a 0", "WATCH a nosuch"))
    other.ask(resp(nothing))
    assert client.ask(resp("MULTI", "GET a", "EXEC")) == OK + QUEUED + array(bulk("0"))


def test_a_missing_key_that_comes_and_goes_has_changed(client: Talk) -> None:
    """It was missing before and is missing now, but the client may have seen it in between."""
    other = client.port.connect()
    client.run("WATCH", "a")
    other.ask(resp("SET a 1", "DEL a"))
    assert client.ask(resp("MULTI", "SET b 1", "EXEC")) == OK + QUEUED + CHANGED
    client.run("WATCH", "a")
    other.ask(resp("SET c 1", "DEL c b"))
    assert client.ask(resp("MULTI", "SET b 1", "EXEC")) == OK + QUEUED + array(OK)


def test_a_watched_key_that_expires_has_changed(client: Talk) -> None:
    client.ask(resp("SET a 1 PX 1000", "WATCH a", "MULTI", "SET b 1"))
    client.port.clock.advance(1.5)
    assert client.run("EXEC") == CHANGED


def test_its_own_commands_count_as_changes(client: Talk) -> None:
    assert client.ask(resp("WATCH a", "SET a 1", "MULTI", "GET a", "EXEC")) == OK * 3 + QUEUED + CHANGED


def test_the_first_watch_of_a_key_counts(client: Talk) -> None:
    requests = resp("WATCH a", "SET a 1", "WATCH a", "MULTI", "GET a", "EXEC")
    assert client.ask(requests) == OK * 4 + QUEUED + CHANGED


def test_what_is_watched_travels_with_the_transaction(client: Talk) -> None:
    client.ask(resp("SET x 1", "SET a 1", "WATCH a b", "MULTI", "SET b 1", "EXEC"))
    _, [transaction] = client.port.host.writes[-1]
    assert isinstance(transaction, Exec)
    assert transaction.watched == (Watched(b"a", 2, 2), Watched(b"b", 0, 2))


@pytest.mark.parametrize("end", ["UNWATCH", "RESET", "DISCARD", "EXEC", "EXEC x"])
def test_what_ends_a_watch(client: Talk, end: str) -> None:
    begin = ["MULTI"] if end in ("DISCARD", "EXEC") else []
    client.ask(resp("WATCH a", *begin, end, "SET a 1"))
    assert client.protocol.session.state.watched == {}
    assert client.ask(resp("MULTI", "GET a", "EXEC")) == OK + QUEUED + array(bulk("1"))


def test_unwatch_in_a_transaction_has_no_effect_on_it(client: Talk) -> None:
    requests = resp("WATCH a", "SET a 1", "MULTI", "UNWATCH", "EXEC", "MULTI", "UNWATCH", "EXEC")
    assert client.ask(requests) == OK * 3 + QUEUED + CHANGED + OK + QUEUED + array(OK)


def test_exec_without_multi_keeps_the_watch(client: Talk) -> None:
    requests = resp("WATCH a", "SET a 1", "EXEC", "MULTI", "EXEC")
    assert client.ask(requests) == OK * 2 + b"-ERR EXEC without MULTI\r\n" + OK + CHANGED


def test_previous_errors_count_more_than_a_change(client: Talk) -> None:
    requests = resp("WATCH a", "SET a 1", "MULTI", "GET", "EXEC")
    assert client.ask(requests).endswith(ABORTED)


def test_in_resp3_a_change_is_a_null(client: Talk) -> None:
    client.run("HELLO", "3")
    assert client.ask(resp("WATCH a", "SET a 1", "MULTI", "EXEC")) == OK * 3 + b"_\r\n"
    assert client.ask(b"kraft output plain\nwatch a\nset a 1\nmulti\nexec\n").endswith(b"null\n")


# -- the connection


def test_hello_in_a_transaction_changes_the_replies_after_it(client: Talk) -> None:
    answer = client.ask(resp("MULTI", "GET a", "HELLO 3", "GET a", "EXEC", "GET a"))
    assert answer.startswith(OK + QUEUED * 3 + b"*3\r\n$-1\r\n%7\r\n")
    assert answer.endswith(b"_\r\n_\r\n")


def test_client_reply_hides_what_it_hides(client: Talk) -> None:
    requests = resp("CLIENT REPLY OFF", "MULTI", "INCR n", "EXEC", "CLIENT REPLY ON", "GET n")
    assert client.ask(requests) == OK + bulk("1")
    assert client.ask(resp("CLIENT REPLY SKIP", "MULTI", "INCR n", "EXEC")) == QUEUED + array(b":2\r\n")


def test_a_line_of_text_is_no_exception(client: Talk) -> None:
    assert client.ask(b"multi\nset t 1\nexec\nget t\n") == OK + QUEUED + array(OK) + bulk("1")


def test_however_the_bytes_are_cut(client: Talk) -> None:
    requests = resp("SET a 1", "WATCH a", "MULTI", "DEL a", "EXEC", "GET a")
    answers = [client.ask(requests[n : n + 1]) for n in range(len(requests))]
    assert b"".join(answers) == OK * 3 + QUEUED + array(b":1\r\n") + NULL


def test_a_connection_that_ends_in_between_executes_nothing(port: Port) -> None:
    lost, half, other = port.connect(), port.connect(), port.connect()
    lost.ask(resp("MULTI", "SET a 1"))
    lost.lose()
    half.send(resp("MULTI", "SET a 1"))
    half.half_close()
    assert half.transport.disconnecting
    assert other.run("EXISTS", "a") == b":0\r\n"


def test_quit_and_reset_in_between(client: Talk) -> None:
    assert client.ask(resp("MULTI", "SET a 1", "RESET", "EXEC")) == (
        OK + QUEUED + b"+RESET\r\n-ERR EXEC without MULTI\r\n"
    )
    assert client.ask(resp("MULTI", "QUIT", "SET a 1")) == OK + OK
    assert client.transport.disconnecting
    assert client.port.host.writes == []


def test_a_client_that_kills_itself_in_a_transaction_is_answered_first(client: Talk) -> None:
    number = client.protocol.session.state.id
    answer = client.ask(resp("MULTI", f"CLIENT KILL ID {number} SKIPME no", "PING", "EXEC", "SET a 1"))
    assert answer == OK + QUEUED * 2 + array(b":1\r\n", b"+PONG\r\n")
    assert client.transport.disconnecting


def test_the_list_of_clients_shows_the_transaction(client: Talk) -> None:
    client.ask(resp("WATCH a b", "MULTI", "SET a 1", "SET a 2"))
    line = client.port.connect().run("CLIENT", "LIST", "ID", "1").decode()
    fields = dict(word.split("=", 1) for word in line.split() if "=" in word)
    assert (fields["multi"], fields["watch"], fields["flags"]) == ("2", "2", "x")
    assert int(fields["multi-mem"]) > 1000
    assert int(fields["tot-mem"]) >= 4096 + int(fields["multi-mem"])


def test_commands_count_when_they_are_executed(client: Talk) -> None:
    client.ask(resp("MULTI", "GET a", "INCR a", "GET a", "EXEC", "MULTI", "GET", "INCR a", "EXEC"))
    statistics = client.port.statistics
    calls = {name: (row.calls, row.rejected, row.failed) for name, row in statistics.commands.items()}
    assert calls == {
        "multi": (2, 0, 0), "exec": (1, 1, 0), "get": (2, 1, 0), "incr": (1, 0, 0)
    }  # fmt: skip
    assert (statistics.hits, statistics.misses) == (1, 1)
    assert statistics.commands["get"].kind == "read"
    assert statistics.errors == {"EXECABORT": 1, "ERR": 1}


WRITES = [
    ["SET a 1", "SET b 2", "SET c 3"],
    ["INCR n", "INCR a", "INCR n"],  # one fails
    ["SET a x GET", "GETDEL a", "GETDEL a"],
    ["INCRBYFLOAT f 1.5", "APPEND s x", "SETRANGE s 3 y", "GETEX a EX 100"],
    ["MSETNX a 1 b 2", "PEXPIRE a 9", "SET b 1 NX", "SET a 1 XX GET", "DEL a b c", "PERSIST a"],
    ["INCR n"] * 300,  # more than are answered in one go
]


def counted(client: Talk) -> dict[str, tuple[int, int, int]]:
    rows = client.port.statistics.commands
    return {name: (row.calls, row.rejected, row.failed) for name, row in rows.items()}


@pytest.mark.parametrize("writes", WRITES, ids=len)
def test_writes_alone_are_answered_and_counted_as_among_reads(writes: list[str]) -> None:
    """They take a shorter way, when they are queued, answered and counted."""
    alone, among = Port().connect(), Port().connect()
    for client in (alone, among):
        client.run("SET", "a", "x")
    first = alone.ask(resp("MULTI", *writes, "EXEC"))
    second = among.ask(resp("MULTI", *writes, "GET none", "EXEC"))
    assert (
        second == first.replace(b"*%d\r\n" % len(writes), b"%b*%d\r\n" % (QUEUED, len(writes) + 1), 1) + NULL
    )
    assert {"get": (1, 0, 0), **counted(alone)} == counted(among)
    assert alone.port.statistics.errors == among.port.statistics.errors
    assert alone.port.statistics.commands_processed == among.port.statistics.commands_processed - 1


@pytest.mark.parametrize(
    ("request_", "reply"),
    [
        ("SET 123456789 x", b"-ERR key exceeds limit of 8 bytes\r\n"),
        ("SET a", b"-ERR wrong number of arguments for 'set' command\r\n"),
        ("SET a " + "x" * 65, b"-ERR value exceeds limit of 64 bytes\r\n"),
    ],
)
def test_what_looks_like_a_short_write_is_checked_as_well(request_: str, reply: bytes) -> None:
    client = Port(limits=LimitsConfig(key_bytes=8, value_bytes=64)).connect()
    assert client.ask(resp("MULTI", "SET a 1", request_, "EXEC")) == OK + QUEUED + reply + ABORTED


def test_command_lists_them() -> None:
    assert {b"MULTI", b"EXEC", b"DISCARD", b"WATCH", b"UNWATCH"} <= set(TABLE)


# -- failures


@pytest.mark.parametrize(
    ("failure", "reply"),
    [(Uncertain(), b"-UNCERTAIN "), (NoLeader(0), b"-CLUSTERDOWN No leader for group 0")],
)
def test_a_host_that_fails_answers_exec_alone(client: Talk, failure: Exception, reply: bytes) -> None:
    client.ask(resp("WATCH a", "MULTI", "SET a 1", "PING"))
    client.port.host.failing = failure
    assert client.run("EXEC").startswith(reply)
    client.port.host.failing = None
    assert client.ask(resp("EXEC", "PING")) == b"-ERR EXEC without MULTI\r\n+PONG\r\n"


@pytest.mark.parametrize("failure", [Uncertain(), NoLeader(0)])
def test_a_host_that_fails_answers_exec_alone_however_it_came(failure: Exception) -> None:
    """In one piece with the commands, which is not queued then, or after them."""
    together, apart = Port().connect(), Port().connect()
    replies = []
    for client, cuts in ((together, [3]), (apart, [1, 2])):
        client.port.host.failing = failure
        requests = ["MULTI", "SET a 1", "EXEC"]
        pieces = [resp(*requests[start:end]) for start, end in itertools.pairwise([0, *cuts, 3])]
        replies.append(b"".join(map(client.ask, pieces)))
    assert replies[0] == replies[1]
    assert replies[0].startswith(OK + QUEUED + b"-")
    assert counted(together) == counted(apart)
    assert together.port.statistics.errors == apart.port.statistics.errors


def test_a_transaction_in_one_piece_is_not_queued(client: Talk) -> None:
    client.run("SET", "n", "1")
    assert client.send(resp("MULTI", "SET a 1", "INCR n", "EXEC")) == b""
    assert client.protocol.session.state.multi is None
    client.port.settle()
    assert client.read() == OK + QUEUED * 2 + array(OK, b":2\r\n")
    assert client.port.host.writes[1:] == [(0, [Exec((), (Put(b"a", b"1"), Increment(b"n", 1)))])]


@pytest.mark.parametrize("before", ["WATCH n", "MULTI"])
def test_a_transaction_in_one_piece_heeds_what_came_before(client: Talk, before: str) -> None:
    client.run("SET", "n", "1")
    client.ask(resp(before))
    if before == "MULTI":
        nested = b"-ERR MULTI calls can not be nested\r\n"
        assert client.ask(resp("MULTI", "SET a 1", "EXEC")) == nested + QUEUED + array(OK)
    else:
        client.port.connect().run("INCR", "n")
        assert client.ask(resp("MULTI", "SET a 1", "EXEC")) == OK + QUEUED + CHANGED


def test_a_watch_that_fails_watches_nothing(client: Talk) -> None:
    client.port.host.failing = NoLeader(0)
    assert client.run("WATCH", "a").startswith(b"-CLUSTERDOWN")
    assert client.protocol.session.state.watched == {}


def test_a_cluster_with_older_nodes_refuses_writes(client: Talk) -> None:
    """Only EXEC fails, and nothing of the transaction is executed."""
    client.port.host.machines[0].version = 2
    needs = b"-ERR 'exec' needs machine version 3, but version 2 is in force\r\n"
    assert client.ask(resp("MULTI", "SET a 1", "EXEC", "GET a")) == OK + QUEUED + needs + NULL
    assert client.ask(resp("WATCH a", "MULTI", "GET a", "EXEC")) == OK * 2 + QUEUED + array(NULL)


def test_a_full_node_refuses_writes_that_need_memory(client: Talk) -> None:
    oom = b"OOM command not allowed when used memory > 'maxmemory'.\r\n"
    client.ask(resp("MULTI", "SET a 1"))
    client.port.host.memory.leader_full = True
    assert client.run("EXEC") == b"-EXECABORT Transaction discarded because of: " + oom
    assert client.ask(resp("MULTI", "SET a 1", "EXEC")) == OK + b"-" + oom + ABORTED
    assert client.ask(resp("MULTI", "DEL a", "EXEC")) == OK + QUEUED + array(b":0\r\n")


# -- limits


def test_limits_of_a_transaction_are_those_of_a_request() -> None:
    limits = LimitsConfig(key_bytes=8, value_bytes=64, request_bytes=256, arguments=16, multi_commands=4)
    client = Port(limits=limits).connect()
    big = "SET aa " + "x" * 60
    over = b"-ERR transaction exceeds limit of 256 bytes\r\n"
    assert client.ask(resp("MULTI", *[big] * 4, "EXEC")) == OK + QUEUED * 3 + over + ABORTED
    many = b"-ERR too many arguments in transaction\r\n"
    assert client.ask(resp("MULTI", "DEL" + " a" * 12, "DEL a b c", "EXEC")) == OK + QUEUED + many + ABORTED
    more = b"-ERR too many commands in transaction\r\n"
    assert client.ask(resp("MULTI", *["PING"] * 5, "EXEC")) == OK + QUEUED * 4 + more + ABORTED
    key = b"-ERR key exceeds limit of 8 bytes\r\n"
    assert client.ask(resp("MULTI", "GET 123456789", "EXEC")) == OK + key + ABORTED
    watches = [f"WATCH {n:08}" for n in range(17)]
    assert client.ask(resp(*watches)) == OK * 16 + b"-ERR too many watched keys\r\n"


def test_a_reply_that_is_too_large_is_an_error_in_its_place() -> None:
    client = Port().connect()
    client.port.host.machines[0].apply(0, [Put(b"a", b"x" * (8 << 20)), Put(b"b", b"1")])
    answer = client.ask(resp("MULTI", *["GET a"] * 9, "STRLEN a", "GET b", "EXEC"))
    assert answer.count(b"-ERR reply of the transaction exceeds limit of 67108864 bytes\r\n") == 2
    assert b":8388608\r\n" in answer
    assert not client.transport.aborted


def test_long_replies_leave_other_connections_their_turn(
    client: Talk, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Local commands and reads are answered in slices of some milliseconds."""
    clock = client.port.clock
    times = itertools.count()
    client.ask(resp("MULTI", *["PING"] * 20))
    monkeypatch.setattr(clock, "seconds", lambda: next(times) / 500)
    client.send(resp("EXEC"))
    turns: list[object] = []
    soon = clock.call_soon

    def call_soon(call: Callable[[], object]) -> None:
        turns.append(call)
        soon(call)

    monkeypatch.setattr(clock, "call_soon", call_soon)
    clock.advance(0)
    assert client.read() == array(*[b"+PONG\r\n"] * 20)
    assert len(turns) > 3


# -- where the keys are


def test_keys_of_two_groups_are_refused_if_an_option_says_so() -> None:
    client = Port(groups=2, client=ClientConfig(cross_group="refuse")).connect()
    answer = client.ask(resp("MULTI", "SET a 1", "SET b 1", "SET c 1", "SET d 1", "EXEC"))
    assert answer == OK + QUEUED * 4 + b"-CROSSSLOT Keys in request don't hash to the same slot\r\n"
    assert client.ask(resp("WATCH {a}1", "MULTI", "SET {a}2 1", "EXEC")) == OK * 2 + QUEUED + array(OK)


def test_redirect_mode_sends_the_client_to_the_leader() -> None:
    client = Port(client=ClientConfig(routing="redirect")).connect()
    client.ask(resp("MULTI", "SET a 1"))
    client.port.host.leaders = ["K2"]
    moved = b"-MOVED 15495 127.0.0.1:10012\r\n"
    assert client.run("EXEC") == moved
    assert client.ask(resp("WATCH a", "MULTI", "SET a 1", "EXEC")) == moved + OK + moved + ABORTED
    assert client.port.host.writes == []
    assert client.ask(resp("READONLY", "MULTI", "GET a", "EXEC")) == OK * 2 + QUEUED + array(NULL)
