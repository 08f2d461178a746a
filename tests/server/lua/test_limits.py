"""Scripts that try to stall a leader: every one is ended at its limits, and has done nothing."""

import time

import pytest

from kraft.config.values import ScriptsConfig
from tests.server.fakes import Port
from tests.server.lua.talks import Scripts

SECONDS = 0.05
CPU_MAX = 1.0  # far more than any of them may take; without the limits they take seconds, or for ever

STALLS = {
    "a loop": "while true do end",
    "a loop that catches": "while true do pcall(function() while true do end end) end",
    "nested catches": "local function f() pcall(f) f() end while true do pcall(f) end",
    "a handler that loops": "while true do xpcall(error, function() while true do end end) end",
    "coroutines": "while true do coroutine.wrap(function() for i = 1, 90 do end end)() end",
    "a coroutine that catches": "local f = function() while true do end end"
    " while true do coroutine.resume(coroutine.create(f)) end",
    "coroutines inside coroutines": "local function f() coroutine.wrap(f)() end while true do pcall(f) end",
    "a pattern": "return string.find(('a'):rep(28), ('a?'):rep(28) .. ('a'):rep(28))",
    "a pattern of stars": "return ('a'):rep(1000):match(('.-'):rep(20) .. 'b')",
    "a pattern of captures": "return ('a'):rep(5000):match('(.*)(.*)(.*)b')",
    "patterns in a loop": "local s = ('a'):rep(400) while true do s:match('.-.-b') end",
    "long plain patterns": "local s, p = ('a'):rep(1e6), ('a'):rep(400) .. 'b' while true do s:find(p) end",
    "gmatch": "for w in ('a'):rep(3000):gmatch('.-.-.-b') do end",
    "gsub": "return ('a'):rep(3000):gsub('.-.-.-b', '')",
    "gsub with a function": "('a'):rep(1000000):gsub('.', function() for i = 1, 100 do end end)",
    "an empty string often": "return ('').rep('', 1e15)",
    "a far place": "table.insert({}, -2000000000, 1)",
    "a large sort": "local t = {} for i = 1, 200000 do t[i] = i * 7919 % 200003 end"
    " while true do table.sort(t) end",
    "a comparator that loops": "table.sort({3, 2, 1}, function() while true do end end)",
    "an __index that loops": "return setmetatable({}, {__index = function() while true do end end}).x",
    "large strings": "local s = ('a'):rep(4000000) while true do s = s:reverse() end",
    "large copies": "local s = ('a'):rep(2000000) while true do local t = s .. 'b' end",
    "code": "local s = ('local x = 1 '):rep(10000) while true do loadstring(s) end",
    "JSON that is read": "local s = '[' .. ('[1,\"x\",{\"a\":null}],'):rep(20000) .. '1]'"
    " while true do cjson.decode(s) end",
    "JSON with long strings": "local s = '\"' .. ('x'):rep(4000000) .. '\"'"
    " while true do cjson.decode(s) end",
    "JSON with escapes": "local s = '\"' .. ('\\\\n'):rep(1000000) .. '\"' while true do cjson.decode(s) end",
    "JSON with spaces": "cjson.decode((' '):rep(8000000))",
    "a JSON number": "cjson.decode(('1'):rep(8000000))",
    "JSON that is written": "local t = {} for i = 1, 100000 do t[i] = i end"
    " while true do cjson.encode(t) end",
    "a long string as JSON": "local s = ('\"'):rep(2000000) while true do cjson.encode(s) end",
    "a sparse array as JSON": "local c = cjson.new() c.encode_sparse_array(false, 0)"
    " c.encode({[2000000000] = 1})",
    "deep JSON": "local c = cjson.new() c.decode_max_depth(1000000) while true do"
    " pcall(c.decode, ('['):rep(100000)) end",
    "MessagePack that is written": "local t = {} for i = 1, 100000 do t[i] = i end"
    " while true do cmsgpack.pack(t) end",
    "MessagePack that is read": "local s = ('\\1'):rep(4000000) s = '\\221\\0\\61\\9\\0' .. s"
    " while true do cmsgpack.unpack(s) end",
    "MessagePack of much": "cmsgpack.unpack('\\221\\255\\255\\255\\255' .. ('\\144'):rep(8000000))",
    "a long format": "local f = ('b'):rep(1000000) while true do pcall(struct.size, f) end",
    "bits": "local n = 1 while true do n = bit.bxor(n, bit.rol(n, 5)) end",
    "commands": "while true do redis.call('INCR', 'n') end",
    "commands that fail": "while true do redis.pcall('NOSUCH') end",
    "a reply without an end": "local t = {} for i = 1, 30 do t = {t, t} end return t",
    "a reply that contains itself": "local t = {} t[1] = t t[2] = t return t",
}


@pytest.fixture(scope="module")
def scripts():
    return Scripts(Port(scripts=ScriptsConfig(time=SECONDS, memory_bytes=32 << 20)))


@pytest.mark.timeout(30, method="thread")
@pytest.mark.parametrize("name", STALLS)
def test_a_stall_ends(scripts, name):
    began = time.thread_time()
    reply = scripts.run("redis.call('SET', 'mark', 1) " + STALLS[name])
    assert time.thread_time() - began < CPU_MAX
    assert scripts.call("EXISTS", "mark", "n") in (b":0\r\n", b":1\r\n")
    if not reply.startswith(b"-"):
        assert name in ("an empty string often",)
    else:
        assert scripts.call("EXISTS", "mark", "n") == b":0\r\n"
    scripts.call("DEL", "mark")
    assert scripts.run("return 7") == b":7\r\n"


MEMORY = {
    "a string": "local s = 'a' while true do s = s .. s end",
    "a repeated string": "return ('a'):rep(1e9)",
    "a table": "local t = {} while true do t[#t + 1] = 'x' .. #t end",
    "a concatenation": "local t = {} for i = 1, 100 do t[i] = ('a'):rep(1000000) end return table.concat(t)",
    "a format": "local s = '' while true do s = string.format('%s%s', s, ('a'):rep(1000000)) end",
    "closures": "local f = function() end while true do local g = f f = function() return g end end",
    "coroutines": "local t = {} while true do t[#t + 1] = coroutine.create(function() end) end",
}


@pytest.mark.parametrize("name", MEMORY)
def test_memory_is_bounded(name):
    scripts = Scripts(Port(scripts=ScriptsConfig(time=60.0, memory_bytes=8 << 20)))
    reply = scripts.run("redis.call('SET', 'mark', 1) " + MEMORY[name])
    assert reply.startswith(b"-ERR the script was stopped because it needs more than 8388608 bytes of memory")
    assert scripts.call("EXISTS", "mark") == b":0\r\n"
    assert scripts.run("return #('a'):rep(1000000)") == b":1000000\r\n"


def test_instructions_are_counted_over_all_coroutines():
    scripts = Scripts(Port(scripts=ScriptsConfig(time=60.0, instructions=50_000)))
    source = "for i = 1, 2000 do coroutine.wrap(function() for j = 1, 50 do end end)() end return 1"
    assert scripts.run(source).startswith(b"-ERR the script was stopped after 50000 instructions (")
    assert scripts.run("for i = 1, 1000 do end return 1") == b":1\r\n"


def test_many_scripts_do_not_wear_the_interpreter_out():
    scripts = Scripts(Port(scripts=ScriptsConfig(memory_bytes=4 << 20)))
    for n in range(300):
        assert scripts.run(f"local s = ('{n % 10}'):rep(100000) return #s + {n}") == b":%d\r\n" % (
            100_000 + n
        )


UNPACKS = {
    "return {unpack({1, 2, 3}, -2, 2147483647)}": b"too many results to unpack",
    "return {unpack({1, 2, 3}, 0, 2147483647)}": b"too many results to unpack",
    "return {unpack({1, 2, 3}, -2147483648, -2)}": b"too many results to unpack",
    "return {unpack({1, 2, 3}, -2147483648)}": b"too many results to unpack",
    "return {unpack({1, 2, 3}, 2147483647.6, 2147483647.2)}": b"too many results to unpack",
    "return {unpack({1, 2, 3}, '1', '1e300')}": b"too many results to unpack",
    "return {unpack({1, 2, 3}, 0/0, 1)}": b"too many results to unpack",
    "return {unpack({}, 1, 8000)}": b"too many results to unpack",
    "return select('#', unpack({}, 1, 7000))": b":7000\r\n",
    "return select('#', unpack({}, 2147483640, 2147483647))": b":8\r\n",
    "return select('#', unpack({}, -2147483648, -2147483646))": b":3\r\n",
    "return {unpack({1, 2, 3}, 1, -1)}": b"*0\r\n",
    "return {unpack({1, 2, 3}, '2')}": b"*2\r\n:2\r\n:3\r\n",
    "return {unpack({1, 2, 3}, nil, 2)}": b"*2\r\n:1\r\n:2\r\n",
    "return unpack()": b"bad argument #1 to 'unpack' (table expected, got no value)",
    "return unpack({}, {})": b"bad argument #2 to 'unpack' (number expected, got table)",
}


@pytest.mark.parametrize("source", UNPACKS)
def test_the_number_of_results_is_bounded(source):
    """An int counts them in Lua: where it overflows, memory is overwritten, and the node dies."""
    assert UNPACKS[source] in Scripts().run(source)
    assert b"8000" not in Scripts().run("local t = {} for i = 1, 100 do t[i] = i end return #{unpack(t)}")
