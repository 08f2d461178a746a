"""Evaluates scripts: their commands run through the command table, on an overlay of the leader's state.

What a script is offered are the commands of clients, with the same checks and limits: reads look at the
overlay, writes become state machine commands that are applied to it and remembered. They are what is logged.
"""

from collections.abc import Callable
from hashlib import sha1
from typing import Any

from twisted.logger import Logger, LogLevel

from kraft.host.ports import ScriptEffects
from kraft.host.requests.round import View
from kraft.kv import commands as kv
from kraft.kv.overlay import Overlay
from kraft.kv.replies import CommandFailure, Reply
from kraft.kv.scripts import script_source
from kraft.resp.values import Error
from kraft.server import errors
from kraft.server.commands.script_reply import error_reply, parsed
from kraft.server.commands.spec import CommandContext, LocalSpec, ReadSpec, WriteSpec
from kraft.server.errors import Rejected
from kraft.server.lua.runtime import CompileError, LimitReached, LuaRuntime, ScriptError
from kraft.server.lua.script_flags import ScriptFlags, script_flags
from kraft.server.port import ClientPort
from kraft.server.session_state import SessionState
from kraft.server.validation import Validation

REDIS_VERSION = "7.0.15"
_STEPS = frozenset(kv.Step.__args__)
_NOT_ALLOWED = "ERR This Redis command is not allowed from script"
_LEVELS = (LogLevel.debug, LogLevel.debug, LogLevel.info, LogLevel.warn)

_log = Logger()


class LuaEvaluator:
    """All scripts of one node."""

    def __init__(self, port: ClientPort, validation: Validation) -> None:
        self._port = port
        self._validation = validation
        self._runtime: LuaRuntime | None = None
        self._script: kv.ScriptCall | None = None  # that runs
        self._overlay: Any = None
        self._flags = ScriptFlags()
        self._read_only = False
        self._resp = 2
        self._steps: list[Any] = []
        state = SessionState(0, "", "", port.clock.seconds(), port.clock.seconds())
        self._context = CommandContext(port, state, validation.table)

    def evaluate(self, overlay: Overlay, script: kv.ScriptCall) -> ScriptEffects:
        """What `script` does on `overlay`, which keeps it; an error has no effects, and leaves no trace."""
        limits = self._port.config.scripts
        cached = script_source(overlay.machine.keyspace.ledger, script.sha)
        source = cached or script.source
        if not source:
            return ScriptEffects((), error_reply(errors.NO_SCRIPT.encode()))
        self._overlay, self._script, self._steps, self._resp = overlay, script, [], 2
        if cached is None:
            self._step(kv.LoadScript(script.sha, script.source, limits.cache_bytes))
        loaded = len(self._steps)
        if self._runtime is not None and self._runtime.worn:
            self._runtime = None
        try:
            runtime = self._ready()
            self._flags = script_flags(source)
            self._read_only = script.mode == kv.ScriptMode.READ or self._flags.no_writes
            function = runtime.compile(script.sha, self._flags.code)
            if script.mode == kv.ScriptMode.LOAD:
                overlay.keep()
                return ScriptEffects(tuple(self._steps), script.sha)
            result = runtime.run(function, limits.instructions, limits.time, script.keys, script.arguments)
            reply: Reply = parsed(result) if type(result) is list else result  # type: ignore[assignment]
        except CompileError as error:
            overlay.drop()
            text = b"ERR Error compiling script (new function): %b" % error.args[0]
            return ScriptEffects((), error_reply(text))
        except Rejected as refusal:
            overlay.drop()
            return ScriptEffects((), error_reply(refusal.text.encode()))
        except ScriptError as error:
            reply = error_reply(_located(error, script.sha, source))
            self._undo(loaded)
        except LimitReached as limit:
            self._runtime = None
            self._port.observer.script_stopped(limit.args[0])
            reply = error_reply(_STOPPED[limit.args[0]].format(limits=limits).encode())
            self._undo(loaded)
        watched = overlay.touched
        overlay.keep()
        return ScriptEffects(tuple(self._steps), reply, watched)

    def _undo(self, loaded: int) -> None:
        """Forget what the script did, but not that it is in the cache: the first `loaded` steps."""
        self._overlay.drop()
        steps, self._steps = self._steps[:loaded], []
        for step in steps:
            self._step(step)

    def _ready(self) -> LuaRuntime:
        if self._runtime is None:
            functions: dict[str, Callable[..., object]] = {
                "set_resp": self._set_resp,
                "sha1": _sha1,
                "log": _log_line,
            }
            memory = self._port.config.scripts.memory_bytes
            self._runtime = LuaRuntime(memory, REDIS_VERSION, self._dispatch, functions)
        return self._runtime

    # -- commands of the script that runs ---------------------------------------------------------------

    def _dispatch(self, *words: Any) -> object:
        """Run a command: a value of Lua, or (None, kind, content). Lua catches no exception of Python."""
        try:
            return self._converted(self._command(_request(words)))
        except Rejected as refusal:
            return None, b"error", refusal.text.encode("utf-8", "surrogateescape")
        except LimitReached as limit:
            return None, b"limit", limit.args[0].encode()
        except Exception:
            _log.failure("a command of a script failed")
            return None, b"error", b"ERR internal error, see the log of the node"

    def _set_resp(self, version: int) -> None:
        self._resp = version

    def _converted(self, reply: Any) -> object:
        kind = type(reply)
        if kind is bytes:
            self._ready().need(len(reply))
            return reply
        if kind is int:
            return reply
        if reply is None:
            return None, (b"nil" if self._resp == 3 else b"null")
        if kind is str:
            return None, b"status", reply.encode()
        if kind is Error:
            return None, b"error", reply.text.encode("utf-8", "surrogateescape")
        return None, b"list", self._ready().table(_elements(reply, None if self._resp == 3 else False))

    def _command(self, request: list[bytes]) -> Any:
        validation = self._validation
        spec = validation.usual.get(request[0]) or validation.spec_of(request)
        if spec.name == "unknown" or (spec.subcommands and len(request) > 1):
            raise Rejected("ERR Unknown Redis command called from script")
        if not spec.low <= len(request) <= spec.high:
            raise Rejected("ERR Wrong number of args calling Redis command from script")
        if "noscript" in spec.flags:
            raise Rejected(_NOT_ALLOWED)
        validation.check_lengths(spec, request)
        if type(spec) is LocalSpec:
            return spec.run(self._context, request)
        if type(spec) is ReadSpec:
            machine = self._overlay.machine
            return spec.run(View(machine.keyspace, machine.stamp, machine.revision), request)
        if type(spec) is WriteSpec:
            return self._write(spec, request)
        raise Rejected(_NOT_ALLOWED)

    def _write(self, spec: WriteSpec, request: list[bytes]) -> Any:
        if self._read_only:
            raise Rejected("ERR Write commands are not allowed from read-only scripts.")
        if spec.grows and not self._flags.allow_oom and self._port.full:
            raise Rejected(errors.OUT_OF_MEMORY)
        command = self._validation.with_limits(spec.run(request))
        if type(command) not in _STEPS:  # such as KRAFT ONCE
            raise Rejected(_NOT_ALLOWED)
        reply = self._step(command)
        if type(reply) is CommandFailure:
            return errors.command_error(reply, command)
        return reply if spec.shape is None else spec.shape(reply)

    def _step(self, command: Any) -> Reply:
        reply: Reply = self._overlay.step(command)
        if type(reply) is not CommandFailure:  # else it has done nothing, and must do nothing in its place
            self._steps.append(command)
        return reply


def _request(words: tuple[Any, ...]) -> list[bytes]:
    """The arguments of redis.call as words. Raises Rejected."""
    if not words:
        raise Rejected("ERR Please specify at least one argument for this redis lib call")
    request = []
    for word in words:
        kind = type(word)
        if kind is bytes:
            request.append(word)
        elif kind is int and -(10**17) < word < 10**17:
            request.append(b"%d" % word)
        elif kind is int or kind is float:
            request.append(b"%.17g" % word)
        else:
            raise Rejected("ERR Lua redis lib command arguments must be strings or integers")
    return request


def _elements(reply: Any, null: object) -> list[Any]:
    return [
        null if element is None else _elements(element, null) if type(element) is list else element
        for element in reply
    ]


def _sha1(text: bytes) -> bytes:
    return sha1(text, usedforsecurity=False).hexdigest().encode()


def _log_line(level: float, text: bytes) -> None:
    _log.emit(_LEVELS[int(level)], "script: {text}", text=errors.printable(text))


def _located(error: ScriptError, sha: bytes, source: bytes) -> bytes:
    """The text of an uncaught error as in Redis, without the line where Lua has forgotten it."""
    text = error.text.partition(b"\0")[0]
    line = error.line or (b"\n" not in source)
    if not error.source:
        return b"%b script: %b" % (text, sha)
    if not line:
        return b"%b script: %b, on %b." % (text, sha, error.source)
    return b"%b script: %b, on %b:%d." % (text, sha, error.source, line)


_STOPPED = {
    "instructions": (
        "ERR the script was stopped after {limits.instructions} instructions (scripts.instructions);"
        " nothing was written"
    ),
    "time": "ERR the script was stopped after {limits.time:g} s (scripts.time); nothing was written",
    "memory": (
        "ERR the script was stopped because it needs more than {limits.memory_bytes} bytes of memory"
        " (scripts.memory_bytes); nothing was written"
    ),
}
