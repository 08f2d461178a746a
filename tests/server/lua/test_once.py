"""KRAFT ONCE in front of scripts: evaluated once, and the first reply from then on."""

import pytest

from kraft.config.values import ScriptsConfig
from kraft.kv.commands import Evaluated, LoadScript, Once
from kraft.kv.ledger import LedgerKind
from kraft.kv.machine import Machine
from tests.server.fakes import Port, encode
from tests.server.lua.talks import Scripts

REUSED = b"-ONCEREUSED "
COUNT = "return redis.call('INCR', KEYS[1])"


def once(scripts, token, source, *rest, keys=0):
    return scripts.call("KRAFT", "ONCE", token, "EVAL", source, keys, *rest)


def tokens(scripts):
    return scripts.port.host.machines[0].keyspace.ledger.counts[LedgerKind.TOKEN]


@pytest.mark.parametrize(
    ("source", "reply"),
    [
        ("return redis.call('INCR', 'n')", b":1\r\n"),
        ("redis.call('INCR', 'n') return {1, 'a', {false}, 'b'}", None),
        ("redis.call('INCR', 'n') return nil", b"$-1\r\n"),
        ("redis.call('INCR', 'n') return redis.status_reply('FINE')", b"+FINE\r\n"),
        ("redis.call('INCR', 'n') return redis.error_reply('MY error')", b"-MY error\r\n"),
        ("return {redis.call('GET', 'n'), redis.call('INCR', 'n'), redis.call('GET', 'n')}", None),
    ],
)
def test_a_repetition_gets_the_first_reply_and_has_no_effect(scripts, source, reply):
    first = once(scripts, "t", source)
    assert first == reply or (reply is None and first[:1] == b"*")
    assert scripts.call("GET", "n") == b"$1\r\n1\r\n"
    assert once(scripts, "t", source) == first
    assert scripts.call("GET", "n") == b"$1\r\n1\r\n"
    once(scripts, "another", source)
    assert scripts.call("GET", "n") == b"$1\r\n2\r\n"


def test_an_error_of_the_script_is_its_reply(scripts):
    """It is remembered, although another attempt would succeed."""
    source = "redis.call('SET', 'a', 1) return redis.call('INCR', KEYS[1])"
    scripts.call("SET", "n", "text")
    first = once(scripts, "t", source, "n", keys=1)
    assert first.startswith(b"-ERR value is not an integer or out of range script: ")
    scripts.call("SET", "n", "1")
    assert once(scripts, "t", source, "n", keys=1) == first
    assert scripts.call("MGET", "a", "n") == b"*2\r\n$-1\r\n$1\r\n1\r\n"


def test_by_its_digest(scripts):
    """Unknown scripts leave no trace: the client loads it, and sends the same command again."""
    sha = scripts.run("return redis.sha1hex(ARGV[1])", COUNT)[5:-2]
    words = ("KRAFT", "ONCE", "t", "EVALSHA", sha, 1, "n")
    assert scripts.call(*words).startswith(b"-NOSCRIPT")
    assert tokens(scripts) == 0
    scripts.call("SCRIPT", "LOAD", COUNT)
    assert scripts.call(*words) == scripts.call(*words) == b":1\r\n"
    scripts.call("SCRIPT", "FLUSH")
    assert scripts.call(*words) == b":1\r\n"


def test_a_token_belongs_to_one_command(scripts):
    assert once(scripts, "t", COUNT, "n", keys=1) == b":1\r\n"
    assert once(scripts, "t", COUNT, "m", keys=1).startswith(REUSED)
    assert once(scripts, "t", COUNT + " ", "n", keys=1).startswith(REUSED)
    assert scripts.call("KRAFT", "ONCE", "t", "INCR", "n").startswith(REUSED)
    assert scripts.call("KRAFT", "ONCE", "u", "INCR", "n") == b":2\r\n"
    assert once(scripts, "u", COUNT, "n", keys=1).startswith(REUSED)
    assert scripts.call("MGET", "n", "m") == b"*2\r\n$1\r\n2\r\n$-1\r\n"


def test_a_repetition_is_not_evaluated(scripts, monkeypatch):
    evaluator, calls = scripts.port.host.evaluator, []
    evaluate = evaluator.evaluate

    def counted(*arguments, **options):
        calls.append(arguments)
        return evaluate(*arguments, **options)

    monkeypatch.setattr(evaluator, "evaluate", counted)
    for _ in range(3):
        assert once(scripts, "t", COUNT, "n", keys=1) == b":1\r\n"
    assert len(calls) == 1


def test_repetitions_in_one_batch(scripts):
    """The second one finds the token of the first, which is not logged yet."""
    talk = scripts.port.connect()
    request = encode("KRAFT", "ONCE", "t", "EVAL", COUNT, "1", "n")
    replies = talk.send(request * 3 + encode("KRAFT", "ONCE", "u", "EVAL", COUNT, "1", "n"))
    scripts.port.settle()
    assert replies + talk.read() == b":1\r\n" * 3 + b":2\r\n"
    assert [len(commands) for _, commands in scripts.port.host.writes] == [4]


def test_the_log_carries_effects_and_the_reply(scripts, logged):
    once(scripts, "t", COUNT, "n", keys=1)
    once(scripts, "t", COUNT, "n", keys=1)
    first, again = logged
    assert type(first) is type(again) is Once
    assert type(first.command) is type(again.command) is Evaluated
    assert [type(step).__name__ for step in first.command.steps] == ["LoadScript", "Increment"]
    assert [watch.key for watch in first.command.watched] == [b"n"]
    assert not again.command.steps


def test_a_repetition_whose_token_is_gone_has_no_effect(scripts, logged):
    """It cannot happen; if it does, the client is told to try again, and nothing is remembered."""
    once(scripts, "t", COUNT, "n", keys=1)
    once(scripts, "t", COUNT, "n", keys=1)
    machine = Machine()
    machine.apply(0, [logged[-1]])
    assert (machine.revision, machine.keyspace.ledger.counts[LedgerKind.TOKEN]) == (0, 0)


@pytest.mark.parametrize(
    ("source", "limits", "error"),
    [
        ("retur", {}, b"-ERR Error compiling script"),
        ("while true do end", {"instructions": 1000}, b"-ERR the script was stopped after 1000 instructions"),
        ("redis.call('SET', 'a', 'x') return ('x'):rep(1e9)", {}, b"-ERR the script was stopped because"),
    ],
)
def test_what_says_nothing_about_the_script_leaves_no_trace(source, limits, error):
    scripts = Scripts(Port(scripts=ScriptsConfig(**limits)))
    assert once(scripts, "t", source).startswith(error)
    assert tokens(scripts) == 0
    assert scripts.call("KRAFT", "ONCE", "t", "INCR", "n") == b":1\r\n"
    assert scripts.call("EXISTS", "a") == b":0\r\n"


def test_a_full_memory_leaves_no_trace(scripts, logged):
    scripts.port.host.memory.leader_full = True
    source = "return redis.call('SET', 'a', 1)"
    assert once(scripts, "t", source).startswith(b"-OOM command not allowed")
    assert [type(step) for step in logged[0].steps] == [LoadScript]
    scripts.port.host.memory.leader_full = False
    assert once(scripts, "t", source) == b"+OK\r\n"


def test_arguments_and_forms(scripts):
    assert scripts.call("KRAFT", "ONCE", "t", "EVAL", "return 1") == (
        b"-ERR wrong number of arguments for 'kraft|once' command\r\n"
    )
    assert scripts.call("KRAFT", "ONCE", "t", "EVAL", "return 1", "x").startswith(b"-ERR value is not an int")
    assert scripts.call("KRAFT", "ONCE", "t", "EVAL_RO", "return 1", 0).startswith(
        b"-ERR KRAFT ONCE token is followed by a command that writes"
    )
    assert scripts.call("COMMAND", "GETKEYS", "KRAFT", "ONCE", "t", "EVAL", "x", "2", "a", "b", "c") == (
        b"*2\r\n$1\r\na\r\n$1\r\nb\r\n"
    )
    long = Scripts(Port(scripts=ScriptsConfig(script_bytes=1024)))
    assert once(long, "t", " " * 1025) == b"-ERR script exceeds limit of 1024 bytes\r\n"


def test_a_reply_that_is_too_long_for_the_log():
    scripts = Scripts(Port(scripts=ScriptsConfig(time=1.0)))
    limit = scripts.port.host.evaluator._port.limits.request_bytes
    source = f"redis.call('SET', 'a', 1) return ('x'):rep({limit})"
    assert once(scripts, "t", source) == b"-ERR what a script does exceeds limit of %d bytes\r\n" % limit
    assert scripts.call("EXISTS", "a") == b":0\r\n"
    assert tokens(scripts) == 0
    assert scripts.run(source).startswith(b"$%d\r\n" % limit)


LIBRARY = "#!lua name=l\nredis.register_function('f', function() return 1 end)"


@pytest.mark.parametrize(
    ("words", "reply"),
    [
        (("FUNCTION", "LOAD", LIBRARY), b"$1\r\nl\r\n"),
        (("FUNCTION", "FLUSH"), b"+OK\r\n"),
        (("FUNCTION", "DELETE", "old"), b"+OK\r\n"),
        (("SCRIPT", "LOAD", COUNT), b"$40\r\n"),
        (("SCRIPT", "FLUSH"), b"+OK\r\n"),
    ],
)
def test_scripts_and_libraries_are_stored_and_removed_once(scripts, words, reply):
    """Without a token the second FUNCTION LOAD, and the second DELETE, are errors."""
    scripts.call("FUNCTION", "LOAD", LIBRARY.replace("=l", "=old").replace("'f'", "'g'"))
    first = scripts.call("KRAFT", "ONCE", "t", *words)
    assert first.startswith(reply)
    assert scripts.call("KRAFT", "ONCE", "t", *words) == first
    assert tokens(scripts) == 1


def test_a_library_of_a_dump_is_restored_once(scripts):
    scripts.call("FUNCTION", "LOAD", LIBRARY)
    dump = scripts.call("FUNCTION", "DUMP").partition(b"\r\n")[2][:-2]
    scripts.call("FUNCTION", "FLUSH")
    words = ("KRAFT", "ONCE", "t", "FUNCTION", "RESTORE", dump)
    assert [scripts.call(*words) for _ in "ab"] == [b"+OK\r\n"] * 2


def test_an_expiry_that_comes_too_early_leaves_no_token(scripts):
    soon = scripts.port.host._clock.wall_ms() + 1000
    words = ("t", "return redis.call('SET', 'n', 1, 'PXAT', ARGV[1])", soon)
    scripts.port.host.premature = range(soon, soon + 1)
    assert once(scripts, *words).startswith(b"-ERR the cluster's log time is ahead")
    assert tokens(scripts) == 0
    scripts.port.host.premature = range(0)
    assert once(scripts, *words) == b"+OK\r\n"
