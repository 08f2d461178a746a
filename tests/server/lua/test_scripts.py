"""Scripts at the client port: their commands, their replies, their errors, and what remains of them."""

import pytest

from kraft.config.values import LimitsConfig, ScriptsConfig
from kraft.kv.commands import Evaluated, ScriptCall
from tests.server.fakes import Port
from tests.server.lua.talks import Scripts

SHA = "e0e1f9fabfc9d4800c877a703b823ac0578ff8db"  # of "return 1"


@pytest.mark.parametrize(
    ("source", "reply"),
    [
        ("return 1", b":1\r\n"),
        ("return 3.99", b":3\r\n"),
        ("return -3.99", b":-3\r\n"),
        ("return 2^63", b":-9223372036854775808\r\n"),
        ("return 0/0", b":-9223372036854775808\r\n"),
        ("return 'x'", b"$1\r\nx\r\n"),
        ("return 'a\\0\\255'", b"$3\r\na\0\xff\r\n"),
        ("return nil", b"$-1\r\n"),
        ("return", b"$-1\r\n"),
        ("return false", b"$-1\r\n"),
        ("return true", b":1\r\n"),
        ("return {1, 'a', {2}, false, true, nil, 5}", b"*5\r\n:1\r\n$1\r\na\r\n*1\r\n:2\r\n$-1\r\n:1\r\n"),
        ("return {}", b"*0\r\n"),
        ("return {ok = 'FINE'}", b"+FINE\r\n"),
        ("return {err = 'MY fault'}", b"-MY fault\r\n"),
        ("return {double = 3.5}", b"$3\r\n3.5\r\n"),
        ("return {map = {a = 1}}", b"*2\r\n$1\r\na\r\n:1\r\n"),
        ("return redis.status_reply('FINE')", b"+FINE\r\n"),
        ("return redis.error_reply('x')", b"-ERR x\r\n"),
        ("return redis.error_reply('-X y')", b"-X y\r\n"),
        (r"return redis.error_reply('a b\n\0c')", b"-a b\r\n"),
        (r"return redis.error_reply('\0')", b"-ERR \r\n"),
        ("return redis.sha1hex('')", b"$40\r\nda39a3ee5e6b4b0d3255bfef95601890afd80709\r\n"),
        ("redis.set_repl(redis.REPL_AOF) redis.set_repl('2') return redis.set_repl(3.9)", b"$-1\r\n"),
        (
            "return {redis.REPL_NONE, redis.REPL_AOF, redis.REPL_SLAVE, redis.REPL_REPLICA, redis.REPL_ALL}",
            b"*5\r\n:0\r\n:1\r\n:2\r\n:2\r\n:3\r\n",
        ),
        ("return redis.call('PING')", b"+PONG\r\n"),
        ("return redis.call('SET', 'a', 1e20) and redis.call('GET', 'a')", b"$5\r\n1e+20\r\n"),
        ("return {redis.call('MGET', 'none', 'none')}", b"*1\r\n*2\r\n$-1\r\n$-1\r\n"),
        ("return tostring(redis.call('GET', 'none'))", b"$5\r\nfalse\r\n"),
        ("redis.setresp(3) return tostring(redis.call('GET', 'none'))", b"$3\r\nnil\r\n"),
        ("redis.setresp('2.9') return tostring(redis.call('GET', 'none'))", b"$5\r\nfalse\r\n"),
        ("redis.log('1', 'x') redis.log(-0.5, 'x') return redis.log(3.9, 'x')", b"$-1\r\n"),
        ("return type(redis.call('SET', 'a', 1).ok)", b"$6\r\nstring\r\n"),
        ("return #redis.pcall('INCRBY', 'a', 'x').err", b":43\r\n"),
        ("return #ARGV .. #KEYS", b"$2\r\n00\r\n"),
    ],
)  # fmt: skip
def test_replies_are_those_of_redis(scripts, source, reply):
    assert scripts.run(source) == reply


def test_what_is_no_number_has_a_sign(scripts):
    """The processor decides which of the two is negative."""
    source = "redis.call('MSET', 'n', 0/0, 'm', -(0/0)) return redis.call('STRLEN', '{}')"
    assert {scripts.run(source.format(key)) for key in "nm"} == {b":3\r\n", b":4\r\n"}


def test_keys_and_arguments(scripts):
    source = "return {#KEYS, KEYS[1], #ARGV, ARGV[2]}"
    assert scripts.run(source, "k", "x", "y", keys=1) == b"*4\r\n:1\r\n$1\r\nk\r\n:2\r\n$1\r\ny\r\n"
    many = [str(n) for n in range(20_000)]
    assert scripts.run("return {#KEYS, #ARGV, ARGV[10000]}", *many, keys=9000) == (
        b"*3\r\n:9000\r\n:11000\r\n$5\r\n18999\r\n"
    )


@pytest.mark.parametrize(
    ("words", "reply"),
    [
        (("EVAL", "return 1", "x"), b"-ERR value is not an integer or out of range\r\n"),
        (("EVAL", "return 1", "-1"), b"-ERR Number of keys can't be negative\r\n"),
        (("EVAL", "return 1", "1"), b"-ERR Number of keys can't be greater than number of args\r\n"),
        (("EVALSHA", SHA, "0"), b"-NOSCRIPT No matching script. Please use EVAL.\r\n"),
        (("SCRIPT", "KILL"), b"-NOTBUSY No scripts in execution right now.\r\n"),
        (("SCRIPT", "SHOW", SHA), b"-NOSCRIPT No matching script. Please use EVAL.\r\n"),
        (("SCRIPT", "FLUSH", "x"), b"-ERR SCRIPT FLUSH only support SYNC|ASYNC option\r\n"),
        (("SCRIPT", "NOSUCH"), b"-ERR unknown subcommand 'NOSUCH'. Try SCRIPT HELP.\r\n"),
        (
            ("SCRIPT", "LOAD", "retur"),
            b"-ERR Error compiling script (new function): user_script:1: '=' expected near '<eof>'\r\n",
        ),
    ],
)
def test_wrong_requests(scripts, words, reply):
    assert scripts.call(*words) == reply


@pytest.mark.parametrize(
    ("source", "error"),
    [
        ("error('x')", b"ERR user_script:1: x"),
        ("error({err = 'MY x'})", b"MY x"),
        ("return y", b"ERR user_script:1: Script attempted to access nonexistent global variable 'y'"),
        ("y = 1", b"ERR user_script:1: Attempt to modify a readonly table"),
        ("KEYS = 1", b"ERR user_script:1: Attempt to modify a readonly table"),
        ("string.y = 1", b"ERR user_script:1: Attempt to modify a readonly table"),
        ("coroutine.yield(1)", b"ERR attempt to yield across metamethod/C-call boundary"),
        ("redis.call()", b"ERR Please specify at least one argument for this redis lib call"),
        ("redis.call('GET', {})", b"ERR Lua redis lib command arguments must be strings or integers"),
        ("redis.call('NOSUCH')", b"ERR Unknown Redis command called from script"),
        ("redis.call('OBJECT', 'NOSUCH', 'a')", b"ERR Unknown Redis command called from script"),
        ("redis.call('GET')", b"ERR Wrong number of args calling Redis command from script"),
        ("redis.call('MULTI')", b"ERR This Redis command is not allowed from script"),
        ("redis.call('EVAL', 'return 1', 0)", b"ERR This Redis command is not allowed from script"),
        ("redis.call('KRAFT', 'STEPDOWN')", b"ERR This Redis command is not allowed from script"),
        (
            "redis.call('KRAFT', 'ONCE', 't', 'SET', 'a', 1)",
            b"ERR This Redis command is not allowed from script",
        ),
        ("redis.call('RANDOMKEY')", b"ERR This Redis command is not allowed from script"),
        ("redis.call('KEYS')", b"ERR Wrong number of args calling Redis command from script"),
        ("redis.call('SCAN', 'x')", b"ERR invalid cursor"),
        ("redis.call('SCAN', 0, 'COUNT', 0)", b"ERR syntax error"),
    ],
)
def test_errors_name_the_script(scripts, source, error):
    reply = scripts.run(source)
    assert reply.startswith(b"-" + error + b" script: "), reply
    assert reply.endswith(b", on @user_script:1.\r\n")


@pytest.mark.parametrize("count", [1000, 1001, 7999])
@pytest.mark.parametrize("call", ["call", "pcall"])
def test_a_command_may_have_many_words(call, count):
    """More than a function of Python can be given as arguments."""
    scripts = Scripts(Port(scripts=ScriptsConfig(time=1.0)))
    words = f"local words = {{}} for i = 1, {count} do words[i] = i end"
    last = b"$%d\r\n%d\r\n" % (len(str(count)), count)
    scripts.call("SET", count, count)
    assert scripts.run(f"{words} return redis.{call}('MGET', unpack(words))[{count}]") == last
    wrong = scripts.run(
        f"{words} words[{count} - 20] = nil return redis.{call}('MGET', unpack(words, 1, {count} - 9))"
    )
    assert b"command arguments must be strings or integers" in wrong
    assert scripts.run(f"{words} return redis.{call}('MSET', unpack(words))") == b"+OK\r\n" or count % 2


def test_a_reply_that_is_too_deep_is_an_error(scripts):
    assert scripts.run("local a = {} a[1] = {a} return a") == b"-ERR reached lua stack limit\r\n"
    assert scripts.run("local a = 1 for i = 1, 100 do a = {a} end return a") == b"*1\r\n" * 100 + b":1\r\n"


def test_the_version(scripts):
    """REDIS_VERSION_NUM has a byte for each part of REDIS_VERSION."""
    numbers = (
        "string.format('%d.%d.%d', bit.rshift(n, 16), bit.band(bit.rshift(n, 8), 255), bit.band(n, 255))"
    )
    reply = scripts.run(f"local n = redis.REDIS_VERSION_NUM return {{{numbers}, redis.REDIS_VERSION}}")
    assert reply == b"*2\r\n" + b"$6\r\n7.0.15\r\n" * 2


def test_an_error_undoes_everything(scripts):
    scripts.call("SET", "a", "before")
    reply = scripts.run(
        "redis.call('SET', 'a', 'x') redis.call('SET', 'b', 'x') redis.call('FLUSHALL') error('no')"
    )
    assert reply.startswith(b"-ERR user_script:1: no")
    assert scripts.call("MGET", "a", "b") == b"*2\r\n$6\r\nbefore\r\n$-1\r\n"
    assert scripts.run("return redis.call('EXISTS', 'a', 'b')") == b":1\r\n"


def test_an_error_that_the_script_handles_undoes_nothing(scripts):
    source = (
        "redis.call('SET', 'a', 'x') redis.pcall('INCR', 'a') pcall(error, 'y') return redis.call('GET', 'a')"
    )
    assert scripts.run(source) == b"$1\r\nx\r\n"
    assert scripts.call("GET", "a") == b"$1\r\nx\r\n"


def test_a_script_sees_its_own_writes_and_those_before_it_in_the_batch(scripts):
    talk = scripts.port.connect()
    both = b"*3\r\n$4\r\nINCR\r\n$1\r\nn\r\n"
    del both
    source = "redis.call('INCR', KEYS[1]) return redis.call('GET', KEYS[1])"
    calls = b"".join(
        b"*4\r\n$4\r\nEVAL\r\n$%d\r\n%b\r\n$1\r\n1\r\n$1\r\nn\r\n" % (len(source), source.encode())
        for _ in "123"
    )
    replies = talk.send(calls)
    scripts.port.settle()
    assert replies + talk.read() == b"$1\r\n1\r\n$1\r\n2\r\n$1\r\n3\r\n"
    assert [len(commands) for _, commands in scripts.port.host.writes] == [3]


def test_the_log_carries_effects(scripts, logged):
    """And a script whose text is logged once, with the first call."""
    source = "redis.call('SET', KEYS[1], 'x') redis.pcall('INCR', KEYS[1]) return redis.call('GET', 'other')"
    scripts.run(source, "a", keys=1)
    scripts.run(source, "a", keys=1)
    effects = [command for command in logged if type(command) is Evaluated]
    assert not any(type(command) is ScriptCall for command in logged)
    assert [[type(step).__name__ for step in each.steps] for each in effects] == [
        ["LoadScript", "Put"],
        ["Put"],
    ]
    assert [sorted(watch.key for watch in each.watched) for each in effects] == [[b"a", b"other"]] * 2


def test_the_cache(scripts):
    assert scripts.call("SCRIPT", "LOAD", "return 1") == b"$40\r\n%b\r\n" % SHA.encode()
    assert scripts.call("SCRIPT", "EXISTS", SHA, SHA.upper(), "x") == b"*3\r\n:1\r\n:1\r\n:0\r\n"
    assert scripts.call("EVALSHA", SHA.upper(), 0) == b":1\r\n"
    assert scripts.call("EVALSHA_RO", SHA, 0) == b":1\r\n"
    assert scripts.call("SCRIPT", "SHOW", SHA) == b"$8\r\nreturn 1\r\n"
    assert scripts.call("FLUSHALL") == b"+OK\r\n"
    assert scripts.call("EVALSHA", SHA, 0) == b":1\r\n"
    assert scripts.call("SCRIPT", "FLUSH") == b"+OK\r\n"
    assert scripts.call("EVALSHA", SHA, 0).startswith(b"-NOSCRIPT")
    assert scripts.run("return 1") == b":1\r\n"
    assert scripts.call("EVALSHA", SHA, 0) == b":1\r\n"


def test_a_script_that_fails_is_in_the_cache_as_in_redis(scripts):
    scripts.run("error('x')")
    sha = scripts.run("return redis.sha1hex(\"error('x')\")")[5:-2]
    assert scripts.call("EVALSHA", sha, 0).startswith(b"-ERR user_script:1: x")


READ_ONLY = (
    ("EVAL_RO", "return redis.call('SET', 'a', 1)"),
    ("EVAL", "#!lua flags=no-writes\nreturn redis.call('SET', 'a', 1)"),
)


@pytest.mark.parametrize("call", READ_ONLY)
def test_a_read_only_script_does_not_write(scripts, call):
    assert b"ERR Write commands are not allowed from read-only scripts." in scripts.call(*call, 0)
    assert scripts.call("EXISTS", "a") == b":0\r\n"


@pytest.mark.parametrize(
    ("line", "reply"),
    [
        ("#!lua", b"-ERR Invalid script shebang\r\n"),
        ('#!lua "flags=\n', b"-ERR Invalid engine in script shebang\r\n"),
        ('#!lua "flags=no-writes"\nreturn 7', b":7\r\n"),
        ("#!lux\n", b"-ERR Unexpected engine in script shebang: #!lux\r\n"),
        ("#!lua name=x\n", b"-ERR Unknown lua shebang option: name=x\r\n"),
        ("#!lua flags=no-writes,foo\n", b"-ERR Unexpected flag in script shebang: foo\r\n"),
        ("#!lua flags=no-writes,allow-oom,allow-stale,no-cluster,allow-cross-slot-keys\nreturn 7", b":7\r\n"),
        ("#!lua\nreturn y", None),
    ],
)
def test_the_first_line(scripts, line, reply):
    found = scripts.run(line)
    if reply is None:
        assert b"user_script:2:" in found
    else:
        assert found == reply


def test_limits_of_values_and_keys_hold_in_scripts():
    scripts = Scripts(Port(limits=LimitsConfig(key_bytes=10, value_bytes=1000, request_bytes=2000)))
    assert b"key exceeds limit of 10 bytes" in scripts.run("redis.call('SET', ('k'):rep(11), 'x')")
    assert b"value exceeds limit of 1000 bytes" in scripts.run("redis.call('SET', 'k', ('x'):rep(1001))")
    assert b"value exceeds limit of 1000 bytes" in scripts.run(
        "redis.call('SET', 'k', ('x'):rep(900)) redis.call('APPEND', 'k', ('x'):rep(900))"
    )
    assert scripts.call("EXISTS", "k") == b":0\r\n"


def test_the_text_of_a_script_has_a_limit():
    scripts = Scripts(Port(scripts=ScriptsConfig(script_bytes=1024)))
    assert scripts.run("return 1" + " " * 1024) == b"-ERR script exceeds limit of 1024 bytes\r\n"


def test_a_full_memory_refuses_what_grows(scripts):
    scripts.port.host.memory.leader_full = True
    assert b"OOM command not allowed" in scripts.run("return redis.call('SET', 'a', 1)")
    assert scripts.run("return redis.call('DEL', 'a')") == b":0\r\n"
    assert scripts.run("#!lua flags=allow-oom\nreturn redis.call('SET', 'a', 1)") == b"+OK\r\n"


def test_an_older_cluster_refuses_scripts(scripts):
    scripts.port.host.machines[0].version = 2
    assert b"needs machine version 3" in scripts.run("return 1")


@pytest.mark.parametrize(
    "command",
    [
        "'PEXPIREAT', 'n', ARGV[1]",
        "'SET', 'n', 2, 'PXAT', ARGV[1]",
        "'GETEX', 'n', 'PXAT', ARGV[1]",
        "'KRAFT', 'GUARD', 'l', ARGV[2], 'PEXPIREAT', 'n', ARGV[1]",
    ],
)
def test_an_expiry_that_log_time_reaches_too_early_is_refused(command):
    """As outside of scripts: the script gets an error, and is undone."""
    scripts = Scripts()
    scripts.call("SET", "n", 1)
    token = scripts.call("KRAFT", "LOCK", "l", 100_000)[1:-2]
    soon = scripts.port.host._clock.wall_ms() + 5000
    scripts.port.host.premature = range(soon, soon + 1)
    source = f"redis.call('INCR', 'n') redis.call({command}) return 1"
    reply = scripts.run(source, soon, token)
    assert reply.startswith(b"-ERR the cluster's log time is ahead of its clocks")
    assert (scripts.call("GET", "n"), scripts.call("PTTL", "n")) == (b"$1\r\n1\r\n", b":-1\r\n")
    assert scripts.run(source, soon + 1, token) == b":1\r\n"


CLEAR = """
for _, key in ipairs(redis.call('KEYS', ARGV[1])) do redis.call('DEL', key) end
redis.call('SET', 'cache:new', 1)
local cursor, keys = unpack(redis.call('SCAN', 0, 'MATCH', 'cache:*', 'COUNT', 1))
return {cursor, keys, redis.call('SCAN', 7)[2], redis.call('SCAN', 0, 'TYPE', 'list')[2]}
"""


def test_a_script_finds_all_keys():
    """Those that it has changed itself, too, and none that is due."""
    scripts = Scripts(Port(scripts=ScriptsConfig(time=1.0)))
    for number in range(600):
        scripts.call("SET", f"cache:{number}", "x")
    scripts.call("SET", "other", "x", "PXAT", str(scripts.port.clock.wall_ms() + 10))
    scripts.port.clock.advance(1)
    assert scripts.run("return redis.call('KEYS', 'o*')") == b"*0\r\n"
    scripts.call("SET", "other", "x")
    assert scripts.run("return #redis.call('KEYS', '*')") == b":601\r\n"
    assert scripts.run(CLEAR, "cache:*") == (b"*4\r\n$1\r\n0\r\n*1\r\n$9\r\ncache:new\r\n*0\r\n*0\r\n")
    assert scripts.call("DBSIZE") == b":2\r\n"
    assert scripts.run("redis.call('FLUSHALL') redis.call('SET', 'a', 1) return redis.call('KEYS', '*')") == (
        b"*1\r\n$1\r\na\r\n"
    )
