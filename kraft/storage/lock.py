"""The exclusive lock on a data directory, held for the life of the process.

SQLite's own locks would keep a second writer out too, but only after it opened files that recovery may still
change; and they cannot say who holds them.
"""

import fcntl
import os
from pathlib import Path

from kraft.storage.errors import DirectoryLocked, DirectoryUnusable

LOCK_FILE = "lock"


class DirectoryLock:
    """An `flock` on the file `lock`; the kernel drops it when the process ends, however it ends."""

    def __init__(self, directory: str) -> None:
        path = Path(directory, LOCK_FILE)
        try:
            self._fd = os.open(path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
        except OSError as error:
            raise DirectoryUnusable(f"data directory {directory}: {LOCK_FILE}: {error.strerror}") from None
        try:
            fcntl.flock(self._fd, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            holder = os.read(self._fd, 20).decode("ascii", "replace").strip()
            os.close(self._fd)
            raise DirectoryLocked(
                f"data directory {directory} is in use by process {holder or 'unknown'}"
            ) from None
        self._leave_pid()

    def _leave_pid(self) -> None:
        """For the message of whoever comes second; on a full disk the lock holds without it."""
        try:
            os.ftruncate(self._fd, 0)
            os.pwrite(self._fd, b"%d\n" % os.getpid(), 0)
        except OSError:
            return

    def release(self) -> None:
        """Let the next process in. The file stays: removing it would race with one that has opened it."""
        os.close(self._fd)


def holder(directory: str) -> int | None:
    """The process that works with the directory, 0 when it has left no id, None when there is none.

    Asked by trying the lock for a moment, shared with others who ask. Raises OSError when it cannot be told.
    """
    try:
        fd = os.open(Path(directory, LOCK_FILE), os.O_RDONLY | os.O_CLOEXEC)
    except FileNotFoundError:
        return None
    try:
        fcntl.flock(fd, fcntl.LOCK_SH | fcntl.LOCK_NB)
    except BlockingIOError:
        left = os.read(fd, 20).strip()
        return int(left) if left.isdigit() else 0
    else:
        return None
    finally:
        os.close(fd)
