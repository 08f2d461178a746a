"""MULTI is refused, and nothing up to EXEC is executed, however a client sends it."""

import pytest

from kraft.server.commands.table import TABLE
from tests.server.fakes import Port, Talk, encode

REFUSED = (
    b"-ERR MULTI is refused: there are no transactions. Nothing is executed until EXEC, DISCARD or RESET\r\n"
)
NOT_EXECUTED = b"-ERR not executed, because MULTI was refused: send EXEC, DISCARD or RESET first\r\n"
ABORTED = b"-EXECABORT Transaction discarded because of previous errors.\r\n"
INCR = encode("INCR", "n")


def resp(*requests: str) -> bytes:
    return b"".join(encode(*request.split()) for request in requests)


def test_nothing_between_multi_and_exec_is_executed(client: Talk) -> None:
    assert client.run("MULTI") == REFUSED
    assert client.run("SET", "t", "1") == NOT_EXECUTED
    assert client.run("EXEC") == ABORTED
    assert client.run("GET", "t") == b"$-1\r\n"
    assert client.port.host.writes == []


def test_a_pipeline_executes_what_is_before_and_after(client: Talk) -> None:
    """In one write, as libraries send it; reads and writes before MULTI are answered first."""
    requests = resp("SET a 1", "GET a", "MULTI", "SET t 1", "GET a", "DEL a", "EXEC", "SET b 2", "GET a")
    expected = b"+OK\r\n$1\r\n1\r\n" + REFUSED + NOT_EXECUTED * 3 + ABORTED + b"+OK\r\n$1\r\n1\r\n"
    assert client.ask(requests) == expected
    assert client.run("EXISTS", "t", "b") == b":1\r\n"


def test_however_the_bytes_are_cut(client: Talk) -> None:
    requests = resp("SET a 1", "MULTI", "DEL a", "EXEC", "GET a")
    answers = [client.ask(requests[n : n + 1]) for n in range(len(requests))]
    assert b"".join(answers) == b"+OK\r\n" + REFUSED + NOT_EXECUTED + ABORTED + b"$1\r\n1\r\n"


def test_a_line_of_text_is_no_exception(client: Talk) -> None:
    assert client.ask(b"multi\nset t 1\nexec\nget t\n") == REFUSED + NOT_EXECUTED + ABORTED + b"$-1\r\n"


@pytest.mark.parametrize(
    "request_",
    ["SET a 1", "GET a", "PING", "HELLO 3", "KRAFT REMOVE K2", "NOSUCH", "GET", "CLIENT ID", "UNWATCH"],
)
def test_every_kind_of_command_is_refused(client: Talk, request_: str) -> None:
    """Also those of administrators, unknown ones and those with a wrong number of words."""
    assert client.ask(resp("MULTI", request_, "EXEC")) == REFUSED + NOT_EXECUTED + ABORTED
    host = client.port.host
    assert [*host.orders, *host.writes, *host.reads] == []
    assert client.run("PING") == b"+PONG\r\n"


@pytest.mark.parametrize(
    ("end", "reply"), [("EXEC", ABORTED), ("DISCARD", b"+OK\r\n"), ("RESET", b"+RESET\r\n")]
)
def test_what_ends_a_refused_transaction(client: Talk, end: str, reply: bytes) -> None:
    assert client.ask(resp("MULTI", end, "SET a 1")) == REFUSED + reply + b"+OK\r\n"


def test_there_is_nothing_to_end_without_multi(client: Talk) -> None:
    assert client.run("EXEC") == b"-ERR EXEC without MULTI\r\n"
    assert client.run("DISCARD") == b"-ERR DISCARD without MULTI\r\n"
    assert client.run("MULTI", "x") == b"-ERR wrong number of arguments for 'multi' command\r\n"
    assert client.run("SET", "a", "1") == b"+OK\r\n"


def test_a_nested_multi_changes_nothing(client: Talk) -> None:
    assert client.ask(resp("MULTI", "MULTI", "SET a 1", "EXEC", "GET a")) == (
        REFUSED * 2 + NOT_EXECUTED + ABORTED + b"$-1\r\n"
    )


def test_watch_is_refused_and_the_reads_after_it_are_answered(client: Talk) -> None:
    """The caller reads the watched keys before MULTI; without a watch, the transaction must not happen."""
    requests = resp("WATCH a", "GET a", "MULTI", "SET a 1", "WATCH b", "EXEC", "UNWATCH", "GET a")
    assert client.ask(requests) == (
        b"-ERR WATCH is refused: there are no transactions\r\n$-1\r\n"
        + REFUSED + NOT_EXECUTED + b"-ERR WATCH inside MULTI is not allowed\r\n" + ABORTED + b"+OK\r\n$-1\r\n"
    )  # fmt: skip


def test_client_reply_hides_the_refusal_and_nothing_is_executed(client: Talk) -> None:
    """A client that reads no replies never learns of it."""
    requests = resp(
        "CLIENT REPLY OFF", "MULTI", "SET a 1", "CLIENT REPLY ON", "EXEC", "CLIENT REPLY ON", "GET a"
    )
    assert client.ask(requests) == b"+OK\r\n$-1\r\n"
    assert client.ask(resp("CLIENT REPLY SKIP", "MULTI", "SET a 1", "EXEC", "GET a")) == (
        NOT_EXECUTED + ABORTED + b"$-1\r\n"
    )


def test_a_connection_that_ends_in_between_executes_nothing(port: Port) -> None:
    """Neither side of a half-closed connection, and no other connection is concerned."""
    lost, half, other = port.connect(), port.connect(), port.connect()
    assert lost.ask(resp("MULTI", "SET a 1")) == REFUSED + NOT_EXECUTED
    lost.lose()
    answer = half.send(resp("MULTI", "SET a 1"))
    half.half_close()
    assert answer == REFUSED + NOT_EXECUTED
    assert half.transport.disconnecting
    assert other.run("EXISTS", "a") == b":0\r\n"


def test_quit_works_in_between(client: Talk) -> None:
    assert client.ask(resp("MULTI", "QUIT", "SET a 1")) == REFUSED + b"+OK\r\n"
    assert client.transport.disconnecting
    assert client.port.host.writes == []


def test_long_refused_transactions_are_answered_in_parts(client: Talk) -> None:
    assert client.ask(resp("MULTI") + INCR * 3000 + resp("EXEC")) == REFUSED + NOT_EXECUTED * 3000 + ABORTED


@pytest.mark.parametrize("protocol", ["2", "3"])
def test_both_protocols(client: Talk, protocol: str) -> None:
    client.run("HELLO", protocol)
    assert client.ask(resp("MULTI", "SET a 1", "EXEC")) == REFUSED + NOT_EXECUTED + ABORTED


@pytest.mark.parametrize("name", ["EVAL", "EVALSHA", "SCRIPT", "FUNCTION", "SUBSCRIBE", "MONITOR"])
def test_other_commands_that_change_what_follows_are_unknown(client: Talk, name: str) -> None:
    """They have no end that a client would send, so what follows them is meant by itself."""
    answer = client.ask(resp(f"{name} x 0", "SET a 1"))
    assert answer == f"-ERR unknown command '{name}', with args beginning with: 'x' '0' \r\n+OK\r\n".encode()


def test_command_does_not_list_what_is_refused(client: Talk) -> None:
    """A client that looks for transactions there finds none."""
    assert client.run("COMMAND", "INFO", "multi", "exec", "watch") == b"*3\r\n" + b"$-1\r\n" * 3
    assert not {b"MULTI", b"EXEC", b"DISCARD", b"WATCH", b"UNWATCH"} & set(TABLE)
    client.run("MULTI")
    assert client.port.names["multi"] == client.port.statistics.commands["multi"].failed == 1


def test_reset_of_the_connection_shows_in_its_state(client: Talk) -> None:
    client.run("MULTI")
    assert client.protocol.session.state.in_transaction
    client.run("RESET")
    assert not client.protocol.session.state.in_transaction
