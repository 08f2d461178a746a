"""The log file that twistd's own options ask for."""

from contextlib import suppress
from typing import Any, cast

from twisted.python.logfile import LogFile

LOG_FILE_BYTES, LOG_FILES_OLD = 10_000_000, 9  # together 100 MB: years of a quiet node


class RotatedFile(LogFile):
    """Twisted's log file, which survives a rotation or a write that fails halfway.

    Twisted closes the file and then opens the next one. If that fails because the process may open no more
    files, the next line tries again. A line that a full disk cuts short ends before the next one begins.
    """

    _torn = False

    def write(self, data: str) -> None:
        """Write one line. Raises OSError, and then a part of the line may be in the file."""
        if self._file.closed:
            self._openFile()  # type: ignore[no-untyped-call]
        elif self.shouldRotate():  # type: ignore[no-untyped-call]
            with suppress(OSError):
                self.rotate()  # type: ignore[no-untyped-call]
            if self._file.closed:
                self._openFile()
        left = (b"\n" if self._torn else b"") + data.encode("utf-8", "backslashreplace")
        while left:
            written = self._file.write(left)
            self._torn = written < len(left)
            self.size += written
            left = left[written:]


def open_log_file(twistd: Any) -> RotatedFile | None:
    """Open the log file as twistd would; None stands for standard output.

    `twistd` holds twistd's options. A daemon without `--logfile` logs to `twistd.log` in its working
    directory. Raises SystemExit with one line.
    """
    path = twistd["logfile"]
    if twistd["syslog"]:
        raise SystemExit("kraft: --syslog is not supported: use --logfile, or -n and collect standard output")
    if twistd["nodaemon"] and path in (None, "-"):
        return None
    if path == "-":
        raise SystemExit("kraft: --logfile - needs -n: a daemon has no standard output")
    try:
        file = RotatedFile.fromFullPath(  # type: ignore[no-untyped-call]
            path or "twistd.log", LOG_FILE_BYTES, maxRotatedFiles=LOG_FILES_OLD
        )
    except OSError as error:
        raise SystemExit(f"kraft: log file {error.filename or path}: {error.strerror}") from None
    return cast(RotatedFile, file)
