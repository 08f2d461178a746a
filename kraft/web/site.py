"""The pages of the HTTP port, in one table of paths.

Each page is a method from a request to a `Response`, returned at once or later: `/readyz?sync` waits for
reads, `/` for the other nodes. Only `/events` goes on writing. An error affects only its own page.
"""

from collections.abc import Callable, Iterable, Iterator
from dataclasses import replace
from functools import partial
from typing import Any, cast

from twisted.internet.defer import CancelledError, Deferred
from twisted.internet.interfaces import IAddress, IReactorTime
from twisted.internet.protocol import ServerFactory
from twisted.python.failure import Failure
from twisted.web.http import Request, datetimeToString

from kraft.node.status import SERVING, Status
from kraft.telemetry.recent.history import RANGES, TimeRange
from kraft.web import assets
from kraft.web.access import Access
from kraft.web.channel import Channel
from kraft.web.cluster import Cluster
from kraft.web.connections import Connections
from kraft.web.event_stream import TYPE as EVENT_STREAM
from kraft.web.event_stream import EventStream
from kraft.web.glossary import render_glossary
from kraft.web.limits import ASK_SECONDS, BUSY_MAX, SUBSCRIBERS_MAX
from kraft.web.page import POLICY, render_page
from kraft.web.ports import Fetch, NodePort, TelemetryPort
from kraft.web.report import Report, encode
from kraft.web.request import PageRequest
from kraft.web.response import Response, text_response
from kraft.web.shared_body import SharedBody

JSON = "application/json"
HTML = "text/html; charset=utf-8"
UNKNOWN_RANGE = f"this time range is not known; there are {' '.join(f'range={each.name}' for each in RANGES)}"
FOR_EVER = "public, max-age=31536000, immutable"  # the name changes with the content
_HEADERS = {
    b"content-security-policy": POLICY.encode(),
    b"referrer-policy": b"no-referrer",
    b"server": b"kraft",
    b"x-content-type-options": b"nosniff",
}


_Page = Callable[[PageRequest], Response | Deferred[Response] | None]


class Site(ServerFactory):
    """The factory of the HTTP port."""

    noisy = False

    def __init__(
        self, node: NodePort, telemetry: TelemetryPort, clock: IReactorTime, fetch: Fetch, access: Access
    ) -> None:
        """`fetch` asks other nodes; `access` decides who may read the pages."""
        self._clock = clock
        self._connections = Connections(clock)
        self._pages = Pages(node, telemetry, clock, fetch, access, self._connections)

    def buildProtocol(self, addr: IAddress | None) -> Channel:  # noqa: ARG002  Twisted's signature
        """A channel; another connection may have to give way to it."""
        channel = Channel(self._pages, self._connections, self._clock)
        channel.factory = self
        return channel

    def stopFactory(self) -> None:
        """The port is closed: end the event stream too."""
        self._pages.events.close()

    def log(self, request: object) -> None:
        """Twisted calls this for each request. No access log: a line per scrape would add nothing."""


class Pages:
    """All pages, in one table of paths: there are few, and none below them."""

    def __init__(
        self,
        node: NodePort,
        telemetry: TelemetryPort,
        clock: IReactorTime,
        fetch: Fetch,
        access: Access,
        connections: Connections,
    ) -> None:
        self._node = node
        self._telemetry = telemetry
        self._clock = clock
        self._access = access
        self._connections = connections
        self._cluster = Cluster(lambda: self._report(full=True), fetch, clock)
        self.events = EventStream(
            self._cluster, clock, lambda error: telemetry.page_failed("/events", error), access.permits
        )
        self._assets = {b"/" + asset.name.encode(): asset for asset in assets.ALL}
        self._shared: dict[str, SharedBody] = {}
        self._pages: dict[bytes, _Page] = {
            b"/": self._page,
            b"/events": self._events,
            b"/glossary": self._glossary,
            b"/metrics": self._scrape,
            b"/livez": self._live,
            b"/readyz": self._ready,
            b"/status": self._status,
        }

    def serve(self, request: PageRequest) -> None:
        """Answer `request`, now or later. An error costs only this answer."""
        try:
            answer = self._answer(request)
        except Exception as error:
            answer = self._failed(request, error)
        if isinstance(answer, Response):
            _give(request, answer)
        elif answer is not None:
            self._give_later(request, answer)

    def _answer(self, request: PageRequest) -> Response | Deferred[Response] | None:
        if request.method not in (b"GET", b"HEAD"):
            request.setHeader(b"allow", b"GET, HEAD")  # type: ignore[no-untyped-call]
            return text_response(405, "only GET and HEAD are served here")
        refusal = self._access.refusal(request)
        if refusal is not None:
            return refusal
        if request.path in self._assets:
            asset = self._assets[request.path]
            return Response(200, asset.type, asset.body, FOR_EVER)
        page = self._pages.get(request.path)
        if page is None:
            known = " ".join(path.decode() for path in self._pages)
            return text_response(404, f"no such page; there are {known}")
        return page(request)

    def _give_later(self, request: Request, coming: Deferred[Response]) -> None:
        """Answer when `coming` fires. When the client is gone before, nobody waits for it any more."""
        gone: list[Failure] = []

        def leave(failure: Failure) -> None:
            gone.append(failure)
            coming.cancel()

        def give(answer: Response) -> None:
            if not gone:
                _give(request, answer)

        def failed(failure: Failure) -> Response | None:
            return None if gone else self._failed(request, cast(Exception, failure.value))

        if not coming.called and self._connections.busy > BUSY_MAX:
            coming.addErrback(lambda _: None).cancel()
            _give(request, text_response(503, f"{BUSY_MAX} requests are being answered already"))
            return
        request.notifyFinish().addErrback(leave)
        coming.addErrback(failed).addCallback(lambda answer: give(answer) if answer is not None else None)

    def _failed(self, request: Request, error: Exception) -> Response:
        self._telemetry.page_failed(request.path.decode("latin-1"), error)
        return text_response(500, f"this page failed: {type(error).__name__}")

    def _share(
        self, request: PageRequest, name: str, type_: str, pieces: Callable[[], Iterator[bytes]]
    ) -> Deferred[Response]:
        """A page whose body is shared under `name`."""
        shared = self._shared.get(name)
        if shared is None:
            shared = self._shared[name] = SharedBody(pieces, self._clock)
        return shared.get(request.received_at).addCallback(lambda body: Response(200, type_, body))

    def _report(self, *, full: bool) -> Report:
        return Report(self._node.status(), self._telemetry.facts(full=full))

    def _page(self, request: PageRequest) -> Response | Deferred[Response]:
        """Wait for the other nodes, so that the page is complete without a script."""
        range_ = _range(request)
        if range_ is None:
            return text_response(400, UNKNOWN_RANGE)
        shown: Deferred[Any] = Deferred()
        self._cluster.refresh(range_).addCallback(lambda _: None if shown.called else shown.callback(None))
        shown.addTimeout(ASK_SECONDS, self._clock).addErrback(_late)
        rendered = partial(self._rendered, range_)
        return shown.addCallback(lambda _: self._share(request, f"/ {range_.name}", HTML, rendered))

    def _rendered(self, range_: TimeRange) -> Iterator[bytes]:
        yield render_page(self._cluster.view(), range_).encode()

    def _events(self, request: Request) -> Response | None:
        range_ = _range(request)
        if range_ is None:
            return text_response(400, UNKNOWN_RANGE)
        if self.events.full:
            return text_response(503, f"{SUBSCRIBERS_MAX} pages are open already")
        if request.method == b"HEAD":
            return Response(200, EVENT_STREAM, b"")
        _head(request, 200, EVENT_STREAM, "no-store")
        self.events.listen(request, range_)
        return None

    def _glossary(self, _request: PageRequest) -> Response:
        return Response(200, HTML, render_glossary().encode())

    def _scrape(self, request: PageRequest) -> Deferred[Response]:
        accept = (request.getHeader(b"accept") or b"").decode("latin-1")
        type_ = self._telemetry.exposition_type(accept)
        return self._share(request, type_, type_, partial(self._telemetry.expose, type_))

    def _live(self, _request: PageRequest) -> Response:
        """A process that answers is alive. Depends on nothing else."""
        return text_response(200, "ok")

    def _status(self, request: PageRequest) -> Response | Deferred[Response]:
        """The report of this node; `?full`, which other nodes send, adds the histories up to a range."""
        range_ = _range(request)
        if range_ is None:
            return text_response(400, UNKNOWN_RANGE)
        if not _asks(request, b"full"):
            return self._share(request, "/status", JSON, self._encoded)
        return self._share(request, f"/status {range_.name}", JSON, partial(self._encoded_full, range_))

    def _encoded(self) -> Iterator[bytes]:
        yield encode(self._report(full=False), pretty=True)

    def _encoded_full(self, range_: TimeRange) -> Iterator[bytes]:
        report = self._report(full=True)
        longer = tuple(each for each in report.facts.longer if each.step <= range_.step)
        yield encode(replace(report, facts=replace(report.facts, longer=longer)), pretty=False)

    def _ready(self, request: PageRequest) -> Response | Deferred[Response]:
        status = self._node.status()
        reason = not_ready(status)
        if reason:
            return text_response(503, reason)
        if _asks(request, b"sync"):
            return self._synced([group.group for group in status.groups])
        return text_response(200, "ok")

    def _synced(self, groups: Iterable[int]) -> Deferred[Response]:
        """Ready when this node has served a linearizable read of every group."""
        waiting = set(groups)
        answer: Deferred[Response] = Deferred()

        def read_ended(group: int, result: object) -> None:
            if answer.called:
                return
            waiting.discard(group)
            if isinstance(result, Exception):
                answer.callback(text_response(503, f"group {group} cannot be read: {type(result).__name__}"))
            elif not waiting:
                answer.callback(text_response(200, "ok"))

        for group in sorted(waiting):
            self._node.read(group, lambda result, group=group: read_ended(group, result))  # type: ignore[misc]
        return answer


def not_ready(status: Status) -> str:
    """The reason not to send clients to this node now; '' if there is none."""
    return status.problem or ("" if status.state == SERVING else status.state)


def _late(failure: Failure) -> Failure | None:
    """Go on without the nodes that have not answered; but not for a client that is gone."""
    return failure if failure.check(CancelledError) else None


def _asks(request: Request, word: bytes) -> bool:
    """Whether the query has this word; Twisted's `args` leave out words without a value."""
    return word in request.uri.partition(b"?")[2].split(b"&")


def _range(request: Request) -> TimeRange | None:
    """The range of the query, the shortest without one; None if it is not known."""
    names = request.args.get(b"range", [RANGES[0].name.encode()])
    return next((each for each in RANGES if [each.name.encode()] == names), None)


def _head(request: Request, code: int, type_: str, cache_control: str) -> None:
    request.setResponseCode(code)
    for name, value in _HEADERS.items():
        request.setHeader(name, value)
    request.setHeader(b"date", datetimeToString())
    request.setHeader(b"content-type", type_.encode())
    request.setHeader(b"cache-control", cache_control.encode())


def _give(request: Request, answer: Response) -> None:
    _head(request, answer.code, answer.type, answer.cache_control)
    request.setHeader(b"content-length", str(len(answer.body)).encode())
    request.write(b"" if request.method == b"HEAD" else answer.body)
    request.finish()
