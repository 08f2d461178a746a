"""Writes the lines of the log on a thread of its own, so that a stalled reader does not hold up the node.

A full pipe, a terminal stopped with Ctrl-S, a slow disk and a journal that is behind all block whoever writes
to them. Lines therefore wait in a buffer with a bound. A line that finds no room in it, or that cannot be
written because the disk is full or the reader is gone, is lost and counted. At the place in the log where
lines are missing, the owner is told how many, and logs that.
"""

import os
import select
import threading
import time
from collections import deque
from collections.abc import Callable
from contextlib import suppress
from typing import Protocol

BUFFER_CHARACTERS = 1 << 20  # thousands of lines: minutes of a busy node
POLL_MS = 100  # between two looks at a stream that takes nothing now and does not block


class Stream(Protocol):
    """Where lines are written: a text stream, or a Twisted log file, which takes text too."""

    def write(self, text: str, /) -> object: ...

    def flush(self) -> object: ...


class _Gap:
    """Lines that found no room, at their place among those that wait."""

    def __init__(self) -> None:
        self.lines = 0


class LineWriter:
    """Writes text to `stream`: by the caller at first, on a thread after `start`. Methods never raise.

    `lost` counts the lines that were not written. `report`, which runs on the thread, is given the number of
    lines that are missing at this place; what it writes is written there.
    """

    def __init__(self, stream: Stream | None, report: Callable[[int], object]) -> None:
        self.lost = 0
        self._stream = stream
        self._report = report
        self._changed = threading.Condition()  # guards all below that the thread and its callers share
        self._waiting: deque[str | _Gap | Callable[[], object]] = deque()
        self._characters = 0  # of the lines that wait
        self._busy = False
        self._thread: threading.Thread | None = None
        self._deadline: float | None = None  # set by `finish`
        self._missing = 0  # lines that were lost and not reported
        self._reporting = False  # what is written now is the report
        self._failing = False  # the report could not be written
        self._torn = False  # the last line was written in part

    def start(self) -> None:
        """Write on a thread from now on. Call it in the process that goes on after a fork."""
        thread = threading.Thread(target=self._run, name="kraft-log", daemon=True)
        with suppress(RuntimeError):  # the system has no thread left: the caller goes on writing
            thread.start()
            self._thread = thread

    def write(self, line: str) -> None:
        """Write one line, which ends with a line break, or lose it."""
        if self._stream is None:
            return
        if self._thread is None or threading.current_thread() is self._thread:
            self._write_now(line)
            return
        with self._changed:
            if self._characters + len(line) > BUFFER_CHARACTERS:
                self._lose_waiting()
                return
            self._characters += len(line)
            self._waiting.append(line)
            self._changed.notify_all()
        if self._deadline is not None:
            self.flush(self._deadline - time.monotonic())

    def run(self, call: Callable[[], object]) -> None:
        """Run `call` between two lines, where it may change the stream. An OSError of it is ignored."""
        if self._thread is None:
            self._carry_out(call)
            return
        with self._changed:
            self._waiting.append(call)
            self._changed.notify_all()

    def flush(self, seconds: float) -> bool:
        """Wait until everything is written, at most so long. Whether it is."""
        if self._thread is None or threading.current_thread() is self._thread:
            return True
        with self._changed:
            return self._changed.wait_for(lambda: not self._waiting and not self._busy, max(0.0, seconds))

    def finish(self, seconds: float) -> None:
        """The process is about to end: wait for every line from now on, at most so long in all."""
        self._deadline = time.monotonic() + seconds
        self.flush(seconds)

    def _lose_waiting(self) -> None:
        """Count a line that found no room. The lock is held."""
        last = self._waiting[-1] if self._waiting else None
        if not isinstance(last, _Gap):
            last = _Gap()
            self._waiting.append(last)
        last.lines += 1
        self.lost += 1

    # The thread itself.

    def _run(self) -> None:
        while True:
            with self._changed:
                self._busy = False
                self._changed.notify_all()
                self._changed.wait_for(lambda: bool(self._waiting))
                item = self._waiting.popleft()
                self._busy = True
                if isinstance(item, str):
                    self._characters -= len(item)
            self._carry_out(item)

    def _carry_out(self, item: str | _Gap | Callable[[], object]) -> None:
        if isinstance(item, _Gap):
            self._missing += item.lines
            self._report_missing()
        elif isinstance(item, str):
            self._write_now(item)
        else:
            with suppress(OSError):  # a log file that could not be rotated; the next line tries to open it
                item()

    def _write_now(self, line: str) -> None:
        """Write a line, after the report of those that are missing before it."""
        if self._reporting:
            self._failing = not self._written(line)
            return
        self._report_missing()
        if self._missing or not self._written(line):
            self._missing += 1
            with self._changed:
                self.lost += 1

    def _report_missing(self) -> None:
        """Report the lines that are missing here. They stay missing if the report cannot be written either.

        A level above that of the report leaves it out; they count as reported then.
        """
        if self._missing:
            self._failing, self._reporting = False, True
            self._report(self._missing)
            self._reporting = False
            if not self._failing:
                self._missing = 0

    def _written(self, line: str) -> bool:
        stream = self._stream
        if stream is None:
            return False
        text = "\n" + line if self._torn else line
        try:
            descriptor = _descriptor(stream)
            if descriptor is None:
                stream.write(text)
                stream.flush()
            else:
                self._write_all(descriptor, text.encode("utf-8", "backslashreplace"))
            self._torn = False
        except (OSError, ValueError):  # a full disk, a reader that is gone, a closed stream
            return False
        return True

    def _write_all(self, descriptor: int, data: bytes) -> None:
        """Write all of `data`, also if another process has made the file non-blocking. Raises OSError."""
        left = data
        while left:
            try:
                left = left[os.write(descriptor, left) :]
            except BlockingIOError:
                poll = select.poll()
                poll.register(descriptor, select.POLLOUT)
                poll.poll(POLL_MS)
            except OSError:
                self._torn = self._torn or len(left) < len(data)
                raise


def _descriptor(stream: Stream) -> int | None:
    """The file descriptor of a stream; None if it has none of its own. Raises ValueError if it is closed.

    Writing to the descriptor spares Python's own buffer, whose lock a stalled write would hold: the
    interpreter aborts if it finds that lock held at its end.
    """
    fileno = getattr(stream, "fileno", None)
    if fileno is None:
        return None
    try:
        return int(fileno())
    except OSError:  # io.UnsupportedOperation, of a stream in memory
        return None
