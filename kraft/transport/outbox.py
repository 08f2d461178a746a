"""The send queues of one link: control before bulk before snapshot chunks, all bounded, sent in pieces.

The class of a message says how urgent it is. Control is every batch without entries or commands, and the
link's own pings. Chunks belong to snapshots, which are not urgent: they are sent only while no bulk waits. So
a snapshot delays a command by one piece at most, whatever the size of its chunks.
"""

from collections import deque
from collections.abc import Callable, Sequence
from itertools import count

from kraft.peerwire import codec
from kraft.peerwire.frames import BULK, CHUNK_BYTES_MAX, CONTROL, LINK, PIECE_BYTES, frame
from kraft.peerwire.messages import Message
from kraft.raft.messages import Urgency

Batch = Sequence[tuple[int, Message]]
Parts = Sequence[tuple[Batch, bytes]]

_TELLING = (Urgency.BULK, Urgency.CHUNK, Urgency.CONTROL)  # whose fate is told of a batch that has several


class _Pieces:
    """A queue of payloads, sent in pieces."""

    def __init__(self) -> None:
        self._payloads: deque[bytes] = deque()  # the first may be partly sent
        self._offset = 0  # of the first payload
        self._id = 0  # message id of the first payload, if it is partly sent
        self.waiting = 0  # bytes

    def __bool__(self) -> bool:
        return bool(self._payloads)

    def put(self, payload: bytes) -> None:
        self._payloads.append(payload)
        self.waiting += len(payload)

    def next_frame(self, new_id: Callable[[], int], piece_bytes: int) -> bytes:
        payload, start = self._payloads[0], self._offset
        if start == 0:
            self._id = new_id()
        end = min(start + piece_bytes, len(payload))
        self.waiting -= end - start
        if end == len(payload):
            self._payloads.popleft()
            self._offset = 0
        else:
            self._offset = end
        piece = payload if end - start == len(payload) else memoryview(payload)[start:end]
        return frame(BULK, self._id, piece, last=end == len(payload))


class Outbox:
    """The send queues of one link. `is_empty` and `control_waiting` (in bytes) are attributes, for speed.

    `new_id` gives the id of the next message of the link: 32 bits that wrap.
    """

    def __init__(self, queue_bytes: int, control_bytes: int, message_bytes: int) -> None:
        """Limits in bytes: `control_bytes` of control; `queue_bytes` of bulk, and of bulk with chunks, so
        that chunks never displace bulk; `message_bytes` of each part of a batch, which arrives by itself. An
        empty queue takes any one batch whose parts are within that.
        """
        self._queue_bytes = queue_bytes
        self._control_bytes = control_bytes
        self._message_bytes = message_bytes
        self._control: deque[bytes] = deque()  # whole frames
        self._bulk = _Pieces()
        self._chunks = _Pieces()
        self.new_id = map(0xFFFF_FFFF.__and__, count(1)).__next__
        self.control_waiting = 0
        self.is_empty = True

    @property
    def bulk_waiting(self) -> int:
        """Bytes of bulk and chunks that wait."""
        return self._bulk.waiting + self._chunks.waiting

    def put(self, messages: Batch, payload: bytes) -> str | None:
        """Queue a batch; `payload` is its encoding. The result is that of `put_parts`."""
        return self.put_parts(((messages, payload),))

    def put_parts(self, parts: Parts) -> str | None:
        """Queue a batch in parts, each with its encoding. Returns None, or why it was dropped.

        All bulk of the batch is queued, or none of it, and so are its chunks. The result refers to the bulk
        if there is any, else to the chunks: a dropped command may be repeated only if it was not sent.
        """
        by_urgency: dict[Urgency, list[tuple[Batch, bytes]]] = {}
        for messages, payload in parts:
            present = {message.urgency for _, message in messages}
            if len(present) <= 1:
                urgency = present.pop() if present else Urgency.CONTROL
                by_urgency.setdefault(urgency, []).append((messages, payload))
                continue
            for urgency in present:
                part = [pair for pair in messages if pair[1].urgency is urgency]
                by_urgency.setdefault(urgency, []).append((part, codec.encode(part)))
        dropped = {urgency: self._put_all(urgency, by_urgency[urgency]) for urgency in sorted(by_urgency)}
        return next(dropped[each] for each in _TELLING if each in dropped)

    def put_probe(self, payload: bytes) -> bool:
        """Queue a ping or pong; False if there is no room, which shows that the peer does not read."""
        return self._add_control(frame(LINK, self.new_id(), payload))

    def next_frame(self, piece_bytes: int = PIECE_BYTES) -> bytes | None:
        """Remove and return the frame to send next; None if nothing waits.

        Bulk and chunks leave in pieces of at most `piece_bytes`; none of them leaves if that is 0.
        """
        if self._control:
            data = self._control.popleft()
            self.control_waiting -= len(data)
        elif piece_bytes and (pieces := self._bulk or self._chunks):
            data = pieces.next_frame(self.new_id, piece_bytes)
        else:
            return None
        self.is_empty = not (self._control or self._bulk or self._chunks)
        return data

    def _put_all(self, urgency: Urgency, parts: Parts) -> str | None:
        if urgency is Urgency.CONTROL:
            results = [self._put_control(messages, payload) for messages, payload in parts]
            return next(filter(None, results), None)
        payloads = [payload for _, payload in parts]
        return self._put_bulk(payloads) if urgency is Urgency.BULK else self._put_chunks(payloads)

    def _put_control(self, messages: Batch, payload: bytes) -> str | None:
        if len(payload) <= PIECE_BYTES:
            return None if self._add_control(frame(CONTROL, self.new_id(), payload)) else "queue_full"
        if len(messages) == 1:  # such as a snapshot offer with a large configuration
            return self._put_bulk([payload])
        half = len(messages) // 2
        first, second = messages[:half], messages[half:]
        dropped = self._put_control(first, codec.encode(first))
        return self._put_control(second, codec.encode(second)) or dropped

    def _add_control(self, data: bytes) -> bool:
        if self.control_waiting + len(data) > self._control_bytes:
            return False
        self._control.append(data)
        self.control_waiting += len(data)
        self.is_empty = False
        return True

    def _put_bulk(self, payloads: Sequence[bytes]) -> str | None:
        if max(map(len, payloads)) > self._message_bytes:
            return "too_large"
        if self._bulk and self._bulk.waiting + sum(map(len, payloads)) > self._queue_bytes:
            return "queue_full"
        self._take(self._bulk, payloads)
        return None

    def _put_chunks(self, payloads: Sequence[bytes]) -> str | None:
        if max(map(len, payloads)) > min(CHUNK_BYTES_MAX, self._message_bytes):
            return "too_large"
        if self._chunks and self.bulk_waiting + sum(map(len, payloads)) > self._queue_bytes:
            return "queue_full"
        self._take(self._chunks, payloads)
        return None

    def _take(self, queue: _Pieces, payloads: Sequence[bytes]) -> None:
        for payload in payloads:
            queue.put(payload)
        self.is_empty = False
