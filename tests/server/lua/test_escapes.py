"""Scripts that try to leave the sandbox, to reach an object of Python, or to leave something behind."""

import itertools

import pytest

from kraft.config.values import ScriptsConfig
from tests.server.fakes import Port
from tests.server.lua.talks import Scripts


@pytest.fixture
def scripts():
    """With time enough on a busy machine."""
    return Scripts(Port(scripts=ScriptsConfig(time=1.0)))


ABSENT = (
    "debug", "io", "os", "package", "require", "module", "dofile", "loadfile", "newproxy", "getfenv",
    "setfenv", "print", "python", "lupa", "jit", "string.dump", "coroutine.isyieldable", "debug.getinfo",
)  # fmt: skip


@pytest.mark.parametrize("name", ABSENT)
def test_what_leaves_the_sandbox_is_absent(scripts, name):
    read = f"pcall(function() return {name} end)"
    assert scripts.run(f"local ok, found = {read} return (not ok) or found == nil") == b":1\r\n"
    code = f"pcall(loadstring('return {name}'))"
    assert scripts.run(f"local ok, found = {code} return (not ok) or found == nil") == b":1\r\n"


HIDDEN = {
    "the metatable of strings": "return getmetatable('')",
    "the metatable of the globals": "return getmetatable(_G)",
    "the metatable of a library": "return getmetatable(string)",
    "the metatable of cjson.null": "return getmetatable(cjson.null)",
    "a new metatable of the globals": "return pcall(setmetatable, _G, {})",
    "a new metatable of a library": "return pcall(setmetatable, redis, nil)",
    "bytecode": "return (pcall(loadstring('\\27Lua')))",
    "bytecode by load": "local n = 0 return (load(function() n = n + 1 return ({'\\27', 'Lua'})[n] end))",
    "a C function that yields": "return (select(2, pcall(coroutine.wrap(pcall), coroutine.yield)))",
    "the table of strings": "return rawget(('').rep and string, 'rep')",
    "a changed library": "return pcall(function() string.rep = 1 end)",
    "a changed redis": "return pcall(function() redis.call = 1 end)",
    "the main coroutine": "return (select(2, pcall(coroutine.resume, coroutine.running())))",
}


@pytest.mark.parametrize("name", HIDDEN)
def test_what_is_shared_is_hidden(scripts, name):
    """Each gives false, nil, or an error first."""
    assert scripts.run(HIDDEN[name]) in (b"$-1\r\n", b":0\r\n")


# What a script might leave, and how the next one would find it.
TRACES = {
    "a global": ("rawset(_G, 'trace', 1)", "return rawget(_G, 'trace')"),
    "a global by assignment": ("pcall(loadstring('trace = 1'))", "return rawget(_G, 'trace')"),
    "a function of a library": ("rawset(string, 'rep', nil) rawset(string, 'trace', 1)",
        "return string.trace"),
    "a string method": ("rawset(string, 'trace', 1)", "return ('').trace"),
    "a function of redis": ("rawset(redis, 'trace', 1)", "return redis.trace"),
    "a copy of the globals": (
        "for _, t in pairs(_G) do if type(t) == 'table' then rawset(t, 'trace', 1) end end",
        "return cjson.trace or math.trace or table.trace or coroutine.trace"),
    "a copy of a library": ("for k in pairs(math) do rawset(math, k, 1) end",
        "return type(math.floor) == 'number'"),
    "keys": ("KEYS[1] = 'trace' ARGV.trace = 1", "return KEYS[1] or ARGV.trace"),
    "keys by name": ("rawset(_G, 'KEYS', {'trace'})", "return KEYS[1]"),
    "a form of replies": ("redis.setresp(3)", "return redis.call('GET', 'missing') == nil"),
    "an option of cjson": (("cjson.encode_max_depth(1) cjson.encode_invalid_numbers(true)"
        " cjson.encode_sparse_array(true, 1, 1) cjson.decode_invalid_numbers(false)"
        " cjson.encode_number_precision(3)"),
        ("return cjson.encode_max_depth() ~= 1000 or cjson.encode_invalid_numbers()"
        " or cjson.encode_sparse_array() or not cjson.decode_invalid_numbers()"
        " or cjson.encode_number_precision() ~= 14")),
    "an instance of cjson": ("cjson.new().encode_max_depth(1)", "return cjson.encode_max_depth() ~= 1000"),
    "a field of cjson.null": ("pcall(function() cjson.null.trace = 1 end)",
        "return select(2, pcall(function() return cjson.null.trace end)) == 1"),
    "a metatable of null": ("pcall(setmetatable, cjson.null, {__index = {trace = 1}})",
        "return select(2, pcall(function() return cjson.null.trace end)) == 1"),
    "a loaded function": ("loadstring('rawset(_G, \"trace\", 1)')()", "return rawget(_G, 'trace')"),
    "a coroutine": (("local co = coroutine.create(function() while true do coroutine.yield() end end)"
        " coroutine.resume(co) rawset(_G, 'trace', co)"), "return rawget(_G, 'trace') and 1"),
}  # fmt: skip


@pytest.mark.parametrize("name", TRACES)
def test_a_script_leaves_no_trace(scripts, name):
    leave, find = TRACES[name]
    assert scripts.run(find) == b"$-1\r\n"
    for _ in range(2):
        left = scripts.run(leave + " return 7")
        assert left == b":7\r\n", left
        assert scripts.run(find) == b"$-1\r\n"


def test_a_script_that_fails_leaves_no_trace_either(scripts):
    scripts.run("cjson.encode_max_depth(1) rawset(_G, 'trace', 1) error('x')")
    assert scripts.run("return rawget(_G, 'trace') or cjson.encode_max_depth()") == b":1000\r\n"
    scripts.run("cjson.encode_max_depth(1) while true do end")
    assert scripts.run("return cjson.encode_max_depth()") == b":1000\r\n"


def test_random_numbers_go_on_but_a_seed_ends_with_its_script(scripts):
    assert scripts.run("return {math.random(1000), math.random(1000)}") == b"*2\r\n:397\r\n:841\r\n"
    seeded = scripts.run("math.randomseed(7) return {math.random(1000), math.random(1000)}")
    assert scripts.run("return math.random(1000)") == b":354\r\n"
    assert scripts.run("math.randomseed(7) return {math.random(1000), math.random(1000)}") == seeded


VALUES = (
    "nil", "true", "0", "-1", "1.5", "0/0", "1/0", "'x'", "''", "{}", "print_", "cjson.null",
    "function() end",
    "coroutine.create(function() end)", "setmetatable({}, {__tostring = function() return {} end})",
    "setmetatable({}, {__tostring = function() end, __index = function() error({}) end})", "KEYS", "_G",
    "setmetatable({}, {__len = error, __call = error, __concat = error, __eq = error})", "('x'):rep(70)",
)  # fmt: skip
FUNCTIONS = """
    for _, name in ipairs({'redis', 'cjson', 'cmsgpack', 'struct', 'bit', 'string', 'table', 'math'}) do
        for key, f in pairs(_G[name]) do
            if type(f) == 'function' then
                local ok, raised = pcall(f, %s)
                local kind = type(raised)
                if not ok and kind ~= 'string' and kind ~= 'table' then
                    return name .. '.' .. key .. ': ' .. tostring(raised)
                end
                if kind == 'userdata' and raised ~= cjson.null then return name .. '.' .. key end
            end
        end
    end
    return 'fine'
"""


@pytest.mark.parametrize("first", VALUES)
def test_no_function_hands_out_an_object_of_python(scripts, first):
    """Errors least of all: whatever a function is given, they are strings and tables."""
    prologue = "local print_ = tostring "
    for rest in ("", *VALUES):
        arguments = f"{first}, {rest}" if rest else first
        reply = scripts.run(prologue + FUNCTIONS % arguments)
        assert reply == b"$4\r\nfine\r\n", (arguments, reply)
    for second, third in itertools.product(VALUES[:4], repeat=2):
        reply = scripts.run(prologue + FUNCTIONS % f"{first}, {second}, {third}")
        assert reply == b"$4\r\nfine\r\n", (second, third, reply)


ERRORS = {
    "a table": "error({})",
    "a table that raises when it is read": "error(setmetatable({}, {__index = error}))",
    "a table that raises as text": "error(setmetatable({}, {__tostring = function() error('inner') end}))",
    "a table that stalls as text": "error(setmetatable({}, {__tostring = function() while true do end end}))",
    "a table that stalls when it is read": "error(setmetatable({}, {__index = function()"
    " while true do end end}))",
    "an error text of another type": "error({err = {}})",
    "an error text that is a function": "error({err = print_})",
    "cjson.null": "error(cjson.null)",
    "a function": "error(function() end)",
    "a coroutine": "error(coroutine.create(function() end))",
    "nothing": "error()",
    "a number": "error(12)",
    "a string with bytes of all kinds": "error('\\0\\r\\n\\255')",
    "an error in a handler": "xpcall(error, error)",
    "an error in a coroutine": "coroutine.wrap(function() error({}) end)()",
    "a yield": "coroutine.yield(redis)",
    "a stack overflow": "local function f() return 1 + f() end return f()",
    "a stack overflow in C": "local s = setmetatable({}, {}) getmetatable(s).__index = function(t, k)"
    " return t[k .. 'x'] end return s.x",
}


@pytest.mark.parametrize("name", ERRORS)
def test_an_error_of_any_kind_is_one_line(scripts, name):
    reply = scripts.run("local print_ = tostring redis.call('SET', 'mark', 1) " + ERRORS[name])
    assert reply.startswith(b"-")
    assert reply.endswith(b"\r\n")
    assert reply.count(b"\n") == reply.count(b"\r") == 1
    assert b"object at 0x" not in reply
    assert b"Traceback" not in reply
    assert scripts.call("EXISTS", "mark") == b":0\r\n"
    assert scripts.run("return 7") == b":7\r\n"


def test_a_missing_first_word_is_no_message_to_the_node(scripts):
    """`redis.call(nil, 3)` once chose the form of replies."""
    text = b"Lua redis lib command arguments must be strings or integers"
    assert text in scripts.run("return redis.call(nil, 3)")
    assert text in scripts.run("return redis.pcall(nil, {})")


@pytest.mark.parametrize("reply", ["GET", "MGET"])
def test_replies_that_do_not_fit_into_memory_end_the_script(reply):
    """Wherever the memory ends: in Lua, or while a reply is handed over."""
    scripts = Scripts(Port(scripts=ScriptsConfig(time=1.0, memory_bytes=4 << 20)))
    scripts.call("SET", "large", "x" * 300_000)
    for words in ("'large'", "'large', 'large', 'large'"):
        if reply == "GET" and "," in words:
            continue
        source = f"local t = {{}} while true do t[#t + 1] = {{redis.call('{reply}', {words}), #t}} t[#t][1]"
        source += " = (type(t[#t][1]) == 'table' and t[#t][1][1] or t[#t][1]) .. #t end"
        for catch in ("%s", "pcall(function() %s end)", "while true do pcall(function() %s end) end"):
            found = scripts.run(catch % source)
            stopped = found.startswith(b"-ERR the script was stopped because it needs more than")
            caught = found == b"$-1\r\n" and catch.startswith("pcall")  # where memory ended in Lua
            assert stopped or caught, found
            assert scripts.run("return 7") == b":7\r\n"
