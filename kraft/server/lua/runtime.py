"""The interpreter: Lua 5.1 by lupa, with the sandbox of `sandbox.lua` around every script.

lupa is imported when the first script arrives. An interpreter that ran into a limit is replaced by a new one,
which takes a few milliseconds: what it holds is unknown.
"""

from collections.abc import Callable, Mapping
from pathlib import Path
from time import monotonic, thread_time
from typing import Any

_FOLDER = Path(__file__).parent
_BEFORE = ("libraries.lua",)  # before the sandbox, which hands them out
_AFTER = ("bounds.lua", "patterns.lua")
_FEW = 100  # keys and arguments that are given to Lua as arguments
WAITED = 5.0
COMPILED_MAX = 1000  # scripts that stay compiled


class CompileError(Exception):
    """The text is no script; the argument says why."""


class LimitReached(Exception):
    """The script was stopped; the argument is instructions, time or memory."""


class ScriptError(Exception):
    """The script raised an error: its text, and the source and line where, if they are known."""

    def __init__(self, text: bytes, source: bytes = b"", line: int = 0) -> None:
        super().__init__(text, source, line)
        self.text = text
        self.source = source
        self.line = line


class Stopwatch:
    """The seconds that a script has taken, by the clock on the wall: for so long nobody else was served.

    On a machine with too much to do they are at most WAITED times what it has used of the processor, so that
    a short script is not blamed.
    """

    def __init__(self) -> None:
        self._began = (0.0, 0.0)

    def __call__(self, anew: object = None) -> float:
        wall, used = monotonic(), thread_time()
        if anew:
            self._began = (wall, used)
        return min(wall - self._began[0], WAITED * (used - self._began[1]))


class LuaRuntime:
    """One interpreter with at most `memory` bytes, whose scripts run commands by `dispatch`.

    `dispatch` gets strings and numbers, and returns a value, or (None, kind, content). It must not raise.
    """

    def __init__(
        self,
        memory: int,
        version: str,
        dispatch: Callable[..., object],
        functions: Mapping[str, Callable[..., object]],
    ) -> None:
        from lupa import lua51

        self._error, self._memory_error = lua51.LuaError, lua51.LuaMemoryError
        self._runtime = lua51.LuaRuntime(
            encoding=None,
            unpack_returned_tuples=True,
            register_eval=False,
            register_builtins=False,
            attribute_filter=_no_attributes,
            max_memory=memory,
        )
        self._memory = memory
        for name in _BEFORE:
            self._load(name)
        made = self._load(
            "sandbox.lua", dispatch, functions["sha1"], functions["log"], Stopwatch(), version.encode()
        )
        self._compile, self._run, self._run_few, spend = made
        for name in _AFTER:
            self._load(name, spend, memory)
        self._compiled: dict[bytes, Any] = {}

    def _load(self, name: str, *arguments: object) -> Any:
        source = (_FOLDER / name).read_bytes()
        return self._runtime.execute(source, *arguments, name=b"=kraft")

    @property
    def worn(self) -> bool:
        """Whether more than half of the memory is in use after a script: time for a new interpreter."""
        return bool(self._runtime.get_memory_used() * 2 > self._memory)

    def compile(self, sha: bytes, source: bytes) -> Any:
        """The function of a script, by its SHA-1. Raises `CompileError`."""
        function = self._compiled.get(sha)
        if function is None:
            try:
                function, wrong = self._compile(source)
            except self._memory_error:
                raise LimitReached("memory") from None
            if function is None:
                raise CompileError(wrong)
            if len(self._compiled) >= COMPILED_MAX:
                self._compiled.clear()
            self._compiled[sha] = function
        return function

    def run(
        self,
        function: Any,
        instructions: int,
        seconds: float,
        keys: tuple[bytes, ...],
        arguments: tuple[bytes, ...],
    ) -> object:
        """Run a script. Returns bytes, an integer, or the list of `flatten` in sandbox.lua.

        Raises `ScriptError` and `LimitReached`.
        """
        try:
            if len(keys) + len(arguments) <= _FEW:
                outcome = self._run_few(function, instructions, seconds, len(keys), *keys, *arguments)
            else:
                table = self._runtime.table_from
                outcome = self._run(function, instructions, seconds, table(keys), table(arguments))
        except self._memory_error:
            raise LimitReached("memory") from None
        kind, *rest = outcome
        if kind == b"value":
            return rest[0]
        if kind == b"flat":
            return list(rest[0].values())
        if kind == b"limit":
            raise LimitReached(rest[0].decode())
        raise ScriptError(*[part for part in rest if part is not None])

    def table(self, values: list[Any]) -> Any:
        """A table of Lua with these values, nested lists as tables."""
        return self._runtime.table_from([self.table(v) if type(v) is list else v for v in values])


def _no_attributes(_: object, name: object, __: bool) -> object:
    raise AttributeError(name)
