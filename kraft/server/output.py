"""The output side of one connection: replies in order, pushes between them, and the bound on unread bytes.

Everything is rendered whole before it joins the output, so that a push may come at any time and never lands
inside a reply. While the client leaves much unread, `blocked` is True: the session begins nothing more until
the client has read everything. A client that leaves far too much unread is closed.
"""

from kraft.resp.render import BULK, payload_bytes, render, render_many, render_plain
from kraft.resp.values import Push, RenderedArray, Reply
from kraft.server.port import ClientPort
from kraft.server.ports import Connection
from kraft.server.session_state import SessionState

UNREAD_BYTES = 1 << 20  # not read by the client yet; then its requests wait until it has read everything
OUTPUT_BYTES = 64 << 20  # not read by the client yet; fixed by the client port's contract

_OK = b"+OK\r\n"
_QUEUED = b"+QUEUED\r\n"


class Output:
    """Renders replies in the form that `state` asks for and sends them to one connection.

    `chunks` are rendered replies that are not sent yet. `blocked` means that nothing more is to be done for
    the client: it has to read first, or it is `lost`.
    """

    __slots__ = ("_closed", "_connection", "_port", "_state", "blocked", "chunks", "lost")

    def __init__(self, port: ClientPort, connection: Connection, state: SessionState) -> None:
        self.chunks: list[bytes] = []
        self.blocked = False
        self.lost = False  # nothing can be sent any more
        self._closed = False  # nothing is to be sent after what was sent
        self._port = port
        self._connection = connection
        self._state = state

    @property
    def unsent_bytes(self) -> int:
        """Bytes that wait in this process for the client to read."""
        return 0 if self.lost else self._connection.unsent_bytes

    def add(self, replies: list[Reply]) -> None:
        """Add replies to requests. Their size is checked before they are copied into one chunk."""
        state = self._state
        if state.silent or state.skipping:
            replies = self._wanted(replies)
        if not replies:
            return
        first = replies[0]
        if type(first) is bytes and len(replies) == 1 and not state.plain:
            self.chunks.append(BULK % (len(first), first))  # the usual reply to a read, without a call
        elif replies.count("OK") == len(replies) and not state.plain:
            self.chunks.append(_OK * len(replies))
        elif first == "OK" and (queued := _queued(replies)) and not state.plain:
            self.chunks.append(_OK + _QUEUED * queued)  # to MULTI and what came with it
            if queued + 1 < len(replies):
                self.add(replies[queued + 1 :])
        elif isinstance(first, RenderedArray):
            self._send(first)
        elif (len(replies) > 1 or type(first) is list) and payload_bytes(replies) > OUTPUT_BYTES:
            self.abort("output_limit")
        elif state.plain:
            self.chunks.extend(map(render_plain, replies))
        else:
            self.chunks.append(render_many(replies, state.protocol))

    def _wanted(self, replies: list[Reply]) -> list[Reply]:
        """The replies that CLIENT REPLY has not switched off."""
        state = self._state
        if state.silent:
            return []
        skipped = min(state.skipping, len(replies))
        state.skipping -= skipped
        return replies[skipped:]

    def push(self, value: Push) -> None:
        """Send a value that answers no request, after the replies so far. CLIENT REPLY does not affect it.

        A RESP2 connection gets an array: the caller must know that the client expects it.
        """
        if self.lost or self._closed:
            return
        state = self._state
        self.chunks.append(render_plain(value) if state.plain else render(value, state.protocol))
        self.flush()

    def _send(self, array: RenderedArray) -> None:
        """Send a long array, which is the only reply of its segment, without a copy of all of it."""
        self.chunks.append(
            b"*%d\r\n" % array.count if not self._state.plain else b"" if array.count else b"\n"
        )
        self.flush()
        for chunk in array.chunks:
            if self.lost:
                break
            self.chunks.append(chunk)
            self.flush()

    def flush(self) -> None:
        """Send what was added. `blocked` is True afterwards if the client leaves too much unread."""
        chunks = self.chunks
        if not chunks:
            return
        data = chunks[0] if len(chunks) == 1 else b"".join(chunks)
        chunks.clear()
        self._port.statistics.bytes_sent += len(data)
        unsent = self._connection.write(data)
        if unsent > OUTPUT_BYTES:
            self.abort("output_limit")
        elif unsent > UNREAD_BYTES and not self.blocked and not self._closed:
            self.blocked = True
            self._connection.notify_sent()

    def close(self, farewell: bytes = b"") -> None:
        """Send what was added and `farewell`, and close once the client has read it."""
        if self.lost:
            return
        self._closed = True
        if farewell:
            self.chunks.append(farewell)
        self.flush()
        if not self.lost:
            self._connection.close()

    def sent(self) -> None:
        """The client has read everything: go on."""
        self.blocked = self.lost

    def abort(self, reason: str) -> None:
        """Close at once, drop what was added, and count `reason` as the cause."""
        if not self.lost:
            self.drop()
            self._port.rejected(reason)
            self._connection.abort()

    def drop(self) -> None:
        """The connection is gone: nothing is sent any more."""
        self.lost = self.blocked = True
        self.chunks.clear()


def _queued(replies: list[Reply]) -> int:
    """How many commands were queued, if the replies to all of them follow the first one; else 0."""
    count = replies.count("QUEUED")
    return count if replies[1 : count + 1] == ["QUEUED"] * count else 0
