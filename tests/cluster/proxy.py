"""A proxy before the peer port of every node, which can cut one node off and let it back.

A node advertises its proxy, so that every link passes through one: a link to a cut-off node through the
node's own proxy, a link that it dials through that of the other. The proxy reads the id of the dialling node
from its greeting. A cut closes the links and refuses new ones, without the end of any process.
"""

import contextlib
import socket
import threading

from kraft.peerwire.frames import FrameReader
from kraft.peerwire.hello import Hello, decode

CONNECT_SECONDS = 20.0


class PeerProxy:
    """Listens on a port of its own and passes bytes on to `port`, the peer port of the node `id`."""

    def __init__(self, id_: str, port: int, cut: set[str]) -> None:
        """`cut` has the ids of the nodes that are cut off; all proxies of a cluster share it."""
        self._id = id_
        self._target = port
        self._cut = cut
        self._links: list[tuple[str, socket.socket]] = []  # by the id of the node that dialled
        self._listener = socket.create_server(("127.0.0.1", 0))
        self.port = self._listener.getsockname()[1]
        threading.Thread(target=self._accept, daemon=True).start()

    def close(self) -> None:
        """Stop listening, and close every link."""
        self._listener.close()
        self.drop(None)

    def drop(self, id_: str | None) -> None:
        """Close the links that `id_` has dialled; those of every node for None."""
        for dialler, end in list(self._links):
            if id_ in (None, dialler, self._id):
                _shut(end)

    def _accept(self) -> None:
        with contextlib.suppress(OSError):
            while True:
                near, _ = self._listener.accept()
                threading.Thread(target=self._serve, args=(near,), daemon=True).start()

    def _serve(self, near: socket.socket) -> None:
        with contextlib.suppress(OSError), near:
            near.settimeout(CONNECT_SECONDS)
            greeting, dialler = _greeting(near)
            if {self._id, dialler} & self._cut:
                return
            far = socket.create_connection(("127.0.0.1", self._target), CONNECT_SECONDS)
            near.settimeout(None)
            far.settimeout(None)
            self._links += [(dialler, near), (dialler, far)]
            with far:
                far.sendall(greeting)
                threading.Thread(target=_pass_on, args=(far, near), daemon=True).start()
                _pass_on(near, far)


def _greeting(end: socket.socket) -> tuple[bytes, str]:
    """The first bytes of a connection, and the id of the node that says them."""
    reader, data = FrameReader(), b""
    while True:
        more = end.recv(1 << 16)
        if not more:
            raise ConnectionError("closed before a greeting")
        data += more
        reader.feed(more)
        message = reader.next_message()
        if message is not None:
            hello = decode(message[1])
            return data, hello.id if isinstance(hello, Hello) else ""


def _pass_on(source: socket.socket, target: socket.socket) -> None:
    with contextlib.suppress(OSError):
        while data := source.recv(1 << 16):
            target.sendall(data)
    _shut(source)
    _shut(target)


def _shut(end: socket.socket) -> None:
    with contextlib.suppress(OSError):
        end.shutdown(socket.SHUT_RDWR)


class Cuts:
    """The proxies of a cluster. Make it before the first start: it changes what the nodes advertise."""

    def __init__(self, cluster, /, **sections) -> None:
        """`sections` are those of every node's file, beside what the harness and the proxies need."""
        self._cut: set[str] = set()
        self._proxies = {each.id: PeerProxy(each.id, each.peer_port, self._cut) for each in cluster}
        members = {id_: f"127.0.0.1:{proxy.port}" for id_, proxy in self._proxies.items()}
        for each in cluster:
            advertise = f"127.0.0.1:{self._proxies[each.id].port}"
            listen = f"tcp:{each.peer_port}:interface=127.0.0.1"
            each.configure(members, peer={"listen": listen, "advertise": advertise}, **sections)

    def cut(self, id_: str) -> None:
        """Cut the node off from all others."""
        self._cut.add(id_)
        for proxy in self._proxies.values():
            proxy.drop(id_)

    def heal(self, id_: str) -> None:
        """Let it back."""
        self._cut.discard(id_)

    def close(self) -> None:
        """End all proxies."""
        for proxy in self._proxies.values():
            proxy.close()
