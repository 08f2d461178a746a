"""What a check has found, and how it is kept from hanging."""

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
    """One line of what was found, and the command to give next, '' when there is none.

    A warning is for a day at work; with a problem the node does not start, or the cluster does not serve, or
    data is in danger.
    """

    level: str
    text: str
    command: str = ""


class Bounded(Generic[_Result]):
    """A call on a thread of its own, which nobody has to wait for: a disk or a name server may hang."""

    def __init__(self, function: Callable[[], _Result]) -> None:
        self._function = function
        self._results: list[_Result] = []
        self._errors: list[Exception] = []
        self._thread = Thread(target=self._run, daemon=True)
        self._thread.start()

    def _run(self) -> None:
        try:
            self._results.append(self._function())
        except Exception as error:  # raised again where the result is wanted
            self._errors.append(error)

    def result(self, deadline: float) -> _Result:
        """What the call gave or raised. Raises TimeoutError at `deadline`, of `time.monotonic`."""
        self._thread.join(max(0.0, deadline - time.monotonic()))
        if self._errors:
            raise self._errors[0]
        if not self._results:
            raise TimeoutError
        return self._results[0]
