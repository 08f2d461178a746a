"""An image of a running node, read over its client port: `backup.ports.ImageSource`.

The client port has the rights and limits of every other command, so a backup needs no port and no secret of
its own. Each piece is asked for when the one before it is written, so neither side holds more than one.
"""

import time
from collections.abc import Callable
from contextlib import suppress
from typing import Any

import msgspec

from kraft.backup.errors import BackupError
from kraft.backup.manifest import Manifest
from kraft.cli.cluster_client import ClusterClient, Words
from kraft.cli.connection import Address, NodeConnection
from kraft.cli.failure import Failure
from kraft.cli.servers import ServerAddress
from kraft.node.values import Rows
from kraft.resp.values import Error, Reply

OPEN_SECONDS = 900.0  # as long as a node waits for its checkpoint


class RemoteImage:
    """The image that `server` has opened. Methods raise `Failure`; `read` keeps to `bytes_per_second`."""

    def __init__(
        self,
        servers: list[ServerAddress],
        bytes_per_second: int,
        connect: Callable[[Address, float], NodeConnection] = NodeConnection.connect,
    ) -> None:
        self._client = ClusterClient(
            servers, follow=False, timeout=OPEN_SECONDS, repeatable=_repeatable, connect=connect
        )
        self._rate = bytes_per_second
        self._free_at = time.monotonic()
        opened: Any = self._ask("OPEN")
        try:
            token, head = opened
            self._token = int(token)
            self.head = msgspec.json.decode(head, type=Manifest)
        except (TypeError, ValueError, msgspec.DecodeError):
            raise Failure("the node does not answer like a kraft that can be backed up: upgrade it") from None
        self.server = self._client.server

    def read(self, group: int, after: bytes | None) -> Rows:
        """A piece of the rows of a group."""
        time.sleep(max(0.0, self._free_at - time.monotonic()))
        place = [] if after is None else [after]
        reply = self._ask("READ", str(self._token).encode(), str(group).encode(), *place)
        if not isinstance(reply, list) or len(reply) != 3:
            raise BackupError(f"{self.server} does not answer with a piece of the image")
        data, last, end = reply
        if not isinstance(data, bytes) or not isinstance(last, bytes):
            raise BackupError(f"{self.server} does not answer with a piece of the image")
        if self._rate:
            self._free_at = max(self._free_at, time.monotonic()) + len(data) / self._rate
        return Rows(data, last, bool(end))

    def close(self) -> None:
        """Give the image up."""
        with suppress(Failure):  # the node closes it by itself when nobody reads it
            self._ask("CLOSE", str(self._token).encode())
        self._client.close()

    def _ask(self, *words: str | bytes) -> Reply:
        encoded = [word.encode() if isinstance(word, str) else word for word in words]
        reply = self._client.call([b"KRAFT", b"IMAGE", *encoded])
        if isinstance(reply, Error):
            raise Failure(f"{self._client.server}: {reply.text.removeprefix('ERR ')}")
        return reply


def _repeatable(_: Words) -> bool:
    """Reading a piece twice changes nothing; an image that was opened and lost is closed by itself."""
    return True
