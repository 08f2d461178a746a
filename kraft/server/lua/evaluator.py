"""Evaluates scripts: their commands run through the command table, on an overlay of the leader's state.

What a script is offered are the commands of clients, with the same checks and limits: reads look at the
overlay, writes become state machine commands that are applied to it and remembered. They are what is logged.
"""

from collections.abc import Callable
from hashlib import sha1
from math import copysign, isnan
from typing import Any

from twisted.logger import Logger, LogLevel

from kraft.host.ports import ScriptEffects
from kraft.host.requests.round import View
from kraft.host.slots import SlotMap
from kraft.kv import commands as kv
from kraft.kv.ledger import Ledger
from kraft.kv.libraries import libraries_bytes, library_of
from kraft.kv.libraries import library as library_named
from kraft.kv.locks import holds
from kraft.kv.net_effect import net_effect
from kraft.kv.overlay import Overlay
from kraft.kv.replies import CommandFailure, Reply, encode_replies
from kraft.kv.scripts import script_source
from kraft.kv.slots import slot_of
from kraft.resp.values import Error
from kraft.server import errors
from kraft.server.command_limits import UNLIMITED
from kraft.server.commands.script_reply import error_reply, parsed
from kraft.server.commands.spec import AnySpec, CommandContext, IndexSpec, LocalSpec, ReadSpec, WriteSpec
from kraft.server.errors import Rejected
from kraft.server.lua.key_scan import KEY_SCANS, key_scan
from kraft.server.lua.library import library_header, registered_functions
from kraft.server.lua.runtime import SMALL_BYTES, CompileError, LimitReached, LuaRuntime, ScriptError
from kraft.server.lua.script_flags import script_flags
from kraft.server.port import ClientPort
from kraft.server.session_state import SessionState
from kraft.server.validation import Validation

REDIS_VERSION = "7.0.15"
_LIBRARY, _FUNCTION = int(kv.ScriptMode.LIBRARY), int(kv.ScriptMode.FUNCTION)
_READ, _LOAD = int(kv.ScriptMode.READ), int(kv.ScriptMode.LOAD)
_CHANGES = frozenset(kv.Change.__args__)
_UNLIMITED = _CHANGES & UNLIMITED
_BYTES = frozenset({bytes})
_ABOUT_REVISIONS = frozenset({"kraft|rev", "kraft|cas", "kraft|lock", "kraft|extend"})
_NOT_ALLOWED = "ERR This Redis command is not allowed from script"
_WRONG_ARITY = "ERR Wrong number of args calling Redis command from script"
_AGAIN = (b"OOM ", b"BUSY ", errors.PREMATURE.encode())  # errors of commands that may succeed later
TOO_DEEP = b"ERR reached lua stack limit"  # see `flatten` in sandbox.lua
_LEVELS = (LogLevel.debug, LogLevel.debug, LogLevel.info, LogLevel.warn)

_log = Logger()


class LuaEvaluator:
    """All scripts of one node."""

    def __init__(self, port: ClientPort, validation: Validation) -> None:
        self._port = port
        self._validation = validation
        self._runtime: LuaRuntime | None = None
        self._overlay: Any = None
        self._view: Any = None  # of the overlay, for reads
        self._size = self._room = 0  # bytes of what the script does that runs, and how many it may take
        self._loaded = 0  # steps that are undone by no error: the script is in the cache
        self._compiled = b""  # what is compiled, as Redis names it
        self._place: Any = ()  # what errors name: script or function, its text, and where Lua runs it
        self._read_only = self._grouped = False  # it may not write; there are several groups
        self._unchecked_bytes = 0  # a command of so few bytes needs no look at rights, lengths and groups
        self._full = False  # no room for commands that need memory
        self._user = b""  # with whose rights it runs, encoded
        self._resp = 2
        self._steps: list[Any] = []
        state = SessionState(0, "", "", port.clock.seconds(), port.clock.seconds())
        self._context = CommandContext(port, state, validation.table)
        # What scripts are offered, by its usual spellings; `_spec_of` finds the others, and the errors.
        self._offered: dict[bytes, Any] = {
            name: spec
            for name, spec in validation.lookup.usual.items()
            if type(spec) in (ReadSpec, WriteSpec) and "noscript" not in spec.flags
        }

    def evaluate(
        self, overlay: Overlay, script: kv.ScriptCall, used: int = 0, *, logged: bool = False
    ) -> ScriptEffects:
        """What `script` does on `overlay`, as `ScriptEvaluator` says; an error has no effects."""
        machine = overlay.machine
        self._overlay, self._steps, self._resp = overlay, [], 2
        self._view = View(machine.keyspace, machine.stamp, machine.revision)
        self._size, self._room, self._loaded = 0, self._port.limits.request_bytes - used, 0
        self._user, self._grouped = script.user, self._port.routing.slots.groups > 1
        checked = self._user or self._grouped
        self._unchecked_bytes = -1 if checked else self._validation.request_limits.small_bytes
        limits = self._port.config.scripts
        encoded, final = b"", True
        if self._runtime is not None and self._runtime.worn:
            self._runtime = None
        try:
            reply = self._run(script)
            if logged:
                encoded = encode_replies((reply,))
                self._count(len(encoded))
        except CompileError as error:
            return self._not_run(b"ERR Error compiling %b: %b" % (self._compiled, error.args[0]))
        except Rejected as refusal:
            return self._not_run(refusal.text.encode("utf-8", "surrogateescape"))
        except ScriptError as error:
            reply = error_reply(_located(error, *self._place))
            final = not error.text.startswith(_AGAIN)
            self._undo()
        except LimitReached as limit:
            self._runtime = None
            self._port.observer.script_stopped(limit.args[0])
            reply, final = error_reply(_STOPPED[limit.args[0]].format(limits=limits).encode()), False
            self._undo()
        if logged and not encoded:
            encoded = encode_replies((reply,))
        return ScriptEffects(net_effect(self._steps, overlay), reply, encoded, self._size, final)

    def _run(self, script: kv.ScriptCall) -> Reply:
        """The reply. Raises Rejected, and what `LuaRuntime` raises."""
        if script.token and not holds(self._overlay.machine, script.lock, script.token):
            raise Rejected(errors.command_error(CommandFailure.LOCK_LOST, script).text)
        if script.mode >= _LIBRARY:
            return self._store(script)
        if script.mode >= _FUNCTION:
            return self._function(script)
        limits = self._port.config.scripts
        cached = script_source(self._ledger, script.sha)
        source = cached or script.source
        if not source:
            raise Rejected(errors.NO_SCRIPT)
        if cached is None:
            self._step(kv.LoadScript(script.sha, script.source, limits.cache_bytes))
        self._loaded = len(self._steps)
        flags = script_flags(source)
        self._read_only = script.mode == _READ or flags.no_writes
        self._full = self._port.full and not flags.allow_oom
        self._place, self._compiled = (script.sha, source, b"@user_script"), b"script (new function)"
        runtime = self._ready()
        function = runtime.compile(script.sha, flags.code)
        if script.mode == _LOAD:
            return script.sha
        return _reply(runtime.run(function, limits.instructions, limits.time, script.keys, script.arguments))

    # -- functions --------------------------------------------------------------------------------------

    @property
    def _ledger(self) -> Ledger:
        ledger: Ledger = self._overlay.machine.keyspace.ledger
        return ledger

    def _function(self, script: kv.ScriptCall) -> Reply:
        """FCALL and FCALL_RO."""
        found = library_of(self._ledger, script.sha)
        if found is None:
            raise Rejected("ERR Function not found")
        library, function = found
        read_only = "no-writes" in function.flags
        if script.mode == kv.ScriptMode.FUNCTION_READ and not read_only:
            raise Rejected("ERR Can not execute a script with write flag using *_ro command.")
        self._read_only = read_only
        self._full = self._port.full and "allow-oom" not in function.flags
        self._place, self._compiled = (function.name, library.source, b"@user_function"), b"function"
        _, code = library_header(library.source)
        limits, runtime = self._port.config.scripts, self._ready()
        return _reply(
            runtime.call(
                runtime.library(code), function.name, limits.instructions, limits.time,
                script.keys, script.arguments,
            )
        )  # fmt: skip

    def _store(self, script: kv.ScriptCall) -> Reply:
        """FUNCTION LOAD and FUNCTION RESTORE. Raises Rejected: then nothing is stored."""
        policy, *sources = script.arguments
        if self._port.full:
            raise Rejected(errors.OUT_OF_MEMORY)
        if policy == b"FLUSH":
            self._step(kv.FlushLibraries())
        libraries = [self._registered(source) for source in sources]
        if len({library.name for library in libraries}) < len(libraries):
            raise Rejected("ERR a library is there twice")
        for library in libraries:
            if library_named(self._ledger, library.name) is not None:
                if policy != b"REPLACE":
                    name = errors.printable(library.name)
                    shown = f"'{name}'" if script.mode == kv.ScriptMode.LIBRARY else name
                    raise Rejected(f"ERR Library {shown} already exists")
                self._step(kv.DeleteLibrary(library.name))
        for library in libraries:
            for function in library.functions:
                if library_of(self._ledger, function.name) is not None:
                    raise Rejected(f"ERR Function {errors.printable(function.name)} already exists")
            self._step(library)
        limit = self._port.config.scripts.cache_bytes
        if libraries_bytes(self._ledger) > limit:
            raise Rejected(errors.over_limit("the size of all libraries", limit))
        return libraries[0].name if script.mode == kv.ScriptMode.LIBRARY else "OK"

    def _registered(self, source: bytes) -> kv.PutLibrary:
        """A library, with the functions that its text registers."""
        limits = self._port.config.scripts
        if len(source) > limits.script_bytes:
            raise Rejected(errors.over_limit("library", limits.script_bytes))
        name, code = library_header(source)
        self._compiled = b"function"
        runtime = self._ready()
        try:
            found = _reply(runtime.register(runtime.library(code), limits.instructions, limits.time))
        except ScriptError as error:
            text = error.text.decode("utf-8", "surrogateescape")
            raise Rejected(f"ERR Error registering functions: {text}") from None
        return kv.PutLibrary(name, source, registered_functions(found))

    def _not_run(self, text: bytes) -> ScriptEffects:
        """The effects of a script that cannot be run: an error, which leaves no trace."""
        self._overlay.drop()
        reply = error_reply(text)
        return ScriptEffects((), reply, encode_replies((reply,)), final=False)

    def _count(self, size: int) -> None:
        """Count bytes that the script makes, reads or writes: all become part of an entry of the log."""
        self._size += size
        if self._size > self._room:
            limit = self._port.limits.request_bytes
            if self._size > limit:
                raise Rejected(errors.over_limit("what a script does", limit))
            raise Rejected(errors.SCRIPTS_TOGETHER)

    def _undo(self) -> None:
        """Forget what the script did, but not that it is in the cache: the first steps."""
        self._overlay.drop()
        steps, self._steps = self._steps[: self._loaded], []
        for step in steps:
            self._step(step)

    def _ready(self) -> LuaRuntime:
        if self._runtime is None:
            functions: dict[str, Callable[..., object]] = {
                "dispatch_many": self._dispatch_many,
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
            request = list(words) if _BYTES.issuperset(map(type, words)) else _request(words)
            spec = self._offered.get(request[0]) if request else None
            if spec is None:
                spec = self._spec_of(request)
            if not spec.low <= len(request) <= spec.high:
                raise Rejected(_WRONG_ARITY)
            self._size += (size := sum(map(len, request)))
            if size > self._unchecked_bytes or self._size > self._room:
                self._check(spec, request, size)
            if type(spec) is WriteSpec:
                reply = self._write(spec, request)
            elif type(spec) is ReadSpec:
                reply = spec.run(self._view, request)
            elif type(spec) is IndexSpec:
                reply = key_scan(spec.name, request, self._overlay, self._port, self._count)
            else:
                reply = spec.run(self._context, request)
            return reply if type(reply) is int else self._converted(reply)
        except Rejected as refusal:
            return None, b"error", refusal.text.encode("utf-8", "surrogateescape")
        except LimitReached as limit:
            return None, b"limit", limit.args[0].encode()
        except Exception:
            _log.failure("a command of a script failed")
            return None, b"error", b"ERR internal error, see the log of the node"

    def _dispatch_many(self, words: Any) -> object:
        """The same for words in a table of Lua."""
        return self._dispatch(*[words[place] for place in range(1, len(words) + 1)])

    def _set_resp(self, version: int) -> None:
        self._resp = version

    def _converted(self, reply: Any) -> object:
        kind = type(reply)
        if kind is bytes:
            if len(reply) > SMALL_BYTES:
                self._ready().need(len(reply))
            return reply
        if reply is None:
            return None, (b"nil" if self._resp == 3 else b"null")
        if kind is str:
            return None, b"status", reply.encode()
        if kind is Error:
            return None, b"error", reply.text.encode("utf-8", "surrogateescape")
        return None, b"list", self._ready().table(_elements(reply, None if self._resp == 3 else False))

    def _check(self, spec: AnySpec, request: list[bytes], size: int) -> None:
        """Refuse what the user may not do, what is too long, and what another group has. Raises Rejected."""
        self._size -= size
        if self._user:
            self._port.users.check_script(self._user, spec, request)
        self._validation.request_limits.check(spec, request, size)
        self._count(size)
        if self._grouped:
            _check_group(spec, request, self._overlay, self._port.routing.slots)

    def _spec_of(self, request: list[bytes]) -> Any:
        """The specification of a command, if scripts may use it. Raises Rejected."""
        if not request:
            raise Rejected("ERR Please specify at least one argument for this redis lib call")
        spec = self._validation.lookup.spec_of(request)
        if spec.name == "unknown" or (spec.subcommands and len(request) > 1):
            raise Rejected("ERR Unknown Redis command called from script")
        offered = isinstance(spec, ReadSpec | WriteSpec | LocalSpec) or spec.name in KEY_SCANS
        if "noscript" in spec.flags or not offered:
            right = spec.low <= len(request) <= spec.high
            raise Rejected(_NOT_ALLOWED if right else _WRONG_ARITY)
        return spec

    def _write(self, spec: WriteSpec, request: list[bytes]) -> Any:
        if self._read_only:
            raise Rejected("ERR Write commands are not allowed from read-only scripts.")
        if self._full and spec.grows:
            raise Rejected(errors.OUT_OF_MEMORY)
        command = spec.run(request)
        if type(command) not in _UNLIMITED:
            command = self._validation.limits.added(command)
            if type(command) not in _CHANGES:  # such as KRAFT ONCE
                raise Rejected(_NOT_ALLOWED)
        overlay = self._overlay
        if overlay.premature and kv.expires_within(command, overlay.premature):
            return errors.command_error(CommandFailure.PREMATURE, command)
        reply = overlay.step(command)
        if type(reply) is CommandFailure:  # it has done nothing, and must do nothing in its place
            return errors.command_error(reply, command)
        self._steps.append(command)
        return reply if spec.shape is None else spec.shape(reply)

    def _step(self, command: Any) -> None:
        """Do what is no command of the script."""
        self._overlay.step(command)
        self._steps.append(command)


def _request(words: tuple[Any, ...]) -> list[bytes]:
    """The arguments of redis.call as words. Raises Rejected."""
    request = []
    for word in words:
        kind = type(word)
        if kind is bytes:
            request.append(word)
        elif kind is int and -(10**17) < word < 10**17:
            request.append(b"%d" % word)
        elif kind is float and isnan(word):
            request.append(b"-nan" if copysign(1.0, word) < 0 else b"nan")  # 0/0, as C writes it
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


def _reply(result: Any) -> Reply:
    reply: Reply = parsed(result) if type(result) is list else result
    return reply


def _located(error: ScriptError, name: bytes, source: bytes, file: bytes) -> bytes:
    """The text of an uncaught error as in Redis, without the line where Lua has forgotten it."""
    text = error.text.partition(b"\0")[0]
    if text == TOO_DEEP:  # an error of the reply, not of the script
        return text
    line = error.line or (b"\n" not in source)
    if not error.source:
        return b"%b script: %b" % (text, name)
    if not line:
        return b"%b script: %b, on %b." % (text, name, file)
    return b"%b script: %b, on %b:%d." % (text, name, error.source, line)


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


def _check_group(spec: AnySpec, request: list[bytes], overlay: Overlay, slots: SlotMap) -> None:
    """Refuse what is not in the script's own group, the only one whose state is here. Raises Rejected."""
    if spec.all_groups is not None or isinstance(spec, IndexSpec):  # one group has a part of the keys
        raise Rejected(_NOT_ALLOWED)
    declared = overlay.declared
    if declared is not None:
        if spec.name in _ABOUT_REVISIONS:
            raise Rejected(errors.SCRIPT_REVISION)
        if not all(key in declared for key in spec.routed_by(request)):
            raise Rejected(errors.FOREIGN_KEY)
        return
    if any(_is_foreign(overlay, slots, key) for key in spec.routed_by(request)):
        raise Rejected(errors.FOREIGN_KEY)


def _is_foreign(overlay: Overlay, slots: SlotMap, key: bytes) -> bool:
    """Whether the key is in another group: the state knows if slots have moved, else the map of the node."""
    if overlay.slots is not None:
        return not overlay.slots.shows(key)
    return slots.group_of(slot_of(key)) != overlay.group
