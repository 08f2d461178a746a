"""The ports of the HTTP server. `host` and `telemetry` implement them; `process` connects them."""

from collections.abc import Callable, Iterator
from typing import Protocol

from twisted.internet.defer import Deferred

from kraft.node.status import Status
from kraft.telemetry.recent.facts import Facts

ReadDone = Callable[[object], None]  # called with an Exception, or with a result that is not used here
# Arguments: the `host:port` of another node's HTTP port, and a path. Result: the body of the response. Fails
# within `limits.ASK_SECONDS` with an exception whose text is for people.
Fetch = Callable[[str, str], Deferred[bytes]]


class NodePort(Protocol):
    """The node."""

    def status(self) -> Status:
        """The state of the node now."""

    def read(self, group: int, done: ReadDone) -> None:
        """Make a linearizable read. Calls `done` later, exactly once, at the latest after `leader_wait`."""


class AccessObserver(Protocol):
    """What is told of requests that may not read their page."""

    def http_refused(self, address: str, reason: str) -> None:
        """A request had no token or certificate (`reason` missing), or a wrong token (wrong)."""


class TelemetryPort(Protocol):
    """The telemetry of the node."""

    def exposition_type(self, accept: str) -> str:
        """The content type of the answer to a scrape with this Accept header."""

    def expose(self, content_type: str) -> Iterator[bytes]:
        """All metrics in a form from `exposition_type`, in pieces that take little time each."""

    def facts(self, *, full: bool) -> Facts:
        """The facts that go with the status; `full` adds the history of the last minutes."""

    def page_failed(self, page: str, error: Exception) -> None:
        """Rendering a page raised `error`. The client sees only its type."""
