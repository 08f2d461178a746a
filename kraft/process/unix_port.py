"""A listening Unix socket that survives its predecessor's death: it takes over the file (`unix_socket`)."""

import fcntl
import os
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from typing import Any

from twisted.internet import tcp, unix

from kraft.process.unix_socket import remove_stale

_LOCK_SECONDS = 1.0  # for another process that opens a socket in the same folder; it takes a millisecond


class UnixPort(unix.Port):
    """Twisted's port, which takes over the file of a dead process and removes no file but its own."""

    def __init__(self, path: str, factory: Any, backlog: int, mode: int, reactor: Any) -> None:
        super().__init__(path, factory, backlog, mode, reactor, wantPID=0)  # type: ignore[arg-type]
        self._path = path
        self._file = (0, 0)

    def startListening(self) -> None:
        """Bind and listen. Raises SocketInUse, or Twisted's CannotListenError.

        The folder is locked meanwhile, so that of two processes that find the same dead socket one loses.
        """
        with _locked(os.path.dirname(self._path) or "."):  # noqa: PTH120  the path as it was written
            remove_stale(self._path)
            super().startListening()  # type: ignore[no-untyped-call]
        self._file = _identity(self._path)
        with suppress(OSError):  # a lock of Twisted's, which an earlier kraft would mistake for its own
            os.readlink(f"{self._path}.lock")  # noqa: PTH115
            os.unlink(f"{self._path}.lock")  # noqa: PTH108

    def connectionLost(self, reason: Any) -> None:
        """Remove the file, unless it was removed or replaced meanwhile: Twisted would raise then."""
        with suppress(OSError):
            if _identity(self._path) == self._file:
                os.unlink(self._path)  # noqa: PTH108
        tcp.Port.connectionLost(self, reason)


def _identity(path: str) -> tuple[int, int]:
    found = os.lstat(path)
    return found.st_dev, found.st_ino


@contextmanager
def _locked(folder: str) -> Iterator[None]:
    """Hold the lock of the folder, if it can be had: it only guards against a start at the same moment."""
    try:
        fd = os.open(folder, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    except OSError:
        yield
        return
    try:
        end = time.monotonic() + _LOCK_SECONDS
        while time.monotonic() < end:
            try:
                fcntl.flock(fd, fcntl.LOCK_EX | fcntl.LOCK_NB)
                break
            except OSError:
                time.sleep(0.01)
        yield
    finally:
        os.close(fd)
