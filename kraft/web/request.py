"""One HTTP request: refuses what no page needs before it is received, and hands the rest to the pages."""

from typing import Any, Protocol

from twisted.web.http import Request

from kraft.web.limits import URL_BYTES_MAX


class PageServer(Protocol):
    """What answers the requests."""

    def serve(self, request: "PageRequest") -> None:
        """Answer `request`, now or later. Does not raise."""


class PageRequest(Request):
    """Refuses bodies and long URLs. Twisted itself limits the number and the size of headers.

    `received_at`: when it had arrived, by the clock of the reactor. In a pipeline that is before its turn.
    """

    channel: Any  # a Channel
    received_at = 0.0

    def gotLength(self, length: int | None) -> None:
        """Refuse any body before it arrives; None is a body of unknown length."""
        super().gotLength(0)  # type: ignore[no-untyped-call]
        if length != 0:
            self.channel.refuse(413, "a request to this port has no body")

    def handleContentChunk(self, data: bytes) -> None:
        """Ignore the refused body."""

    def requestReceived(self, command: bytes, path: bytes, version: bytes) -> None:
        """Refuse a URL that is too long before parsing it."""
        if self.channel.refused:
            return
        if len(path) > URL_BYTES_MAX:
            self.channel.refuse(414, f"the URL is longer than {URL_BYTES_MAX} bytes")
            return
        super().requestReceived(command, path, version)  # type: ignore[no-untyped-call]

    def process(self) -> None:
        """Twisted calls this when the request is complete."""
        self.received_at = self.channel.received_at
        pages: PageServer = self.channel.pages
        pages.serve(self)
