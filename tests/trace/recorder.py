"""Which functions of kraft run while one request is served.

Comprehensions count as Python 3.11 counts them; later versions call no function for most of them.
"""

import sys
from dataclasses import dataclass, field
from pathlib import Path
from types import CodeType, FrameType, TracebackType
from typing import Any

import kraft

KRAFT = Path(kraft.__file__).resolve().parent  # of the wheel, where that is installed
LEFT_OUT = ("telemetry",)  # it counts what the path does, and is no part of it
TURNS = {"Session.received", "Host.turn"}  # a turn takes a client's bytes, or serves the groups


@dataclass(frozen=True)
class Call:
    """One call of a function: the iteration of the reactor, the depth, the function, and where it is."""

    iteration: int
    depth: int
    function: str
    file: str
    line: int


@dataclass
class Recorder:
    """Use it as a context around each iteration of a reactor; it keeps their calls, in order."""

    calls: list[Call] = field(default_factory=list)
    iterations: int = 0
    _depth: int = 0
    _known: dict[CodeType, str] = field(default_factory=dict)

    def __enter__(self) -> None:
        self._before = len(self.calls)
        self.iterations += 1
        self._depth = 0
        sys.setprofile(self._event)

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        sys.setprofile(None)
        if len(self.calls) == self._before:
            self.iterations -= 1  # nothing of ours ran

    @property
    def turns(self) -> int:
        """Iterations that take a client's bytes or serve the groups; one that only notes a result is none."""
        return len({call.iteration for call in self.calls if call.function in TURNS})

    @property
    def functions(self) -> set[tuple[str, int]]:
        """Distinct functions, by file and line."""
        return {(call.file, call.line) for call in self.calls}

    @property
    def files(self) -> set[str]:
        """Distinct files."""
        return {call.file for call in self.calls}

    def _event(self, frame: FrameType, event: str, _: Any) -> None:
        if event not in ("call", "return"):
            return
        code = frame.f_code
        file = self._known.get(code)
        if file is None:
            file = self._known[code] = _file(code)
        if not file:
            return
        if event == "return":
            self._depth -= 1
        else:
            self.calls.append(Call(self.iterations, self._depth, code.co_qualname, file, code.co_firstlineno))
            self._depth += 1


def _file(code: CodeType) -> str:
    """Where a function of kraft is, '' for one that does not count."""
    path = Path(code.co_filename).resolve()
    if not path.is_relative_to(KRAFT):
        return ""
    inside = path.relative_to(KRAFT)
    return "" if inside.parts[0] in LEFT_OUT else str(inside)
