"""DUMP and RESTORE: the format of Redis, and what is refused."""

import struct
from contextlib import suppress

import pytest
from hypothesis import given
from hypothesis import strategies as st

from kraft.host.requests.round import View
from kraft.kv.keyspace import Keyspace
from kraft.server.commands.dump import crc64, dump, value_of
from kraft.server.errors import Rejected


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
    ],
)
def test_compressed_strings(packed, value):
    body = b"\x00\xc3" + bytes([len(packed), len(value)]) + packed
    assert value_of(sealed(body)) == value


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
