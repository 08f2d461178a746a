"""Recognises a port of a node that was asked over HTTP and does not speak it: the client or the peer port."""

import socket
from dataclasses import dataclass
from typing import TYPE_CHECKING

from kraft.cli.client import Client, ErrorReply
from kraft.listen_address import join_address
from kraft.peerwire.errors import WireError
from kraft.peerwire.frames import GREETING, FrameReader, frame
from kraft.peerwire.hello import NONCE_BYTES, Hello, decode, encode

if TYPE_CHECKING:
    import ssl

Address = tuple[str, int]
_STRANGER = Hello("kraft-status", "0" * 32, nonce=bytes(NONCE_BYTES))  # never let in


@dataclass(frozen=True, slots=True)
class KnownPort:
    """A port of the node `id` ('' if unknown). `kind`: client or peer. `http`: its HTTP address, or ''."""

    kind: str
    id: str
    http: str

    def explain(self, address: str) -> str:
        """What the port at `address` is, and which one to name instead."""
        of = self.id or "a node"
        right = self.http or "the one of http.listen in its configuration"
        return f"{address} is the {self.kind} port of {of}; its HTTP port is {right}"


def recognise(address: Address, timeout: float, security: "ssl.SSLContext | None" = None) -> KnownPort | str:
    """The port at `address`, or what else listens there, in words. `timeout` is in seconds."""
    try:
        return _client_port(address, timeout, security) or _peer_port(address, timeout)
    except OSError:
        return f"what listens at {join_address(*address)} is neither HTTP nor a port of a kraft node"


def _client_port(
    address: Address, timeout: float, security: "ssl.SSLContext | None"
) -> KnownPort | str | None:
    """The node that answers Redis commands here; None if nothing does."""
    try:
        with Client.connect(address, timeout, security) as client:
            status, members = client.call("KRAFT", "STATUS"), client.call("KRAFT", "MEMBERS")
    except ErrorReply as error:
        return f"{join_address(*address)} is a Redis server and not a kraft node: {error}"
    except (OSError, ValueError):
        return None
    if not isinstance(status, dict) or not isinstance(members, list):
        return None
    id_ = str(status.get("node", ""))
    http = [each.get("http", "") for each in members if isinstance(each, dict) and each.get("id") == id_]
    return KnownPort("client", id_, str(http[0]) if http else "")


def _peer_port(address: Address, timeout: float) -> KnownPort | str:
    """The node that greets here. Raises OSError if none does.

    A node whose cluster has a secret may keep its name and addresses to itself.
    """
    reader = FrameReader()
    with socket.create_connection(address, timeout) as connection:
        connection.settimeout(timeout)
        connection.sendall(frame(GREETING, 0, encode(_STRANGER)))
        try:
            while (message := reader.next_message()) is None:
                data = connection.recv(1 << 16)
                if not data:
                    raise ConnectionError("closed")
                reader.feed(data)
            greeting = decode(message[1])
        except WireError:
            raise ConnectionError("not a kraft node") from None
    if isinstance(greeting, Hello):
        return KnownPort("peer", greeting.id, greeting.http)
    return KnownPort("peer", "", "")
