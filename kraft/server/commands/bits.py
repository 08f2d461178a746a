"""The commands on the bits of strings: SETBIT GETBIT BITCOUNT BITPOS BITOP BITFIELD BITFIELD_RO.

A read looks for the key before it looks at the rest of its arguments, as Redis 7.0 does.
"""

from kraft.host.requests.round import View
from kraft.int64 import parse_int64
from kraft.kv import commands as kv
from kraft.kv.bits import bit_at, bits_between, field_of
from kraft.kv.commands import BitOperator, FieldAction, FieldOperation, Overflow
from kraft.resp.values import Reply, Request
from kraft.server.commands.arguments import integer
from kraft.server.errors import SYNTAX, Rejected

OFFSET_MAX = (1 << 32) - 1  # of Redis, whose strings have at most 512 MiB; limits.value_bytes comes first
_OFFSET = "ERR bit offset is not an integer or out of range"
_TYPE = "ERR Invalid bitfield type. Use something like i16 u8. Note that u64 is not supported but i64 is."
_OPERATORS = {operator.name.encode(): operator for operator in BitOperator}
_ACTIONS = {
    b"GET": (FieldAction.GET, 3),
    b"SET": (FieldAction.SET, 4),
    b"INCRBY": (FieldAction.INCREMENT, 4),
}  # and the number of words
_OVERFLOWS = {b"WRAP": Overflow.WRAP, b"SAT": Overflow.SATURATE, b"FAIL": Overflow.FAIL}


def setbit(request: Request) -> kv.Command:
    """SETBIT key offset bit."""
    offset = _offset(request[2])
    if request[3] not in (b"0", b"1"):
        raise Rejected("ERR bit is not an integer or out of range")
    return kv.SetBit(request[1], offset, int(request[3]))


def bitop(request: Request) -> kv.Command:
    """BITOP AND | OR | XOR | NOT destination source [source ...]."""
    operator = _OPERATORS.get(request[1].upper())
    if operator is None:
        raise Rejected(SYNTAX)
    if operator == BitOperator.NOT and len(request) != 4:
        raise Rejected("ERR BITOP NOT must be called with a single source key.")
    return kv.BitOperation(int(operator), request[2], tuple(request[3:]))


def bitfield(request: Request) -> kv.Command:
    """BITFIELD key [GET type offset | [OVERFLOW WRAP | SAT | FAIL] <SET | INCRBY> type offset number ...]."""
    return kv.BitField(request[1], tuple(_operations(request)))


def bitfield_ro(view: View, request: Request) -> Reply:
    """BITFIELD_RO key [GET type offset ...]."""
    operations = _operations(request)
    if any(operation.action != FieldAction.GET for operation in operations):
        raise Rejected("ERR BITFIELD_RO only supports the GET subcommand")
    value = view.keyspace.get(request[1]) or b""
    return [field_of(value, operation) for operation in operations]


def getbit(view: View, request: Request) -> Reply:
    """GETBIT key offset."""
    offset = _offset(request[2])
    return bit_at(view.keyspace.get(request[1]) or b"", offset)


def bitcount(view: View, request: Request) -> Reply:
    """BITCOUNT key [start end [BYTE | BIT]]: the number of bits that are set."""
    value = view.keyspace.get(request[1])
    if value is None:
        return 0
    if len(request) == 2:
        return int.from_bytes(value, "big").bit_count()
    if len(request) not in (4, 5):
        raise Rejected(SYNTAX)
    start, end = integer(request[2]), integer(request[3])
    if start < 0 and end < 0 and start > end:
        return 0
    unit = _unit(request[4:])
    first, last = _bounds(len(value), start, end, unit)
    return bits_between(value, first, last).bit_count() if first <= last else 0


def bitpos(view: View, request: Request) -> Reply:
    """BITPOS key bit [start [end [BYTE | BIT]]]: the position of the first bit with that value, or -1.

    Without an end, the value is followed by bits that are 0.
    """
    wanted = integer(request[2])
    if wanted not in (0, 1):
        raise Rejected("ERR The bit argument must be 1 or 0.")
    value = view.keyspace.get(request[1])
    if value is None:
        return -1 if wanted else 0
    if len(request) > 6:
        raise Rejected(SYNTAX)
    start = integer(request[3]) if len(request) > 3 else 0
    unit = _unit(request[5:])
    end = integer(request[4]) if len(request) > 4 else -1
    first, last = _bounds(len(value), start, end, unit)
    if first > last:
        return -1
    number = bits_between(value, first, last)
    if not wanted:
        number ^= (1 << (last - first + 1)) - 1
    if number:
        return last + 1 - number.bit_length()
    return -1 if wanted or len(request) > 4 else last + 1


def _bounds(length: int, start: int, end: int, unit: int) -> tuple[int, int]:
    """The first and the last bit of a range, whose ends count `unit` bits, from the end if negative."""
    total = length * 8 // unit
    start = max(0, start + total if start < 0 else start)
    end = min(total - 1, max(0, end + total if end < 0 else end))
    return start * unit, (end + 1) * unit - 1


def _unit(words: Request) -> int:
    """The bits in one unit of a range: BYTE, which is the default, or BIT."""
    word = words[0].upper() if words else b"BYTE"
    if word not in (b"BYTE", b"BIT"):
        raise Rejected(SYNTAX)
    return 8 if word == b"BYTE" else 1


def _offset(text: bytes, width: int = 0) -> int:
    """The offset of a bit; `#3` counts fields of `width` bits."""
    counted = width > 0 and text[:1] == b"#"
    offset = parse_int64(text[1:] if counted else text)
    if offset is None:
        raise Rejected(_OFFSET)
    offset *= width if counted else 1
    if not 0 <= offset <= OFFSET_MAX:
        raise Rejected(_OFFSET)
    return offset


def _operations(request: Request) -> list[FieldOperation]:
    operations = []
    overflow = Overflow.WRAP
    place = 2
    while place < len(request):
        word, left = request[place].upper(), len(request) - place
        if word == b"OVERFLOW" and left > 1:
            if request[place + 1].upper() not in _OVERFLOWS:
                raise Rejected("ERR Invalid OVERFLOW type specified")
            overflow = _OVERFLOWS[request[place + 1].upper()]
            place += 2
            continue
        action, count = _ACTIONS.get(word, (FieldAction.GET, left + 1))
        if left < count:
            raise Rejected(SYNTAX)
        operations.append(_operation(action, request[place + 1 : place + count], overflow))
        place += count
    return operations


def _operation(action: FieldAction, words: Request, overflow: Overflow) -> FieldOperation:
    signed = words[0][:1] == b"i"
    width = parse_int64(words[0][1:]) if words[0][:1] in (b"i", b"u") else None
    if width is None or not 1 <= width <= 63 + signed:
        raise Rejected(_TYPE)
    offset = _offset(words[1], width)
    amount = integer(words[2]) if action != FieldAction.GET else 0
    return FieldOperation(int(action), signed, width, offset, amount, int(overflow))
