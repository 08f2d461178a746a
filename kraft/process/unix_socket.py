"""Whether the socket at a path is in use.

A process that dies leaves its socket's file behind, and a new one could not bind to the name. Whether the
owner lives is asked of the socket itself: the kernel refuses a connection when nobody listens. Process ids in
lock files, as Twisted has them, cannot tell: in a container the new process often has the same one.
"""

import os
import socket
import stat


class SocketInUse(Exception):
    """The name belongs to somebody else; the argument says to whom, in one line."""


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
