"""How far one follower's log is known to match, and how much more may be sent to it unanswered.

In `probe` the leader looks for the place where the logs meet: one message at a time, `next` stays put.
In `replicate` the logs are known to meet: messages are pipelined, `next` runs ahead of the answers, and the
window bounds what is in flight by messages and bytes. Anything lost leads back to `probe` from `match`, which
also empties the window, so nothing can leak from it. In `snapshot` the entries that the follower lacks are
not in the log any more: nothing is sent to it until it has a copy of the state machine, or that failed.
"""

from collections import deque
from dataclasses import dataclass
from enum import Enum

_LONG_AGO = -(1 << 60)


class ProgressState(Enum):
    """The ways to send."""

    PROBE = "probe"
    REPLICATE = "replicate"
    SNAPSHOT = "snapshot"


@dataclass(frozen=True, slots=True)
class FollowerStatus:
    """A leader's view of one follower; `silent_ticks` since it answered.

    `state` is probe, replicate or snapshot (it waits for a copy of the state machine). `declines`: it would
    not take over leadership.
    """

    peer: str
    match: int
    next: int
    state: str
    inflight: int
    silent_ticks: int
    declines: bool = False


class Progress:
    """One follower as its leader sees it; times are tick counts of the leader's node.

    `match` is known to be durable there, `next` is what to send next. `round` is the newest read round it
    answered, `contact` when it last answered. `told` is the highest commit index it was sent; `owed` is one
    that readers wait for and it could not be told yet (0 for none). `fetching`: older entries are being read.
    `declines`: it says that it would not lead.
    """

    __slots__ = (
        "_inflight",
        "_inflight_bytes",
        "_max_bytes",
        "_max_messages",
        "_probing",
        "_waiting_since",
        "commit_sent",
        "commit_wanted",
        "contact",
        "declines",
        "fetching",
        "match",
        "next",
        "peer",
        "round",
        "state",
    )

    def __init__(self, peer: str, next_index: int, now: int, *, max_messages: int, max_bytes: int) -> None:
        self.peer = peer
        self.match = 0
        self.next = next_index
        self.state = ProgressState.PROBE
        self.round = 0
        self.contact = now
        self.commit_sent = 0
        self.commit_wanted = 0
        self.fetching = False
        self.declines = False
        self._max_messages = max_messages
        self._max_bytes = max_bytes
        self._inflight: deque[tuple[int, int]] = deque()  # (last index, bytes) of each unanswered message
        self._inflight_bytes = 0
        self._probing = False
        self._waiting_since = now

    @property
    def inflight(self) -> int:
        """Unanswered messages with entries."""
        return len(self._inflight) + self._probing

    def status(self, now: int) -> FollowerStatus:
        """The follower as the host may know it."""
        return FollowerStatus(
            self.peer,
            self.match,
            self.next,
            self.state.value,
            self.inflight,
            now - self.contact,
            self.declines,
        )

    @property
    def inflight_bytes(self) -> int:
        """Bytes of the pipelined messages in flight."""
        return self._inflight_bytes

    @property
    def may_send(self) -> bool:
        """Whether one more message with entries may leave; a message may overshoot the bound in bytes."""
        if self.fetching or self.state is ProgressState.SNAPSHOT:
            return False
        if self.state is ProgressState.PROBE:
            return not self._probing
        return len(self._inflight) < self._max_messages and self._inflight_bytes < self._max_bytes

    def sent(self, last_index: int, size: int, now: int) -> None:
        """A message with entries up to `last_index` left."""
        if self.state is ProgressState.PROBE:
            self._probing = True
            self._waiting_since = now
            return
        if not self._inflight:
            self._waiting_since = now
        self._inflight.append((last_index, size))
        self._inflight_bytes += size
        self.next = last_index + 1

    def accepted(self, index: int, now: int) -> bool:
        """The follower holds everything up to `index` durably. True when that is news."""
        news = index > self.match
        if news:
            self.match = index
        if self.state is not ProgressState.REPLICATE:
            if not news and index < self.next - 1:
                return False  # an old answer: it says nothing about the probe
            self.state = ProgressState.REPLICATE
            self.next = self.match + 1
            self._probing = False
        else:
            inflight = self._inflight
            while inflight and inflight[0][0] <= index:
                self._inflight_bytes -= inflight.popleft()[1]
            if self.next <= self.match:
                self.next = self.match + 1
        self._waiting_since = now
        return news

    def rejected(self, index: int, hint: int, now: int) -> bool:
        """The follower does not match at `index`, perhaps at `hint`. True when there is something to send."""
        if index <= self.match or self.state is ProgressState.SNAPSHOT:
            return False  # an old answer
        if self.state is ProgressState.REPLICATE:
            self.probe()
        elif index != self.next - 1:
            return False
        else:
            self.next = max(min(index, hint + 1), self.match + 1)
            self._probing = False
        self._waiting_since = now
        return True

    def probe(self) -> None:
        """Something may have been lost: start again behind `match`, or repeat the probe that runs."""
        if self.state is ProgressState.REPLICATE:
            self.next = self.match + 1
        self.state = ProgressState.PROBE
        self._forget()

    def complete(self, last_index: int) -> None:
        """It answers; if it holds everything up to `last_index`, there is nothing to probe for, or with."""
        if self.state is ProgressState.PROBE and self.match == last_index:
            self.state = ProgressState.REPLICATE
            self.next = last_index + 1
            self._forget()

    def _forget(self) -> None:
        """Nothing is expected to be answered any more."""
        self._inflight.clear()
        self._inflight_bytes = 0
        self._probing = False

    def disconnected(self) -> None:
        """The link is down: hold everything back until the follower is heard again."""
        if self.state is ProgressState.SNAPSHOT:
            return  # nothing is sent anyway, and the copy goes on over the next link
        self.probe()
        self._probing = True
        self._waiting_since = _LONG_AGO

    def snapshot(self) -> None:
        """The entry at `next` is not in the log any more: send nothing but heartbeats."""
        self.state = ProgressState.SNAPSHOT
        self._forget()

    def snapshot_ended(self, first_index: int) -> None:
        """The copy was made, or failed: see by a probe, at the start of the log if need be."""
        if self.state is ProgressState.SNAPSHOT:
            self.state = ProgressState.PROBE
            self.next = max(self.match + 1, first_index)

    def stuck(self, now: int, patience: int) -> bool:
        """Whether something in flight has been unanswered for `patience` ticks."""
        return self.inflight > 0 and now - self._waiting_since >= patience
