"""What the nodes of a demonstration cluster tell about their start, in the protocol of sd_notify(3)."""

import os
import socket
from collections.abc import Iterable

NOTICE_BYTES_MAX = 4096
STATUS = "STATUS="


class NodeNotices:
    """A socket for each node while the cluster starts. Later nobody reads, and what nodes send is lost."""

    def __init__(self, ids: Iterable[str]) -> None:
        self._sockets: dict[str, socket.socket] = {}
        self._told: dict[str, str] = {}
        for id_ in ids:
            opened = self._sockets[id_] = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM)
            opened.bind("\0" + self._name(id_))  # an abstract name: there is no file to remove
            opened.setblocking(False)

    def _name(self, id_: str) -> str:
        return f"kraft-demo-{os.getpid()}-{id_}"

    def environment(self, id_: str) -> dict[str, str]:
        """The environment of the node's process; without a socket for it, nobody is told anything."""
        return {"NOTIFY_SOCKET": f"@{self._name(id_)}" if id_ in self._sockets else ""}

    def latest(self) -> dict[str, str]:
        """The last status line of each node that has sent one, by id."""
        for id_, opened in self._sockets.items():
            while notice := _receive(opened):
                for line in notice.split("\n"):
                    if line.startswith(STATUS):
                        self._told[id_] = line.removeprefix(STATUS)
        return self._told

    def close(self) -> None:
        """Close the sockets: a node does not wait for a reader that is gone."""
        for opened in self._sockets.values():
            opened.close()
        self._sockets.clear()


def _receive(opened: socket.socket) -> str:
    """The next notice, '' if there is none."""
    try:
        return opened.recv(NOTICE_BYTES_MAX).decode("utf-8", "replace")
    except BlockingIOError:
        return ""
