"""A megabyte of reserved space, so that a node can start on a full disk.

Each start makes a small commit of its own. If there is no space for it, the ballast is released, once; a
later start that finds space reserves it again.
"""

import os
from contextlib import suppress
from pathlib import Path

BALLAST_FILE = "ballast"
BALLAST_BYTES = 1 << 20


def reserve(directory: str) -> None:
    """Create the file, with real blocks; nothing happens without space for it."""
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


def release(directory: str) -> bool:
    """Remove the file; False when there was none."""
    try:
        Path(directory, BALLAST_FILE).unlink()
    except OSError:
        return False
    return True
