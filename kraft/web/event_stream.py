"""The server-sent events that keep open pages current, the same for all subscribers of one time range.

    data: {"whole": true, "title": ..., "icon": ..., "parts": {id: HTML},
           "series": {"newest": 1700000000, "step": 1, "count": 300, "columns": {name: [numbers]}}}

The first event to a subscriber is whole; later ones contain only the parts that changed, and the numbers from
the last one of the event before on, which may have changed. `newest` is the Unix second at which the last of
`count` columns of `step` seconds begins.

Nothing is buffered for a subscriber that reads too slowly: it misses events, and gets a whole one when it
reads again. The other nodes are asked for their reports only while there are subscribers.
"""

from collections.abc import Callable, Collection
from dataclasses import dataclass
from functools import cached_property
from typing import Any

import msgspec
from twisted.internet.defer import Deferred
from twisted.internet.interfaces import IDelayedCall, IPushProducer, IReactorTime
from twisted.web.http import Request
from zope.interface import implementer

from kraft.telemetry.recent.history import RANGES, TimeRange
from kraft.web.charts import Series, chart_parts, series
from kraft.web.charts.series import Numbers
from kraft.web.cluster import Cluster
from kraft.web.findings import diagnose
from kraft.web.html import Html
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
    """Everything that the page shows at one moment, with charts of one range.

    Not slotted: `whole` is encoded once, for all pages.
    """

    title: str
    icon: str
    parts: dict[str, str]
    series: Series

    @cached_property
    def whole(self) -> bytes:
        """The event for a subscriber that has nothing yet."""
        return self._event(self.parts, self.series.columns, whole=True)

    def since(self, before: "PageState") -> bytes:
        """The event for a subscriber that has `before`."""
        if self.series.newest < before.series.newest:  # the clock was set back
            return self.whole
        changed = {id_: part for id_, part in self.parts.items() if part != before.parts.get(id_)}
        return self._event(changed, self.series.since(before.series.newest), whole=False)

    def _event(self, parts: dict[str, str], columns: dict[str, Numbers], *, whole: bool) -> bytes:
        range_ = self.series.range
        numbers = {
            "newest": self.series.newest,
            "step": range_.step,
            "count": range_.count,
            "columns": columns,
        }
        return event({
            "whole": whole,
            "title": self.title,
            "icon": self.icon,
            "parts": parts,
            "series": numbers,
        })  # fmt: skip


def page_states(view: ClusterView, ranges: Collection[TimeRange]) -> dict[TimeRange, PageState]:
    """The state of the page for this view, with charts of each range."""
    found = diagnose(view)
    shared: dict[str, Html] = {**sections(view, found), "live": as_of(view)}
    states = {}
    for range_ in ranges:
        numbers = series(view, range_)
        parts = {id_: str(part) for id_, part in {**shared, **chart_parts(view, numbers)}.items()}
        states[range_] = PageState(title(view, found), icon(found), parts, numbers)
    return states


def event(values: object) -> bytes:
    """One server-sent event. JSON has no bare line breaks, so it fits into one line of data."""
    return b"data: " + msgspec.json.encode(values) + b"\n\n"


class EventStream:
    """The subscribers, and the rounds of requests while there are any."""

    def __init__(
        self,
        cluster: Cluster,
        clock: IReactorTime,
        failed: Callable[[Exception], None],
        may_read: Callable[[Any], bool],
    ) -> None:
        """`may_read` says whether a request may read its page, also after the tokens have changed."""
        self._cluster = cluster
        self._clock = clock
        self._may_read = may_read
        self._failed = failed
        self._listeners: set[Subscriber] = set()
        self._latest: dict[TimeRange, PageState] = {}  # of the ranges that have subscribers
        self._leaders: object = None  # when they were asked about last
        self._gathered_at = 0.0
        self._next: IDelayedCall | None = None

    @property
    def full(self) -> bool:
        """Whether there are as many subscribers as are allowed."""
        return len(self._listeners) >= SUBSCRIBERS_MAX

    def listen(self, request: Request, range_: TimeRange = RANGES[0]) -> None:
        """Send events to `request` until it is closed. The caller has set its headers."""
        listener = Subscriber(request, range_, self._clock)
        self._listeners.add(listener)
        request.notifyFinish().addBoth(lambda _: self._listeners.discard(listener))
        request.write(b"retry: %d\n\n" % RETRY_MS)
        if self._next is None:
            self._latest, self._leaders = {}, None
            self._poll()
        elif (latest := self._latest.get(range_)) is not None:
            listener.send(latest.whole, latest)
        else:
            self._gather(self._cluster.refresh(range_))

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
                longest = max((each.range for each in self._listeners), key=lambda each: each.step)
                self._gather(self._cluster.refresh(longest, hurry=changed and bool(self._latest)))
        except Exception as error:
            self._failed(error)

    def _gather(self, asked: Deferred[None]) -> None:
        """Publish when the others have answered, at the latest after GATHER_SECONDS."""
        waited: Deferred[Any] = Deferred()
        asked.addCallback(lambda _: None if waited.called else waited.callback(None))
        waited.addTimeout(GATHER_SECONDS, self._clock).addBoth(lambda _: self._publish())

    def _publish(self) -> None:
        ranges = {each.range for each in self._listeners}
        if not ranges:
            return
        try:
            states = page_states(self._cluster.view(), ranges)
        except Exception as error:
            self._failed(error)
            return
        before, self._latest = self._latest, states
        changes = {
            range_: latest.since(before[range_]) if range_ in before else latest.whole
            for range_, latest in states.items()
        }
        for listener in tuple(self._listeners):
            if self._may_read(listener.request):
                listener.send(changes[listener.range], states[listener.range])
            else:
                listener.end()


@implementer(IPushProducer)
class Subscriber:
    """One open page. Twisted calls `pauseProducing` about 64 KiB after it has stopped to read."""

    def __init__(self, request: Request, range_: TimeRange, clock: IReactorTime) -> None:
        self.range = range_  # of its charts
        self.request = request
        self._clock = clock
        self._missed = True
        self._paused_at: float | None = None
        request.registerProducer(self, True)

    def send(self, change: bytes, latest: PageState) -> None:
        """Write the change, or everything if events were missed; nothing while the page does not read."""
        if self._paused_at is None:
            self.request.write(latest.whole if self._missed else change)
            self._missed = False
            return
        self._missed = True
        if self._clock.seconds() - self._paused_at >= SUBSCRIBER_STALLED_SECONDS:
            channel: Any = self.request.channel
            channel.transport.abortConnection()

    def end(self) -> None:
        """Close the stream in order: the page connects again, or shows that the node is gone."""
        self.request.unregisterProducer()
        self.request.finish()

    def pauseProducing(self) -> None:
        """The page reads too slowly."""
        if self._paused_at is None:
            self._paused_at = self._clock.seconds()

    def resumeProducing(self) -> None:
        """The page has read everything."""
        self._paused_at = None

    def stopProducing(self) -> None:
        """The page is gone; `notifyFinish` reports it."""
