"""What keeps open pages current: server-sent events, the same to all who listen.

    data: {"whole": true, "title": ..., "parts": {id: HTML}, "columns": {name: [numbers]}, "kept": 300}

The first event of a listener is whole; later ones have only the parts that changed and the seconds that
passed. One who does not read fast enough is not waited for and nothing is kept for him: he misses events,
and gets a whole one when he reads again. The others are asked for their state only while somebody listens.
"""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import msgspec
from twisted.internet.defer import Deferred
from twisted.internet.interfaces import IDelayedCall, IPushProducer, IReactorTime
from twisted.web.server import Request
from zope.interface import implementer

from kraft.telemetry.recent.history import SECONDS_KEPT
from kraft.web.charts import Charts, charts
from kraft.web.cluster import Cluster
from kraft.web.findings import diagnose
from kraft.web.limits import ROUND_SECONDS, SUBSCRIBER_STALLED_SECONDS, SUBSCRIBERS_MAX
from kraft.web.page import as_of, title
from kraft.web.sections import sections
from kraft.web.view import ClusterView

POLL_SECONDS = 0.25  # between two looks at this node itself: a change of a leader is news at once
GATHER_SECONDS = 0.25  # that the answers of a round are waited for; a member that hangs delays nobody more
RETRY_MS = 1000  # after which a browser connects again
TYPE = "text/event-stream"


@dataclass(frozen=True, slots=True)
class PageState:
    """All that can be told at one moment."""

    title: str
    parts: dict[str, str]
    charts: Charts

    def whole(self) -> bytes:
        """For one who knows nothing."""
        return self._event(self.parts, self.charts, whole=True)

    def since(self, before: "PageState") -> bytes:
        """For one who has seen `before`."""
        changed = {id_: part for id_, part in self.parts.items() if part != before.parts.get(id_)}
        return self._event(changed, self.charts.since(before.charts.newest), whole=False)

    def _event(self, parts: dict[str, str], numbers: Charts, *, whole: bool) -> bytes:
        return event({
            "whole": whole,
            "title": self.title,
            "parts": parts,
            "columns": numbers.columns,
            "kept": SECONDS_KEPT,
        })  # fmt: skip


def edition(view: ClusterView) -> PageState:
    """Of what is known now."""
    found = diagnose(view)
    parts: dict[str, str] = {**sections(view, found), "live": as_of(view)}
    return PageState(title(view, found), {id_: str(part) for id_, part in parts.items()}, charts(view))


def event(values: object) -> bytes:
    """One server-sent event; JSON has no bare line breaks, so one line of data holds it."""
    return b"data: " + msgspec.json.encode(values) + b"\n\n"


class EventStream:
    """Listeners, and the rounds while there are any. `failed` is told why an edition could not be made."""

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
        """Nobody else can listen now."""
        return len(self._listeners) >= SUBSCRIBERS_MAX

    def listen(self, request: Request) -> None:
        """Tell `request` everything from now on, until it goes away; the caller has set its headers."""
        listener = Subscriber(request, self._clock)
        self._listeners.add(listener)
        request.notifyFinish().addBoth(lambda _: self._listeners.discard(listener))
        request.write(b"retry: %d\n\n" % RETRY_MS)
        if self._next is None:
            self._latest = self._leaders = None
            self._poll()
        elif self._latest is not None:
            listener.tell(self._latest.whole, self._latest.whole)

    def close(self) -> None:
        """Say goodbye to all, and do nothing any more."""
        for listener in tuple(self._listeners):
            listener.end()
        self._listeners.clear()
        if self._next is not None:
            self._next.cancel()
            self._next = None

    def _poll(self) -> None:
        """Gather when a second has passed or a leader has changed; then again, while somebody listens."""
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
        """Publish when the others have answered or had time to."""
        waited: Deferred[Any] = Deferred()
        asked.addCallback(lambda _: None if waited.called else waited.callback(None))
        waited.addTimeout(GATHER_SECONDS, self._clock).addBoth(lambda _: self._publish())

    def _publish(self) -> None:
        if not self._listeners:
            return
        try:
            latest = edition(self._cluster.view())
        except Exception as error:
            self._failed(error)
            return
        before, self._latest = self._latest, latest
        change = latest.whole() if before is None else latest.since(before)
        for listener in tuple(self._listeners):
            listener.tell(lambda: change, latest.whole)


@implementer(IPushProducer)
class Subscriber:
    """One open page. Twisted says when it takes no more (`pauseProducing`), about 64 KiB after it stopped."""

    def __init__(self, request: Request, clock: IReactorTime) -> None:
        self._request = request
        self._clock = clock
        self._behind = True
        self._paused_at: float | None = None
        request.registerProducer(self, True)

    def tell(self, change: Callable[[], bytes], whole: Callable[[], bytes]) -> None:
        """Write the change, or everything after something was missed, or nothing while it takes nothing."""
        if self._paused_at is None:
            self._request.write(whole() if self._behind else change())
            self._behind = False
            return
        self._behind = True
        if self._clock.seconds() - self._paused_at >= SUBSCRIBER_STALLED_SECONDS:
            channel: Any = self._request.channel
            channel.transport.abortConnection()

    def end(self) -> None:
        """In order: the page connects to this node again, or says that it is gone."""
        self._request.unregisterProducer()
        self._request.finish()

    def pauseProducing(self) -> None:
        """It reads too slowly."""
        if self._paused_at is None:
            self._paused_at = self._clock.seconds()

    def resumeProducing(self) -> None:
        """It has caught up."""
        self._paused_at = None

    def stopProducing(self) -> None:
        """It is gone; `notifyFinish` tells."""
