"""Errors that end the process: reported once, in one line where possible.

The exit status is 1, or one that tells a service manager not to try again: `OUTDATED_STATUS` when this
program is too old for its cluster, `DAMAGED_STATUS` when the data directory is damaged.
"""

import os
import sys
import traceback
from types import TracebackType
from typing import NoReturn

from kraft.storage.errors import Damaged, NewerVersion, StorageError
from kraft.telemetry.line_writer import LineWriter
from kraft.telemetry.logs import LogSink, logger
from kraft.telemetry.notify import Notifier

OUTDATED_STATUS = 78  # EX_CONFIG: only a newer kraft helps
DAMAGED_STATUS = 65  # EX_DATAERR: only a re-admission helps
FLUSH_SECONDS = 1.0  # for the last lines, if their reader stalls: a node that failed must end


class CannotStart(Exception):
    """The node cannot start; the argument is the reason in one line.

    Raised while twistd starts the service, so that twistd can report it to the caller of a daemon.
    """


class FailureReporter:
    """Reports the error that ends the process to the log, to standard error and to the service manager."""

    def __init__(self, log: LogSink, notifier: Notifier) -> None:
        self._log = log
        self._notifier = notifier

    def exit(self, reason: str, *, outdated: bool = False, damaged: bool = False) -> NoReturn:
        """Report `reason` and end the process at once, when it would be wrong to go on.

        `os._exit`, because an orderly stop ends with status 0, and a service manager would not restart the
        node. A disk that failed must not be written to again in any case. `outdated`: this program is too old
        for its cluster. `damaged`: the data directory is.
        """
        self.report(reason)
        os._exit(OUTDATED_STATUS if outdated else DAMAGED_STATUS if damaged else 1)

    def refuse(self, error: StorageError) -> NoReturn:
        """End a start without a usable data directory. Raises CannotStart where another start may help."""
        if isinstance(error, NewerVersion | Damaged):
            newer = isinstance(error, NewerVersion)
            self.exit(str(error), outdated=newer, damaged=not newer)
        raise CannotStart(str(error)) from None

    def uncaught(self, kind: type[BaseException], error: BaseException, trace: TracebackType | None) -> None:
        """A `sys.excepthook`: report the error that ends the process. Errors during the start end here.

        A file that twistd cannot use is one line, and anything that is not expected a traceback.
        """
        if isinstance(error, CannotStart):
            self.report(str(error))
        elif isinstance(error, OSError) and error.filename is not None:  # such as twistd's --rundir
            self.report(f"{os.fsdecode(error.filename)}: {error.strerror}")
        else:
            self.report("".join(traceback.format_exception(kind, error, trace)))

    def report(self, reason: str) -> None:
        """Report `reason`; only once if the log and standard error are the same file, pipe or terminal."""
        self._notifier.failed(reason)
        errors = sys.__stderr__  # sys.stderr leads into the log
        text, mark = f"kraft: {reason.rstrip()}", ""
        if not self._log.same_place(errors):
            logger("kraft").critical("node_failed", reason=reason)
        elif self._log.native:
            mark = self._log.mark(
                "critical"
            )  # the journal knows the unit of a stream after its process ended
        else:
            self._log.write(text, self._log.mark("critical"))
            errors = None
        self._log.flush(FLUSH_SECONDS)
        last = LineWriter(errors, lambda _: None)
        last.start()
        last.write(mark + text.replace("\n", f"\n{mark}") + "\n")
        last.flush(FLUSH_SECONDS)
