"""What the HTTP port needs from outside; `host` and `telemetry` give it structurally, `tap` joins them."""

from collections.abc import Callable
from typing import Protocol

from twisted.internet.defer import Deferred

from kraft.node.status import Status
from kraft.telemetry.recent.facts import Facts

ReadDone = Callable[[object], None]  # an Exception, or a view that is of no interest here
# From `host:port` of another node's HTTP port and a path to the body of its answer. Fails within
# `limits.ASK_SECONDS` with an exception whose text a person can read.
Fetch = Callable[[str, str], Deferred[bytes]]


class NodePort(Protocol):
    """The owner of all groups."""

    def status(self) -> Status:
        """The node at this moment."""

    def read(self, group: int, done: ReadDone) -> None:
        """A linearizable read; `done` comes later, exactly once, at the latest after `client.leader_wait`."""


class TelemetryPort(Protocol):
    """The metrics, what they add to the status, and where a page that failed is told."""

    def expose(self, accept: str) -> tuple[str, bytes]:
        """Content type and body for a scrape with this Accept header."""

    def facts(self, *, full: bool) -> Facts:
        """As of now; `full` with the history of the last minutes."""

    def page_failed(self, page: str, error: Exception) -> None:
        """Nothing of the error reaches who asked, beyond its type."""
