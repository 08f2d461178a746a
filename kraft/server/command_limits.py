"""What a node adds to a command before it is proposed: its limits that only the state machine can check.

The length of a value that a command makes longer (APPEND, SETRANGE) is known only when the command is
applied, so the command carries the limit with it. That of a value which RESTORE unpacks is known when that
is done.
"""

from typing import Any

import msgspec

from kraft.kv import commands as kv
from kraft.kv.versions import MACHINE_VERSION_MIN
from kraft.server import errors
from kraft.server.commands import once
from kraft.server.commands.dump import UnpackedDump
from kraft.server.commands.spec import CommandSpec
from kraft.server.errors import Rejected
from kraft.server.port import ClientPort
from kraft.server.session_state import SessionState

# State machine commands that make a value longer than their arguments, or the data larger, with their fields
# for the limits of the node that took them: every such command copies the whole value, and many short ones
# would hold up every replica, or fill its memory before the next tick measures it.
_LENGTHENING = {
    kind: names
    for kind in kv.Command.__args__
    if (names := tuple(name for name in ("limit", "memory_limit") if name in kind.__struct_fields__))
}
UNLIMITED = frozenset(kv.Command.__args__) - frozenset((*_LENGTHENING, kv.Guarded, kv.Once))
"""The types of commands that `CommandLimits` leaves as they are."""
COMPLETE = frozenset(kind for kind in UNLIMITED if kind.since <= MACHINE_VERSION_MIN)
"""Those of them that every member knows."""


class CommandLimits:
    """Completes the commands of one client port."""

    def __init__(self, port: ClientPort) -> None:
        self._port = port

    def completed(self, spec: CommandSpec, command: kv.Command, group: int) -> kv.Command:
        """The command with the limits of this node. Refuses one that members might not know yet."""
        needed = command.since if type(command) is kv.ScriptCall else kv.needed_version((command,))
        obstacle = self._port.host.version_obstacle(group, needed)
        if obstacle:
            raise Rejected(f"ERR '{spec.name}' {obstacle}")
        return command if type(command) in UNLIMITED else self.added(command)

    def called(self, call: kv.Command, state: SessionState) -> kv.Command:
        """The call of a script with the rights of the caller. Raises Rejected for a text too long."""
        script: Any = call.command if type(call) is kv.Once else call
        limit = self._port.config.scripts.script_bytes
        if len(script.source) > limit:
            raise Rejected(errors.over_limit("script", limit))
        if state.rights is None:
            return call
        script = msgspec.structs.replace(script, user=state.rights.encoded)
        return once.of_user(call, script) if type(call) is kv.Once else script

    def added(self, command: kv.Command) -> kv.Command:
        """The command with the limits of this node, if it has any. Raises Rejected for a value too long."""
        if type(command) in UNLIMITED:
            return command
        if type(command) is kv.Once:
            inner: Any = self.added(command.command)
            return kv.Once(command.token, command.fingerprint, inner, *once.limits(self._port.config.once))
        if type(command) is UnpackedDump:
            return command.plain(self._port.limits.value_bytes)
        if type(command) is kv.Guarded:
            return msgspec.structs.replace(command, command=self.added(command.command))
        names = _LENGTHENING.get(type(command))
        if names is None:
            return command
        limits = {"limit": self._port.limits.value_bytes, "memory_limit": self._port.dataset_bytes_max}
        return msgspec.structs.replace(command, **{name: limits[name] for name in names})
