"""DUMP and RESTORE: the format of Redis, and what is refused."""

import struct
from contextlib import suppress

import pytest
from hypothesis import given
from hypothesis import strategies as st

from kraft.config.values import LimitsConfig
from kraft.host.requests.round import View
from kraft.kv import commands as kv
from kraft.kv.keyspace import Keyspace
from kraft.server.commands.dump import PARTS_MAX, crc64, dump, value_of
from kraft.server.errors import Rejected
from tests.server.fakes import Port, encode


def sealed(body, version=10):
    data = body + struct.pack("<H", version)
    return data + struct.pack("<Q", crc64(data))


def dumped(value):
    keyspace = Keyspace()
    keyspace.put(b"k", value, 1)
    return dump(View(keyspace, 0), [b"DUMP", b"k"])


def test_the_checksum_is_that_of_redis():
    assert crc64(b"123456789") == 0xE9C6D914C4B8D9CA


@pytest.mark.parametrize(
    ("value", "body"),
    [
        (b"", b"\x00\x00"),
        (b"7", b"\x00\xc0\x07"),
        (b"-128", b"\x00\xc0\x80"),
        (b"128", b"\x00\xc1\x80\x00"),
        (b"32768", b"\x00\xc2\x00\x80\x00\x00"),
        (b"2147483648", b"\x00\x0a2147483648"),
        (b"007", b"\x00\x03007"),
        (b"x" * 64, b"\x00\x40\x40" + b"x" * 64),
        (b"x" * 16384, b"\x00\x80\x00\x00\x40\x00" + b"x" * 16384),
    ],
)
def test_each_form_of_a_string(value, body):
    assert dumped(value) == sealed(body)
    assert value_of(dumped(value)) == value


@given(st.one_of(st.binary(max_size=100), st.integers(-(2**40), 2**40).map(lambda n: b"%d" % n)))
def test_what_is_dumped_is_restored(value):
    assert value_of(dumped(value)) == value


@pytest.mark.parametrize("version", [9, 11, 12])
def test_other_versions_have_the_same_strings(version):
    assert value_of(sealed(b"\x00\x01x", version)) == b"x"


@pytest.mark.parametrize(
    ("packed", "value"),
    [
        (b"\x02abc", b"abc"),
        (b"\x00a\xe0\x04\x00", b"a" * 14),  # a reference that overlaps what it makes
        (b"\x03abcd\x40\x03", b"abcdabcd"),
        (b"\x02abc\xe0\x01\x02", b"abcabcabcabca"),  # three times the distance, and more
        (b"\x02abc\x80\x02", b"abcabcabc"),
    ],
)
def test_compressed_strings(packed, value):
    assert value_of(compressed(packed, len(value))) == value


def compressed(packed, length):
    return sealed(b"\x00\xc3" + struct.pack(">BIBI", 0x80, len(packed), 0x80, length) + packed)


def restore(client, payload):
    return client.run("RESTORE", "k", "0", payload, "REPLACE")


def test_a_value_that_is_too_long_when_it_is_unpacked_is_refused():
    """However it comes: the payload is short enough."""
    port = Port(limits=LimitsConfig(value_bytes=10_000))
    client = port.connect()
    payload = compressed(b"\x00a" + b"\xe0\xff\x00" * 50, 1 + 50 * 264)
    refused = b"-ERR value exceeds limit of 10000 bytes\r\n"
    assert restore(client, payload) == refused
    assert client.run("KRAFT", "ONCE", "t", "RESTORE", "k", "0", payload) == refused
    script = "return redis.call('RESTORE', 'k', '0', ARGV[1])"
    assert client.run("EVAL", script, "0", payload).startswith(refused[:-2])
    assert client.ask(encode("MULTI") + encode("RESTORE", "k", "0", payload)) == b"+OK\r\n" + refused
    assert client.run("EXEC").startswith(b"-EXECABORT")
    assert client.run("EXISTS", "k") == b":0\r\n"
    assert restore(client, compressed(b"\x00a" + b"\xe0\xff\x00" * 20, 1 + 20 * 264)) == b"+OK\r\n"
    assert client.run("STRLEN", "k") == b":5281\r\n"
    assert type(port.host.writes[-1][1][0]) is kv.Set


@pytest.mark.parametrize(
    ("packed", "length", "words"),
    [
        (b"\x00a" * (PARTS_MAX + 1), PARTS_MAX + 1, "parts; dump it without compression"),
        (b"\x00a" + b"\xe0\xff\x00" * 40_000, 1 + 264 * 40_000, "exceeds limit of 8388608 bytes"),
    ],
)
def test_what_would_hold_up_the_node_is_refused(packed, length, words):
    with pytest.raises(Rejected, match=words):
        value_of(compressed(packed, length))
    assert value_of(compressed(b"\x00a" * PARTS_MAX, PARTS_MAX)) == b"a" * PARTS_MAX


@pytest.mark.parametrize(
    "payload",
    [
        b"",
        b"short",
        sealed(b"\x00\x01x")[:-1] + b"\x01",
        sealed(b"\x00\x01x", 13),
        sealed(b"\x01\x01x"),
        sealed(b""),
        sealed(b"\x00"),
        sealed(b"\x00\x05x"),
        sealed(b"\x00\x01xy"),
        sealed(b"\x00\xc1\x00"),
        sealed(b"\x00\x82"),
        sealed(b"\x00\xc3\x02\x05\x40\x09"),
        sealed(b"\x00\xc3\x02\x05\x00a"),
        sealed(b"\x00\xc3\x02\x81\xff\xff\xff\xff\xff\xff\xff\xff\x00a"),
        sealed(b"\x00\x81\xff\xff\xff\xff\xff\xff\xff\xff"),
    ],
)
def test_a_wrong_payload_is_refused(payload):
    with pytest.raises(Rejected, match=r"ERR (DUMP payload version or checksum are wrong|Bad data format)"):
        value_of(payload)


@given(st.binary(max_size=40))
def test_whatever_comes_is_a_value_or_refused(body):
    with suppress(Rejected):
        assert isinstance(value_of(sealed(b"\x00" + body)), bytes)
