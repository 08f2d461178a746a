"""The interpreter: Lua 5.1 by lupa, with the sandbox of `sandbox.lua` around every script.

lupa is imported when the first script arrives. An interpreter that ran into a limit is replaced by a new one,
which takes a few milliseconds: what it holds is unknown.
"""

from collections.abc import Callable, Mapping
from pathlib import Path
from time import monotonic, thread_time
from typing import Any

_FOLDER = Path(__file__).parent
_BOUNDS = ("bounds.lua", "patterns.lua")
_PARTS = ("arguments", "ieee", "text_buffer", "json_decoder", "random")
_LIBRARIES = ("bit", "cjson", "cmsgpack", "struct")
_FEW = 100  # keys and arguments that are given to Lua as arguments
WAITED = 5.0  # times the processor time of a script: see Stopwatch
USED_SECONDS = 0.0001  # what a script's processor time may be too high: WAITED times it is below any limit
SPARE_BYTES = 256 << 10  # left whenever Python gives values to Lua, for what that needs besides them
SMALL_BYTES = SPARE_BYTES // 2  # of a value: there is room for it when Lua has called Python
VALUE_BYTES = 100  # that a value takes besides its text
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
    a short script is not blamed. The thread's processor time costs a system call, so scripts that follow each
    other within USED_SECONDS count from the same one.
    """

    def __init__(self) -> None:
        self._began = 0.0
        self._used = 0.0  # the processor time, read at `_used_at`
        self._used_at = float("-inf")

    def begin(self) -> None:
        """Count from now on."""
        self._began = now = monotonic()
        if now - self._used_at > USED_SECONDS:
            self._used, self._used_at = thread_time(), now

    def __call__(self) -> float:
        wall, used = monotonic(), thread_time()
        return min(wall - self._began, WAITED * (used - self._used))


class LuaRuntime:
    """One interpreter with at most `memory` bytes, whose scripts run commands by `dispatch`.

    `dispatch` gets strings and numbers, and returns a value, or (None, kind, content). Neither it nor
    `functions` may raise: the script would catch the exception. `functions["dispatch_many"]` gets them as a
    table of Lua.
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
        self._stopwatch = Stopwatch()
        sandbox = self._load(
            "sandbox.lua",
            dispatch,
            *(functions[name] for name in ("dispatch_many", "set_resp", "sha1", "log")),
            self._stopwatch,
            version.encode(),
            self._runtime.get_max_memory(total=True) - SPARE_BYTES,
        )
        self._compile, self._run, self._run_few = (sandbox[name] for name in (b"compile", b"run", b"run_few"))
        arguments = self._load_libraries(sandbox)[b"arguments"]
        for name in _BOUNDS:
            self._load(name, sandbox[b"spend"], memory, arguments, sandbox[b"replace"])
        self._compile_library, self._list, self._call = self._load("functions.lua", sandbox)
        self._compiled: dict[bytes, Any] = {}

    def _load(self, name: str, *arguments: object) -> Any:
        source = (_FOLDER / name).read_bytes()
        return self._runtime.execute(source, *arguments, name=b"=kraft")

    def _load_libraries(self, sandbox: Any) -> Any:
        """Offer the libraries of Redis to scripts. Returns what their parts are, by name.

        A file gets what those before it have returned.
        """
        parts = self._runtime.table_from({b"sandbox": sandbox})
        for name in _PARTS:
            parts[name.encode()] = self._load(f"{name}.lua", parts)
        for name in _LIBRARIES:
            sandbox[b"offer"](name.encode(), self._load(f"{name}.lua", parts))
        return parts

    @property
    def worn(self) -> bool:
        """Whether more than half of the memory is in use after a script: time for a new interpreter."""
        return bool(self._runtime.get_memory_used() * 2 > self._memory)

    def compile(self, sha: bytes, source: bytes) -> Any:
        """The function of a script, by its SHA-1. Raises `CompileError`."""
        return self._made(sha, self._compile, source)

    def library(self, code: bytes) -> Any:
        """The function that is the text of a library. Raises `CompileError`."""
        return self._made(code, self._compile_library, code)

    def _made(self, sha: bytes, compile_: Any, source: bytes) -> Any:
        function = self._compiled.get(sha)
        if function is None:
            self.need(len(source))
            try:
                function, wrong = compile_(source)
            except self._memory_error:
                raise LimitReached("memory") from None
            if wrong is False:
                raise LimitReached("memory")
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
        given = keys + arguments
        self.need(sum(map(len, given)) + VALUE_BYTES * len(given))
        try:
            if len(given) <= _FEW:
                self._stopwatch.begin()
                outcome = self._run_few(function, instructions, seconds, len(keys), *given)
            else:
                tables = self._runtime.table_from(keys), self._runtime.table_from(arguments)
                self._stopwatch.begin()
                outcome = self._run(function, instructions, seconds, *tables)
        except self._memory_error:
            raise LimitReached("memory") from None
        return _result(outcome)

    def register(self, library: Any, instructions: int, seconds: float) -> object:
        """The functions of a library: as `run` gives a list of them. Raises what `run` raises."""
        self._stopwatch.begin()
        try:
            outcome = self._list(library, instructions, seconds)
        except self._memory_error:
            raise LimitReached("memory") from None
        return _result(outcome)

    def call(
        self,
        library: Any,
        name: bytes,
        instructions: int,
        seconds: float,
        keys: tuple[bytes, ...],
        arguments: tuple[bytes, ...],
    ) -> object:
        """Call a function of a library. Returns and raises what `run` does."""
        self.need(_size([*keys, *arguments]))
        try:
            tables = self._runtime.table_from(keys), self._runtime.table_from(arguments)
            self._stopwatch.begin()
            outcome = self._call(library, name, instructions, seconds, *tables)
        except self._memory_error:
            raise LimitReached("memory") from None
        return _result(outcome)

    def need(self, size: int) -> None:
        """Raises `LimitReached` if Lua has no room for values of `size` bytes.

        lupa gives values to Lua without protection: if memory ran out then, the process would end, or block.
        """
        if self._runtime.get_memory_used() + size + SMALL_BYTES > self._memory:
            raise LimitReached("memory")

    def table(self, values: list[Any]) -> Any:
        """A table of Lua with these values, nested lists as tables. Raises `LimitReached`."""
        self.need(_size(values))
        return self._table(values)

    def _table(self, values: list[Any]) -> Any:
        return self._runtime.table_from([self._table(v) if type(v) is list else v for v in values])


def _size(values: list[Any]) -> int:
    """About how many bytes the values take in Lua, at most."""
    size = VALUE_BYTES * (len(values) + 1)
    for value in values:
        if type(value) is list:
            size += _size(value)
        elif type(value) is bytes:
            size += len(value)
    return size


def _result(outcome: Any) -> object:
    """What `run` in sandbox.lua says that happened. Raises ScriptError and LimitReached."""
    if type(outcome) is not tuple:
        return outcome
    kind, *rest = outcome
    if kind == b"flat":
        return list(rest[0].values())
    if kind == b"limit":
        raise LimitReached(rest[0].decode())
    raise ScriptError(*[part for part in rest if part is not None])


def _no_attributes(_: object, name: object, __: bool) -> object:
    raise AttributeError(name)
