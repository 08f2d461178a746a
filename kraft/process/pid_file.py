"""The pid file that twistd writes, made safe against the number of a dead process.

twistd refuses to start while a process has the number in the file, whichever process that is: after a crash
in a container it often is the new process itself. A kraft process therefore also holds a lock on its file,
which the kernel drops when the process ends. Without that lock, the number counts only if it belongs to
another program under twistd that is older than the file.
"""

import fcntl
import os
import stat
import time
from pathlib import Path

_SLACK_SECONDS = 2.0  # between the start of a process, in whole ticks, and the time of a file


class PidFileRefused(Exception):
    """The file cannot be used; the argument is the reason in one line."""


class PidFile:
    """The file at `path`, as given to `twistd --pidfile`; '' for none."""

    def __init__(self, path: str) -> None:
        self._path = Path(path).absolute() if path else None
        self._fd = -1

    def clear(self) -> None:
        """Remove the file of a process that is gone, before twistd looks at it. Raises PidFileRefused."""
        if self._path is None:
            return
        try:
            fd = os.open(self._path, os.O_RDWR | os.O_CREAT | os.O_NONBLOCK | os.O_CLOEXEC, 0o644)
            try:
                reason = _reason_to_keep(fd)
                if not reason:
                    self._path.unlink(missing_ok=True)
            finally:
                os.close(fd)
        except OSError as error:
            reason = error.strerror or str(error)
        if reason:
            raise PidFileRefused(f"pid file {self._path}: {reason}; name another one: twistd --pidfile=FILE")

    def hold(self) -> None:
        """Lock the file that twistd has written, until the process ends. Call it after the last fork."""
        if self._path is None:
            return
        try:
            self._fd = os.open(self._path, os.O_RDWR | os.O_CLOEXEC)
        except OSError:
            return  # somebody removed it, and nobody will read it
        _lock(self._fd)


def _reason_to_keep(fd: int) -> str:
    """Why the open file must not be replaced; '' if its process is gone."""
    found = os.fstat(fd)
    if not stat.S_ISREG(found.st_mode):
        return "it is not a regular file"
    text = os.read(fd, 32).decode("ascii", "replace").strip()
    if text and not (text.isascii() and text.isdecimal()):
        return "it holds something other than a process id"
    pid = int(text or "0")
    if not _lock(fd):
        return f"process {pid} uses it: stop it with kill {pid}" if pid else "a process uses it"
    return f"process {pid}, another program, uses it" if _is_another_program(pid, found.st_mtime) else ""


def _lock(fd: int) -> bool:
    try:
        fcntl.flock(fd, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        return False
    except OSError:
        return True  # a file system without locks: the number in the file has to do
    return True


def _is_another_program(pid: int, written: float) -> bool:
    """Whether `pid` is a live process of twistd that is not kraft and may have written a file at `written`.

    `written` is in Unix seconds.
    """
    if pid in (0, os.getpid()):
        return False
    try:
        words = Path(f"/proc/{pid}/cmdline").read_bytes().split(b"\0")
        ticks = int(Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[19])
    except (OSError, ValueError, IndexError):
        return False
    if b"kraft" in words or not any(b"twistd" in word for word in words):
        return False
    age = time.clock_gettime(time.CLOCK_BOOTTIME) - ticks / os.sysconf("SC_CLK_TCK")
    return time.time() - age <= written + _SLACK_SECONDS
