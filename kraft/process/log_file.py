"""The log file that twistd's own options ask for."""

import signal
from typing import Any, cast

from twisted.python.logfile import LogFile

from kraft.process.signals import on_signal

LOG_FILE_BYTES, LOG_FILES_OLD = 10_000_000, 9  # together 100 MB: years of a quiet node


def open_log_file(twistd: Any, reactor: Any) -> LogFile | None:
    """Open the log file as twistd would; None stands for standard output.

    `twistd` holds twistd's options. A daemon without `--logfile` logs to `twistd.log` in its working
    directory. SIGUSR1 rotates the file. Raises SystemExit with one line.
    """
    path = twistd["logfile"]
    if twistd["syslog"]:
        raise SystemExit("kraft: --syslog is not supported: use --logfile, or -n and collect standard output")
    if twistd["nodaemon"] and path in (None, "-"):
        return None
    if path == "-":
        raise SystemExit("kraft: --logfile - needs -n: a daemon has no standard output")
    try:
        file = LogFile.fromFullPath(path or "twistd.log", LOG_FILE_BYTES, maxRotatedFiles=LOG_FILES_OLD)
    except OSError as error:
        raise SystemExit(f"kraft: log file {error.filename}: {error.strerror}") from None
    on_signal(signal.SIGUSR1, reactor, file.rotate)
    return cast(LogFile, file)
