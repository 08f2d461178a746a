"""Frames let messages share one byte stream, so that small messages overtake large ones.

    frame = length u32 | crc32 u32 | channel u8 | flags u8 | message id u32 | piece (length bytes)

All numbers are big-endian; the checksum covers everything after it. A message longer than PIECE_BYTES travels
as several frames with one message id, the last of which carries LAST; frames of other messages may stand
between them. The channel says what a message is for, and which bound holds for it:

    GREETING  handshake values; nothing else is accepted until the link is open
    CONTROL   batches that fit one piece; never cut, so that they can go between pieces of bulk
    BULK      batches of any size, cut into pieces when they are large; pieces of several may alternate
    LINK      the link's own pings and pongs

TCP has only a weak checksum; this one turns a corrupted or misframed stream into a closed link.
"""

import struct
from zlib import crc32

from kraft.peerwire.errors import WireError

GREETING, CONTROL, BULK, LINK = range(4)
LAST = 1  # flag: no further piece of this message follows

PIECE_BYTES = 64 << 10  # a control frame waits for at most one; large beside a header of 14 bytes
CUT_BYTES_MIN = 4 << 10  # of a frame whose parts stay where they were read; joining a smaller one is cheaper
PARTS_MAX = 16  # of one piece in memory: each takes some 200 bytes beside its content
MESSAGE_BYTES_MAX = 160 << 20  # an entry holds at least one request, of the largest size that can be set
CHUNK_BYTES_MAX = 96 << 20  # of a snapshot: the largest that can be configured, and the longest key
PARTIAL_MESSAGES_MAX = 4  # messages received in part: a batch, a chunk, and room for later ideas
PARTIAL_BYTES_MAX = MESSAGE_BYTES_MAX + CHUNK_BYTES_MAX  # of all of them

_HEADER = struct.Struct(">IIBBI")
_CHECKED = struct.Struct(">BBI")  # the part of the header that the checksum covers
_LENGTH_AND_CRC = struct.Struct(">II")
_PROBE = struct.Struct(">BQ")
HEADER_BYTES = _HEADER.size

PING, PONG = 1, 2  # kinds of LINK messages

Part = bytes | memoryview  # of a piece: a part of what was read, in its place


def frame(channel: int, message_id: int, piece: bytes | memoryview, *, last: bool = True) -> bytes:
    """One frame with at most PIECE_BYTES of payload. Message ids count modulo 2**32 in each direction."""
    checked = _CHECKED.pack(channel, LAST if last else 0, message_id)
    return _LENGTH_AND_CRC.pack(len(piece), crc32(piece, crc32(checked))) + checked + piece


def probe(kind: int, token: int) -> bytes:
    """The payload of a LINK message: PING or PONG with a 64-bit token, which the answer repeats."""
    return _PROBE.pack(kind, token)


def parse_probe(payload: bytes) -> tuple[int, int]:
    """(kind, token) of a LINK message. Raises WireError. Bytes appended by a later version are ignored."""
    if len(payload) < _PROBE.size:
        raise WireError("short link message")
    kind, token = _PROBE.unpack_from(payload)
    return kind, token


class _CutFrame:
    """A large frame of which only the beginning has arrived."""

    __slots__ = ("_crc", "_running", "channel", "flags", "message_id", "missing", "parts")

    def __init__(self, header: bytes, beginning: Part) -> None:
        length, self._crc, self.channel, self.flags, self.message_id = _HEADER.unpack(header)
        self._running = crc32(beginning, crc32(header[_LENGTH_AND_CRC.size :]))
        self.missing = length - len(beginning)  # bytes to come
        self.parts: list[Part] = [beginning]

    def add(self, part: Part) -> None:
        """Take the bytes that follow. Raises WireError after the last ones, if any were damaged."""
        self.parts.append(part)
        self._running = crc32(part, self._running)
        self.missing -= len(part)
        if not self.missing and self._running != self._crc:
            raise WireError("checksum mismatch")


class _PartialMessage:
    """A message of which only some pieces have arrived; `size` in bytes."""

    __slots__ = ("parts", "size")

    def __init__(self) -> None:
        self.parts: list[Part] = []
        self.size = 0


class FrameReader:
    """Turns bytes into complete messages, with bounded memory.

    Call `feed` with what was read, then `next_message` until it returns None, or `unread` is 0. Before `open`
    it accepts only GREETING messages of one frame. After a WireError it must not be used again.

    A large message is copied once: its parts stay where they were read until the last one has arrived.

    `unread`: bytes that are not looked at yet. `partial_bytes`: of messages of which only some pieces have
    arrived.
    """

    def __init__(
        self,
        message_bytes: int = MESSAGE_BYTES_MAX,
        partial_messages: int = PARTIAL_MESSAGES_MAX,
        partial_bytes: int = PARTIAL_BYTES_MAX,
    ) -> None:
        self._message_bytes = message_bytes
        self._all_bytes = partial_bytes
        self._partial_messages = partial_messages
        self._open = False
        self._data = b""  # never more than one small frame beyond what was just read
        self.unread = 0  # at the end of `_data`
        self._cut: _CutFrame | None = None  # its beginning came before `_data`
        self._partial: dict[int, _PartialMessage] = {}
        self.partial_bytes = 0

    @property
    def buffered_bytes(self) -> int:
        """Bytes held of messages that are not complete yet."""
        return self.unread + self.partial_bytes + (sum(map(len, self._cut.parts)) if self._cut else 0)

    def open(self) -> None:
        """The handshake is over: accept every channel but GREETING from here on."""
        self._open = True

    def feed(self, data: bytes) -> None:
        """Take bytes read from the stream, in pieces of any size."""
        if self._cut is not None and not self.unread and len(data) < self._cut.missing:
            self._cut.add(data)
            return
        self._data = self._data[-self.unread :] + data if self.unread else data
        self.unread = len(self._data)

    def next_message(self) -> tuple[int, bytes] | None:
        """The next complete message as (channel, payload), None until more is fed. Raises WireError."""
        data = self._data
        if self._cut is not None:
            message = self._cut_completed(self._cut)
            if message is not None:
                return message
        while self.unread >= HEADER_BYTES:
            start = len(data) - self.unread
            length, crc, channel, flags, message_id = _HEADER.unpack_from(data, start)
            if length > PIECE_BYTES:
                raise WireError(f"frame of {length} bytes, at most {PIECE_BYTES} are allowed")
            begin = start + HEADER_BYTES
            end = begin + length
            if end > len(data):
                if length >= CUT_BYTES_MIN:
                    self._check_channel(channel, flags)
                    self._cut = _CutFrame(data[start:begin], _part(data, begin, len(data)))
                    self.unread = 0
                return None
            piece = data[begin:end]
            if crc32(piece, crc32(data[start + 8 : begin])) != crc:
                raise WireError("checksum mismatch")
            if channel != CONTROL or flags != LAST or not self._open:  # else there is nothing to check
                self._check_channel(channel, flags)
            self.unread = len(data) - end
            if flags & LAST and message_id not in self._partial:
                return channel, piece
            whole = self._collect(channel, flags, message_id, [piece])
            if whole is not None:
                return channel, whole
        return None

    def _cut_completed(self, cut: _CutFrame) -> tuple[int, bytes] | None:
        """The message that the rest of a cut frame completes, if it is there and completes one."""
        if not self.unread:
            return None
        end = cut.missing
        cut.add(_part(self._data, 0, end))
        self.unread -= end
        self._cut = None
        if cut.flags & LAST and cut.message_id not in self._partial:
            return cut.channel, b"".join(cut.parts)
        if len(cut.parts) > PARTS_MAX:
            cut.parts = [b"".join(cut.parts)]
        whole = self._collect(cut.channel, cut.flags, cut.message_id, cut.parts)
        return None if whole is None else (cut.channel, whole)

    def _check_channel(self, channel: int, flags: int) -> None:
        if channel > LINK:
            raise WireError(f"unknown channel {channel}")
        if (channel == GREETING) is self._open:
            raise WireError(
                "handshake message on an open link" if self._open else "message before the handshake"
            )
        if channel != BULK and not flags & LAST:
            raise WireError("only bulk messages come in pieces")

    def _collect(self, channel: int, flags: int, message_id: int, piece: list[Part]) -> bytes | None:
        """Add a piece, in its parts, to its message. Returns the message when this was its last piece."""
        if channel != BULK:
            raise WireError("two messages of one id")
        size = sum(map(len, piece))
        if not size:
            raise WireError("empty piece")
        message = self._partial.get(message_id)
        if message is None:
            if len(self._partial) >= self._partial_messages:
                raise WireError(f"more than {self._partial_messages} unfinished messages")
            message = self._partial[message_id] = _PartialMessage()
        self.partial_bytes += size
        message.parts += piece
        message.size += size
        if message.size > self._message_bytes:
            raise WireError(f"message of more than {self._message_bytes} bytes")
        if self.partial_bytes > self._all_bytes:
            raise WireError(f"unfinished messages of more than {self._all_bytes} bytes")
        if not flags & LAST:
            return None
        del self._partial[message_id]
        self.partial_bytes -= message.size
        return b"".join(message.parts)


def _part(data: bytes, begin: int, end: int) -> Part:
    """A part of what was read: in its place, unless it would keep more than as much again in memory."""
    return memoryview(data)[begin:end] if 2 * (end - begin) >= len(data) else data[begin:end]
