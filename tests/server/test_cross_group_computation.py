"""Commands that see keys of several groups at once: what they write is computed from what they have read."""

from kraft.kv import commands as kv
from kraft.kv.replies import CommandFailure
from kraft.node.errors import NoLeader
from tests.server.groups import A, B, C, array, meddle, settled, three


def test_rename_moves_a_value_with_its_expiry_to_another_group() -> None:
    port, client = three()
    client.run("SET", A, "1", "PX", "50000")
    client.run("SET", C, "old")
    assert client.run("RENAME", A, C) == b"+OK\r\n"
    assert client.run("MGET", A, C) == array(None, b"1")
    assert client.run("PTTL", C) == b":50000\r\n"
    assert client.run("RENAME", A, C) == b"-ERR no such key\r\n"
    assert client.run("GET", C) == b"$1\r\n1\r\n"
    assert settled(port)


def test_renamenx_and_copy_look_at_the_destination() -> None:
    port, client = three()
    client.run("MSET", A, "1", B, "2")
    assert client.run("RENAMENX", A, B) == b":0\r\n"
    assert client.run("COPY", A, B) == b":0\r\n"
    assert client.run("COPY", A, B, "REPLACE") == b":1\r\n"
    assert client.run("RENAMENX", A, C) == b":1\r\n"
    assert client.run("MGET", A, B, C) == array(None, b"1", b"1")
    assert settled(port)


def test_msetnx_and_msetex_set_all_keys_or_none() -> None:
    port, client = three()
    assert client.run("MSETNX", A, "1", B, "2") == b":1\r\n"
    assert client.run("MSETNX", C, "3", B, "x") == b":0\r\n"
    assert client.run("MGET", A, B, C) == array(b"1", b"2", None)
    assert client.run("MSETEX", "2", A, "5", C, "6", "XX") == b":0\r\n"
    assert client.run("MSETEX", "2", A, "5", B, "6", "XX", "PX", "7000") == b":1\r\n"
    assert client.run("PTTL", A) == client.run("PTTL", B) == b":7000\r\n"
    assert client.run("MSETEX", "2", A, "5", B, "6", "EXAT", "1") == b":1\r\n"
    assert client.run("EXISTS", A, B) == b":0\r\n"
    assert settled(port)


def test_bitop_reads_sources_of_all_groups() -> None:
    port, client = three()
    client.run("MSET", A, "\x0f", B, "\x31")
    assert client.run("BITOP", "OR", C, A, B) == b":1\r\n"
    assert client.run("GET", C) == b"$1\r\n\x3f\r\n"
    assert client.run("BITOP", "AND", C, "none", "nothing") == b":0\r\n"
    assert client.run("EXISTS", C) == b":0\r\n"
    assert settled(port)


def test_a_lock_guards_commands_in_other_groups() -> None:
    port, client = three()
    token = client.run("KRAFT", "LOCK", A, "60000")[1:-2].decode()
    assert client.run("KRAFT", "GUARD", A, token, "SET", C, "1") == b"+OK\r\n"
    assert client.run("KRAFT", "GUARD", A, token, "MSET", B, "2", C, "3") == b"+OK\r\n"
    assert client.run("KRAFT", "UNLOCK", A, token) == b":1\r\n", "its token is the same"
    assert client.run("KRAFT", "GUARD", A, token, "SET", C, "4").startswith(b"-LOCKLOST")
    assert client.run("MGET", B, C) == array(b"2", b"3")
    assert settled(port)


def test_a_transaction_with_commands_that_see_several_groups() -> None:
    """A computed step sees the steps before it, and those after it see what it did."""
    port, client = three()
    client.run("SET", A, "5")
    client.run("MULTI")
    for words in (
        ("INCR", A),
        ("RENAME", A, B),
        ("RENAME", A, B),
        ("INCR", B),
        ("COPY", B, C),
        ("MGET", A, B, C),
        ("KRAFT", "CAS", A, "0", "new"),
        ("APPEND", C, "x"),
        ("MSETNX", B, "1", "other", "2"),
    ):
        assert client.run(*words) == b"+QUEUED\r\n"
    answer = client.run("EXEC")
    assert answer.startswith(
        b"*9\r\n:6\r\n+OK\r\n-ERR no such key\r\n:7\r\n:1\r\n" + array(None, b"7", b"7") + b":"
    )
    assert answer.endswith(b":2\r\n:0\r\n")
    assert client.run("MGET", A, B, C) == array(b"new", b"7", b"7x")
    assert client.run("KRAFT", "REV", A) in answer
    assert settled(port)


def test_what_is_computed_has_the_limit_of_a_request() -> None:
    """All of it is in one entry of a log, and a short transaction could make gigabytes of it."""
    port, client = three()
    client.run("SET", A, "x" * 1_000_000)
    client.run("MULTI")
    for _ in range(20):
        client.run("COPY", A, B, "REPLACE")
    refused = (
        b"-ERR what the transaction writes exceeds limits.request_bytes, or an entry of the log;"
        b" this command did nothing\r\n"
    )
    assert client.run("EXEC") == b"*20\r\n" + b":1\r\n" * 8 + refused * 12
    assert max(len(kv.encode(commands)) for _, commands in port.host.writes) < 9_000_000
    assert settled(port)


def test_a_watched_key_aborts_what_is_computed() -> None:
    port, client = three()
    client.run("SET", A, "1")
    client.run("WATCH", B)
    port.connect().run("SET", B, "x")
    client.run("MULTI")
    client.run("RENAME", A, C)
    assert client.run("EXEC") == b"*-1\r\n"
    assert client.run("MGET", A, C) == array(b"1", None)


def test_what_was_computed_from_a_changed_key_is_computed_again() -> None:
    port, client = three()
    client.run("SET", A, "1")
    client.send(client.encode("RENAME", A, C))
    port.host.turn()  # the keys are read
    meddle(port, kv.Put(A, b"2"))
    port.settle()
    assert client.read() == b"+OK\r\n"
    assert client.run("MGET", A, C) == array(None, b"2")
    assert port.host.transactions.coordinator.outcomes == {"conflict": 1, "committed": 1}
    assert settled(port)


def test_a_missing_key_that_came_and_went_is_computed_again() -> None:
    port, client = three()
    client.send(client.encode("MSETNX", A, "1", C, "2"))
    port.host.turn()
    meddle(port, kv.Put(A, b"x"), kv.Delete((A,)))
    port.settle()
    assert client.read() == b":1\r\n"
    assert port.host.transactions.coordinator.outcomes == {"conflict": 1, "committed": 1}
    assert settled(port)


def test_keys_that_change_all_the_time_are_locked_after_the_first_conflict() -> None:
    """So the command gets its turn; what came before it moved, and what comes after it begins anew."""
    port, client = three()
    client.send(client.encode("RENAME", A, C))
    done = 0
    for _ in range(60):
        done += meddle(port, kv.Increment(A, 1)) != [CommandFailure.LOCKED]
        port.host.turn()
        port.clock.advance(0.1)
    port.settle()
    assert client.read() == b"+OK\r\n"
    after, before = (int(client.run("GET", key).split(b"\r\n")[1]) for key in (A, C))
    assert after + before == done > 50
    assert min(after, before) > 0
    assert settled(port)


def test_a_group_without_leader_means_that_nothing_is_computed() -> None:
    port, client = three()
    client.run("SET", A, "1")
    port.host.failing_in = {2: NoLeader(2)}
    assert client.run("RENAME", A, C).startswith(b"-CLUSTERDOWN No leader for group 2")
    port.host.failing_in = {}
    assert client.run("MGET", A, C) == array(b"1", None)
    assert settled(port)
