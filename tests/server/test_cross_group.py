"""Commands and transactions with keys in several groups, at the client port of a node with three."""

from hashlib import sha1
from typing import Any

import pytest

from kraft.config.values import ClientConfig
from kraft.kv import commands as kv
from kraft.node.errors import NoLeader, Uncertain
from tests.server.fakes import Port
from tests.server.groups import LIBRARY, key_in, keys_in, three

A, B, C = (key_in(group) for group in range(3))
CROSSED = b"-CROSSSLOT Keys in request don't hash to the same slot\r\n"


def array(*values: bytes | int | None) -> bytes:
    each = (
        b"$-1\r\n" if value is None else b":%d\r\n" % value if isinstance(value, int)
        else b"$%d\r\n%b\r\n" % (len(value), value)
        for value in values
    )  # fmt: skip
    return b"*%d\r\n" % len(values) + b"".join(each)


def settled(port: Port) -> bool:
    """Whether no lock and no decision is left."""
    indexes = [machine.keyspace.transactions for machine in port.host.machines]
    return not any(index.prepared or index.decisions for index in indexes)


def steps(port: Port) -> list[tuple[int, str]]:
    """The steps of transactions that were logged, with their groups."""
    return [(group, type(command).__name__) for group, commands in port.host.writes for command in commands]


def meddle(port: Port, *commands: kv.Command) -> None:
    """Another client changes the key of group 0."""
    port.host.machines[0].apply(port.clock.wall_ms(), commands)


def test_mset_takes_effect_in_all_groups_and_mget_reads_them() -> None:
    port, client = three()
    assert client.run("MSET", A, "1", B, "2", C, "3") == b"+OK\r\n"
    assert client.run("MGET", C, A, "none", B, A) == array(b"3", b"1", None, b"2", b"1")
    assert client.run("GET", B) == b"$1\r\n2\r\n"
    assert settled(port)


def test_two_groups_take_two_rounds_and_the_highest_group_decides() -> None:
    port, client = three()
    client.run("MSET", A, "1", C, "3")
    assert steps(port) == [(0, "Prepare"), (2, "Commit"), (0, "Resolve"), (2, "Forget")]


def test_a_client_is_answered_when_home_has_committed() -> None:
    port, client = three()
    client.send(client.encode("MSET", A, "1", C, "3"))
    port.host.turn()
    assert client.read() == b""
    port.host.turn()
    assert client.read() == b"+OK\r\n"
    assert not settled(port)


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


# -- commands that see keys of several groups at once


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
    refused = b"-ERR what the transaction writes exceeds limits.request_bytes; this command did nothing\r\n"
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


def test_keys_that_change_all_the_time_end_in_a_refusal() -> None:
    port, client = three()
    client.send(client.encode("RENAME", A, C))
    for _ in range(60):
        meddle(port, kv.Increment(A, 1))
        port.host.turn()
        port.clock.advance(0.1)
    port.settle()
    assert client.read().startswith(b"-TRYAGAIN")
    assert client.run("MGET", A, C) == array(b"60", None)
    assert settled(port)


def test_a_group_without_leader_means_that_nothing_is_computed() -> None:
    port, client = three()
    client.run("SET", A, "1")
    port.host.failing_in = {2: NoLeader(2)}
    assert client.run("RENAME", A, C).startswith(b"-CLUSTERDOWN No leader for group 2")
    port.host.failing_in = {}
    assert client.run("MGET", A, C) == array(b"1", None)
    assert settled(port)


# -- scripts


MOVE = """
local value = redis.call('GET', KEYS[1])
redis.call('SET', KEYS[2], value)
redis.call('DEL', KEYS[1])
return value
"""


def test_a_script_with_keys_of_several_groups() -> None:
    port, client = three()
    client.run("SET", A, "1")
    assert client.run("EVAL", MOVE, "2", A, C) == b"$1\r\n1\r\n"
    assert client.run("MGET", A, C) == array(None, b"1")
    renames = "return redis.call('RENAME', KEYS[1], KEYS[2])"
    assert client.run("EVAL", renames, "2", C, B) == b"+OK\r\n"
    assert client.run("MGET", A, B, C) == array(None, b"1", None)
    expires = "redis.call('PEXPIRE', KEYS[1], 5000) return redis.call('PTTL', KEYS[1])"
    assert client.run("EVAL", expires, "2", B, C) == b":5000\r\n"
    assert client.run("PTTL", B) == b":5000\r\n"
    assert settled(port)


def test_a_script_that_fails_has_done_nothing_in_any_group() -> None:
    port, client = three()
    fails = "redis.call('MSET', KEYS[1], '1', KEYS[2], '2') return redis.call('INCRBY', KEYS[1], 'x')"
    assert client.run("EVAL", fails, "2", A, C).startswith(b"-ERR value is not an integer")
    assert client.run("EVAL", "syntax error", "2", A, C).startswith(b"-ERR Error compiling script")
    assert client.run("MGET", A, C) == array(None, None)
    assert settled(port)


def test_a_script_over_groups_uses_the_keys_that_it_declares() -> None:
    port, client = three()
    for key in (B, next(key for key in keys_in(0) if key != A)):
        answer = client.run("EVAL", f"return redis.call('GET', '{key.decode()}')", "2", A, C)
        assert answer.startswith(b"-ERR Script attempted to access a non local key")
    for words in (
        "'KRAFT', 'REV', KEYS[1]",
        "'KRAFT', 'CAS', KEYS[1], '0', 'x'",
        "'KRAFT', 'LOCK', KEYS[1], '1000'",
    ):
        assert b"not allowed from a script" in client.run("EVAL", f"return redis.call({words})", "2", A, C)
    assert client.run("MGET", A, C) == array(None, None)
    assert settled(port)


def test_cached_scripts_and_functions_run_over_groups() -> None:
    port, client = three()
    sha = client.run("SCRIPT", "LOAD", MOVE).split(b"\r\n")[1]
    client.run("SET", A, "1")
    assert client.run("EVALSHA", sha, "2", A, C) == b"$1\r\n1\r\n"
    assert client.run("EVALSHA", "0" * 40, "2", A, C).startswith(b"-NOSCRIPT")
    assert client.run("FUNCTION", "LOAD", LIBRARY) == b"$4\r\nmine\r\n"
    assert client.run("FCALL", "one", "2", A, C) == b":1\r\n"
    assert client.run("FCALL", "none", "2", A, C).startswith(b"-ERR Function not found")
    assert settled(port)


def test_a_script_in_one_groups_cache_runs_over_groups() -> None:
    _, client = three()
    client.run("EVAL", "return 7", "1", B)
    sha = sha1(b"return 7").hexdigest()
    assert client.run("EVALSHA", sha, "2", B, C) == b":7\r\n"
    assert client.run("EVALSHA", sha, "2", C, B) == b":7\r\n"


def test_a_script_rests_on_what_it_has_read() -> None:
    port, client = three()
    client.run("SET", A, "1")
    client.send(client.encode("EVAL", MOVE, "2", A, C))
    port.host.turn()
    meddle(port, kv.Put(A, b"2"))
    port.settle()
    assert client.read() == b"$1\r\n2\r\n"
    assert client.run("MGET", A, C) == array(None, b"2")
    assert settled(port)


def test_scripts_in_a_transaction_over_groups() -> None:
    port, client = three()
    client.run("MULTI")
    for words in (
        ("SET", A, "5"),
        ("EVAL", "return redis.call('INCR', KEYS[1])", "1", A),
        ("EVAL", MOVE, "2", A, C),
        ("EVAL", "return 'no keys'", "0"),
        ("INCR", C),
        ("MGET", A, C),
    ):
        assert client.run(*words) == b"+QUEUED\r\n"
    assert client.run("EXEC") == (
        b"*6\r\n+OK\r\n:6\r\n$1\r\n6\r\n$7\r\nno keys\r\n:7\r\n" + array(None, b"7")
    )
    assert settled(port)


def test_a_guarded_script_over_groups() -> None:
    port, client = three()
    token = client.run("KRAFT", "LOCK", B, "60000")[1:-2].decode()
    client.run("SET", A, "1")
    assert client.run("KRAFT", "GUARD", B, str(int(token) + 1), "EVAL", MOVE, "2", A, C).startswith(
        b"-LOCKLOST"
    )
    assert client.run("KRAFT", "GUARD", B, token, "EVAL", MOVE, "2", A, C) == b"$1\r\n1\r\n"
    assert settled(port)


# -- failures


def test_a_group_without_leader_means_that_nothing_was_done() -> None:
    port, client = three()
    for group in (A, C):
        port.host.failing_in = {0 if group == A else 2: NoLeader(0 if group == A else 2)}
        assert client.run("MSET", A, "1", C, "3").startswith(b"-CLUSTERDOWN No leader for group")
        port.host.failing_in = {}
        assert client.run("MGET", A, C) == array(None, None)
        for machine in port.host.machines:
            assert not machine.keyspace.transactions.prepared


def test_a_prepare_of_unknown_outcome_is_repeated() -> None:
    port, client = three()
    client.send(client.encode("MSET", A, "1", C, "3"))
    port.host.failing_in = {0: Uncertain()}
    port.host.turn()
    port.host.failing_in = {}
    port.settle()
    assert client.read() == b"+OK\r\n"


def test_a_commit_of_unknown_outcome_is_repeated_and_happens_once() -> None:
    port, client = three()
    client.run("MULTI")
    client.run("INCR", A)
    client.run("INCR", C)
    client.send(client.encode("EXEC"))
    port.host.turn()
    port.host.lost = True  # applied, but the reply is lost
    port.host.turn()
    port.host.lost = False
    assert client.read() == b""
    port.clock.advance(0.1)
    port.settle()
    assert client.read() == b"*2\r\n:1\r\n:1\r\n"
    assert client.run("MGET", A, C) == array(b"1", b"1")
    assert settled(port)


def test_a_commit_that_nobody_confirms_is_uncertain() -> None:
    port, client = three()
    client.send(client.encode("MSET", A, "1", C, "3"))
    port.host.turn()
    port.host.failing_in = {2: Uncertain()}
    for _ in range(60):
        port.settle()
        port.clock.advance(0.1)
    assert client.read().startswith(b"-UNCERTAIN")


# -- what is refused


@pytest.mark.parametrize(
    "words",
    [
        ("KRAFT", "ONCE", "token", "MSET", A, "1", C, "2"),
        ("KRAFT", "GUARD", A, "1", "KRAFT", "CAS", C, "1", "2"),
        ("KRAFT", "ONCE", "token", "EVAL", "return 1", "2", A, C),
    ],
)
def test_commands_that_can_have_keys_of_one_group_only_are_refused(words: tuple[Any, ...]) -> None:
    port, client = three()
    assert client.run(*words) == CROSSED
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
