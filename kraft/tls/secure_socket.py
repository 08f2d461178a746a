"""A socket that speaks TLS, in the place of the plain one of a connection.

Twisted's connections read and write a socket by `recv` and `send`, and close it by `shutdown`. This one has
the same methods and takes and gives plain text, so whatever a connection does with a socket, such as its
buffer, its producers and its closed halves, holds with TLS as well. Python's `ssl` encrypts from memory to
memory, in C: one read and one write of the socket for each of plain text, as without TLS.

OpenSSL's buffers in memory keep the largest size that they had while a connection is open, so no more than a
record is in them at a time.
"""

import errno
import socket
import ssl
from collections.abc import Callable, Iterator
from contextlib import suppress
from typing import Any

RECORD_BYTES = 16 << 10  # the longest piece of plain text that one read gives (RFC 8446 section 5.1)
READ_BYTES = RECORD_BYTES + 261  # decrypted at a time: a record with its header and what encryption adds
PIECE_BYTES = 64 << 10  # encrypted at a time: what a full socket does not take waits here
SAID_BYTES = 2048  # messages of TLS that wait at most after those: some 70 replies to key updates
_LATER = (errno.EAGAIN, errno.EWOULDBLOCK, errno.ENOBUFS)


class TlsEnded(OSError):
    """This side ends a connection; the argument is the reason in one line."""


class SecureSocket:
    """TLS on `plain`, which does not block. `fault` is why TLS failed, in one line; '' if it did not.

    explain: gives the reason of an error of OpenSSL.
    verify: gives what is wrong with the other end when the handshake is complete, '' for nothing.
    completed: is called after that.
    """

    def __init__(
        self,
        plain: socket.socket,
        tls: ssl.SSLObject,
        incoming: ssl.MemoryBIO,
        outgoing: ssl.MemoryBIO,
        explain: Callable[[ssl.SSLError], str],
        verify: Callable[[ssl.SSLObject], str],
    ) -> None:
        """`tls` reads encrypted bytes from `incoming`, and writes them to `outgoing`."""
        self.fault = ""
        self.completed: Callable[[], None] = _nothing
        self._plain = plain
        self._tls = tls
        core: Any = getattr(tls, "_sslobj", tls)  # of C: without two calls of Python for each request
        self._decrypt, self._encrypt = core.read, core.write
        self._incoming, self._outgoing = incoming, outgoing
        self._explain = explain
        self._verify = verify
        self._is_open = False
        self._unsent = b""  # encrypted, and not taken by the socket yet
        self._covered = 0  # the bytes of plain text that are sent once nothing is unsent
        self._said = 0  # the bytes in `_unsent` that TLS itself has to say
        self.close, self.fileno = plain.close, plain.fileno
        self.getsockname, self.getpeername = plain.getsockname, plain.getpeername
        self.getsockopt, self.setsockopt = plain.getsockopt, plain.setsockopt

    def begin(self, data: bytes = b"") -> None:
        """Begin the handshake, with the first bytes of the other end if it was first. Raises OSError."""
        self._incoming.write(data)
        with suppress(BlockingIOError):
            self._shake_hands()

    def certificate(self) -> bytes | None:
        """The certificate that the other end has shown, as DER; None without one."""
        return self._tls.getpeercert(binary_form=True) if self._is_open else None

    # -- as a socket ----------------------------------------------------------------------------------

    def recv(self, size: int) -> bytes:
        """Plain text; b'' after the end. Raises BlockingIOError if there is none yet, or another OSError."""
        data = self._plain.recv(size)
        if not data:
            return data
        room = len(data)  # more than its plain text, unless the beginning of a record came before
        if room > READ_BYTES and self._is_open:
            return self._read_long(memoryview(data))
        self._incoming.write(data)
        if not self._is_open:
            self._shake_hands()
        try:
            piece: bytes = self._decrypt(room)
        except ssl.SSLError as error:
            raise self._unread(error) from None
        if 0 < len(piece) < room and not (self._incoming.pending or self._outgoing.pending):
            return piece  # nearly always: one request, in one record
        return self._read_on(piece, room)

    def recvmsg(self, size: int, *_: int) -> tuple[bytes, list[Any], int]:
        """As `recv`; Twisted reads unix sockets so. Nothing comes beside the bytes."""
        return self.recv(size), [], 0

    def send(self, data: bytes | memoryview) -> int:
        """Send plain text, and return how many bytes of it have left. Raises OSError.

        More of it may be encrypted already: the next call has to begin with all that is left of `data`.
        """
        if self._unsent or not self._is_open or not 0 < len(data) <= RECORD_BYTES:
            return self._send_on(data)
        self._encrypt(data)
        encrypted = self._outgoing.read()
        try:
            count = self._plain.send(encrypted)
        except OSError as error:
            if error.errno not in _LATER:
                raise
            count = 0
        if count == len(encrypted):
            return len(data)
        self._unsent, self._covered = encrypted[count:], len(data)
        return 0

    def shutdown(self, how: int) -> None:
        """Close one direction or both. That nothing follows is said by an alert (RFC 8446 section 6.1)."""
        if self._is_open and how != socket.SHUT_RD and not self._unsent:
            with suppress(OSError):
                with suppress(
                    ssl.SSLError
                ):  # it would wait for the alert of the other end, which may never come
                    self._tls.unwrap()
                self._plain.send(self._outgoing.read())
        self._plain.shutdown(how)

    # -- TLS ------------------------------------------------------------------------------------------

    def _shake_hands(self) -> None:
        """Go on with the handshake; return once it is complete. Raises BlockingIOError before, or OSError."""
        try:
            self._tls.do_handshake()
        except ssl.SSLWantReadError:
            self._say()
            raise _nothing_yet() from None
        except ssl.SSLError as error:
            self.fault = self._explain(error)
            with suppress(OSError):
                self._say()  # an alert
            raise
        self.fault = self._verify(self._tls)
        if self.fault:
            raise TlsEnded(self.fault)
        self._say()
        self._is_open = True
        self.completed()

    def _read_long(self, data: memoryview) -> bytes:
        """All plain text that has come with `data`, as `recv`."""
        pieces = []
        for place in range(0, len(data), READ_BYTES):
            self._incoming.write(data[place : place + READ_BYTES])
            try:
                piece: bytes = self._decrypt(RECORD_BYTES)
            except ssl.SSLError as error:
                failure = self._unread(error)
                if not isinstance(failure, BlockingIOError):
                    raise failure from None
            else:
                pieces.append(self._read_on(piece, RECORD_BYTES))
        if not pieces:
            raise _nothing_yet()
        return b"".join(pieces)

    def _read_on(self, piece: bytes, room: int) -> bytes:
        """All plain text that has come after `piece`, for which there was so much room. Raises OSError."""
        pieces = [piece]
        try:
            while piece and (len(piece) == room or self._incoming.pending):
                room = RECORD_BYTES
                piece = self._decrypt(room)
                pieces.append(piece)
        except ssl.SSLWantReadError:
            pass
        except ssl.SSLError as error:
            raise self._unread(error) from None
        if not piece:  # the other end closes its direction; what it sends after that does not count
            with suppress(OSError):  # reset already
                self._plain.shutdown(socket.SHUT_RD)  # so that the next read finds the end
        if self._outgoing.pending:
            self._say()
        return b"".join(pieces)

    def _unread(self, error: ssl.SSLError) -> OSError:
        """What `recv` raises instead of `error`. Raises OSError if the other end does not read."""
        if isinstance(error, ssl.SSLWantReadError):  # less than a record has come, or nothing for the reader
            if self._outgoing.pending:
                self._say()
            return _nothing_yet()
        self.fault = self._explain(error)
        with suppress(OSError):
            self._say()  # an alert
        return error

    def _say(self) -> None:
        """Send what TLS itself has to say, after what is unsent. Raises OSError.

        Who has no room for a handshake is not waited for. After that, such as at a key update (RFC 8446
        section 4.6.3), it is a client that reads slowly, and a few messages wait with its replies.
        """
        said = self._outgoing.read()
        if not said:
            return
        waits = bool(self._unsent)
        self._unsent += said
        self._said += len(said)
        if not waits:
            self._covered = 0
            self._flush()
        if self._unsent and (not self._is_open or self._said > SAID_BYTES):
            raise TlsEnded("it does not read")

    def _send_on(self, data: bytes | memoryview) -> int:
        """As `send`, after what is encrypted and unsent, and in pieces."""
        if not self._is_open:
            raise OSError(errno.ENOTCONN, "nothing is said before the TLS handshake is complete")
        sent, data = self._flush() if self._unsent else 0, memoryview(data)
        while not self._unsent and sent < len(data):
            piece = data[sent : sent + PIECE_BYTES]
            self._unsent = b"".join(self._records(piece))
            self._covered = len(piece)
            sent += self._flush()
        return sent

    def _records(self, data: memoryview) -> Iterator[bytes]:
        for place in range(0, len(data), RECORD_BYTES):
            self._encrypt(data[place : place + RECORD_BYTES])
            yield self._outgoing.read()

    def _flush(self) -> int:
        """Send what is encrypted. Returns the bytes of plain text that are sent by that."""
        try:
            count = self._plain.send(self._unsent)
        except OSError as error:
            if error.errno in _LATER:
                return 0
            raise
        self._unsent = self._unsent[count:]
        if self._unsent:
            return 0
        self._said = 0
        return self._covered


def _nothing_yet() -> BlockingIOError:
    return BlockingIOError(errno.EWOULDBLOCK, "no plain text has come")


def _nothing() -> None:
    """Nobody waits for the handshake."""
