"""The common part of the measured servers: splitting a client's bytes into commands, and direct writes.

hiredis parses here. kraft cannot use it, because it allocates announced lengths without a limit.
"""

from typing import Any

import hiredis
from twisted.internet.protocol import Factory, Protocol


def write_now(transport: Any, data: bytes) -> None:
    """Send at once when nothing is buffered, which saves a poll and two epoll_ctl; buffer the rest."""
    if not transport.dataBuffer and not transport._tempDataBuffer:  # noqa: SLF001 - Twisted has no public question
        sent = transport.writeSomeData(data)
        if not isinstance(sent, int):
            transport.connectionLost(sent)
            return
        if sent == len(data):
            return
        data = data[sent:]
    transport.write(data)


class Commands(Protocol):
    """One client connection: RESP, or inline commands when its first byte is not an asterisk."""

    def __init__(self) -> None:
        self._reader: Any = hiredis.Reader()
        self._lines: bytes | None = None  # the unfinished line of a connection that speaks lines
        self._fresh = True

    def connectionMade(self) -> None:
        """Send small replies at once."""
        self.transport.setTcpNoDelay(True)  # type: ignore[union-attr]

    def dataReceived(self, data: bytes) -> None:
        """Handle the complete commands of one read together."""
        if self._fresh:
            self._fresh = False
            self._lines = None if data.startswith(b"*") else b""
        commands = self._split_resp(data) if self._lines is None else self._split_lines(data)
        if commands:
            self.commands_received(commands)

    def _split_resp(self, data: bytes) -> list[list[bytes]]:
        reader = self._reader
        reader.feed(data)
        commands = []
        while (command := reader.gets()) is not False:
            commands.append(command)
        return commands

    def _split_lines(self, data: bytes) -> list[list[bytes]]:
        *lines, self._lines = ((self._lines or b"") + data).split(b"\r\n")
        return [line.split() for line in lines]

    def commands_received(self, commands: list[list[bytes]]) -> None:
        """Handle the commands of one read, at least one."""
        raise NotImplementedError

    def send(self, data: bytes) -> None:
        """Write replies."""
        write_now(self.transport, data)


def listen(reactor: Any, port: int, protocol: type[Protocol]) -> None:
    """Accept connections of `protocol` on loopback."""
    reactor.listenTCP(port, Factory.forProtocol(protocol), backlog=511, interface="127.0.0.1")
