"""KRAFT GUARD in front of scripts and functions: evaluated only while the lock is held with the token."""

import pytest

from kraft.kv.commands import Evaluated
from tests.server.fakes import encode

LOST = b"-LOCKLOST "
COUNT = "return redis.call('INCR', KEYS[1])"
LIBRARY = "#!lua name=l\nredis.register_function('f', function(keys) return redis.call('INCR', keys[1]) end)"


@pytest.fixture
def token(scripts):
    """Of the lock `l`."""
    return int(scripts.call("KRAFT", "LOCK", "l", 60_000)[1:])


def test_a_holder_runs_scripts_and_functions(scripts, token):
    sha = scripts.call("SCRIPT", "LOAD", COUNT).split()[1]
    scripts.call("FUNCTION", "LOAD", LIBRARY)
    guard = ("KRAFT", "GUARD", "l", token)
    assert scripts.call(*guard, "EVAL", COUNT, 1, "n") == b":1\r\n"
    assert scripts.call(*guard, "EVALSHA", sha, 1, "n") == b":2\r\n"
    assert scripts.call(*guard, "FCALL", "f", 1, "n") == b":3\r\n"


def test_without_the_lock_nothing_runs(scripts, token):
    for name, number in (("l", token + 1), ("another", token)):
        reply = scripts.call("KRAFT", "GUARD", name, number, "EVAL", COUNT, 1, "n")
        assert reply.startswith(LOST)
    scripts.call("KRAFT", "UNLOCK", "l", token)
    assert scripts.call("KRAFT", "GUARD", "l", token, "EVAL", COUNT, 1, "n").startswith(LOST)
    assert scripts.call("EXISTS", "n") == b":0\r\n"
    assert (
        scripts.call("SCRIPT", "EXISTS", scripts.call("SCRIPT", "LOAD", COUNT).split()[1]) == b"*1\r\n:1\r\n"
    )


def test_a_script_that_frees_the_lock_is_the_last_one(scripts, token):
    frees = "redis.call('KRAFT', 'UNLOCK', KEYS[1], ARGV[1]) return redis.call('INCR', KEYS[2])"
    request = encode("KRAFT", "GUARD", "l", str(token), "EVAL", frees, "2", "l", "n", str(token))
    port = scripts.port
    talk = port.connect()
    assert talk.ask(request * 2).startswith(b":1\r\n" + LOST)


def test_the_lock_is_among_what_the_script_has_read(scripts, token, logged):
    """Its effects do not take place if the lock was lost between the evaluation and its place in the log."""
    scripts.call("KRAFT", "GUARD", "l", token, "EVAL", COUNT, 1, "n")
    [effects] = [each for each in logged if type(each) is Evaluated]
    assert {(watched.key, watched.revision) for watched in effects.watched} >= {(b"l", token)}


def test_it_works_in_a_transaction_and_after_a_token(scripts, token):
    guarded = ("KRAFT", "GUARD", "l", token, "EVAL", COUNT, 1, "n")
    scripts.call("MULTI")
    assert scripts.call(*guarded) == b"+QUEUED\r\n"
    assert scripts.call("EXEC") == b"*1\r\n:1\r\n"
    assert [scripts.call("KRAFT", "ONCE", "t", *guarded) for _ in "ab"] == [b":2\r\n"] * 2
    scripts.call("KRAFT", "UNLOCK", "l", token)
    assert scripts.call("KRAFT", "ONCE", "t", *guarded) == b":2\r\n"
    assert scripts.call("KRAFT", "ONCE", "u", *guarded).startswith(LOST)


@pytest.mark.parametrize("words", [("EVAL_RO", "return 1", 0), ("SCRIPT", "LOAD", "return 1"), ("GET", "n")])
def test_what_writes_no_key_is_refused(scripts, token, words):
    assert b"is followed by a command that writes" in scripts.call("KRAFT", "GUARD", "l", token, *words)
