"""What a key holds, the memory that it takes, and the checksum of its row."""

from zlib import adler32

import msgspec

from kraft.kv.values import Value

# Memory of one key in addition to its bytes and its value's, CPython 3.11 on 64 bit: dictionary slot 45 bytes
# (24 for the entry and 4 for the index at a fill of 1/3 to 2/3), two bytes objects of 33 rounded up to 16
# (41 each on average), the record 48, its revision 32.
RECORD_OVERHEAD_BYTES = 207
# An expiry: the integer 32, and its place in the index of due times 40 to 85. That index once took twice as
# much; the number stays, because all members of a cluster must count alike, whatever their versions.
EXPIRY_OVERHEAD_BYTES = 192
# A change that no checkpoint has taken yet: a slot of its dictionary, which holds as many bytes as one of
# the records, and up to half as much again while that grows.
CHANGE_BYTES = 72
ADLER_BASE = 65521  # the largest prime below 2^16, as in RFC 1950


class Record(msgspec.Struct, frozen=True, gc=False):
    """What a key holds. `revision` is that of its last change; `expires` is in Unix ms, 0 for never.

    `key` is the very object that the keyspace holds it by, so that a change does not keep a second copy.
    """

    key: bytes
    value: Value
    revision: int
    expires: int = 0


def record_bytes(record: Record) -> int:
    """The memory of one key, approximately."""
    expiry = EXPIRY_OVERHEAD_BYTES if record.expires else 0
    return RECORD_OVERHEAD_BYTES + len(record.key) + len(record.value) + expiry


def row_sum(key: bytes, value: bytes, revision: int, expires: int) -> int:
    """A 32-bit checksum of one row: cheap enough for every row at startup; changes if any bit changes.

    Adler-32 of key and value, started from the two numbers modulo its prime. No power of two, nor three times
    one, is a multiple of that prime, so a flipped bit of either number changes the checksum as well.
    """
    return adler32(value, adler32(key, (revision + 3 * expires) % ADLER_BASE))
