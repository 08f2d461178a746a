"""What waits to be sent on one link: control before bulk, both bounded, bulk cut into pieces as it leaves.

Control are batches without entries or commands, and the link's own pings. Every Append is bulk, also an empty
one: if it overtook the Appends before it, the follower would refuse it and the leader start to probe.
"""

from collections import deque
from collections.abc import Sequence

from kraft.peerwire import codec
from kraft.peerwire.frames import BULK, CONTROL, LINK, PIECE_BYTES, frame
from kraft.peerwire.messages import Forward, ForwardReply, Message
from kraft.raft.messages import Append

_BULK_TYPES = frozenset((Append, Forward, ForwardReply))

Batch = Sequence[tuple[int, Message]]


class Outbox:
    """Queues of one link. `queue_bytes` and `control_bytes` bound what waits; one bulk batch always fits."""

    def __init__(self, queue_bytes: int, control_bytes: int, message_bytes: int) -> None:
        self._queue_bytes = queue_bytes
        self._control_bytes = control_bytes
        self._message_bytes = message_bytes
        self._control: deque[bytes] = deque()  # whole frames
        self._bulk: deque[bytes] = deque()  # payloads; the first may be sent in part
        self._offset = 0  # of the first bulk payload
        self._bulk_id = 0  # message id of the first bulk payload, when it is sent in part
        self._next_id = 0
        self.control_waiting = 0  # bytes
        self.bulk_waiting = 0  # bytes

    def __bool__(self) -> bool:
        """Whether something waits."""
        return bool(self._control or self._bulk)

    def whole(self, payload: bytes) -> bytes:
        """A frame to be sent now, before anything else, for a payload that fits one piece."""
        return frame(CONTROL, self._new_id(), payload)

    def put(self, messages: Batch, payload: bytes) -> str | None:
        """Queue a batch, given with its encoding; None, or why it was dropped.

        The bulk of a batch is queued as a whole or not at all, and the answer is about the bulk if there is
        any: who repeats a dropped command must be certain that it did not leave.
        """
        if not any(type(message) in _BULK_TYPES for _, message in messages):
            return self._put_control(messages, payload)
        control = [pair for pair in messages if type(pair[1]) not in _BULK_TYPES]
        if not control:
            return self._put_bulk(payload)
        bulk = [pair for pair in messages if type(pair[1]) in _BULK_TYPES]
        self._put_control(control, codec.encode(control))
        return self._put_bulk(codec.encode(bulk))

    def put_probe(self, payload: bytes) -> bool:
        """Queue a ping or pong; False when there is no room, which shows that the peer does not read."""
        return self._add_control(frame(LINK, self._new_id(), payload))

    def next_frame(self) -> bytes | None:
        """The frame to send next."""
        if self._control:
            data = self._control.popleft()
            self.control_waiting -= len(data)
            return data
        return self._next_piece() if self._bulk else None

    def _put_control(self, messages: Batch, payload: bytes) -> str | None:
        if len(payload) <= PIECE_BYTES:
            return None if self._add_control(frame(CONTROL, self._new_id(), payload)) else "queue_full"
        half = len(messages) // 2  # no control message comes near a piece, so there are at least two
        first, second = messages[:half], messages[half:]
        dropped = self._put_control(first, codec.encode(first))
        return self._put_control(second, codec.encode(second)) or dropped

    def _add_control(self, data: bytes) -> bool:
        if self.control_waiting + len(data) > self._control_bytes:
            return False
        self._control.append(data)
        self.control_waiting += len(data)
        return True

    def _put_bulk(self, payload: bytes) -> str | None:
        if len(payload) > self._message_bytes:
            return "too_large"
        if self._bulk and self.bulk_waiting + len(payload) > self._queue_bytes:
            return "queue_full"
        self._bulk.append(payload)
        self.bulk_waiting += len(payload)
        return None

    def _next_piece(self) -> bytes:
        payload, start = self._bulk[0], self._offset
        if start == 0:
            self._bulk_id = self._new_id()
        end = min(start + PIECE_BYTES, len(payload))
        self.bulk_waiting -= end - start
        if end == len(payload):
            self._bulk.popleft()
            self._offset = 0
        else:
            self._offset = end
        piece = payload if end - start == len(payload) else memoryview(payload)[start:end]
        return frame(BULK, self._bulk_id, piece, last=end == len(payload))

    def _new_id(self) -> int:
        self._next_id = (self._next_id + 1) & 0xFFFFFFFF
        return self._next_id
