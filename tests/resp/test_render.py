"""Replies as bytes, in both protocols and for people."""

import hiredis
import pytest
from hypothesis import given
from hypothesis import strategies as st

from kraft.resp.render import render, render_many, render_plain
from kraft.resp.values import Error, Push, Verbatim


@pytest.mark.parametrize(
    ("reply", "resp2", "resp3"),
    [
        ("OK", b"+OK\r\n", b"+OK\r\n"),
        ("PONG", b"+PONG\r\n", b"+PONG\r\n"),
        (b"", b"$0\r\n\r\n", b"$0\r\n\r\n"),
        (b"a\r\n\x00\xff", b"$5\r\na\r\n\x00\xff\r\n", b"$5\r\na\r\n\x00\xff\r\n"),
        (0, b":0\r\n", b":0\r\n"),
        (-(2**63), b":-9223372036854775808\r\n", b":-9223372036854775808\r\n"),
        (None, b"$-1\r\n", b"_\r\n"),
        (True, b":1\r\n", b"#t\r\n"),
        (False, b":0\r\n", b"#f\r\n"),
        (1.5, b"$3\r\n1.5\r\n", b",1.5\r\n"),
        (2.0, b"$1\r\n2\r\n", b",2\r\n"),
        (float("-inf"), b"$4\r\n-inf\r\n", b",-inf\r\n"),
        ([], b"*0\r\n", b"*0\r\n"),
        (
            [b"a", None, [1, "OK"]],
            b"*3\r\n$1\r\na\r\n$-1\r\n*2\r\n:1\r\n+OK\r\n",
            b"*3\r\n$1\r\na\r\n_\r\n*2\r\n:1\r\n+OK\r\n",
        ),
        (
            {b"a": 1, "b": [None]},
            b"*4\r\n$1\r\na\r\n:1\r\n+b\r\n*1\r\n$-1\r\n",
            b"%2\r\n$1\r\na\r\n:1\r\n+b\r\n*1\r\n_\r\n",
        ),
        (Error("ERR no"), b"-ERR no\r\n", b"-ERR no\r\n"),
        (Error("ERR a\r\n+OK\nb"), b"-ERR a  +OK b\r\n", b"-ERR a  +OK b\r\n"),
        ("a\r\nb", b"+a  b\r\n", b"+a  b\r\n"),
        (Error("ERR '\udcff'"), b"-ERR '\xff'\r\n", b"-ERR '\xff'\r\n"),
        (Verbatim("é\n"), b"$3\r\n\xc3\xa9\n\r\n", b"$3\r\n\xc3\xa9\n\r\n"),
        (Push((b"a", "OK", None)), b"*3\r\n$1\r\na\r\n+OK\r\n$-1\r\n", b">3\r\n$1\r\na\r\n+OK\r\n_\r\n"),
    ],
)
def test_render(reply, resp2, resp3):
    assert render(reply, 2) == resp2
    assert render(reply, 3) == resp3
    assert render_many([reply, "OK", reply], 3) == resp3 + b"+OK\r\n" + resp3


@pytest.mark.parametrize(
    ("reply", "text"),
    [
        ("OK", b"OK\n"),
        (b"a b", b"a b\n"),
        (b"", b"\n"),
        (7, b"7\n"),
        (None, b"null\n"),
        (True, b"true\n"),
        (1.5, b"1.5\n"),
        ([b"a", None, [1, 2]], b"a\nnull\n1\n2\n"),
        ([], b"\n"),
        ({"a": 1, b"b": b"c"}, b"a 1\nb c\n"),
        (Error("ERR no\r\n"), b"ERR no  \n"),
        (Verbatim("a\nb"), b"a\nb\n"),
    ],
)
def test_render_plain(reply, text):
    assert render_plain(reply) == text


def test_an_unknown_protocol_or_reply_is_a_fault_of_ours():
    with pytest.raises(KeyError):
        render("OK", 4)
    with pytest.raises(KeyError):
        render(object(), 2)  # type: ignore[arg-type]


scalars = st.none() | st.booleans() | st.integers(-(2**63), 2**63 - 1) | st.binary(max_size=20)
replies = st.recursive(scalars, lambda inner: st.lists(inner, max_size=4), max_leaves=12)


@given(st.lists(replies, max_size=5))
def test_hiredis_reads_back_what_was_said_in_resp3(said):
    reader = hiredis.Reader()
    reader.feed(render_many(said, 3))
    assert [reader.gets() for _ in said] == said
    assert reader.gets() is False
