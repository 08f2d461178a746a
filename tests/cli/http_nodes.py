"""Nodes that answer on their HTTP port with a report, and can be taken away and brought back."""

import threading
from collections.abc import Callable
from dataclasses import replace
from functools import partial
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

from kraft.node.status import MemberStatus
from kraft.web.report import Report, encode
from tests.web.reports import member

Made = Callable[[tuple[MemberStatus, ...]], Report]  # from the members, whose addresses are known by then


class HttpNodes:
    """A cluster without processes, by the ids of its nodes."""

    def __init__(self) -> None:
        self.addresses: dict[str, str] = {}
        self._bodies: dict[str, bytes] = {}
        self._servers: dict[str, ThreadingHTTPServer] = {}

    def start(self, **reports: Made | None) -> dict[str, str]:
        """Start the nodes. Returns their addresses; None is a node that is down."""
        for id_ in reports:
            self._listen(id_, 0)
        members = tuple(member(id_, http=address) for id_, address in self.addresses.items())
        for id_, made in reports.items():
            if made is None:
                self.stop(id_)
            else:
                told = made(members)
                told = replace(told, status=replace(told.status, http=self.addresses[id_]))
                self._bodies[id_] = encode(told, pretty=False)
        return self.addresses

    def _listen(self, id_: str, port: int) -> None:
        server = ThreadingHTTPServer(("127.0.0.1", port), partial(_Page, lambda: self._bodies[id_]))
        self.addresses[id_] = f"127.0.0.1:{server.server_port}"
        self._servers[id_] = server
        threading.Thread(target=server.serve_forever, args=(0.01,)).start()

    def stop(self, id_: str) -> None:
        """Connections to the node are refused from now on."""
        server = self._servers.pop(id_)
        server.shutdown()
        server.server_close()

    def restart(self, id_: str) -> None:
        """The node is back at its port."""
        self._listen(id_, int(self.addresses[id_].rpartition(":")[2]))

    def close(self) -> None:
        """Stop all of them."""
        for id_ in tuple(self._servers):
            self.stop(id_)


class _Page(BaseHTTPRequestHandler):
    """Answers every request with the same body."""

    def __init__(self, body: Callable[[], bytes], *arguments: Any) -> None:
        self._body = body
        super().__init__(*arguments)

    def do_GET(self) -> None:
        body = self._body()
        self.send_response(200)
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, *_: object) -> None:
        pass
