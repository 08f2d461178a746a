"""A listening Unix socket that survives its predecessor's death.

A process that dies leaves its socket's file behind, and a new one could not bind to the name. Whether the
owner lives is asked of the socket itself: the kernel refuses a connection when nobody listens. Process ids in
lock files, as Twisted has them, cannot tell: in a container the new process often has the same one.
"""

import fcntl
import os
import socket
import stat
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from typing import Any

from twisted.internet import tcp, unix

_LOCK_SECONDS = 1.0  # for another process that opens a socket in the same folder; it takes a millisecond


class SocketInUse(Exception):
    """The name belongs to somebody else; the argument says to whom, in one line."""


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

    def connectionLost(self, reason: Any) -> None:
        """Remove the file, unless it was removed or replaced meanwhile: Twisted would raise then."""
        with suppress(OSError):
            if _identity(self._path) == self._file:
                os.unlink(self._path)  # noqa: PTH108
        tcp.Port.connectionLost(self, reason)


def remove_stale(path: str) -> None:
    """Remove the socket of a process that is gone. Raises SocketInUse for anything else at `path`."""
    if not is_stale(path):
        return
    try:
        os.unlink(path)  # noqa: PTH108
    except FileNotFoundError:
        pass
    except OSError as error:
        text = f"{path} was left by a dead process and cannot be removed ({error.strerror}): rm {path}"
        raise SocketInUse(text) from None


def is_stale(path: str) -> bool:
    """Whether there is the socket of a process that is gone. Raises SocketInUse for anything else there."""
    try:
        found = os.lstat(path)
    except OSError:
        return False  # nothing there; what else is wrong, the bind will say
    if not stat.S_ISSOCK(found.st_mode):
        raise SocketInUse(f"{path} exists and is not a socket: ls -ld {path}")
    with socket.socket(socket.AF_UNIX) as probe:
        probe.setblocking(False)
        try:
            probe.connect(path)
        except ConnectionRefusedError:
            return True
        except FileNotFoundError:
            return False
        except PermissionError:
            text = f"{path} is the socket of another user (id {found.st_uid}); if nobody uses it: rm {path}"
            raise SocketInUse(text) from None
        except OSError:  # its queue is full, or it is of another type: somebody is there
            pass
    raise SocketInUse(f"{path} is in use by another process: ss -xlp | grep {path}")


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
