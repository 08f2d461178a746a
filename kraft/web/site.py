"""The pages of the HTTP port, in one table of paths.

Each page is a method from a request to a `Response`, returned at once or later: `/readyz?sync` waits for
reads, `/` for the other nodes. Only `/events` goes on writing. An error affects only its own page.
"""

from collections.abc import Callable, Iterable
from dataclasses import dataclass
from typing import Any, cast

from twisted.internet.defer import Deferred
from twisted.internet.interfaces import IReactorTime
from twisted.python.failure import Failure
from twisted.web.resource import Resource
from twisted.web.server import NOT_DONE_YET, Request, Site

from kraft.node.status import Status
from kraft.web import assets
from kraft.web.cluster import Cluster
from kraft.web.event_stream import TYPE as EVENT_STREAM
from kraft.web.event_stream import EventStream
from kraft.web.glossary import render_glossary
from kraft.web.limits import ASK_SECONDS, IDLE_SECONDS, SUBSCRIBERS_MAX, BoundedRequest, ConnectionLimit
from kraft.web.page import POLICY, render_page
from kraft.web.ports import Fetch, NodePort, TelemetryPort
from kraft.web.report import Report, encode

TEXT = "text/plain; charset=utf-8"
JSON = "application/json"
HTML = "text/html; charset=utf-8"
FOR_EVER = "public, max-age=31536000, immutable"  # the name changes with the content
_HEADERS = {
    b"content-security-policy": POLICY.encode(),
    b"referrer-policy": b"no-referrer",
    b"server": b"kraft",
    b"x-content-type-options": b"nosniff",
}


@dataclass(frozen=True, slots=True)
class Response:
    """Status code, content type, body and Cache-Control header."""

    code: int
    type: str
    body: bytes
    cache_control: str = "no-store"


_Page = Callable[[Request], Response | Deferred[Response] | None]


def site(node: NodePort, telemetry: TelemetryPort, clock: IReactorTime, fetch: Fetch) -> ConnectionLimit:
    """The factory for the HTTP port: the pages, within limits. `fetch` asks other nodes."""
    pages = SiteRoot(node, telemetry, clock, fetch)
    bounded = _QuietSite(pages, BoundedRequest, timeout=IDLE_SECONDS, reactor=clock)  # type: ignore[no-untyped-call]
    bounded.stopped = pages.events.close
    return ConnectionLimit(bounded)  # type: ignore[no-untyped-call]


class SiteRoot(Resource):
    """All pages as one leaf resource: there are few paths, and none below them."""

    isLeaf = True

    def __init__(self, node: NodePort, telemetry: TelemetryPort, clock: IReactorTime, fetch: Fetch) -> None:
        super().__init__()  # type: ignore[no-untyped-call]
        self._node = node
        self._telemetry = telemetry
        self._clock = clock
        self._cluster = Cluster(lambda: self._report(full=True), fetch, clock)
        self.events = EventStream(self._cluster, clock, lambda error: telemetry.page_failed("/events", error))
        self._assets = {b"/" + asset.name.encode(): asset for asset in assets.ALL}
        self._pages: dict[bytes, _Page] = {
            b"/": self._page,
            b"/events": self._events,
            b"/glossary": self._glossary,
            b"/metrics": self._scrape,
            b"/livez": self._live,
            b"/readyz": self._ready,
            b"/status": self._status,
        }

    def render(self, request: Request) -> bytes | int:
        """The body, or NOT_DONE_YET if it comes later."""
        if request.method not in (b"GET", b"HEAD"):
            request.setHeader(b"allow", b"GET, HEAD")
            return _give(request, _text(405, "only GET and HEAD are served here"))
        page = self._pages.get(request.path)
        if request.path in self._assets:
            return _give(request, self._asset(request.path))
        if page is None:
            known = " ".join(path.decode() for path in self._pages)
            return _give(request, _text(404, f"no such page; there are {known}"))
        try:
            answer = page(request)
        except Exception as error:
            return _give(request, self._failed(request, error))
        if isinstance(answer, Response):
            return _give(request, answer)
        if answer is not None:
            _give_later(request, answer.addErrback(self._failed_later, request))
        return NOT_DONE_YET

    def _failed(self, request: Request, error: Exception) -> Response:
        self._telemetry.page_failed(request.path.decode(), error)
        return _text(500, f"this page failed: {type(error).__name__}")

    def _failed_later(self, failure: Failure, request: Request) -> Response:
        return self._failed(request, cast(Exception, failure.value))

    def _asset(self, path: bytes) -> Response:
        asset = self._assets[path]
        return Response(200, asset.type, asset.body, FOR_EVER)

    def _report(self, *, full: bool) -> Report:
        return Report(self._node.status(), self._telemetry.facts(full=full))

    def _page(self, _request: Request) -> Deferred[Response]:
        """Wait for the other nodes, so that the page is complete without a script."""
        shown: Deferred[Any] = Deferred()
        self._cluster.refresh().addCallback(lambda _: None if shown.called else shown.callback(None))
        shown.addTimeout(ASK_SECONDS, self._clock).addErrback(lambda _: None)
        return shown.addCallback(lambda _: Response(200, HTML, render_page(self._cluster.view()).encode()))

    def _events(self, request: Request) -> Response | None:
        if self.events.full:
            return _text(503, f"{SUBSCRIBERS_MAX} pages are open already")
        if request.method == b"HEAD":
            return Response(200, EVENT_STREAM, b"")
        _head(request, 200, EVENT_STREAM, "no-store")
        self.events.listen(request)
        return None

    def _glossary(self, _request: Request) -> Response:
        return Response(200, HTML, render_glossary().encode())

    def _scrape(self, request: Request) -> Response:
        body_type, body = self._telemetry.expose(request.getHeader("accept") or "")
        return Response(200, body_type, body)

    def _live(self, _request: Request) -> Response:
        """A process that answers is alive. Depends on nothing else."""
        return _text(200, "ok")

    def _status(self, request: Request) -> Response:
        """The report of this node; `?full`, which other nodes send, adds the history of the last minutes."""
        full = _asks(request, b"full")
        return Response(200, JSON, encode(self._report(full=full), pretty=not full))

    def _ready(self, request: Request) -> Response | Deferred[Response]:
        status = self._node.status()
        reason = not_ready(status)
        if reason:
            return _text(503, reason)
        if _asks(request, b"sync"):
            return self._synced([group.group for group in status.groups])
        return _text(200, "ok")

    def _synced(self, groups: Iterable[int]) -> Deferred[Response]:
        """Ready when this node has served a linearizable read of every group."""
        waiting = set(groups)
        answer: Deferred[Response] = Deferred()

        def read_ended(group: int, result: object) -> None:
            if answer.called:
                return
            waiting.discard(group)
            if isinstance(result, Exception):
                answer.callback(_text(503, f"group {group} cannot be read: {type(result).__name__}"))
            elif not waiting:
                answer.callback(_text(200, "ok"))

        for group in sorted(waiting):
            self._node.read(group, lambda result, group=group: read_ended(group, result))  # type: ignore[misc]
        return answer


def not_ready(status: Status) -> str:
    """The reason not to send clients to this node now; '' if there is none."""
    if status.problem:
        return status.problem
    if status.state != "serving":
        return f"the node is {status.state}"
    without = [str(group.group) for group in status.groups if not group.leader]
    if without or not status.groups:
        return f"no leader known for group {', '.join(without) or '0'}"
    return ""


class _QuietSite(Site):
    """Writes no access log, as a line per scrape would add nothing to the metrics."""

    noisy = False
    stopped: Callable[[], None]

    def stopFactory(self) -> None:
        """The port is closed: end the event stream too."""
        self.stopped()
        super().stopFactory()

    def log(self, request: object) -> None:
        """Twisted calls this for each request."""


def _text(code: int, text: str) -> Response:
    return Response(code, TEXT, text.encode() + b"\n")


def _asks(request: Request, word: bytes) -> bool:
    """Whether the query has this word; Twisted's `args` leave out words without a value."""
    return word in request.uri.partition(b"?")[2].split(b"&")


def _head(request: Request, code: int, type_: str, cache_control: str) -> None:
    request.setResponseCode(code)
    for name, value in _HEADERS.items():
        request.setHeader(name, value)
    request.setHeader(b"content-type", type_.encode())
    request.setHeader(b"cache-control", cache_control.encode())


def _give(request: Request, answer: Response) -> bytes:
    _head(request, answer.code, answer.type, answer.cache_control)
    request.setHeader(b"content-length", str(len(answer.body)).encode())
    return b"" if request.method == b"HEAD" else answer.body


def _give_later(request: Request, coming: Deferred[Response]) -> None:
    gone: list[object] = []
    request.notifyFinish().addErrback(gone.append)

    def give(answer: Response) -> None:
        if not gone:
            request.write(_give(request, answer))
            request.finish()

    coming.addCallback(give)
