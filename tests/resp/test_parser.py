"""The parser fed every way: whole, byte by byte, cut anywhere, by both paths, valid and not."""

import hiredis
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from kraft.resp.incremental import ARGUMENT_OVERHEAD_BYTES, HEADER_BYTES_MAX, TELNET_BYTES_MAX
from kraft.resp.parser import Parser, ParserLimits
from kraft.resp.values import InlineRequest, OversizedRequest

SMALL = ParserLimits(
    value_bytes=40, request_bytes=80, value_bytes_max=60, request_bytes_max=130, arguments=8, inline_bytes=50
)
DEFAULT = ParserLimits()


def multibulk(*arguments: bytes) -> bytes:
    head = b"*%d\r\n" % len(arguments)
    return head + b"".join([b"$%d\r\n%b\r\n" % (len(argument), argument) for argument in arguments])


def parse(data: bytes, limits: ParserLimits = DEFAULT, cuts=(), fast: bool = True):
    """All requests and the error, from `data` fed in pieces."""
    parser = Parser(limits)
    if not fast:
        parser._fast_bytes_max = 0
    requests, start = [], 0
    for stop in [*sorted(cuts), len(data)]:
        requests += parser.feed(data[start:stop])
        start = stop
    return [described(request) for request in requests], parser.error


def described(request):
    extra = getattr(request, "line", None) or getattr(request, "lengths", None)
    return type(request).__name__, list(request), extra


def error_of(data: bytes, limits: ParserLimits = DEFAULT) -> str | None:
    """The error, the same whole and byte by byte."""
    error: str | None = parse(data, limits)[1]
    assert parse(data, limits, cuts=range(len(data)))[1] == error
    return error


class TestRequests:
    @pytest.mark.parametrize(
        "arguments",
        [
            (b"PING",),
            (b"SET", b"key", b"value"),
            (b"SET", b"", b""),
            (b"SET", b"a", b"\r\n"),
            (b"SET", b"a", b"\r\n\r\n$3\r\nabc\r\n"),
            (b"SET", b"a", b"\n"),
            (b"SET", b"a", b"\r"),
            (b"SET", b"a", bytes(range(256))),
            (b"SET", b"a", b"x" * 5000),
            (b"SET", b"a", b"x" * 100_000),
            (b"SET", b"a", b"x" * 5000, b"EX", b"10"),
            (b"SET", b"a" * 5000, b"x"),
            (b"SET", b"a\r\nb", b"x" * 5000),
            (b"SET", b"a", b"x" * 3000 + b"\r\n$3\r\n" + b"x" * 3000),
            (b"MSET", b"a", b"x" * 5000, b"b", b"y" * 5000),
            (b"x" * 5000,),
            (b"DEL", *[b"%d" % number for number in range(2000)]),
        ],
    )
    def test_multibulk(self, arguments):
        data = multibulk(*arguments)
        expected = ([("list", list(arguments), None)] * 3, None)
        assert parse(data * 3) == expected
        assert parse(data * 3, cuts=range(0, len(data) * 3, 1 + len(data) // 10_000)) == expected
        assert parse(data * 3, cuts=range(0, len(data) * 3, 10_000)) == expected
        assert parse(data * 3, fast=False) == expected

    @pytest.mark.parametrize("fast", [True, False])
    def test_a_request_is_complete_with_its_last_byte(self, fast):
        one = multibulk(b"SET", b"a", b"x\r\ny\r\n")
        other = multibulk(b"GET", b"a")
        for stop in range(len(one + other)):
            requests = parse((one + other)[:stop], fast=fast)[0]
            assert len(requests) == (stop >= len(one)) + (stop >= len(one + other)), stop

    def test_lines_and_multibulks_alternate(self):
        parser = Parser(ParserLimits())
        assert parser.feed(multibulk(b"GET", b"a") + b"get b\r\n" + multibulk(b"GET", b"c")) == [
            [b"GET", b"a"],
            [b"get", b"b"],
            [b"GET", b"c"],
        ]
        assert not parser.inline
        (request,) = parser.feed(b"  get 'a b' \n")
        assert isinstance(request, InlineRequest)
        assert (request, request.line) == ([b"get", b"a b"], b"  get 'a b' ")
        assert parser.inline

    @pytest.mark.parametrize("nothing", [b"\r\n", b"\n", b"   \r\n", b"*0\r\n", b"*-1\r\n", b"*-77\r\n"])
    def test_what_is_ignored(self, nothing):
        data = nothing + multibulk(b"PING") + nothing + b"ping\n" + nothing
        assert [request for _, request, _ in parse(data)[0]] == [[b"PING"], [b"ping"]]
        assert error_of(data) is None

    def test_the_rest_of_a_line_is_raw_for_kvstore_set(self):
        parser = Parser(ParserLimits())
        assert parser.feed(b'KVStore-Set k it\'s  "so" \r\n') == [[b"KVStore-Set", b"k", b'it\'s  "so" ']]
        assert parser.feed(b"kvstore-set k\n") == [[b"kvstore-set", b"k"]]
        assert Parser(ParserLimits(), raw_tail=frozenset()).feed(b"kvstore-set a b c\n") == [
            [b"kvstore-set", b"a", b"b", b"c"]
        ]

    @pytest.mark.parametrize(
        "telnet",
        [
            b"\xff\xfd\x03",
            b"\xff\xfb\x18\xff\xfd\x01",
            b"\xff\xf4\xff\xfd\x06",
            b"\xff\xfa\x18\x00xterm\n\xff\xf0",
            b"\xff\xff",
            b"\xff",
            b"\xff\xfd\r",
        ],
    )
    def test_telnet_options_are_skipped(self, telnet):
        data = telnet + b"get a\r\n" + telnet + multibulk(b"PING")
        assert [request for _, request, _ in parse(data)[0]] == [[b"get", b"a"], [b"PING"]]
        assert parse(data, cuts=range(len(data))) == parse(data)


class TestErrors:
    @pytest.mark.parametrize(
        "count",
        [
            b"",
            b"x",
            b"+1",
            b"01",
            b"-0",
            b" 1",
            b"1 ",
            b"1_0",
            b"\xff",
            b"65537",
            b"1" * 19,
            b"9" * 22,
            b"1\n",
        ],
    )
    def test_multibulk_length(self, count):
        assert (
            error_of(b"*" + count + b"\r\n$4\r\nPING\r\n") == "ERR Protocol error: invalid multibulk length"
        )

    @pytest.mark.parametrize(
        "length", [b"", b"x", b"+1", b"01", b"-0", b"-1", b" 1", b"1_0", b"67108865", b"9" * 22]
    )
    def test_bulk_length(self, length):
        assert error_of(b"*1\r\n$" + length + b"\r\nPING\r\n") == "ERR Protocol error: invalid bulk length"

    @pytest.mark.parametrize(
        "data",
        [b"*1\r\n$2\r\nPING\r\n", b"*1\r\n$4\r\nPINGxy", b"*1\r\n$4\r\nPING\n\n", b"*1\r\n$0\r\nPING\r\n"],
    )
    def test_the_line_end_after_a_bulk(self, data):
        assert error_of(data) == "ERR Protocol error: invalid bulk length"

    @pytest.mark.parametrize(
        ("byte", "shown"), [(b"P", "P"), (b":", ":"), (b"\xfe", "\\xfe"), (b"\r", "\\x0d")]
    )
    def test_a_bulk_starts_with_a_dollar(self, byte, shown):
        assert error_of(b"*1\r\n" + byte) == f"ERR Protocol error: expected '$', got '{shown}'"

    @pytest.mark.parametrize("header", [b"*", b"*1\r\n$"])
    def test_a_header_without_an_end(self, header):
        digits = b"1" * (HEADER_BYTES_MAX - 2)
        assert error_of(header + digits) is None
        assert "length" in str(error_of(header + digits + b"1"))

    @pytest.mark.parametrize("head", [b"POST / HTTP/1.1", b"PUT / HTTP/1.1\r\nHost: kraft", b"host: a"])
    def test_a_browser_runs_no_command_from_its_body(self, head):
        requests, error = parse(head + b"\r\n\r\nset a 1\r\n")
        assert error == "ERR Protocol error: this port does not speak HTTP"
        assert all(arguments[0] == b"PUT" for _, arguments, _ in requests)

    def test_words_of_http_are_values_elsewhere(self):
        requests, error = parse(b"set post host:\r\n" + multibulk(b"POST", b"a"))
        assert ([arguments for _, arguments, _ in requests], error) == (
            [[b"set", b"post", b"host:"], [b"POST", b"a"]],
            None,
        )

    def test_unbalanced_quotes(self):
        assert error_of(b"get 'a\r\n") == "ERR Protocol error: unbalanced quotes in request"

    def test_tls(self):
        """From its first byte on, and only where a request begins."""
        for hello in (b"\x16", b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03"):
            assert error_of(hello) == "ERR Protocol error: this port does not speak TLS (client.tls is off)"
            assert error_of(multibulk(b"PING") + hello) == error_of(hello)
        assert error_of(multibulk(b"SET", b"a", b"\x16\x03\x01") + b"get \x16\x03\r\n") is None

    def test_a_telnet_subnegotiation_without_an_end(self):
        assert error_of(b"\xff\xfa" + b"x" * (TELNET_BYTES_MAX - 3)) is None
        assert (
            error_of(b"\xff\xfa" + b"x" * (TELNET_BYTES_MAX - 2))
            == "ERR Protocol error: too big inline request"
        )

    def test_good_requests_come_first_and_nothing_after(self):
        parser = Parser(ParserLimits())
        assert parser.feed(multibulk(b"PING") * 2 + b"*x\r\n" + multibulk(b"PING")) == [[b"PING"]] * 2
        assert parser.error == "ERR Protocol error: invalid multibulk length"
        assert parser.feed(multibulk(b"PING")) == []
        assert parser.buffered == 0


class TestLimits:
    def test_a_line(self):
        longest = b"echo " + b"a" * (ParserLimits().inline_bytes - 5)
        assert len(parse(longest + b"\n")[0]) == 1
        for data in (longest + b"a", longest + b"a\n", longest + b"\r\n", longest[:-1] + b"\r\r\n"):
            assert parse(data) == ([], "ERR Protocol error: too big inline request")
        assert parse(longest, cuts=range(0, len(longest), 7)) == ([], None)

    def test_arguments(self):
        limits = ParserLimits(arguments=3)
        assert len(parse(multibulk(b"a", b"b", b"c"), limits)[0]) == 1
        assert (
            error_of(multibulk(b"a", b"b", b"c", b"d"), limits)
            == "ERR Protocol error: invalid multibulk length"
        )

    def test_the_hard_maximum_of_a_value_is_refused_at_its_header(self):
        assert (
            error_of(b"*3\r\n$3\r\nSET\r\n$1\r\na\r\n$61\r\n", SMALL)
            == "ERR Protocol error: invalid bulk length"
        )
        assert error_of(b"*3\r\n$3\r\nSET\r\n$1\r\na\r\n$60\r\n", SMALL) is None

    def test_the_hard_maximum_of_a_request_is_refused_at_its_header(self):
        data = multibulk(b"x" * 60, b"y" * 60)[2:] + b"$1"
        assert error_of(b"*3" + data + b"0\r\n", SMALL) is None
        assert error_of(b"*3" + data + b"1\r\n", SMALL) == "ERR Protocol error: too big request"

    def test_an_oversized_value_is_delivered_without_its_bytes(self):
        parser = Parser(SMALL)
        parser.feed(b"*4\r\n$3\r\nSET\r\n$1\r\na\r\n$41\r\n" + b"x" * 41)
        assert parser.buffered < 4 + 3 * ARGUMENT_OVERHEAD_BYTES + 1
        (request,) = parser.feed(b"\r\n$1\r\ny\r\n")
        assert isinstance(request, OversizedRequest)
        assert (request, request.lengths) == ([b"SET", b"a", b"", b""], [3, 1, 41, 1])
        assert parser.feed(multibulk(b"PING")) == [[b"PING"]]

    def test_an_oversized_request(self):
        (described_request,) = parse(multibulk(*[b"x" * 40] * 3), SMALL)[0]
        assert described_request == ("OversizedRequest", [b"x" * 40, b"x" * 40, b""], [40, 40, 40])
        assert parse(multibulk(b"x" * 40, b"x" * 40), SMALL)[0][0][0] == "list"


class TestMemory:
    def test_nothing_is_kept_for_announced_sizes(self):
        parser = Parser(ParserLimits(arguments=1 << 20))
        parser.feed(b"*1048576\r\n$1000000\r\n")
        assert parser.buffered == ARGUMENT_OVERHEAD_BYTES

    def test_buffered_counts_what_is_held(self):
        parser = Parser(ParserLimits())
        assert parser.buffered == 0
        parser.feed(b"*3\r\n$3\r\nSET\r\n$1000\r\n" + b"x" * 600)
        assert parser.buffered == 603 + 2 * ARGUMENT_OVERHEAD_BYTES
        parser.feed(b"x" * 400 + b"\r\n$1\r\n1\r\n")
        assert parser.buffered == 0
        parser.feed(b"get a")
        assert parser.buffered == 5

    def test_a_large_value_in_small_pieces(self):
        value = bytes(range(256)) * 4000
        data = multibulk(b"SET", b"a", value)
        assert parse(data, cuts=range(0, len(data), 100)) == ([("list", [b"SET", b"a", value], None)], None)


pieces = st.sampled_from(
    [
        multibulk(b"PING"),
        multibulk(b"SET", b"a", b"1"),
        multibulk(b"SET", b"a", b"x\r\ny\r\n"),
        multibulk(b"SET", b"a", b"x" * 41),
        multibulk(b"", b"\r\n", b"*1\r\n"),
        multibulk(*[b"z" * 28] * 3),
        b"get 'a b'\r\n",
        b"kvstore-set k it's\n",
        b"x" * 45,
        b"\xff\xfd\x01",
        b"\xff\xfa1",
        b"\xff\xf0",
        b"*0\r\n",
        b"*3\r\n",
        b"*9\r\n",
        b"$1\r\n",
        b"$0\r\n",
        b"$50\r\n",
        b"$61\r\n",
        b"\r\n",
        b"\r",
        b"\n",
        b"*",
        b"$",
        b"1",
        b"'",
    ]
)
streams = st.lists(pieces | st.binary(max_size=3), max_size=12).map(b"".join)


@settings(deadline=None, max_examples=300)
@given(streams, st.lists(st.integers(0, 400), max_size=8), st.sampled_from([SMALL, ParserLimits()]))
def test_any_bytes_cut_anywhere_give_the_same(data, cuts, limits):
    """Both paths, whole and in pieces: the bytes alone decide."""
    whole = parse(data, limits)
    assert parse(data, limits, fast=False) == whole
    assert parse(data, limits, cuts=[min(cut, len(data)) for cut in cuts]) == whole
    assert parse(data, limits, cuts=range(len(data))) == whole


requests = st.lists(
    st.lists(st.binary(max_size=30) | st.just(b"\r\n$1\r\n"), min_size=1, max_size=5), max_size=10
)


@settings(deadline=None)
@given(requests, st.lists(st.integers(0, 500), max_size=5))
def test_valid_streams_read_as_by_hiredis(expected, cuts):
    data = b"".join([multibulk(*arguments) for arguments in expected])
    reader = hiredis.Reader()
    reader.feed(data)
    assert [reader.gets() for _ in expected] == expected
    read, error = parse(data, cuts=[min(cut, len(data)) for cut in cuts])
    assert ([request for _, request, _ in read], error) == (expected, None)
