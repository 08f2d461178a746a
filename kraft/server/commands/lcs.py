"""LCS: the longest common subsequence of two values.

A row of the table of lengths is one integer, whose bit j is 0 where the length grows from column j to the
next (Hyyrö, "Bit-parallel LCS-length computation revisited", 2004). So a row takes a few operations on whole
integers, and the way back through the table needs one bit in each step.
"""

from dataclasses import dataclass

from kraft.host.requests.round import View
from kraft.int64 import parse_int64
from kraft.resp.values import Reply, Request
from kraft.server.errors import NOT_AN_INTEGER, SYNTAX, Rejected

BYTES_MAX = 8192  # of each value
CELLS_MAX = 8 << 20  # of the table: 4 ms

Match = tuple[int, int, int]
"""Where a run of common bytes ends in the first value and in the second one, and its length."""


@dataclass(frozen=True, slots=True)
class LcsOptions:
    """The options of one LCS."""

    length: bool = False
    index: bool = False
    lengths: bool = False
    least: int = 0


def lcs(view: View, request: Request) -> Reply:
    """LCS key1 key2 [LEN] [IDX] [MINMATCHLEN length] [WITHMATCHLEN]."""
    options = _options(request[3:])
    one, other = (view.keyspace.get(key) or b"" for key in request[1:3])
    if max(len(one), len(other)) > BYTES_MAX or len(one) * len(other) > CELLS_MAX:
        raise Rejected(
            f"ERR LCS takes values of up to {BYTES_MAX} bytes whose lengths multiply to {CELLS_MAX} at most:"
            " it would hold up other clients"
        )
    rows = _rows(one, other)
    length = len(other) - rows[-1].bit_count()
    if options.length:
        return length
    matches = _matches(one, other, rows)
    if not options.index:
        return b"".join(one[end + 1 - count : end + 1] for end, _, count in reversed(matches))
    shown: list[Reply] = []
    for end, other_end, count in matches:
        if count >= options.least:
            places: list[Reply] = [[end + 1 - count, end], [other_end + 1 - count, other_end]]
            shown.append([*places, count] if options.lengths else places)
    return {b"matches": shown, b"len": length}


def _options(words: Request) -> LcsOptions:
    length = index = lengths = False
    least = 0
    rest = iter(words)
    for given in rest:
        word = given.upper()
        if word == b"LEN":
            length = True
        elif word == b"IDX":
            index = True
        elif word == b"WITHMATCHLEN":
            lengths = True
        elif word == b"MINMATCHLEN" and (text := next(rest, None)) is not None:
            number = parse_int64(text)
            if number is None:
                raise Rejected(NOT_AN_INTEGER)
            least = number
        else:
            raise Rejected(SYNTAX)
    if length and index:
        raise Rejected("ERR If you want both the length and indexes, please just use IDX.")
    return LcsOptions(length, index, lengths, least)


def _rows(one: bytes, other: bytes) -> list[int]:
    """The rows of the table, one before the first byte of `one` and one after each of its bytes."""
    places: dict[int, bytearray] = {}
    for place, byte in enumerate(other):
        bits = places.get(byte)
        if bits is None:
            bits = places[byte] = bytearray((len(other) + 7) >> 3)
        bits[place >> 3] |= 1 << (place & 7)
    masks = {byte: int.from_bytes(bits, "little") for byte, bits in places.items()}
    full = (1 << len(other)) - 1
    row = full
    rows = [row]
    for byte in one:
        common = row & masks.get(byte, 0)
        row = ((row + common) | (row - common)) & full
        rows.append(row)
    return rows


def _matches(one: bytes, other: bytes, rows: list[int]) -> list[Match]:
    """The runs of common bytes from the last one to the first. Of several solutions, that of Redis."""
    matches: list[Match] = []
    i, j = len(one), len(other)
    end = other_end = count = 0
    while i and j:
        if one[i - 1] == other[j - 1]:
            if not count:
                end, other_end = i - 1, j - 1
            count += 1
            i, j = i - 1, j - 1
            if i and j:
                continue
        elif rows[i] >> (j - 1) & 1:
            j -= 1
        else:  # the length is less one column before, so it is the same one row before
            i -= 1
        if count:
            matches.append((end, other_end, count))
            count = 0
    return matches
