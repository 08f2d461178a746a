"""DUMP and RESTORE: a value in the form in which redis-server 7.0 gives and takes it.

It is an object of an RDB file (https://rdb.fnordig.de/file_format.html): the byte 0 for a string, the string,
the version of RDB in two bytes, and a CRC-64 of all that in eight, both little endian. A string that is a
short integer is one. Redis also compresses strings (LZF); kraft reads that, and does not write it.

A string is unpacked in one go. So what holds up the event loop has a bound: the number of its parts, and its
length.
"""

import struct

from anycrc import Model

from kraft.host.requests.round import View
from kraft.int64 import INT64_MAX, parse_int64
from kraft.kv import commands as kv
from kraft.kv.commands import Condition, Expiry
from kraft.resp.values import Error, Reply, Request
from kraft.server.commands.arguments import integer
from kraft.server.errors import SYNTAX, Rejected, over_limit

RDB_VERSION = 10  # of Redis 7.0
RDB_VERSION_MAX = 12  # of Redis 8: the form of a string is the same
FOOTER_BYTES = 10

_STRING = 0  # the type of an object
_INTEGERS = ((0xC0, "<b"), (0xC1, "<h"), (0xC2, "<i"))
_COMPRESSED = 0xC3
_INTEGER_DIGITS = 11  # a longer string is no integer of 32 bits
UNPACKED_BYTES_MAX = 8 << 20  # what limits.value_bytes may be at most
PARTS_MAX = 1 << 16  # of a compressed string: 20 to 30 ms, in which nobody else is served
_WRONG = "ERR DUMP payload version or checksum are wrong"
_BAD = "ERR Bad data format"
_PARTS = (
    f"ERR the compressed value has more than {PARTS_MAX} parts; dump it without compression"
    " (CONFIG SET rdbcompression no), or SET it"
)
crc64 = Model("CRC64-REDIS").calc


class UnpackedDump(kv.Set, frozen=True, gc=False):
    """SET of a value that came compressed: `plain` says whether it is too long. Never logged itself."""

    def plain(self, value_bytes: int) -> kv.Set:
        """The command as it is logged. Raises Rejected for a value of more than `value_bytes`."""
        if len(self.value) > value_bytes:
            raise Rejected(over_limit("value", value_bytes))
        return kv.Set(self.key, self.value, self.condition, self.expiry, self.expiry_ms)


def dump(view: View, request: Request) -> Reply:
    """DUMP key."""
    value = view.keyspace.get(request[1])
    return None if value is None else payload_of(value)


def payload_of(value: bytes, version: int = RDB_VERSION) -> bytes:
    """What DUMP gives for a value. Inverse of `value_of`."""
    return checksummed(bytes([_STRING]) + string_of(value), version)


def checksummed(body: bytes, version: int) -> bytes:
    """What is in an RDB file, with the version of RDB and the checksum."""
    body += struct.pack("<H", version)
    return body + struct.pack("<Q", crc64(body))


def restore(request: Request) -> kv.Command:
    """RESTORE key ttl serialized-value [REPLACE] [ABSTTL] [IDLETIME seconds] [FREQ frequency]."""
    replace = absolute = False
    additional: bytes | None = None
    words = iter(request[4:])
    for given in words:
        word = given.upper()
        if word == b"REPLACE":
            replace = True
        elif word == b"ABSTTL":
            absolute = True
        elif word in (b"IDLETIME", b"FREQ") and additional in (None, word):
            _check_additional(word, next(words, None))
            additional = word
        else:
            raise Rejected(SYNTAX)
    ttl_ms = integer(request[2])
    if ttl_ms < 0:
        raise Rejected("ERR Invalid TTL value, must be >= 0")
    expiry = (Expiry.ABSOLUTE if absolute else Expiry.RELATIVE) if ttl_ms else Expiry.NONE
    condition = Condition.ALWAYS if replace else Condition.IF_MISSING
    value = value_of(request[3])
    kind = kv.Set if len(value) <= len(request[3]) else UnpackedDump
    return kind(request[1], value, int(condition), int(expiry), ttl_ms)


def restored(reply: kv.Reply) -> Reply:
    """The shape of RESTORE."""
    return Error("BUSYKEY Target key name already exists.") if reply is None else "OK"


def _check_additional(word: bytes, text: bytes | None) -> None:
    """IDLETIME and FREQ have no effect, because keys are never evicted; they must be numbers."""
    if text is None:
        raise Rejected(SYNTAX)
    number, most = integer(text), 255 if word == b"FREQ" else INT64_MAX
    if not 0 <= number <= most:
        bounds = ">= 0 and <= 255" if word == b"FREQ" else ">= 0"
        raise Rejected(f"ERR Invalid {word.decode()} value, must be {bounds}")


def checked_body(payload: bytes) -> bytes:
    """Inverse of `checksummed`. Raises Rejected."""
    body, footer = payload[:-FOOTER_BYTES], payload[-FOOTER_BYTES:]
    if len(footer) < FOOTER_BYTES:
        raise Rejected(_WRONG)
    version, checksum = struct.unpack("<HQ", footer)
    if version > RDB_VERSION_MAX or crc64(payload[:-8]) != checksum:
        raise Rejected(_WRONG)
    return body


def value_of(payload: bytes) -> bytes:
    """The string in what DUMP gave. Raises Rejected."""
    body = checked_body(payload)
    try:
        if body[0] != _STRING:
            raise Rejected("ERR Bad data format: the payload holds no string, and kraft keeps strings alone")
        value, end = read_string(body, 1)
    except (IndexError, struct.error):
        raise Rejected(_BAD) from None
    if end != len(body):
        raise Rejected(_BAD)
    return value


def string_of(value: bytes) -> bytes:
    """A string in an RDB file."""
    if len(value) <= _INTEGER_DIGITS:
        number = parse_int64(value)
        for mark, form in _INTEGERS:
            limit = 1 << (8 * struct.calcsize(form) - 1)
            if number is not None and -limit <= number < limit:
                return bytes([mark]) + struct.pack(form, number)
    length = len(value)
    if length < 1 << 6:
        return bytes([length]) + value
    if length < 1 << 14:
        return struct.pack(">H", 0x4000 | length) + value
    return b"\x80" + struct.pack(">I", length) + value


def read_string(data: bytes, place: int) -> tuple[bytes, int]:
    """The string at a place, and where it ends."""
    first = data[place]
    for mark, form in _INTEGERS:
        if first == mark:
            (number,) = struct.unpack_from(form, data, place + 1)
            return b"%d" % number, place + 1 + struct.calcsize(form)
    if first == _COMPRESSED:
        compressed, place = _read_length(data, place + 1)
        length, place = _read_length(data, place)
        return _decompressed(data[place : place + compressed], length), place + compressed
    length, place = _read_length(data, place)
    if place + length > len(data):
        raise Rejected(_BAD)
    return data[place : place + length], place + length


def _read_length(data: bytes, place: int) -> tuple[int, int]:
    """The length at a place, and where it ends."""
    first = data[place]
    if first < 0x40:
        return first, place + 1
    if first < 0x80:
        return (first & 0x3F) << 8 | data[place + 1], place + 2
    form = {0x80: ">I", 0x81: ">Q"}.get(first)
    if form is None:
        raise Rejected(_BAD)
    (length,) = struct.unpack_from(form, data, place + 1)
    return length, place + 1 + struct.calcsize(form)


def _decompressed(data: bytes, length: int) -> bytes:
    """What LZF has made `data` of: runs of literal bytes, and references to what came before."""
    if length > UNPACKED_BYTES_MAX:
        raise Rejected(over_limit("value", UNPACKED_BYTES_MAX) if length <= kv.VALUE_BYTES_MAX else _BAD)
    out = bytearray()
    place, end = 0, len(data)
    for _ in range(PARTS_MAX):
        if place >= end or len(out) >= length:
            break
        control = data[place]
        place += 1
        if control < 32:
            out += data[place : place + control + 1]
            place += control + 1
            continue
        count = control >> 5
        if count == 7:
            count += data[place]
            place += 1
        count += 2
        distance = ((control & 31) << 8 | data[place]) + 1
        place += 1
        start = len(out) - distance
        if start < 0:
            raise Rejected(_BAD)
        found = out[start : start + count]
        out += found if count <= distance else (found * (count // distance + 1))[:count]
    if place < end and len(out) < length:
        raise Rejected(_PARTS)
    if len(out) != length or place != end:
        raise Rejected(_BAD)
    return bytes(out)
