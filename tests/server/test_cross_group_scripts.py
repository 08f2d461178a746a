"""Scripts and functions with keys in several groups, at the client port of a node with three."""

from hashlib import sha1

from kraft.kv import commands as kv
from tests.server.groups import LIBRARY, A, B, C, array, keys_in, meddle, settled, three

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
