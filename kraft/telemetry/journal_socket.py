"""The socket on which systemd's journal takes entries with fields.

An entry is one datagram of `NAME=value` lines; a value with line breaks has its length before it
(https://systemd.io/JOURNAL_NATIVE_PROTOCOL/). A library for this would bring libsystemd with it, for forty
lines.
"""

import errno
import fcntl
import os
import socket
import sys
import termios
import time
from collections.abc import Mapping

DRAIN_POLL_SECONDS = 0.002
PATH = "/run/systemd/journal/socket"
_SEALS = fcntl.F_SEAL_SHRINK | fcntl.F_SEAL_GROW | fcntl.F_SEAL_WRITE | fcntl.F_SEAL_SEAL


def entry(fields: Mapping[str, str]) -> str:
    """The text of an entry. Names consist of upper-case letters, digits and `_`."""
    lines = []
    for name, value in fields.items():
        if "\n" in value:
            # Text, as all streams of the log take text; the bytes of the length may be no valid UTF-8.
            size = len(value.encode("utf-8", "surrogateescape")).to_bytes(8, "little")
            lines.append(f"{name}\n{size.decode('utf-8', 'surrogateescape')}{value}")
        else:
            lines.append(f"{name}={value}")
    return "\n".join(lines)


class JournalSocket:
    """A stream of entries. `write` raises OSError if the journal does not take one, which is then lost."""

    def __init__(self, path: str = PATH) -> None:
        """Raises OSError if there is no journal."""
        self._socket = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM)
        try:
            self._socket.connect(path)
        except OSError:
            self._socket.close()
            raise
        self._path = path

    def write(self, text: str) -> None:
        """Send one entry."""
        data = text.encode("utf-8", "surrogateescape")
        try:
            self._send(data)
        except (ConnectionRefusedError, ConnectionResetError, FileNotFoundError):  # the journal was restarted
            self._socket.connect(self._path)
            self._send(data)

    def _send(self, data: bytes) -> None:
        try:
            self._socket.send(data)
        except OSError as error:
            if error.errno != errno.EMSGSIZE:
                raise
            self._send_file(data)

    def _send_file(self, data: bytes) -> None:
        """An entry that is too large for a datagram goes in a sealed file in memory."""
        fd = os.memfd_create("kraft-journal", os.MFD_CLOEXEC | os.MFD_ALLOW_SEALING)
        try:
            os.write(fd, data)
            fcntl.fcntl(fd, fcntl.F_ADD_SEALS, _SEALS)
            socket.send_fds(self._socket, [b""], [fd])
        finally:
            os.close(fd)

    def flush(self) -> None:
        """Nothing waits here."""

    def drain(self, seconds: float) -> bool:
        """Wait until the journal has read every entry, at most so long. Whether it has.

        The journal looks up the unit of a process when it reads an entry: the process must not have ended.
        """
        end = time.monotonic() + seconds
        while self._unread_bytes():
            if time.monotonic() >= end:
                return False
            time.sleep(DRAIN_POLL_SECONDS)
        return True

    def _unread_bytes(self) -> int:
        """What the kernel holds of the entries sent (unix(7), SIOCOUTQ, which has the number of TIOCOUTQ)."""
        waiting = fcntl.ioctl(self._socket, termios.TIOCOUTQ, bytes(4))
        return int.from_bytes(waiting, sys.byteorder)

    def close(self) -> None:
        """Close the socket."""
        self._socket.close()
