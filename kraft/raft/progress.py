"""How far the log of one follower is known to match, and how much more may be sent to it unanswered.

A follower is in one of three states:

* `probe`: the leader looks for the place where the logs meet, with one message at a time; `next` stays put.
* `replicate`: the logs are known to meet. Messages are pipelined, `next` runs ahead of the answers, and a
  window bounds what is in flight, in messages and in bytes. When something is known to be lost the follower
  goes back to `probe`, and the window is emptied, so that nothing can leak from it.
* `snapshot`: the entries that the follower lacks are not in the log any more. No entries are sent to it until
  it has a copy of the state machine, or the copying failed.

Time never proves a loss: an answer may stay away because the link is slow, or the follower's disk. Entries
are sent again only when the follower has refused a message that came after them, or when the host reports
that the link is down or did not take them. After a time without answers the leader sends a *probe*, a message
without entries. It is delivered after everything that was sent before it, so its answer tells which it is.
"""

from collections import deque
from enum import Enum

import msgspec

_LONG_AGO = -(1 << 60)


class ProgressState(Enum):
    """The way in which entries are sent."""

    PROBE = "probe"
    REPLICATE = "replicate"
    SNAPSHOT = "snapshot"


class FollowerStatus(msgspec.Struct, frozen=True, gc=False):
    """A leader's view of one follower, for the host.

    `match` and `next` are as in `Progress`, `inflight` is the number of unanswered messages with entries.
    `state` is probe, replicate or snapshot. `silent_ticks` have passed since it answered. `declines`: it
    would not take over leadership. `slow`: it would be a slow leader.
    """

    peer: str
    match: int
    next: int
    state: str
    inflight: int
    silent_ticks: int
    declines: bool = False
    slow: bool = False


class Progress:
    """One follower as its leader sees it; times are tick counts of the leader's node.

    The log up to `match` is known to be durable there, and `next` is the entry to send next; entries up to
    `sent_index` were sent to it at least once. `round` is the newest heartbeat round it answered, `contact`
    the tick of its last answer. `commit_sent` is the highest commit index that was sent to it; readers there
    wait for `commit_wanted` (0 for none), which it could not be sent yet. `fetching`: older entries are being
    read for it. `window` bounds the bytes in flight. `probing`: a probe is unanswered. `declines` and `slow`
    are as in its heartbeat replies.
    """

    __slots__ = (
        "_inflight",
        "_inflight_bytes",
        "_max_bytes",
        "_max_messages",
        "_waiting_since",
        "commit_sent",
        "commit_wanted",
        "contact",
        "declines",
        "fetching",
        "match",
        "next",
        "peer",
        "probing",
        "round",
        "sent_index",
        "slow",
        "state",
        "window",
    )

    def __init__(self, peer: str, next_index: int, now: int, *, max_messages: int, max_bytes: int) -> None:
        self.peer = peer
        self.match = 0
        self.next = next_index
        self.sent_index = 0
        self.state = ProgressState.PROBE
        self.round = 0
        self.contact = now
        self.commit_sent = 0
        self.commit_wanted = 0
        self.fetching = False
        self.declines = False
        self.slow = False
        self._max_messages = max_messages
        self._max_bytes = self.window = max_bytes
        self._inflight: deque[tuple[int, int]] = deque()  # (last index, bytes) of each unanswered message
        self._inflight_bytes = 0
        self.probing = False
        self._waiting_since = now

    @property
    def inflight(self) -> int:
        """Unanswered messages with entries, and in the state `probe` the probe."""
        return len(self._inflight) + (self.probing and self.state is ProgressState.PROBE)

    def status(self, now: int) -> FollowerStatus:
        """The follower at tick `now`, for the host."""
        return FollowerStatus(
            self.peer,
            self.match,
            self.next,
            self.state.value,
            self.inflight,
            now - self.contact,
            self.declines,
            self.slow,
        )

    @property
    def inflight_bytes(self) -> int:
        """Bytes of the pipelined messages in flight."""
        return self._inflight_bytes

    @property
    def may_send(self) -> bool:
        """Whether one more message with entries may leave; it may overshoot the bound in bytes."""
        if self.fetching or self.state is ProgressState.SNAPSHOT:
            return False
        if self.state is ProgressState.PROBE:
            return not self.probing
        return len(self._inflight) < self._max_messages and self._inflight_bytes < self.window

    def narrow(self, link_bytes: int) -> None:
        """The link carries `link_bytes` within its round trip and a short queue.

        Twice as much may be in flight: one part is on its way, the other waits to follow it, or is being
        written by the follower's disk.
        """
        self.window = min(2 * link_bytes, self._max_bytes)

    def sent(self, last_index: int, size: int, now: int) -> None:
        """Note a message with entries up to `last_index`, of `size` bytes."""
        if last_index > self.sent_index:
            self.sent_index = last_index
        if self.state is ProgressState.PROBE:
            self.probed(now)
            return
        if not self._inflight:
            self._waiting_since = now
        self._inflight.append((last_index, size))
        self._inflight_bytes += size
        self.next = last_index + 1

    def probed(self, now: int) -> None:
        """Note a message that asks whether the logs meet before `next`."""
        self.probing = True
        self._waiting_since = now

    def accepted(self, index: int, now: int) -> bool:
        """The follower holds everything up to `index` durably. Returns whether that is news."""
        news = index > self.match
        if news:
            self.match = index
        if self.state is ProgressState.REPLICATE:
            inflight = self._inflight
            while inflight and inflight[0][0] <= index:
                self._inflight_bytes -= inflight.popleft()[1]
            if self.next <= self.match:
                self.next = self.match + 1
        elif index < self.next - 1:
            return news  # the answer to an earlier message, which says nothing about the probe
        else:
            self.state = ProgressState.REPLICATE
            self.next = self.match + 1
        self.probing = False
        self._waiting_since = now
        return news

    def rejected(self, index: int, hint: int, now: int) -> bool:
        """The follower does not match at `index`, perhaps at `hint`. Returns whether to send again."""
        if index <= self.match or self.state is ProgressState.SNAPSHOT:
            return False  # an old answer
        if self.state is ProgressState.REPLICATE:
            self.state = ProgressState.PROBE
            self._forget()
        elif index != self.next - 1:
            return False
        self.next = max(min(index, hint + 1), self.match + 1)
        self.probing = False
        self._waiting_since = now
        return True

    def complete(self, last_index: int) -> None:
        """The follower answers. If it holds everything up to `last_index`, there is nothing to probe with."""
        if self.state is ProgressState.PROBE and self.match == last_index:
            self.state = ProgressState.REPLICATE
            self.next = last_index + 1
            self._forget()

    def is_settled(self, last_index: int) -> bool:
        """Whether the follower holds everything up to `last_index`, and nothing is on its way to it."""
        return self.state is ProgressState.REPLICATE and self.match == last_index and not self._inflight

    def _forget(self) -> None:
        """Expect no answers any more."""
        self._inflight.clear()
        self._inflight_bytes = 0
        self.probing = False

    def disconnected(self) -> None:
        """What was sent may be lost: send no entries until the follower is heard again, then probe."""
        if self.state is ProgressState.SNAPSHOT:
            return  # no entries are sent anyway, and the copying goes on over the next link
        self.state = ProgressState.PROBE
        self._forget()
        self.probing = True
        self._waiting_since = _LONG_AGO

    def snapshot(self) -> None:
        """The entry at `next` is not in the log any more: send no entries."""
        self.state = ProgressState.SNAPSHOT
        self._forget()

    def snapshot_ended(self, first_index: int) -> None:
        """The copying ended, successfully or not: probe, at `first_index` of the log if need be."""
        if self.state is ProgressState.SNAPSHOT:
            self.state = ProgressState.PROBE
            self.next = max(self.match + 1, first_index)

    def overdue(self, now: int, patience: int) -> bool:
        """Whether to probe: nothing in flight, a probe included, was answered for `patience` ticks."""
        return (self.probing or bool(self._inflight)) and now - self._waiting_since >= patience
