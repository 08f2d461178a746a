"""The libraries of scripts: results and errors of redis-server 7.0.15.

tests/cluster/test_scripts_against_redis.py compares many more.
"""

import pytest

from kraft.config.values import ScriptsConfig
from tests.server.fakes import Port
from tests.server.lua.talks import Scripts


@pytest.fixture(scope="module")
def scripts():
    """With time enough on a busy machine."""
    return Scripts(Port(scripts=ScriptsConfig(time=1.0)))


@pytest.mark.parametrize(
    ("expression", "text"),
    [
        ("bit.band(0xff0f, 0x0ff0, -1)", b"3840"),
        ("bit.bor(1, 2, 4)", b"7"),
        ("bit.bxor(-1, 5)", b"-6"),
        ("bit.bnot(0)", b"-1"),
        ("bit.tobit(2^31)", b"-2147483648"),
        ("bit.tobit(2.5)", b"2"),
        ("bit.tobit('0x10')", b"16"),
        ("bit.tohex(-1, -4)", b"FFFF"),
        ("bit.tohex(255)", b"000000ff"),
        ("bit.lshift(1, 33)", b"2"),
        ("bit.rshift(-1, 28)", b"15"),
        ("bit.arshift(-8, 1)", b"-4"),
        ("bit.rol(0x80000001, 1)", b"3"),
        ("bit.ror(1, 1)", b"-2147483648"),
        ("bit.bswap(0x12345678)", b"2018915346"),
        ("cjson.encode({1, 'a/b\"\\\\\\n\\127', {x = 1.5}, cjson.null, {}, true})",
            b'[1,"a\\/b\\"\\\\\\n\\u007f",{"x":1.5},null,{},true]'),
        ("cjson.encode({[1] = 1, [3] = 3})", b"[1,null,3]"),
        ("cjson.encode({[1.5] = 0.1})", b'{"1.5":0.1}'),
        ("cjson.encode(1e15)", b"1e+15"),
        ("cjson.decode('[1, {\"a\": [true, null]}, -0x10]')[2].a[1]", b"true"),
        ("cjson.decode('null')", b"userdata: (nil)"),
        ("cjson.decode('\"\\\\u20ac\\\\ud83d\\\\ude00\\\\n\"')", "€😀\n".encode()),
        ("cjson.decode('-infinity')", b"-inf"),
        ("cjson.null == cjson.decode('[null]')[1]", b"true"),
        ("struct.pack('>!4bi4', 1, -2)", b"\x01\0\0\0\xff\xff\xff\xfe"),
        ("struct.pack('<hs', 258, 'hey')", b"\x02\x01hey\0"),
        ("struct.size('!8bd')", b"16"),
        ("struct.unpack('>I3', 'abc')", b"6382179"),
        ("struct.unpack('bc0', '\\3hey')", b"hey"),
        ("cmsgpack.pack({1, 2, {a = 1.5}, -1, 70000, 'abc', true})",
            b"\x97\x01\x02\x81\xa1a\xca?\xc0\0\0\xff\xce\0\x01\x11p\xa3abc\xc3"),
        ("cmsgpack.pack(1, nil, 0.1)", b"\x01\xc0\xcb?\xb9\x99\x99\x99\x99\x99\x9a"),
        ("select('#', cmsgpack.unpack('\\1\\2\\192'))", b"3"),
        ("cmsgpack.unpack_one('\\1\\2', 1)", b"-1"),
        ("select(3, cmsgpack.unpack_limit('\\1\\2\\3', 2))", b"2"),
        ("cmsgpack.unpack('\\207' .. ('\\255'):rep(8))", b"-1"),
    ],
)  # fmt: skip
def test_results(scripts, expression, text):
    assert scripts.run(f"return tostring(({expression}))") == b"$%d\r\n%b\r\n" % (len(text), text)


@pytest.mark.parametrize(
    ("call", "error"),
    [
        ("bit.band({})", "bad argument #1 to 'band' (number expected, got table)"),
        ("bit.lshift(1)", "bad argument #2 to 'lshift' (number expected, got no value)"),
        ("cjson.encode()", "bad argument #1 to 'encode' (expected 1 argument)"),
        ("cjson.encode(0/0)", "Cannot serialise number: must not be NaN or Inf"),
        ("cjson.encode(print_)", "Cannot serialise function: type not supported"),
        ("cjson.encode({[true] = 1})", "Cannot serialise boolean: table key must be a number or string"),
        ("cjson.encode({[1] = 1, [30] = 1})", "Cannot serialise table: excessively sparse array"),
        ("local t = {} t.t = t cjson.encode(t)", "Cannot serialise, excessive nesting (1001)"),
        ("cjson.decode('[1,}')", "Expected value but found T_OBJ_END at character 4"),
        ("cjson.decode('{1')", "Expected object key string but found T_NUMBER at character 2"),
        ("cjson.decode('{\"a\"')", "Expected colon but found T_END at character 5"),
        ("cjson.decode('[1 2')", "Expected comma or array end but found T_NUMBER at character 4"),
        ("cjson.decode('1 x')", "Expected the end but found invalid token at character 3"),
        ("cjson.decode('\"a')", "Expected value but found unexpected end of string at character 3"),
        ("cjson.decode('\"\\\\ud800\"')",
            "Expected value but found invalid unicode escape code at character 2"),
        ("cjson.decode(('['):rep(1001))", "Found too many nested data structures (1001) at character 1001"),
        ("cjson.decode('\\0a')", "JSON parser does not support UTF-16 or UTF-32"),
        ("cjson.encode_number_precision(15)",
            "bad argument #1 to 'encode_number_precision' (expected integer between 1 and 14)"),
        ("struct.pack('z')", "bad argument #1 to 'pack' (invalid format option 'z')"),
        ("struct.pack('c5', 'ab')", "bad argument #3 to 'pack' (string too short)"),
        ("struct.pack('i33', 1)", "integral size 33 is larger than limit of 32"),
        ("struct.pack('!3')", "alignment 3 is not a power of 2"),
        ("struct.unpack('i4', 'abc')", "bad argument #2 to 'unpack' (data string too short)"),
        ("struct.unpack('s', 'abc')", "unfinished string in data"),
        ("struct.unpack('c0', 'abc')", "format 'c0' needs a previous size"),
        ("struct.unpack('i4', 'abcd', 0)", "bad argument #3 to 'unpack' (offset must be 1 or greater)"),
        ("struct.size('s')", "bad argument #1 to 'size' (option 's' has no fixed size)"),
        ("cmsgpack.pack()", "bad argument #0 to 'pack' (MessagePack pack needs input.)"),
        ("cmsgpack.unpack('\\146\\1')", "Missing bytes in input."),
        ("cmsgpack.unpack('\\193')", "Bad data format in input."),
        ("cmsgpack.unpack_one('a', 5)", "Start offset 5 greater than input length 1."),
        ("cmsgpack.unpack_one('a', 2147483648)", "Start offset -2147483648 greater than input length 1."),
        ("cmsgpack.unpack_one('a', 4294967301)", "Start offset 5 greater than input length 1."),
        ("cmsgpack.unpack_one('a', -2147483649)",
            "Invalid request to unpack with offset of 2147483647 and limit of 1."),
        ("cmsgpack.unpack_limit('a', -1)", "Invalid request to unpack with offset of 0 and limit of 1."),
        ("math.random(0)", "bad argument #1 to 'random' (interval is empty)"),
        ("math.random(1, 2, 3)", "wrong number of arguments"),
    ],
)  # fmt: skip
def test_errors(scripts, call, error):
    """With the place in the script; in a pcall of the function itself there is none."""
    reply = scripts.run(f"local print_ = tostring {call} return 1")
    assert reply.startswith(b"-ERR user_script:1: %b script: " % error.encode()), reply


def test_a_function_that_pcall_calls_has_no_place(scripts):
    text = b"Expected value but found T_END at character 2"
    reply = b"$%d\r\n%b\r\n" % (len(text), text)
    assert scripts.run("local _, text = pcall(cjson.decode, '[') return text") == reply


def test_tables_survive_both_formats(scripts):
    source = """
        local t = {list = {1, 2.5, 'x', {}}, text = ('é"/'):rep(9000), numbers = {}}
        for n = 1, 3000 do t.numbers[n] = n * n - 5000 end
        local function same(a, b)
            if type(a) ~= 'table' then return a == b end
            for k, v in pairs(a) do if not same(v, b[k]) then return false end end
            for k in pairs(b) do if a[k] == nil then return false end end
            return true
        end
        return {same(t, cjson.decode(cjson.encode(t))), same(t, cmsgpack.unpack(cmsgpack.pack(t)))}
    """
    assert scripts.run(source) == b"*2\r\n:1\r\n:1\r\n"
