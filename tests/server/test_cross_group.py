"""Commands and transactions with keys in several groups, at the client port of a node with three."""

import pytest

from kraft.config.values import ClientConfig
from kraft.kv import commands as kv
from tests.server.fakes import Port
from tests.server.groups import A, B, C, array, open_transactions, settled, three

CROSSED = b"-CROSSSLOT Keys in request don't hash to the same slot\r\n"


def steps(port: Port) -> list[tuple[int, str]]:
    """The steps of transactions that were logged, with their groups."""
    return [(group, type(command).__name__) for group, commands in port.host.writes for command in commands]


def test_mset_takes_effect_in_all_groups_and_mget_reads_them() -> None:
    port, client = three()
    assert client.run("MSET", A, "1", B, "2", C, "3") == b"+OK\r\n"
    assert client.run("MGET", C, A, "none", B, A) == array(b"3", b"1", None, b"2", b"1")
    assert client.run("GET", B) == b"$1\r\n2\r\n"
    assert settled(port)


def test_two_groups_take_two_rounds_and_the_highest_group_decides() -> None:
    port, client = three()
    client.run("MSET", A, "1", C, "3")
    assert settled(port)
    assert steps(port) == [(0, "Prepare"), (2, "Commit"), (0, "Resolve"), (2, "Forget")]


def test_a_client_is_answered_when_home_has_committed() -> None:
    port, client = three()
    client.send(client.encode("MSET", A, "1", C, "3"))
    port.host.turn()
    assert client.read() == b""
    port.host.turn()
    assert client.read() == b"+OK\r\n"
    assert open_transactions(port)


def test_del_exists_and_touch_count_over_groups() -> None:
    port, client = three()
    client.run("MSET", A, "1", B, "2", C, "3")
    assert client.run("EXISTS", A, B, C, C, "none") == b":4\r\n"
    assert client.run("TOUCH", A, "none", C) == b":2\r\n"
    assert client.run("DEL", A, "none", C) == b":2\r\n"
    assert client.run("UNLINK", A, B) == b":1\r\n"
    assert client.run("EXISTS", A, B, C) == b":0\r\n"
    assert settled(port)


def test_a_pipeline_keeps_the_order_of_its_replies() -> None:
    _, client = three()
    requests = (("SET", A, "0"), ("MSET", A, "1", B, "2"), ("GET", A), ("MGET", B, A), ("INCR", A))
    answer = client.ask(b"".join(client.encode(*words) for words in requests))
    assert answer == b"+OK\r\n+OK\r\n$1\r\n1\r\n" + array(b"2", b"1") + b":2\r\n"


def test_exec_over_groups() -> None:
    port, client = three()
    client.run("SET", B, "x")
    client.run("MULTI")
    for words in (
        ("INCR", A),
        ("INCR", B),
        ("MGET", A, C),
        ("SET", C, "3"),
        ("GET", C),
        ("PING",),
        ("TTL", A),
    ):
        assert client.run(*words) == b"+QUEUED\r\n"
    assert client.run("EXEC") == (
        b"*7\r\n:1\r\n-ERR value is not an integer or out of range\r\n" + array(b"1", None)
        + b"+OK\r\n$1\r\n3\r\n+PONG\r\n:-1\r\n"
    )  # fmt: skip
    assert settled(port)


@pytest.mark.parametrize("valid", [[], [("INCR", A)], [("GET", A)]])
def test_a_command_that_was_refused_takes_no_part_in_exec(valid: list[tuple[str | bytes, ...]]) -> None:
    port, client = three()
    client.run("MULTI")
    for words in (*valid, ("SETBIT", B, "0", "2"), ("SETBIT", C, "0", "2")):
        assert client.run(*words) == b"+QUEUED\r\n"
    replies = client.run("EXEC")
    assert replies.startswith(b"*%d\r\n" % (len(valid) + 2))
    assert replies.endswith(2 * b"-ERR bit is not an integer or out of range\r\n")
    assert not any(name in ("Prepare", "Commit") for _, name in steps(port))


def test_exec_that_only_reads_is_not_logged() -> None:
    port, client = three()
    client.run("MSET", A, "1", B, "2")
    before = len(port.host.writes)
    for words in (("MULTI",), ("GET", A), ("EXISTS", A, B, C)):
        client.run(*words)
    assert client.run("EXEC") == b"*2\r\n$1\r\n1\r\n:2\r\n"
    assert len(port.host.writes) == before


@pytest.mark.parametrize("changed", [A, B, C])
def test_a_watched_key_of_any_group_aborts_exec(changed: bytes) -> None:
    port, client = three()
    other = port.connect()
    for meddles in (False, True):
        assert client.run("WATCH", A, B, C) == b"+OK\r\n"
        if meddles:
            other.run("SET", changed, "x")
        client.run("MULTI")
        client.run("SET", A, "1")
        client.run("SET", B, "2")
        assert client.run("EXEC") == (b"*-1\r\n" if meddles else b"*2\r\n+OK\r\n+OK\r\n")
        assert settled(port)


def test_a_watched_key_aborts_a_transaction_in_another_group() -> None:
    port, client = three()
    client.run("WATCH", A)
    port.connect().run("SET", A, "x")
    client.run("MULTI")
    client.run("SET", C, "1")
    assert client.run("EXEC") == b"*-1\r\n"
    assert client.run("GET", C) == b"$-1\r\n"


def test_a_revision_in_a_reply_is_that_of_the_change() -> None:
    _, client = three()
    client.run("SET", A, "other")
    client.run("MULTI")
    client.run("KRAFT", "CAS", A, "1", "new")
    client.run("SET", C, "1")
    answer = client.run("EXEC")
    assert answer.startswith(b"*2\r\n:")
    assert answer.endswith(b"+OK\r\n")
    assert client.run("KRAFT", "REV", A) == answer[4:-5]


def test_a_revision_that_is_not_known_yet_is_not_shown() -> None:
    """The revision of a change in a participant is taken when it takes effect, after the reply."""
    port, client = three()
    client.run("SET", A, "1")
    for words in (("SET", A, "2"), ("RENAME", C, A)):
        client.run("MULTI")
        for queued in (words, ("KRAFT", "REV", A), ("SET", B, "3")):
            assert client.run(*queued) == b"+QUEUED\r\n"
        assert client.run("EXEC").startswith(b"-EXECABORT Transaction discarded because of: KRAFT REV")
    client.run("MULTI")
    for queued in (("KRAFT", "REV", A), ("SET", A, "2"), ("SET", B, "3")):
        client.run(*queued)
    assert client.run("EXEC") == b"*3\r\n:1\r\n+OK\r\n+OK\r\n"
    assert settled(port)


# -- what is refused


@pytest.mark.parametrize("prefix", [(), ("KRAFT", "ONCE", "token")])
def test_commands_that_can_have_keys_of_one_group_only_are_refused(prefix: tuple[str, ...]) -> None:
    port, client = three()
    assert client.run(*prefix, "KRAFT", "GUARD", A, "1", "KRAFT", "CAS", C, "1", "2") == CROSSED
    assert port.host.writes == []


def test_a_command_that_can_have_keys_of_one_group_only_aborts_the_transaction() -> None:
    _, client = three()
    client.run("MULTI")
    assert client.run("KRAFT", "GUARD", A, "1", "KRAFT", "CAS", C, "1", "2") == CROSSED
    assert client.run("EXEC") == b"-EXECABORT Transaction discarded because of previous errors.\r\n"


def test_an_option_refuses_all_of_them() -> None:
    _, client = three(client=ClientConfig(cross_group="refuse"))
    for words in (("MSET", A, "1", C, "2"), ("MGET", A, C), ("WATCH", A, C), ("RENAME", A, C)):
        assert client.run(*words) == CROSSED
    client.run("MULTI")
    client.run("GET", A)
    client.run("GET", C)
    assert client.run("EXEC") == CROSSED


def test_a_version_that_lacks_transactions_is_named() -> None:
    port, client = three()
    for machine in port.host.machines:
        machine.version = kv.Prepare.since - 1
    assert client.run("MSET", A, "1", C, "2").startswith(b"-ERR 'mset' needs machine version 4")
    assert client.run("MGET", A, C) == array(None, None)


def test_redirect_mode_sends_a_client_to_the_node_of_the_first_key() -> None:
    port, client = three(client=ClientConfig(routing="redirect"))
    port.host.leaders = ["K1", "K2", "K2"]
    assert client.run("MSET", A, "1", C, "2") == b"+OK\r\n"
    assert client.run("MSET", C, "1", A, "2").startswith(b"-MOVED")
    client.run("MULTI")
    assert client.run("SET", A, "3") == b"+QUEUED\r\n"
    assert client.run("SET", C, "4") == b"+QUEUED\r\n"
    assert client.run("EXEC") == b"*2\r\n+OK\r\n+OK\r\n"
