"""How much may be on its way over a link, so that it is used fully and a heartbeat still passes quickly.

The kernel takes as much as its buffers hold, and so do the routers on the way: on a narrow link that is
seconds of work, and nothing overtakes it there. So a link hands over only what it carries within its round
trip and `queue_delay`, and keeps the rest in its outbox, where control overtakes bulk. It measures that by
*marks*: pings in the order of the stream, whose answers show that everything before them has arrived. As in
LEDBAT (RFC 6817) the window grows while the round trip shows no longer queue than that, and shrinks when it
does.
"""

from collections import deque
from typing import NamedTuple

from kraft.peerwire.frames import PIECE_BYTES
from kraft.transport.limits import LinkLimits

_MARKS = 4  # in one window


class _Mark(NamedTuple):
    token: int
    sent: int  # bytes of the link before it
    confirmed: int  # bytes that were known to have arrived when it left
    at: float


class CongestionWindow:
    """The window of one link: `size` in bytes. Bulk leaves in pieces of `piece_bytes`.

    Positions are counts of all bytes sent on the link. What was sent up to `confirmed` has arrived. At
    `attention` something is due: a mark, or a pause. At `queued_at` an answer showed that the link was full.
    """

    __slots__ = (
        "_limits",
        "_marked",
        "_marks",
        "_round_trip",
        "attention",
        "confirmed",
        "piece_bytes",
        "queued_at",
        "size",
    )

    def __init__(self, limits: LinkLimits) -> None:
        self.size = limits.window_first
        self.confirmed = 0
        self.queued_at = float("-inf")
        self._limits = limits
        self._marks: deque[_Mark] = deque()  # unanswered
        self._marked = 0  # position of the last one
        self._round_trip = float("inf")  # the shortest, in seconds: that of an empty link
        self._watch()

    def has_room(self, sent: int) -> bool:
        """Whether more bulk may be handed over, now that `sent` bytes were."""
        return sent - self.confirmed < self.size

    def wants_mark(self, sent: int) -> bool:
        """Whether a mark should follow the `sent` bytes: a part of the window has none, or it is full."""
        unmarked = sent - self._marked
        if unmarked >= self.size // _MARKS:
            return True
        return unmarked > 0 and not self._marks and not self.has_room(sent)

    def mark(self, sent: int, now: float) -> int:
        """Note a mark that leaves after `sent` bytes; returns its token."""
        token = int(now * 1e6)
        if self._marks and token <= self._marks[-1].token:
            token = self._marks[-1].token + 1
        self._marks.append(_Mark(token, sent, self.confirmed, now))
        self._marked = sent
        self._watch()
        return token

    def answered(self, token: int, now: float) -> bool:
        """Adapt the window to the answer of a mark. Returns False for a token that is not that of a mark."""
        marks = self._marks
        if not any(mark.token == token for mark in marks):
            return False
        while (mark := marks.popleft()).token != token:
            pass  # answers keep their order, so an earlier one was lost with a full queue
        news, self.confirmed = mark.sent - self.confirmed, mark.sent
        round_trip = max(now - mark.at, 1e-6)
        self._adapt(mark.sent - mark.confirmed, news, round_trip)
        if round_trip - self._round_trip > self._limits.queue_delay / 2:
            self.queued_at = now
        self._watch()
        return True

    def _adapt(self, delivered: int, news: int, round_trip: float) -> None:
        """`delivered` bytes arrived within `round_trip` seconds, `news` of them since the last answer."""
        limits = self._limits
        self._round_trip = min(self._round_trip, round_trip)
        queueing = (round_trip - self._round_trip) / limits.queue_delay
        if queueing <= 1.0:
            if 2 * delivered >= self.size:  # else the window was not what limited the sender
                self.size = min(self.size + int(news * (1.0 - queueing)), limits.window_max)
        elif self.size > limits.window_min:
            carried = delivered / round_trip * (self._round_trip + limits.queue_delay)
            self.size = max(min(int(carried), self.size), limits.window_min)
        else:  # so little does not queue for long: the way itself has become longer
            self._round_trip = round_trip

    def _watch(self) -> None:
        self.piece_bytes = min(PIECE_BYTES, self.size // _MARKS)
        self.attention = min(self._marked + self.size // _MARKS, self.confirmed + self.size)
