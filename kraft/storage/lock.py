"""The exclusive lock on a data directory, held for the life of the process.

SQLite's own locks would keep a second writer out too, but only after it has opened files that recovery may
still change; and they cannot say which process holds them.
"""

import fcntl
import os
from pathlib import Path

from kraft.storage.access import explain_error
from kraft.storage.errors import DirectoryLocked, DirectoryUnusable

LOCK_FILE = "lock"


class DirectoryLock:
    """An `flock` on the file `lock`; the kernel drops it when the process ends, however it ends."""

    def __init__(self, directory: str) -> None:
        path = Path(directory, LOCK_FILE)
        try:
            self._fd = os.open(path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
        except OSError as error:
            raise DirectoryUnusable(f"{path}: {explain_error(path, error)}") from None
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
        """For the error message of a second process; on a full disk the lock holds without it."""
        try:
            os.ftruncate(self._fd, 0)
            os.pwrite(self._fd, b"%d\n" % os.getpid(), 0)
        except OSError:
            return

    def release(self) -> None:
        """Release the lock. The file stays: removing it would race with a process that has opened it."""
        os.close(self._fd)


def holder(directory: str) -> int | None:
    """The id of the process that holds the lock, 0 when it left none, None when no process holds it.

    Tries a shared lock for a moment. Raises `OSError` when the file cannot be opened.
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
