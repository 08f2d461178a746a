"""What the HTTP port needs from outside; `host` and `telemetry` give it structurally, `tap` joins them."""

from collections.abc import Callable
from typing import Protocol

from kraft.host.status import Status

ReadDone = Callable[[object], None]  # an Exception, or a view that is of no interest here


class Node(Protocol):
    """The owner of all groups."""

    def status(self) -> Status:
        """The node at this moment."""

    def read(self, group: int, done: ReadDone) -> None:
        """A linearizable read; `done` comes later, exactly once, at the latest after `client.leader_wait`."""


class Telemetry(Protocol):
    """The metrics, and where a page that failed is told."""

    def expose(self, accept: str) -> tuple[str, bytes]:
        """Content type and body for a scrape with this Accept header."""

    def page_failed(self, page: str, error: Exception) -> None:
        """Nothing of the error reaches who asked, beyond its type."""
