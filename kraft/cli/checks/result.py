"""The results of checks, and a time limit for calls that may hang."""

import time
from collections.abc import Callable
from dataclasses import dataclass
from threading import Thread
from typing import Generic, TypeVar

OK, WARNING, PROBLEM = "ok", "warning", "problem"
LEVELS = (OK, WARNING, PROBLEM)
_Result = TypeVar("_Result")


@dataclass(frozen=True, slots=True)
class CheckResult:
    """One result: its text, and the next command to type, '' if there is none.

    A warning can wait for working hours. A problem means that the node does not start, that the cluster does
    not serve, or that data is in danger.
    """

    level: str
    text: str
    command: str = ""


class Bounded(Generic[_Result]):
    """A call on a thread of its own, which may hang (on a disk or a name server) without blocking others."""

    def __init__(self, function: Callable[[], _Result]) -> None:
        self._function = function
        self._results: list[_Result] = []
        self._errors: list[Exception] = []
        self._thread = Thread(target=self._run, daemon=True)
        self._thread.start()

    def _run(self) -> None:
        try:
            self._results.append(self._function())
        except Exception as error:  # raised again by `result`
            self._errors.append(error)

    def result(self, deadline: float) -> _Result:
        """The result of the call, or its exception. Raises TimeoutError at `deadline` (`time.monotonic`)."""
        self._thread.join(max(0.0, deadline - time.monotonic()))
        if self._errors:
            raise self._errors[0]
        if not self._results:
            raise TimeoutError
        return self._results[0]
