"""Progress on standard error; results go to standard output."""

import sys
import time


def say(text: str) -> None:
    """Report one line."""
    print(f"{_clear()}{text}", file=sys.stderr, flush=True)


def now(text: str) -> None:
    """Show at a terminal what is under way, until the next report takes its place."""
    if sys.stderr.isatty():
        print(f"{_clear()}{text}", end="", file=sys.stderr, flush=True)


def _clear() -> str:
    return "\r\x1b[K" if sys.stderr.isatty() else ""


class Progress:
    """Counts `total` steps, and reports at each tenth how much time the rest takes."""

    def __init__(self, total: int) -> None:
        self._total, self._done, self._start = total, 0, time.monotonic()

    def step(self) -> None:
        """Count a step."""
        self._done += 1
        left = (time.monotonic() - self._start) / self._done * (self._total - self._done)
        text = f"{self._done} of {self._total} done, about {_duration(left)} left"
        if self._done * 10 // self._total > (self._done - 1) * 10 // self._total:
            say(text)
        else:
            now(text)


def _duration(seconds: float) -> str:
    return f"{seconds / 60:.0f} min" if seconds >= 90 else f"{seconds:.0f} s"
