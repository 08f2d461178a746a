"""Functions at the client port: libraries, calls, errors, dumps."""

import pytest

from kraft.config.values import ScriptsConfig
from tests.server.fakes import Port
from tests.server.lua.talks import Scripts

HEAD = "#!lua name=lib\n"
NAME_RULE = (
    "ERR Library names can only contain letters, numbers, or underscores(_) and must be at least one"
    " character long"
)
LIB = (
    HEAD
    + """
local calls = 0
local function count(keys, args)
    calls = calls + 1
    return {redis.call('INCRBY', keys[1], args[1] or 1), calls}
end
redis.register_function('count', count)
redis.register_function{
    function_name = 'look', description = 'reads', flags = {'no-writes', 'allow-oom'},
    callback = function(keys) return redis.call('GET', keys[1]) end,
}
redis.register_function('fails', function(keys)
    redis.call('SET', keys[1], 'x')
    redis.call('INCR', keys[1])
end)
"""
)


@pytest.fixture
def loaded(scripts):
    assert scripts.call("FUNCTION", "LOAD", LIB) == b"$3\r\nlib\r\n"
    return scripts


def load(scripts, code, *options, name="lib"):
    return scripts.call("FUNCTION", "LOAD", *options, f"#!lua name={name}\n{code}")


def register(name, body="return 1"):
    return f"redis.register_function('{name}', function(keys, args) {body} end)"


def test_a_function_is_called_by_its_name_in_any_case(loaded):
    assert loaded.call("FCALL", "count", 1, "n", 5) == b"*2\r\n:5\r\n:1\r\n"
    assert loaded.call("fcall", "COUNT", 1, "n") == b"*2\r\n:6\r\n:1\r\n"  # its variable is new in each call
    assert loaded.call("FCALL_RO", "look", 1, "n") == b"$1\r\n6\r\n"
    assert loaded.call("FCALL", "look", 1, "n") == b"$1\r\n6\r\n"


def test_a_function_that_fails_has_done_nothing(loaded):
    reply = loaded.call("FCALL", "fails", 1, "n")
    assert reply == (b"-ERR value is not an integer or out of range script: fails, on @user_function:15.\r\n")
    assert loaded.call("EXISTS", "n") == b":0\r\n"


def test_a_library_outlives_a_flush_of_the_keys(loaded):
    loaded.call("FLUSHALL")
    loaded.call("SCRIPT", "FLUSH")
    assert loaded.call("FCALL", "count", 1, "n") == b"*2\r\n:1\r\n:1\r\n"


def test_the_list(loaded):
    load(loaded, register("other"), name="another")
    one = (
        b"*6\r\n$12\r\nlibrary_name\r\n$7\r\nanother\r\n$6\r\nengine\r\n$3\r\nLUA\r\n$9\r\nfunctions\r\n*1\r\n"
        b"*6\r\n$4\r\nname\r\n$5\r\nother\r\n$11\r\ndescription\r\n$-1\r\n$5\r\nflags\r\n*0\r\n"
    )
    assert loaded.call("FUNCTION", "LIST", "LIBRARYNAME", "AN*") == b"*1\r\n" + one
    whole = loaded.call("FUNCTION", "LIST", "WITHCODE")
    assert whole.startswith(b"*2\r\n" + one.replace(b"*6", b"*8", 1))
    assert b"$12\r\nlibrary_code\r\n$%d\r\n%b\r\n" % (len(LIB), LIB.encode()) in whole
    flags = b"$5\r\nflags\r\n*2\r\n+no-writes\r\n+allow-oom\r\n"
    assert b"$4\r\nlook\r\n$11\r\ndescription\r\n$5\r\nreads\r\n" + flags in whole
    assert loaded.call("FUNCTION", "LIST", "LIBRARYNAME", "x*") == b"*0\r\n"
    assert loaded.call("FUNCTION", "STATS") == (
        b"*4\r\n$14\r\nrunning_script\r\n$-1\r\n$7\r\nengines\r\n*2\r\n$3\r\nLUA\r\n"
        b"*4\r\n$15\r\nlibraries_count\r\n:2\r\n$15\r\nfunctions_count\r\n:4\r\n"
    )


@pytest.mark.parametrize(
    ("words", "reply"),
    [
        (("FCALL", "none", 0), "ERR Function not found"),
        (("FCALL", "count", "x"), "ERR Bad number of keys provided"),
        (("FCALL", "count", -1), "ERR Number of keys can't be negative"),
        (("FCALL", "count", 2, "n"), "ERR Number of keys can't be greater than number of args"),
        (("FCALL", "count"), "ERR wrong number of arguments for 'fcall' command"),
        (
            ("FCALL_RO", "count", 1, "n"),
            "ERR Can not execute a script with write flag using *_ro command.",
        ),
        (("FUNCTION", "LOAD", LIB), "ERR Library 'lib' already exists"),
        (("FUNCTION", "LOAD", "REPLAC", LIB), "ERR Unknown option given: REPLAC"),
        (("FUNCTION", "LOAD", "x"), "ERR Missing library metadata"),
        (("FUNCTION", "LOAD", "#!lua name=x"), "ERR Invalid library metadata"),
        (("FUNCTION", "LOAD", "#!lua\n"), "ERR Library name was not given"),
        (("FUNCTION", "LOAD", "#!lua nam=x\n"), "ERR Invalid metadata value given: nam=x"),
        (
            ("FUNCTION", "LOAD", "#!lua name=x name=y\n"),
            "ERR Invalid metadata value, name argument was given multiple times",
        ),
        (("FUNCTION", "LOAD", "#!js name=x\n"), "ERR Engine 'js' not found"),
        (
            ("FUNCTION", "LOAD", "#!lua name=a-b\n"),
            NAME_RULE,
        ),
        (("FUNCTION", "DELETE", "none"), "ERR Library not found"),
        (("FUNCTION", "LOAD", '#!lua name="x\n'), "ERR Invalid library metadata"),
        (
            ("FUNCTION", "FLUSH", "ASYNC", "x"),
            "ERR unknown subcommand or wrong number of arguments for 'FLUSH'. Try FUNCTION HELP.",
        ),
        (("FUNCTION", "FLUSH", "x"), "ERR FUNCTION FLUSH only supports SYNC|ASYNC option"),
        (("FUNCTION", "LIST", "x"), "ERR Unknown argument x"),
        (("FUNCTION", "LIST", "LIBRARYNAME"), "ERR library name argument was not given"),
        (("FUNCTION", "KILL"), "NOTBUSY No scripts in execution right now."),
        (("FUNCTION", "RESTORE", "x"), "ERR DUMP payload version or checksum are wrong"),
        (
            ("function", "restore", "x", "KEEP", "y"),
            "ERR unknown subcommand or wrong number of arguments for 'restore'. Try FUNCTION HELP.",
        ),
        (
            ("FUNCTION", "RESTORE", "x", "KEEP"),
            "ERR Wrong restore policy given, value should be either FLUSH, APPEND or REPLACE.",
        ),
    ],
)  # fmt: skip
def test_wrong_requests(loaded, words, reply):
    assert loaded.call(*words) == b"-%b\r\n" % reply.encode()


@pytest.mark.parametrize(
    ("code", "text"),
    [
        ("", "No functions registered"),
        ("x", "Error compiling function: user_function:2: '=' expected near '<eof>'"),
        ("redis.call('SET', 'a', 1)", "nonexistent global variable 'call'"),
        ("redis.setresp(3)", "nonexistent global variable 'setresp'"),
        ("return a", "nonexistent global variable 'a'"),
        ("return KEYS", "nonexistent global variable 'KEYS'"),
        ("a = 1", "Attempt to modify a readonly table"),
        ("redis.call = 1", "Attempt to modify a readonly table"),
        ("redis.register_function()", "wrong number of arguments to redis.register_function"),
        ("redis.register_function('a')", "only applicable to Lua table"),
        ("redis.register_function('a', 1)", "second argument to redis.register_function must be a function"),
        ("redis.register_function({}, error)", "first argument to redis.register_function must be a string"),
        ("redis.register_function{callback = error}", "must get a function name argument"),
        ("redis.register_function{function_name = 'a'}", "must get a callback argument"),
        ("redis.register_function{x = 1}", "unknown argument given to redis.register_function"),
        (
            "redis.register_function{function_name = 'a', callback = error, flags = {'x'}}",
            "unknown flag given",
        ),
        (register("a-b"), "Library names can only contain letters, numbers, or underscores(_)"),
        (register("a") + " " + register("A"), "Function already exists in the library"),
    ],
)
def test_a_library_that_cannot_be_loaded(scripts, code, text):
    reply = load(scripts, code)
    assert reply.startswith(b"-ERR ")
    assert text.encode() in reply
    assert scripts.call("FUNCTION", "LIST") == b"*0\r\n"
    assert scripts.call("EXISTS", "a") == b":0\r\n"


def test_a_name_may_be_in_quotes(scripts):
    assert scripts.call("FUNCTION", "LOAD", '#!lua name="lib"\n' + register("a")) == b"$3\r\nlib\r\n"


def test_two_libraries_have_no_function_in_common(loaded):
    assert load(loaded, register("COUNT"), name="other") == b"-ERR Function COUNT already exists\r\n"
    assert load(loaded, register("mine"), "REPLACE") == b"$3\r\nlib\r\n"
    assert loaded.call("FCALL", "count", 1, "n") == b"-ERR Function not found\r\n"
    assert load(loaded, register("COUNT"), name="other") == b"$5\r\nother\r\n"
    assert load(loaded, register("count"), "REPLACE") == b"-ERR Function count already exists\r\n"
    assert loaded.call("FCALL", "mine", 0) == b":1\r\n"


def test_libraries_go(loaded):
    load(loaded, register("other"), name="another")
    assert loaded.call("FUNCTION", "DELETE", "lib") == b"+OK\r\n"
    assert loaded.call("FCALL", "count", 1, "n") == b"-ERR Function not found\r\n"
    assert loaded.call("FCALL", "other", 0) == b":1\r\n"
    assert loaded.call("FUNCTION", "FLUSH") == b"+OK\r\n"
    assert loaded.call("FUNCTION", "LIST") == b"*0\r\n"
    assert loaded.call("FUNCTION", "LOAD", LIB) == b"$3\r\nlib\r\n"


def payload(reply: bytes) -> bytes:
    return reply.partition(b"\r\n")[2][:-2]


def test_a_dump_is_restored(loaded):
    load(loaded, register("other"), name="another")
    dump = payload(loaded.call("FUNCTION", "DUMP"))
    fresh = Scripts()
    assert fresh.call("FUNCTION", "RESTORE", dump) == b"+OK\r\n"
    assert fresh.call("FUNCTION", "LIST", "WITHCODE") == loaded.call("FUNCTION", "LIST", "WITHCODE")
    assert fresh.call("FUNCTION", "RESTORE", dump) == b"-ERR Library another already exists\r\n"
    assert fresh.call("FUNCTION", "RESTORE", dump, "REPLACE") == b"+OK\r\n"
    load(fresh, register("third"), name="third")
    assert fresh.call("FUNCTION", "RESTORE", dump, "FLUSH") == b"+OK\r\n"
    assert fresh.call("FUNCTION", "LIST", "WITHCODE") == loaded.call("FUNCTION", "LIST", "WITHCODE")
    fresh.call("FUNCTION", "FLUSH")
    load(fresh, register("count"), name="third")
    assert fresh.call("FUNCTION", "RESTORE", dump, "REPLACE") == b"-ERR Function count already exists\r\n"
    assert fresh.call("FUNCTION", "STATS").endswith(b":1\r\n$15\r\nfunctions_count\r\n:1\r\n")


def test_a_value_is_no_library(loaded):
    loaded.call("SET", "a", "x")
    dump = payload(loaded.call("DUMP", "a"))
    assert loaded.call("FUNCTION", "RESTORE", dump) == b"-ERR given type is not a function\r\n"


def test_a_read_only_function_does_not_write(scripts):
    body = "callback = function() return redis.call('SET', 'a', 1) end, flags = {'no-writes'}"
    load(scripts, "redis.register_function{function_name = 'f', " + body + "}")
    assert b"ERR Write commands are not allowed from read-only scripts." in scripts.call("FCALL", "f", 0)


def test_what_a_call_changes_is_gone_with_it(scripts):
    """Neither the environment nor the functions of `redis` are another one in the next call."""
    code = (
        "rawset(redis, 'mark', 1) rawset(_G, 'seen', (rawget(_G, 'seen') or 0) + 1)"
        "redis.register_function('f', function()"
        " return {rawget(_G, 'seen') or 0, rawget(redis, 'mark') or 0} end)"
    )
    load(scripts, code)
    assert scripts.call("FCALL", "f", 0) == scripts.call("FCALL", "f", 0) == b"*2\r\n:1\r\n:0\r\n"
    assert scripts.run("return rawget(_G, 'seen') or rawget(redis, 'mark')") == b"$-1\r\n"


def test_limits():
    limits = ScriptsConfig(script_bytes=1024, cache_bytes=4096, instructions=20_000, time=1.0)
    scripts = Scripts(Port(scripts=limits))
    assert load(scripts, " " * 1024) == b"-ERR library exceeds limit of 1024 bytes\r\n"
    stopped = b"-ERR the script was stopped after 20000 instructions"
    assert load(scripts, "while true do end").startswith(stopped)
    assert load(scripts, register("f", "while true do redis.call('INCR', 'n') end")) == b"$3\r\nlib\r\n"
    assert scripts.call("FCALL", "f", 0).startswith(stopped)
    assert scripts.call("EXISTS", "n") == b":0\r\n"
    names = [f"lib{n}" for n in range(20)]
    replies = [load(scripts, register(name) + " " * 500, name=name) for name in names]
    assert replies[0] == b"$4\r\nlib0\r\n"
    assert replies[-1] == b"-ERR the size of all libraries exceeds limit of 4096 bytes\r\n"
    assert scripts.call("FCALL", "lib0", 0) == b":1\r\n"
    assert scripts.call("FCALL", "lib19", 0) == b"-ERR Function not found\r\n"


def test_a_full_memory_refuses_libraries(scripts):
    scripts.port.host.memory.leader_full = True
    assert load(scripts, register("f")).startswith(b"-OOM command not allowed")


def test_in_transactions_and_once(scripts):
    scripts.call("MULTI")
    load(scripts, register("f", "return redis.call('INCR', keys[1])"))
    scripts.call("FCALL", "f", 1, "n")
    scripts.call("FUNCTION", "DELETE", "lib")
    scripts.call("FCALL", "f", 1, "n")
    reply = b"*4\r\n$3\r\nlib\r\n:1\r\n+OK\r\n-ERR Function not found\r\n"
    assert scripts.call("KRAFT", "ONCE", "t", "EXEC") == reply
    load(scripts, register("f", "return redis.call('INCR', keys[1])"))
    once = ("KRAFT", "ONCE", "u", "FCALL", "f", 1, "n")
    assert scripts.call(*once) == scripts.call(*once) == b":2\r\n"
    assert scripts.call("COMMAND", "GETKEYS", *once) == b"*1\r\n$1\r\nn\r\n"


def test_not_from_scripts(scripts):
    for words in ("'FCALL', 'f', 0", "'FUNCTION', 'LIST'", "'FUNCTION', 'FLUSH'"):
        assert b"This Redis command is not allowed from script" in scripts.run(f"redis.call({words})")
