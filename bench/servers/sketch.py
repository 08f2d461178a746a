"""The yardstick: Twisted and SQLite with every write on the disks of a majority, but without Raft.

Arguments: leader|follower PORT DIRECTORY [FOLLOWER_PORT ...]. It holds no elections, has no recovery and must
never store valuable data. One round is in flight at a time; commands that arrive meanwhile form the next one.
A round with writes is one row, sent to the followers and committed by the leader's writer thread at the same
time. A round of reads is empty and only asks the followers to reply, as a read index does. A round ends when
a majority of all processes, including the leader, has confirmed it.
"""

import itertools
import marshal
import queue
import sys
import threading
from pathlib import Path
from typing import Any

import apsw
from twisted.internet import epollreactor

epollreactor.install()

from twisted.internet import reactor as _reactor  # noqa: E402 - the reactor is chosen above
from twisted.internet.protocol import ClientFactory, Protocol  # noqa: E402

from bench.servers.wire import Commands, listen, write_now  # noqa: E402

reactor: Any = _reactor

SWITCH_INTERVAL_SECONDS = 0.00005
"""A thread that returns from an fsync waits this long for the interpreter instead of 5 ms."""

HEADER_BYTES = 8  # length of the body, then the number of the round


class Journal:
    """One table, one row per round, synced at every commit."""

    def __init__(self, directory: str) -> None:
        self._db = apsw.Connection(str(Path(directory, "log.db")))
        mode = self._db.execute("PRAGMA journal_mode=WAL").get
        if mode != "wal":
            raise SystemExit(f"the journal mode is {mode}, not wal")
        self._db.execute("PRAGMA synchronous=FULL")
        self._db.execute("CREATE TABLE log (number INTEGER PRIMARY KEY, term INTEGER, body BLOB)")

    def append(self, number: int, body: bytes) -> None:
        """Insert a row; return when it is durable. A single statement is a transaction of its own."""
        self._db.execute("INSERT INTO log VALUES (?, 1, ?)", (number, body))


class Framed(Protocol):
    """Length-prefixed frames, each with the number of a round."""

    def __init__(self) -> None:
        self._pending = b""

    def connectionMade(self) -> None:
        """Send small frames at once."""
        self.transport.setTcpNoDelay(True)  # type: ignore[union-attr]

    def dataReceived(self, data: bytes) -> None:
        """Handle complete frames and keep the rest."""
        data = self._pending + data if self._pending else data
        start, size = 0, len(data)
        while size - start >= HEADER_BYTES:
            body = start + HEADER_BYTES
            end = body + int.from_bytes(data[start : start + 4], "big")
            if end > size:
                break
            self.frame_received(int.from_bytes(data[start + 4 : body], "big"), data[body:end])
            start = end
        self._pending = data[start:]

    def frame_received(self, number: int, body: bytes) -> None:
        """Take one frame."""
        raise NotImplementedError


def frame(number: int, body: bytes = b"") -> bytes:
    """Encode one frame."""
    return len(body).to_bytes(4, "big") + number.to_bytes(4, "big") + body


class Follower(Framed):
    """Stores and confirms rounds; it commits in the reactor, because it has nothing else to do."""

    journal: Journal

    def frame_received(self, number: int, body: bytes) -> None:
        """Store a round unless it is empty, and confirm it."""
        if body:
            self.journal.append(number, body)
        write_now(self.transport, frame(number))


class Link(Framed):
    """The leader's end of the connection to a follower."""

    leader: "Leader"

    def connectionMade(self) -> None:
        """Register this follower."""
        super().connectionMade()
        self.leader.links.append(self.transport)

    def frame_received(self, number: int, body: bytes) -> None:  # noqa: ARG002 - an answer has no body
        """Pass the confirmation to the leader."""
        self.leader.confirmed(number)


class Leader:
    """Forms rounds from client commands and ends each round when a majority has confirmed it."""

    def __init__(self, journal: Journal, followers: int) -> None:
        self.links: list[Any] = []
        self._needed = (followers + 1) // 2 + 1
        self._numbers = itertools.count(1)
        self._number = 0  # of the round in flight, 0 when there is none
        self._confirmations = 0
        self._flying: list[tuple[Commands, list[list[bytes]]]] = []
        self._waiting: list[tuple[Commands, list[list[bytes]]]] = []
        self._armed = False
        self._data: dict[bytes, bytes] = {}
        self._to_disk: queue.SimpleQueue[tuple[int, bytes]] = queue.SimpleQueue()
        threading.Thread(target=self._write, args=(journal,), daemon=True).start()

    def _write(self, journal: Journal) -> None:
        while True:
            number, body = self._to_disk.get()
            journal.append(number, body)
            reactor.callFromThread(self.confirmed, number)

    def take(self, client: Commands, commands: list[list[bytes]]) -> None:
        """Queue the commands of one read; the round begins when all readable connections were read."""
        self._waiting.append((client, commands))
        if not self._armed and not self._number:
            self._armed = True
            reactor.callLater(0, self._begin)

    def _begin(self) -> None:
        self._armed = False
        self._flying, self._waiting = self._waiting, []
        self._number = number = next(self._numbers)
        self._confirmations = 0
        writes = [command for _, commands in self._flying for command in commands if command[0] == b"SET"]
        body = marshal.dumps(writes) if writes else b""
        message = frame(number, body)
        for link in self.links:
            write_now(link, message)
        if body:
            self._to_disk.put((number, body))
        else:
            self.confirmed(number)

    def confirmed(self, number: int) -> None:
        """Count one confirmation; those of an earlier round are ignored."""
        if number != self._number:
            return
        self._confirmations += 1
        if self._confirmations >= self._needed:
            self._finish()

    def _finish(self) -> None:
        data = self._data
        for client, commands in self._flying:
            replies = []
            for command in commands:
                if command[0] == b"SET":
                    data[command[1]] = command[2]
                    replies.append(b"+OK\r\n")
                elif command[0] == b"GET":
                    value = data.get(command[1])
                    replies.append(b"$-1\r\n" if value is None else b"$%d\r\n%b\r\n" % (len(value), value))
                else:
                    replies.append(b"+OK\r\n")
            client.send(b"".join(replies))
        self._number = 0
        if self._waiting:
            self._begin()


class Client(Commands):
    """A client of the leader."""

    leader: Leader

    def commands_received(self, commands: list[list[bytes]]) -> None:
        """Pass them to the leader."""
        self.leader.take(self, commands)


def main(role: str, port: str, directory: str, *followers: str) -> None:
    """Serve until killed."""
    sys.setswitchinterval(SWITCH_INTERVAL_SECONDS)
    journal = Journal(directory)
    if role == "follower":
        Follower.journal = journal
        listen(reactor, int(port), Follower)
    else:
        Client.leader = Link.leader = Leader(journal, len(followers))
        listen(reactor, int(port), Client)
        for follower in followers:
            reactor.connectTCP("127.0.0.1", int(follower), ClientFactory.forProtocol(Link))
    reactor.run()


if __name__ == "__main__":
    main(*sys.argv[1:])
