"""The server-sent events that keep open pages current, the same for all subscribers.

    data: {"whole": true, "title": ..., "icon": ..., "parts": {id: HTML}, "columns": {name: [numbers]},
           "kept": 300}

The first event to a subscriber is whole; later ones contain only the parts that changed and the seconds that
passed. Nothing is buffered for a subscriber that reads too slowly: it misses events, and gets a whole one
when it reads again. The other nodes are asked for their reports only while there are subscribers.
"""

from collections.abc import Callable
from dataclasses import dataclass
from functools import cached_property
from typing import Any

import msgspec
from twisted.internet.defer import Deferred
from twisted.internet.interfaces import IDelayedCall, IPushProducer, IReactorTime
from twisted.web.http import Request
from zope.interface import implementer

from kraft.telemetry.recent.history import SECONDS_KEPT
from kraft.web.charts import Charts, charts
from kraft.web.cluster import Cluster
from kraft.web.findings import diagnose
from kraft.web.limits import ROUND_SECONDS, SUBSCRIBER_STALLED_SECONDS, SUBSCRIBERS_MAX
from kraft.web.page import as_of, icon, title
from kraft.web.sections import sections
from kraft.web.view import ClusterView

POLL_SECONDS = 0.25  # between two checks of this node for a change of leader, which is sent at once
GATHER_SECONDS = 0.25  # to wait for the answers of a round; a member that hangs delays updates by this time
RETRY_MS = 1000  # before a browser connects again
TYPE = "text/event-stream"


@dataclass(frozen=True)
class PageState:
    """Everything that the page shows at one moment. Not slotted: `whole` is encoded once, for all pages."""

    title: str
    icon: str
    parts: dict[str, str]
    charts: Charts

    @cached_property
    def whole(self) -> bytes:
        """The event for a subscriber that has nothing yet."""
        return self._event(self.parts, self.charts, whole=True)

    def since(self, before: "PageState") -> bytes:
        """The event for a subscriber that has `before`."""
        changed = {id_: part for id_, part in self.parts.items() if part != before.parts.get(id_)}
        return self._event(changed, self.charts.since(before.charts.newest), whole=False)

    def _event(self, parts: dict[str, str], numbers: Charts, *, whole: bool) -> bytes:
        return event({
            "whole": whole,
            "title": self.title,
            "icon": self.icon,
            "parts": parts,
            "columns": numbers.columns,
            "kept": SECONDS_KEPT,
        })  # fmt: skip


def page_state(view: ClusterView) -> PageState:
    """The state of the page for this view."""
    found = diagnose(view)
    parts: dict[str, str] = {**sections(view, found), "live": as_of(view)}
    return PageState(
        title(view, found), icon(found), {id_: str(part) for id_, part in parts.items()}, charts(view)
    )


def event(values: object) -> bytes:
    """One server-sent event. JSON has no bare line breaks, so it fits into one line of data."""
    return b"data: " + msgspec.json.encode(values) + b"\n\n"


class EventStream:
    """The subscribers, and the rounds of requests while there are any."""

    def __init__(self, cluster: Cluster, clock: IReactorTime, failed: Callable[[Exception], None]) -> None:
        self._cluster = cluster
        self._clock = clock
        self._failed = failed
        self._listeners: set[Subscriber] = set()
        self._latest: PageState | None = None
        self._leaders: object = None  # when they were asked about last
        self._gathered_at = 0.0
        self._next: IDelayedCall | None = None

    @property
    def full(self) -> bool:
        """Whether there are as many subscribers as are allowed."""
        return len(self._listeners) >= SUBSCRIBERS_MAX

    def listen(self, request: Request) -> None:
        """Send events to `request` until it is closed. The caller has set its headers."""
        listener = Subscriber(request, self._clock)
        self._listeners.add(listener)
        request.notifyFinish().addBoth(lambda _: self._listeners.discard(listener))
        request.write(b"retry: %d\n\n" % RETRY_MS)
        if self._next is None:
            self._latest = self._leaders = None
            self._poll()
        elif self._latest is not None:
            listener.send(self._latest.whole, self._latest)

    def close(self) -> None:
        """Close all subscribers and stop."""
        for listener in tuple(self._listeners):
            listener.end()
        self._listeners.clear()
        if self._next is not None:
            self._next.cancel()
            self._next = None

    def _poll(self) -> None:
        """Start a round if one is due or a leader has changed; repeat while there are subscribers."""
        if not self._listeners:
            self._next = None
            return
        self._next = self._clock.callLater(POLL_SECONDS, self._poll)
        now = self._clock.seconds()
        try:
            leaders = self._cluster.leaders()
            changed = leaders != self._leaders
            if changed or now - self._gathered_at >= ROUND_SECONDS:
                self._leaders, self._gathered_at = leaders, now
                self._gather(self._cluster.refresh(hurry=changed and self._latest is not None))
        except Exception as error:
            self._failed(error)

    def _gather(self, asked: Deferred[None]) -> None:
        """Publish when the others have answered, at the latest after GATHER_SECONDS."""
        waited: Deferred[Any] = Deferred()
        asked.addCallback(lambda _: None if waited.called else waited.callback(None))
        waited.addTimeout(GATHER_SECONDS, self._clock).addBoth(lambda _: self._publish())

    def _publish(self) -> None:
        if not self._listeners:
            return
        try:
            latest = page_state(self._cluster.view())
        except Exception as error:
            self._failed(error)
            return
        before, self._latest = self._latest, latest
        change = latest.whole if before is None else latest.since(before)
        for listener in tuple(self._listeners):
            listener.send(change, latest)


@implementer(IPushProducer)
class Subscriber:
    """One open page. Twisted calls `pauseProducing` about 64 KiB after it has stopped to read."""

    def __init__(self, request: Request, clock: IReactorTime) -> None:
        self._request = request
        self._clock = clock
        self._missed = True
        self._paused_at: float | None = None
        request.registerProducer(self, True)

    def send(self, change: bytes, latest: PageState) -> None:
        """Write the change, or everything if events were missed; nothing while the page does not read."""
        if self._paused_at is None:
            self._request.write(latest.whole if self._missed else change)
            self._missed = False
            return
        self._missed = True
        if self._clock.seconds() - self._paused_at >= SUBSCRIBER_STALLED_SECONDS:
            channel: Any = self._request.channel
            channel.transport.abortConnection()

    def end(self) -> None:
        """Close the stream in order: the page connects again, or shows that the node is gone."""
        self._request.unregisterProducer()
        self._request.finish()

    def pauseProducing(self) -> None:
        """The page reads too slowly."""
        if self._paused_at is None:
            self._paused_at = self._clock.seconds()

    def resumeProducing(self) -> None:
        """The page has read everything."""
        self._paused_at = None

    def stopProducing(self) -> None:
        """The page is gone; `notifyFinish` reports it."""
