"""A megabyte kept for the day the disk is full: a node must be able to start then.

Each start makes a small commit of its own. Where there is no room for it the ballast goes, once, and is laid
in again by a later start that finds room.
"""

import os
from contextlib import suppress
from pathlib import Path

BALLAST_FILE = "ballast"
BALLAST_BYTES = 1 << 20


def lay_in(directory: str) -> None:
    """Have the file there, with real blocks; without room for it there is none."""
    path = Path(directory, BALLAST_FILE)
    with suppress(OSError):
        if path.exists() and path.stat().st_size == BALLAST_BYTES:
            return
        fd = os.open(path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
        try:
            os.posix_fallocate(fd, 0, BALLAST_BYTES)
        except OSError:
            path.unlink()
        finally:
            os.close(fd)


def throw_off(directory: str) -> bool:
    """Let it go; whether there was any."""
    try:
        Path(directory, BALLAST_FILE).unlink()
    except OSError:
        return False
    return True
