"""Generated scripts that use every library, for a comparison with Redis.

A script runs some steps, each in a pcall, shows what each has returned, and ends with a value or an error. It
is one line of text, so that it does not matter which line an error names.
"""

import json
import re
from collections.abc import Callable
from math import copysign

from hypothesis import strategies as st

from tests.cluster.redis_sequences import _mostly as mostly

PROLOGUE = """
local json = cjson.new()
math.randomseed(7)
local show
function show(v, depth)
    local kind = type(v)
    if kind == 'number' then return string.format('%.17g', v) end
    if kind == 'string' then return '"' .. v .. '"' end
    if kind ~= 'table' then return kind == 'function' and kind or tostring(v) end
    if depth > 6 then return '...' end
    local all = {}
    for k, element in pairs(v) do
        if k ~= 'ignore_error_stats_update' then
            all[#all + 1] = show(k, depth + 1) .. '=' .. show(element, depth + 1)
        end
    end
    return '{' .. table.concat(all, ' ') .. '}'
end
local function collect(...)
    local all = {}
    for i = 1, select('#', ...) do all[i] = show((select(i, ...)), 1) end
    return table.concat(all, ' ')
end
local out = {}
local function step(f, ...) out[#out + 1] = collect(pcall(f, ...)) end
""".replace("\n", " ")


def lua_string(text: bytes) -> str:
    """A literal of these bytes."""
    return '"' + "".join(chr(b) if chr(b).isalnum() and b < 128 else f"\\{b:03d}" for b in text) + '"'


# A literal -0 makes each 0 of the script one, as Lua 5.1 keeps one constant for both.
MINUS_ZERO = "(-1/math.huge)"


def lua_number(number: float) -> str:
    """A literal, in parentheses where it is an expression."""
    if number != number:
        return "(0/0)"
    if number in (float("inf"), -float("inf")):
        return "(1/0)" if number > 0 else "(-1/0)"
    if number == 0 and copysign(1.0, number) < 0:
        return MINUS_ZERO
    return f"({number!r})"


def lua_value(value: object) -> str:
    """A literal of None, booleans, numbers, bytes, lists and dicts of these."""
    if value is None:
        return "nil"
    if isinstance(value, bool):
        return str(value).lower()
    if isinstance(value, bytes):
        return lua_string(value)
    if isinstance(value, list):
        return "{" + ", ".join(map(lua_value, value)) + "}"
    if isinstance(value, dict):
        return "{" + ", ".join(f"[{lua_value(k)}] = {lua_value(v)}" for k, v in value.items()) + "}"
    return lua_number(value)  # type: ignore[arg-type]


INTEGERS = mostly(
    st.integers(-300, 300),
    st.sampled_from([
        2**31 - 1, 2**31, -(2**31), -(2**31) - 1, 2**32 - 1, 2**32, 65535, 65536, -32768, -32769, 2**53,
        -(2**53), 2**53 + 2, 2**63, -(2**63), 2**64, 10**15, 10**17, 127, 128, -32, -33, -128, -129, 255, 256,
    ]),
    2,
)  # fmt: skip
FLOATS = mostly(
    st.one_of(
        st.floats(-1000, 1000),
        st.integers(-64, 64).map(lambda n: n / 8),
        st.floats(-(2.0**127), 2.0**127, width=32),
    ),
    st.sampled_from([
        0.5, 1.5, 2.5, -0.5, -0.0, 1e300, 1e-310, 5e-324, 1e-45, 3.4e38, 3.5e38, 1e15, 1e14, 0.1,
        float("nan"), float("inf"), -float("inf"),
    ]),
    3,
)  # fmt: skip
NUMBERS = st.one_of(INTEGERS, INTEGERS, FLOATS)
STRINGS = mostly(
    st.one_of(st.sampled_from([b"", b"a", b"abc", b"1", b"12", b"x y"]), st.binary(max_size=6)),
    st.one_of(
        st.sampled_from([b"0x1F", b" 7 ", b"1e3", b"nan", b"-5.5", b'a/b\\"\x7f\n\x00', b"\xe2\x82\xac"]),
        st.integers(0, 300).map(lambda n: b"s" * n),
    ),
    2,
)
SCALARS = st.one_of(NUMBERS, STRINGS, st.booleans())
KEYS = st.one_of(st.sampled_from([b"a", b"b", b"key", b"1"]), st.integers(-1, 20), st.floats(-3, 3))
VALUES = st.recursive(
    st.one_of(SCALARS, SCALARS, st.none()),
    lambda inner: st.one_of(
        st.lists(inner, max_size=5),
        st.dictionaries(KEYS, inner.filter(lambda v: v is not None), max_size=3),
        st.integers(14, 18).map(lambda n: b"s" * n),
    ),
    max_leaves=8,
).map(lua_value)
ODD = st.sampled_from(["nil", "{}", "json.null", "show", "true", '"x"'])
ARGUMENT = mostly(VALUES, ODD, 8)


def _arguments(*parts: st.SearchStrategy[str], least: int = 0) -> st.SearchStrategy[list[str]]:
    """The arguments of a call, sometimes fewer or more than it takes."""
    whole = st.tuples(*parts).map(list)
    return mostly(whole, st.lists(ARGUMENT, min_size=least, max_size=len(parts) + 1), 12)


def _call(
    names: list[str], arguments: st.SearchStrategy[list[str]], results: int = 3
) -> st.SearchStrategy[str]:
    """A step that calls a function: in a function of Lua, which an error names, or in pcall itself."""
    variables = ", ".join(f"r{number}" for number in range(results))

    def step(name: str, words: list[str], direct: bool) -> str:
        if direct:
            return f"step({', '.join([name, *words])})"
        return f"step(function() local {variables} = {name}({', '.join(words)}) return {variables} end)"

    return st.builds(step, st.sampled_from(names), arguments, st.booleans())


_number = mostly(NUMBERS.map(lua_value), st.one_of(STRINGS.map(lua_string), ODD), 8)
BIT = st.one_of(
    _call([f"bit.{name}" for name in ("tobit", "bnot", "bswap", "tohex")], _arguments(_number)),
    _call(
        [f"bit.{name}" for name in ("lshift", "rshift", "arshift", "rol", "ror", "tohex", "band")],
        _arguments(_number, _number),
    ),
    _call([f"bit.{name}" for name in ("band", "bor", "bxor")], st.lists(_number, min_size=1, max_size=4)),
)

_FIELDS = mostly(
    st.sampled_from(
        ["b", "B", "h", "H", "l", "L", "T", "i", "I", "f", "d", "s", "x", "i3", "I5", "i8", "c2", "c0"]
    ),
    st.sampled_from(["i16", "I12", "i33", "c", "c9", "i0", "z", "1", "c2147483648", " ", "I"]),
    8,
)
_LAYOUTS = st.lists(
    st.tuples(
        mostly(st.just(""), st.sampled_from(["<", ">", "!", "!4", "!2", "!3", "!0", " "]), 3), _FIELDS
    ).map("".join),
    max_size=5,
).map("".join)
STRUCT = st.one_of(
    st.builds(
        lambda layout, values: f"step(struct.pack, {', '.join([lua_string(layout.encode()), *values])})",
        _LAYOUTS,
        st.lists(SCALARS.map(lua_value), max_size=6),
    ),
    st.builds(
        lambda layout, values: (
            f"step(function() local l = {lua_string(layout.encode())}"
            f" local s = struct.pack(l, {', '.join(map(lua_value, values))})"
            " local a, b, c, d, e, f, g = struct.unpack(l, s) return s, a, b, c, d, e, f, g end)"
        ),
        _LAYOUTS,
        st.lists(NUMBERS, min_size=5, max_size=6),
    ),
    _call(
        ["struct.unpack"],
        _arguments(
            _LAYOUTS.map(lambda s: lua_string(s.encode())),
            st.binary(min_size=4, max_size=40).map(lua_string),
            mostly(st.just("1"), st.integers(-2, 20).map(str), 2),
        ),
        7,
    ),
    _call(["struct.size"], _arguments(_LAYOUTS.map(lambda s: lua_string(s.encode())))),
)

_FORMS = st.sampled_from([*range(0x80, 0xE0), *range(0xC0, 0xE0)]).map(lambda form: bytes([form]))
_PACKED = st.lists(
    st.one_of(_FORMS, st.binary(max_size=9), st.sampled_from([b"\x01", b"\xa1a", b"\x00\x02", b"\xff"])),
    max_size=6,
).map(b"".join)
_LARGE = ("2147483648", "-2147483649", "4294967295", "4294967301", "9007199254740994", "1e19", "-1e19")
_OFFSETS = mostly(st.integers(0, 4).map(str), st.sampled_from(["-1", "1000", "1.5", '"1"', "nil", *_LARGE]))
CMSGPACK = st.one_of(
    _call(["cmsgpack.pack"], st.lists(ARGUMENT, max_size=3)),
    st.builds(
        lambda values: (
            f"step(function() local r0, r1, r2, r3 = cmsgpack.unpack(cmsgpack.pack({', '.join(values)}))"
            " return r0, r1, r2, r3 end)"
        ),
        st.lists(ARGUMENT, min_size=1, max_size=3),
    ),
    _call(["cmsgpack.unpack", "cmsgpack.unpack_one"], _arguments(_PACKED.map(lua_string)), 6),
    _call(["cmsgpack.unpack_one"], _arguments(_PACKED.map(lua_string), _OFFSETS), 2),
    _call(["cmsgpack.unpack_limit"], _arguments(_PACKED.map(lua_string), _OFFSETS, _OFFSETS), 5),
)

_JSON_WORDS = st.sampled_from([
    "true", "false", "null", "1", "-0", "1.5e3", "1E-2", "0x1F", "-0x.8p1", "01", "+1", "1.", "-", "nan",
    "-NaN", "inf", "Infinity", "-infinit", "1e", "0x", "12345678901234567890", "tru", '"a"', '"\\u20ac"',
    '"\\ud83d\\ude00"', '"\\ud83d"', '"\\udc00"', '"\\x"', '"\\u12"', '"\\n\\t\\/\\b\\f\\r\\\\\\""', '"open',
    "[", "]", "{", "}", ",", ":",
    '{"a":1}', "[1,2]", "{}", "[]", " ", "\n", "x", "\x00", '"a\x00"', "é",
])  # fmt: skip
_JSON_VALUES = st.recursive(
    st.one_of(
        st.none(), st.booleans(), st.integers(-1000, 1000), st.floats(allow_nan=False), st.text(max_size=5)
    ),
    lambda inner: st.one_of(
        st.lists(inner, max_size=4), st.dictionaries(st.text("abc/", max_size=2), inner, max_size=3)
    ),
    max_leaves=8,
)


def _damaged(text: str, place: int, word: str) -> str:
    place = place % (len(text) + 1)
    return text[:place] + word + text[place + len(word) % 3 :]


_JSON = st.one_of(
    st.builds(json.dumps, _JSON_VALUES),
    st.builds(lambda value: json.dumps(value, ensure_ascii=False, indent=1), _JSON_VALUES),
    st.lists(_JSON_WORDS, max_size=4).map("".join),
    st.builds(_damaged, _JSON_VALUES.map(json.dumps), st.integers(0, 100), _JSON_WORDS),
    st.integers(998, 1002).map(lambda depth: "[" * depth + "]" * depth),
    st.integers(998, 1002).map(lambda depth: '{"":' * depth + "1" + "}" * depth),
).map(lambda text: lua_string(text.encode("utf-8", "surrogatepass")))
_SWITCH = st.sampled_from(["true", "false", '"on"', '"off"', '"null"', "nil", "1", "{}"])
CJSON = st.one_of(
    _call(["json.decode"], _arguments(_JSON)),
    _call(["json.decode"], _arguments(_JSON)),
    _call(["json.encode"], _arguments(ARGUMENT)),
    _call(["json.encode"], _arguments(VALUES)),
    st.builds(
        lambda text: f"step(function() local r = json.encode(json.decode({text})) return r end)", _JSON
    ),
    _call(["json.encode_sparse_array"], _arguments(_SWITCH, _OFFSETS, _OFFSETS)),
    _call(["json.encode_invalid_numbers", "json.decode_invalid_numbers"], _arguments(_SWITCH), 1),
    _call(["json.encode_keep_buffer"], _arguments(_SWITCH), 1),
    _call(["json.encode_max_depth", "json.decode_max_depth"], _arguments(_OFFSETS), 1),
    _call(
        ["json.encode_number_precision"],
        _arguments(mostly(st.integers(1, 14).map(str), st.sampled_from(["0", "15", "nil", '"3"']))),
        1,
    ),
)

_PATTERNS = st.sampled_from(
    ["a", ".", "%d+", "(a)(b?)", "[^a]", "^x*", "()", "%w-b", "$", "%", "[a", "(", "%1"]
)
_short = STRINGS.filter(lambda s: len(s) < 20).map(lua_string)
STANDARD = st.one_of(
    _call(["string.sub", "string.rep", "string.byte"], _arguments(_short, st.integers(-3, 3).map(str))),
    _call(
        ["string.find", "string.match"], _arguments(_short, _PATTERNS.map(lambda p: lua_string(p.encode())))
    ),
    _call(
        ["string.gsub"],
        _arguments(
            _short, _PATTERNS.map(lambda p: lua_string(p.encode())), st.sampled_from(['"<%0>"', '"%1"', "{}"])
        ),
    ),
    _call(
        ["string.upper", "string.len", "string.reverse", "tonumber", "tostring", "type"], _arguments(_short)
    ),
    _call(
        ["string.format"],
        _arguments(st.sampled_from(['"%d"', '"%5.2f"', '"%q"', '"%s|%x"', '"%c"', '"%"', '"%g"']), _number),
    ),
    _call(["math.floor", "math.abs", "math.frexp", "math.random"], _arguments(_number)),
    _call(["math.random"], _arguments(st.integers(-5, 5).map(str), st.integers(-5, 5000).map(str))),
    _call(["math.random", "math.max"], st.just([])),
    _call(["math.randomseed"], _arguments(INTEGERS.map(str))),
    _call(["table.concat"], _arguments(VALUES, _short)),
    _call(["unpack", "select"], _arguments(ARGUMENT, st.integers(0, 3).map(str))),
)

_KEY = st.sampled_from(['"a"', '"b"', "KEYS[1]", "7"])
_WORD = mostly(SCALARS.map(lua_value).filter(lambda text: text != MINUS_ZERO), ODD, 10)  # docs/lua.md
_REPLICATIONS = st.sampled_from([f"redis.REPL_{name}" for name in ("NONE", "AOF", "SLAVE", "REPLICA", "ALL")])
COMMANDS = st.one_of(
    _call(
        ["redis.call", "redis.pcall"],
        st.tuples(st.sampled_from(['"SET"', '"set"', '"APPEND"']), _KEY, _WORD).map(list),
        1,
    ),
    _call(
        ["redis.call", "redis.pcall"],
        st.tuples(st.sampled_from(['"GET"', '"STRLEN"', '"INCR"', '"TYPE"']), _KEY).map(list),
        1,
    ),
    _call(
        ["redis.call", "redis.pcall"],
        st.tuples(st.sampled_from(['"INCRBY"', '"INCRBYFLOAT"', '"DECRBY"']), _KEY, _WORD).map(list),
        1,
    ),
    _call(
        ["redis.call"], st.tuples(st.sampled_from(['"MGET"', '"EXISTS"', '"DEL"']), _KEY, _KEY).map(list), 1
    ),
    _call(
        ["redis.call", "redis.pcall"],
        st.sampled_from(
            [
                ['"NOSUCH"'],
                ['"GET"'],
                [],
                ['"PING"'],
                ['"TTL"', '"a"'],
                ['"MULTI"'],
                ['"KEYS"', '"a*"'],
                ['"SCAN"', "0", '"MATCH"', '"b"'],
                ['"KEYS"'],
            ]
        ),
        1,
    ),
    _call(["redis.error_reply", "redis.status_reply", "redis.sha1hex"], _arguments(_short), 1),
    _call(["redis.set_repl"], _arguments(st.one_of(_REPLICATIONS, _number)), 1),
    _REPLICATIONS.map("step(function() return {} end)".format),
)
STEPS = st.one_of(BIT, STRUCT, STRUCT, CMSGPACK, CMSGPACK, CJSON, CJSON, CJSON, STANDARD, COMMANDS)

_TYPED = st.sampled_from([
    "{ok = 'FINE'}", "{err = 'MY fault'}", "{err = 'fault'}", "{double = 3.5}", "{double = 1e20}",
    "{map = {a = 1}}",
    "{set = {a = true}}", "{big_number = '123456789012345678901234567890'}",
    "{verbatim_string = {format = 'txt', string = 'hello'}}", "redis.pcall('GET', 'a')",
    "redis.pcall('INCR', 'a')",
    "redis.error_reply('x')", "redis.error_reply('-X y')", "json.null", "{1, {2, nil, 3}, false, true}",
])  # fmt: skip
ENDS = st.one_of(
    st.just("return out"),
    st.builds("return {{out, {}}}".format, st.one_of(VALUES, _TYPED)),
    st.builds("redis.call('SET', 'a', 5) return {}".format, _TYPED),
    st.builds("return {}".format, VALUES),
    st.builds("local r = {} return r".format, VALUES),
    st.builds("error({})".format, st.one_of(_short, st.just("'user text'"))),
    st.sampled_from(
        [
            "return redis.call('INCR', 'a')",
            "return redis.call('NOSUCH')",
            "local r = json.decode('[') return r",
        ]
    ),
)
SCRIPTS = st.builds(
    lambda form, steps, end: " ".join([PROLOGUE, form, *steps, end]),
    mostly(st.just(""), st.just("redis.setresp(3)"), 2),
    st.lists(STEPS, min_size=3, max_size=12),
    ENDS,
)

Rule = Callable[[str, bytes, bytes], bool]


def _types_of_resp3(script: str, redis: bytes, kraft: bytes) -> bool:
    """Big numbers and verbatim strings arrive as bulk strings."""
    if not any(word in script for word in ("{big_number =", "{verbatim_string =")):
        return False
    for theirs, ours in _OTHER_TYPES.items():
        redis = redis.replace(theirs, ours)
    return redis == kraft


def _addresses(_: str, redis: bytes, kraft: bytes) -> bool:
    """The text of a table has its address."""
    return b"table: 0x" in kraft and _without_addresses(redis) == _without_addresses(kraft)


def _without_addresses(reply: bytes) -> bytes:
    return re.sub(rb"\$[0-9]+\r\n([^\r]*table: 0x)[0-9a-f]+", rb"\1", reply)


_BIG = b"123456789012345678901234567890"
_OTHER_TYPES = {
    b"=9\r\ntxt:hello\r\n": b"$5\r\nhello\r\n",
    b"(%b\r\n" % _BIG: b"$%d\r\n%b\r\n" % (len(_BIG), _BIG),
}
DIFFERENCES: dict[str, Rule] = {"types of RESP3": _types_of_resp3, "addresses": _addresses}
"""docs/lua.md explains each of them."""
