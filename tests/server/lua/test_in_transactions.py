"""Scripts between MULTI and EXEC: in their places, each all or nothing, and all of it one step."""

from kraft.config.values import ScriptsConfig
from kraft.kv.commands import Evaluated, Exec, Look
from tests.server.fakes import Port, encode
from tests.server.lua.talks import Scripts

OK, QUEUED, NULL = b"+OK\r\n", b"+QUEUED\r\n", b"$-1\r\n"
BOTH = "redis.call('INCR', KEYS[1]) return {redis.call('GET', KEYS[1]), redis.call('GET', KEYS[2])}"
FAILS = "redis.call('SET', KEYS[1], 'x') redis.call('DEL', KEYS[2]) redis.call('INCR', KEYS[1])"


def array(*replies: bytes) -> bytes:
    return b"*%d\r\n" % len(replies) + b"".join(replies)


def bulk(value: str) -> bytes:
    return b"$%d\r\n%b\r\n" % (len(value), value.encode())


def execute(scripts, *requests, last=("EXEC",)):
    """The reply to EXEC."""
    assert scripts.call("MULTI") == OK
    for request in requests:
        assert scripts.call(*request) == QUEUED
    return scripts.call(*last)


def test_a_script_runs_in_its_place(scripts):
    reply = execute(
        scripts,
        ("SET", "n", 5),
        ("GET", "n"),
        ("EVAL", BOTH, 2, "n", "m"),
        ("SET", "m", "after"),
        ("EVAL", BOTH, 2, "n", "m"),
        ("MGET", "n", "m"),
        ("PING",),
    )
    assert reply == array(
        OK,
        bulk("5"),
        array(bulk("6"), NULL),
        OK,
        array(bulk("7"), bulk("after")),
        array(bulk("7"), bulk("after")),
        b"+PONG\r\n",
    )
    assert scripts.call("MGET", "n", "m") == array(bulk("7"), bulk("after"))


def test_a_script_that_fails_undoes_its_own_writes_alone(scripts):
    reply = execute(
        scripts,
        ("SET", "a", 1),
        ("EVAL", BOTH, 2, "a", "b"),
        ("EVAL", FAILS, 2, "a", "b"),
        ("INCR", "a"),
        ("INCR", "text"),
        ("EVAL", FAILS, 2, "new", "a"),
        ("EXISTS", "a", "new"),
    )
    assert reply.startswith(b"*7\r\n" + OK + array(bulk("2"), NULL))
    assert reply.count(b"-ERR value is not an integer or out of range script: ") == 2
    assert reply.endswith(b":1\r\n")
    assert scripts.call("MGET", "a", "text", "new") == array(bulk("3"), bulk("1"), NULL)


def test_it_is_one_logged_command_without_calls(scripts, logged):
    execute(scripts, ("SET", "a", 1), ("EVAL", BOTH, 2, "n", "m"), ("GET", "a"))
    [transaction] = logged
    assert type(transaction) is Exec
    assert [type(step) for step in transaction.steps[1:]] == [Evaluated, Look]
    assert sorted({watch.key for watch in transaction.read}) == [b"a", b"m", b"n"]


def test_all_changes_have_one_revision(scripts):
    scripts.call("SET", "before", 1)
    execute(
        scripts, ("SET", "a", 1), ("EVAL", BOTH, 2, "n", "m"), ("EVAL", BOTH, 2, "k", "m"), ("SET", "b", 1)
    )
    assert len({scripts.call("KRAFT", "REV", key) for key in ("a", "n", "k", "b")}) == 1
    seen = "redis.call('INCR', 'x') return redis.call('KRAFT', 'REV', 'x')"
    reply = execute(scripts, ("EVAL", seen, 0), ("EVAL", seen, 0), ("KRAFT", "REV", "x"))
    revision = scripts.call("KRAFT", "REV", "x")
    assert reply == array(revision, revision, revision)


def test_a_watched_key_that_changed_aborts(scripts):
    other = Scripts(scripts.port)
    scripts.call("SET", "w", 1)
    assert scripts.call("WATCH", "w", "none") == OK
    assert execute(scripts, ("EVAL", BOTH, 2, "n", "m"))[:1] == b"*"
    assert scripts.call("WATCH", "w", "none") == OK
    other.call("SET", "w", 2)
    assert execute(scripts, ("SET", "a", 1), ("EVAL", BOTH, 2, "n", "m")) == b"*-1\r\n"
    assert scripts.call("MGET", "a", "n") == array(NULL, bulk("1"))
    assert scripts.call("WATCH", "none") == OK
    other.run("redis.call('SET', 'none', 1)")
    assert execute(scripts, ("EVAL", BOTH, 2, "n", "m")) == b"*-1\r\n"
    assert scripts.call("GET", "n") == bulk("1")


def test_the_cache_and_errors_of_calls(scripts):
    sha = execute(scripts, ("SCRIPT", "LOAD", "return 7"))[9:-2]
    assert len(sha) == 40
    wrong = execute(
        scripts,
        ("EVALSHA", sha, 0),
        ("EVALSHA", "0" * 40, 0),
        ("EVAL", "return 1", -1),
        ("EVAL", "retur", 0),
        ("EVAL_RO", "return redis.call('SET', 'a', 1)", 0),
        ("SCRIPT", "FLUSH"),
        ("EVALSHA", sha, 0),
    ).split(b"\r\n")
    noscript = b"-NOSCRIPT No matching script. Please use EVAL."
    assert wrong[1:4] == [b":7", noscript, b"-ERR Number of keys can't be negative"]
    assert wrong[4].startswith(b"-ERR Error compiling script")
    assert wrong[5].startswith(b"-ERR Write commands are not allowed from read-only scripts.")
    assert wrong[6:8] == [b"+OK", noscript]
    assert scripts.call("EXISTS", "a") == b":0\r\n"


def test_a_wrong_number_of_words_aborts(scripts):
    scripts.call("MULTI")
    assert scripts.call("EVAL", "return 1") == b"-ERR wrong number of arguments for 'eval' command\r\n"
    assert scripts.call("EXEC").startswith(b"-EXECABORT")


def test_nothing_happens_before_exec_and_after_discard(scripts):
    scripts.call("MULTI")
    assert scripts.call("EVAL", BOTH, 2, "n", "m") == QUEUED
    assert scripts.call("DISCARD") == OK
    assert scripts.call("EXISTS", "n") == b":0\r\n"


def test_resp3(scripts):
    talk = scripts.port.connect()
    talk.run("HELLO", "3")
    talk.run("MULTI")
    assert talk.run("EVAL", "redis.setresp(3) return {map = {a = true}}", "0") == QUEUED
    assert talk.run("EXEC") == b"*1\r\n%1\r\n$1\r\na\r\n#t\r\n"


def test_once(scripts):
    """All of it once: in front of EXEC, and as a command after MULTI."""
    requests = [("SET", "a", 1), ("EVAL", BOTH, 2, "n", "m"), ("GET", "n")]
    first = execute(scripts, *requests, last=("KRAFT", "ONCE", "t", "EXEC"))
    assert first == array(OK, array(bulk("1"), NULL), bulk("1"))
    scripts.call("SET", "m", "changed")
    assert execute(scripts, *requests, last=("KRAFT", "ONCE", "t", "EXEC")) == first
    assert scripts.call("GET", "n") == bulk("1")
    again = execute(scripts, ("KRAFT", "ONCE", "u"), *requests)
    assert again == array(OK, OK, array(bulk("2"), bulk("changed")), bulk("2"))
    assert execute(scripts, ("KRAFT", "ONCE", "u"), *requests) == again
    assert execute(scripts, *requests[1:], last=("KRAFT", "ONCE", "u", "EXEC")).startswith(b"-ONCEREUSED")
    assert scripts.call("GET", "n") == bulk("2")


def test_an_aborted_transaction_stays_aborted(scripts):
    other = Scripts(scripts.port)
    request = ("EVAL", BOTH, 2, "n", "m")
    scripts.call("WATCH", "w")
    other.call("SET", "w", 1)
    for _ in range(2):  # in the second one nothing is watched
        assert execute(scripts, request, last=("KRAFT", "ONCE", "t", "EXEC")) == b"*-1\r\n"
    assert scripts.call("EXISTS", "n") == b":0\r\n"


def test_the_scripts_of_a_transaction_fit_into_one_entry_together():
    scripts = Scripts(Port(scripts=ScriptsConfig(time=1.0)))
    limit = scripts.port.host.evaluator._port.limits
    source = "for n = 1, ARGV[1] do redis.call('SET', KEYS[1], ARGV[2]) end return 1"
    many, value = 5, "x" * (limit.request_bytes // 10)
    reply = execute(scripts, *[("EVAL", source, 1, key, many, value) for key in "ab"])
    assert reply.startswith(b"*2\r\n:1\r\n-BUSY the scripts that were sent together do too much")
    assert scripts.call("EXISTS", "a", "b") == b":1\r\n"
    alone = scripts.run(source, "c", 11, value, keys=1)
    assert alone.startswith(b"-ERR what a script does exceeds limit of %d bytes" % limit.request_bytes)


def test_a_pipeline_of_transactions(scripts):
    talk = scripts.port.connect()
    one = encode("MULTI") + encode("EVAL", BOTH, "2", "n", "m") + encode("INCR", "m") + encode("EXEC")
    reply = talk.send(one * 2)
    scripts.port.settle()
    queued = OK + QUEUED * 2
    assert reply + talk.read() == (
        queued
        + array(array(bulk("1"), NULL), b":1\r\n")
        + queued
        + array(array(bulk("2"), bulk("1")), b":2\r\n")
    )
