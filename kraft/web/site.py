"""The pages of the HTTP port, from one table of paths.

Each page is a function of the request that returns an `Answer`, at once or, for `/readyz?sync`, later. A part
that fails costs its own page and no other: `/livez` asks nobody.
"""

from collections.abc import Callable, Iterable
from dataclasses import dataclass

import msgspec
from twisted.internet.defer import Deferred
from twisted.internet.interfaces import IReactorTime
from twisted.web.resource import Resource
from twisted.web.server import NOT_DONE_YET, Request, Site

from kraft.host.status import Status
from kraft.web.limits import IDLE_SECONDS, BoundedRequest, ConnectionLimit
from kraft.web.page import render_page
from kraft.web.ports import Node, Telemetry

TEXT = "text/plain; charset=utf-8"
JSON = "application/json"
HTML = "text/html; charset=utf-8"
_HEADERS = {
    b"cache-control": b"no-store",
    b"content-security-policy": b"default-src 'none'; style-src 'unsafe-inline'",
    b"server": b"kraft",
    b"x-content-type-options": b"nosniff",
}


@dataclass(frozen=True, slots=True)
class Answer:
    """What a page says."""

    code: int
    type: str
    body: bytes


def site(node: Node, telemetry: Telemetry, clock: IReactorTime) -> ConnectionLimit:
    """The factory for the HTTP port: pages, within limits."""
    pages = Pages(node, telemetry)
    bounded = _QuietSite(pages, BoundedRequest, timeout=IDLE_SECONDS, reactor=clock)  # type: ignore[no-untyped-call]
    return ConnectionLimit(bounded)  # type: ignore[no-untyped-call]


class Pages(Resource):
    """All pages; one leaf, as there are five paths and none below them."""

    isLeaf = True

    def __init__(self, node: Node, telemetry: Telemetry) -> None:
        super().__init__()  # type: ignore[no-untyped-call]
        self._node = node
        self._telemetry = telemetry
        self._pages: dict[bytes, Callable[[Request], Answer | Deferred[Answer]]] = {
            b"/": self._page,
            b"/metrics": self._scrape,
            b"/livez": self._live,
            b"/readyz": self._ready,
            b"/status": self._status,
        }

    def render(self, request: Request) -> bytes | int:
        """The answer, or NOT_DONE_YET when it comes later."""
        if request.method not in (b"GET", b"HEAD"):
            request.setHeader(b"allow", b"GET, HEAD")
            return _give(request, _text(405, "only GET and HEAD are served here"))
        page = self._pages.get(request.path)
        if page is None:
            known = " ".join(path.decode() for path in self._pages)
            return _give(request, _text(404, f"no such page; there are {known}"))
        try:
            answer = page(request)
        except Exception as error:
            self._telemetry.page_failed(request.path.decode(), error)
            return _give(request, _text(500, f"this page failed: {type(error).__name__}"))
        if isinstance(answer, Answer):
            return _give(request, answer)
        _give_later(request, answer)
        return NOT_DONE_YET

    def _page(self, _request: Request) -> Answer:
        return Answer(200, HTML, render_page(self._node.status()).encode())

    def _scrape(self, request: Request) -> Answer:
        body_type, body = self._telemetry.expose(request.getHeader("accept") or "")
        return Answer(200, body_type, body)

    def _live(self, _request: Request) -> Answer:
        """Alive is whoever answers: the reactor turns."""
        return _text(200, "ok")

    def _status(self, _request: Request) -> Answer:
        body = msgspec.json.format(msgspec.json.encode(self._node.status()), indent=2)
        return Answer(200, JSON, body + b"\n")

    def _ready(self, request: Request) -> Answer | Deferred[Answer]:
        status = self._node.status()
        reason = not_ready(status)
        if reason:
            return _text(503, reason)
        if b"sync" in request.uri.partition(b"?")[2].split(
            b"&"
        ):  # Twisted's `args` leave out valueless words
            return self._synced([group.group for group in status.groups])
        return _text(200, "ok")

    def _synced(self, groups: Iterable[int]) -> Deferred[Answer]:
        """Ready once a linearizable read of every group was served from here."""
        waiting = set(groups)
        answer: Deferred[Answer] = Deferred()

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
    """Why clients should not be sent to this node now; empty when they may."""
    if status.problem:
        return status.problem
    if status.state != "serving":
        return f"the node is {status.state}"
    without = [str(group.group) for group in status.groups if not group.leader]
    if without or not status.groups:
        return f"no leader known for group {', '.join(without) or '0'}"
    return ""


class _QuietSite(Site):
    """Writes no access log: a line per scrape says nothing that the metrics do not."""

    noisy = False

    def log(self, request: object) -> None:
        """Nothing."""


def _text(code: int, text: str) -> Answer:
    return Answer(code, TEXT, text.encode() + b"\n")


def _give(request: Request, answer: Answer) -> bytes:
    request.setResponseCode(answer.code)
    for name, value in _HEADERS.items():
        request.setHeader(name, value)
    request.setHeader(b"content-type", answer.type.encode())
    request.setHeader(b"content-length", str(len(answer.body)).encode())
    return b"" if request.method == b"HEAD" else answer.body


def _give_later(request: Request, coming: Deferred[Answer]) -> None:
    gone: list[object] = []
    request.notifyFinish().addErrback(gone.append)

    def give(answer: Answer) -> None:
        if not gone:
            request.write(_give(request, answer))
            request.finish()

    coming.addCallback(give)
