"""Libraries, functions, and scripts in transactions: redis-server and kraft give the same bytes."""

from contextlib import closing

import pytest

from tests.cluster.redis_server import Exchange, RealTime
from tests.server.fakes import Port, encode

pytestmark = pytest.mark.slow


@pytest.fixture(scope="module")
def redis(redis_port):
    """A connection to a redis-server."""
    with closing(Exchange(redis_port)) as client:
        yield client


@pytest.fixture
def kraft():
    """A connection to kraft's client port."""
    port = Port()
    port.clock = port.host._clock = port.factory.port.clock = RealTime()
    return port.connect()


def lib(code: str, name: str = "lib") -> tuple[str, ...]:
    return ("FUNCTION", "LOAD", "REPLACE", f"#!lua name={name}\n{code}")


def function(body: str, name: str = "f") -> tuple[str, ...]:
    return lib(f"redis.register_function('{name}', function(keys, args) {body} end)")


F = ("FCALL", "f", "1", "k", "x")
SEQUENCES: dict[str, list[tuple[str, ...]]] = {
    "a library": [
        function("return {#keys, keys[1], #args, args[1]}"),
        F,
        ("FCALL", "F", "0"),
        ("FCALL_RO", "f", "0"),
        ("FUNCTION", "LIST"),
        ("FUNCTION", "LIST", "WITHCODE"),
        ("FUNCTION", "LIST", "LIBRARYNAME", "L?B"),
        ("FUNCTION", "LIST", "LIBRARYNAME", "x"),
        ("FUNCTION", "STATS"),
        ("FUNCTION", "DELETE", "lib"),
        ("FUNCTION", "LIST"),
        F,
        ("FUNCTION", "DELETE", "lib"),
        ("FUNCTION", "FLUSH", "SYNC"),
        ("FUNCTION", "FLUSH", "ASYNC"),
        ("FUNCTION", "FLUSH", "x"),
    ],
    "named arguments": [
        lib(
            "redis.register_function{function_name='f', callback=function() return redis.call('GET', 'k')"
            " end,"
            " flags={'no-writes', 'allow-stale'}, description='some text'}"
        ),
        ("SET", "k", "v"),
        F,
        ("FCALL_RO", "f", "0"),
        ("FUNCTION", "LIST"),
    ],
    "requests": [
        function("return 1"),
        ("FCALL", "f"),
        ("FCALL", "f", "x"),
        ("FCALL", "f", "-1"),
        ("FCALL", "f", "2", "k"),
        ("FCALL", "none", "0"),
        ("FCALL_RO", "none", "0"),
        ("FUNCTION", "LOAD"),
        ("FUNCTION", "KILL"),
        ("FUNCTION", "LOAD", "x", "y"),
        ("FUNCTION", "LIST", "LIBRARYNAME"),
        ("FUNCTION", "LIST", "x"),
        ("FUNCTION", "RESTORE", "x"),
        ("FUNCTION", "RESTORE", "x", "y"),
        ("FUNCTION", "NOSUCH"),
        (
            "FUNCTION",
            "LOAD",
            "#!lua name=lib\nredis.register_function('g', function() end)",
        ),
        ("FUNCTION", "LOAD", "#!lua name=two\nredis.register_function('F', function() end)"),
        ("FUNCTION", "LIST"),
    ],
    "heads": [
        ("FUNCTION", "LOAD", head)
        for head in (
            "",
            "x",
            "#!",
            "#!lua",
            "#!lua\n",
            "#!lua name=a",
            "#!lua name=a-b\n",
            "#!lua nme=a\n",
            "#!js name=a\n",
            "#!lua name=a name=b\n",
            "#!lua name=\n",
            "#!lua name=a\n",
            "\n#!lua name=a\n",
        )
    ],
    "registrations": [
        lib(code)
        for code in (
            "",
            "x",
            "x = 1",
            "return y",
            "redis.call('SET', 'a', 1)",
            "redis.setresp(3)",
            "redis.register_function()",
            "redis.register_function('a')",
            "redis.register_function('a', 1)",
            "redis.register_function(1, function() end)",
            "redis.register_function({})",
            "redis.register_function('a', function() end, 1)",
            "redis.register_function{callback = function() end}",
            "redis.register_function{function_name = 'a'}",
            "redis.register_function{x = 1}",
            "redis.register_function{function_name = {}, callback = function() end}",
            "redis.register_function{function_name = 'a', callback = 1}",
            "redis.register_function{function_name = 'a', callback = function() end, flags = 1}",
            "redis.register_function{function_name = 'a', callback = function() end, flags = {'x'}}",
            "redis.register_function{function_name = 'a', callback = function() end, description = {}}",
            "redis.register_function('a-b', function() end)",
            "redis.log(redis.LOG_DEBUG, 'x')",
            "return redis.nothing",
            "redis.register_function('a', function() end) redis.register_function('a', function() end)",
            "KEYS = 1",
            "return KEYS[1]",
            "redis.register_function('a', function() end) x()",
        )
    ],
    "errors": [
        line
        for body in (
            "error('x')",
            "error({err = 'MY x'})",
            "return y",
            "y = 1",
            "return KEYS[1]",
            "local a = redis.call('NOSUCH') return a",
            "local a = redis.call('INCR', 'text') return a",
            "return redis.register_function",
            "local a = redis.register_function('x', error) return a",
            "return redis.pcall('INCR', 'text')",
            "return redis.error_reply('MY x')",
            "local a = nil + 1 return a",
        )
        for line in (function(body), ("SET", "text", "x"), F)
    ],
    "replies": [
        line
        for body in (
            "return",
            "return nil",
            "return false",
            "return true",
            "return 3.7",
            "return 'x'",
            "return {1, {2, 'a'}, false}",
            "return {ok = 'FINE'}",
            "return {double = 1.5}",
            "return {map = {a = 1}}",
            "redis.setresp(3) return {map = {a = true}}",
            "return 1, 2",
            "keys[1] = 'other' return keys[1]",
        )
        for line in (function(body), F)
    ],
    "transactions": [
        ("SET", "n", "5"),
        ("MULTI",),
        ("EVAL", "return redis.call('INCR', KEYS[1])", "1", "n"),
        ("GET", "n"),
        ("EVAL", "return {redis.call('GET', 'n'), ARGV[1]}", "0", "x"),
        ("EVALSHA", "0" * 40, "0"),
        ("EVAL", "return 1", "-1"),
        ("EVAL", "x", "0"),
        ("SCRIPT", "LOAD", "return 1"),
        ("EVAL", "return redis.call('INCR', 'text')", "0"),
        ("SET", "text", "x"),
        ("EVAL_RO", "return redis.call('SET', 'a', 1)", "0"),
        function("return redis.call('INCR', keys[1])"),
        ("FCALL", "f", "1", "n"),
        ("FCALL", "none", "0"),
        ("FUNCTION", "DELETE", "lib"),
        ("FCALL", "f", "1", "n"),
        ("FUNCTION", "DELETE", "lib"),
        ("EXEC",),
        ("GET", "n"),
        ("WATCH", "n"),
        ("EVAL", "return redis.call('INCR', KEYS[1])", "1", "n"),
        ("MULTI",),
        ("EVAL", "return redis.call('INCR', KEYS[1])", "1", "n"),
        ("EXEC",),
        ("GET", "n"),
        ("MULTI",),
        ("EVAL", "return 1"),
        ("EXEC",),
    ],
}


@pytest.mark.parametrize("protocol", [2, 3])
@pytest.mark.parametrize("name", SEQUENCES)
def test_replies_are_those_of_redis(redis, kraft, name, protocol):
    for line in ("RESET", f"HELLO {protocol}", "FLUSHALL", "FUNCTION FLUSH", "SCRIPT FLUSH"):
        redis.ask(encode(*line.split()))
        kraft.ask(encode(*line.split()))
    different = []
    for words in SEQUENCES[name]:
        theirs, ours = redis.ask(encode(*words)), kraft.ask(encode(*words))
        if theirs != ours:
            different.append((words, theirs, ours))
    assert not different, "\n".join(f"{w}\n  redis {t!r}\n  kraft {o!r}" for w, t, o in different)


def test_each_restores_what_the_other_dumps(redis, kraft):
    code = "-- " + "a long comment " * 100 + "\nredis.register_function('f', function() return 7 end)"
    redis.ask(encode("HELLO", "2"))
    for giver, taker in ((redis, kraft), (kraft, redis)):
        for client in (giver, taker):
            client.ask(encode("FUNCTION", "FLUSH"))
        giver.ask(encode(*lib(code)))
        dump = giver.ask(encode("FUNCTION", "DUMP")).partition(b"\r\n")[2][:-2]
        assert taker.ask(encode("FUNCTION", "RESTORE", dump)) == b"+OK\r\n"
        assert taker.ask(encode("FCALL", "f", "0")) == b":7\r\n"
        listed = encode("FUNCTION", "LIST", "WITHCODE")
        assert giver.ask(listed) == taker.ask(listed)
