"""The gate of the client port: what is checked between a request's bytes and the host, in one place.

In Redis' order: the command is known (`spec_of`); it has the right number of words and nothing is over a
limit (`check`); the group that owns its keys is served here (`Routing`); there is memory for it, its
arguments are right, and it stores no value over the limit (`command_of`). Every failure raises Rejected with
the reply.

Checks that are to come have their place here: a user's rights belong in `check`, after the number of words; a
command that is newer than the machine version in force is refused at the end of `command_of`.
"""

import msgspec

from kraft.kv import commands as kv
from kraft.resp.parser import OversizedRequest
from kraft.resp.values import Error, Request
from kraft.server import errors
from kraft.server.commands.spec import AnySpec, CommandContext, CommandTable, LocalSpec, WriteSpec
from kraft.server.errors import Rejected
from kraft.server.port import ClientPort

# Commands whose value may become longer than their arguments carry the limit of the node that took them.
_LENGTHENING = frozenset(kind for kind in kv.Command.__args__ if "limit" in kind.__struct_fields__)


def _unknown(_: CommandContext, request: Request) -> Error:
    return Error(errors.unknown_command(request))


UNKNOWN = LocalSpec(name="unknown", arity=-1, run=_unknown)


class Validation:
    """Checks requests against the command table and the port's limits."""

    def __init__(self, port: ClientPort, table: CommandTable) -> None:
        self.table = table
        # Commands without subcommands by the two usual spellings; `spec_of` finds the others.
        plain = {name: spec for name, spec in table.items() if not spec.subcommands}
        self.usual = plain | {name.lower(): spec for name, spec in plain.items()}
        self._port = port
        self._host = port.host
        limits = port.limits  # a request of so few bytes has neither a key nor a value over its limit
        self._small_bytes = min(limits.key_bytes, limits.value_bytes, limits.request_bytes)

    def spec_of(self, request: Request) -> AnySpec:
        """The specification of the request's command, of its subcommand if there is one."""
        spec = self.table.get(request[0].upper(), UNKNOWN)
        if spec.subcommands and len(request) > 1:
            return spec.subcommands.get(request[1].upper(), spec)
        return spec

    def check(self, spec: AnySpec, request: Request) -> int:
        """The size of the request in bytes. Raises Rejected for a wrong number of words, or over a limit."""
        if not spec.low <= len(request) <= spec.high:
            raise Rejected(errors.wrong_arity(spec.name))
        size = sum(map(len, request))
        if size > self._small_bytes or type(request) is OversizedRequest:
            self._check_limits(spec, request)
        return size

    def _check_limits(self, spec: AnySpec, request: Request) -> None:
        lengths = request.lengths if type(request) is OversizedRequest else list(map(len, request))
        limits = self._port.limits
        first, last, step = spec.keys
        keys = range(first, last + 1 if last > 0 else len(lengths) + last + 1, step) if first else ()
        for place, length in enumerate(lengths):
            if place in keys:
                if length > limits.key_bytes:
                    raise Rejected(errors.over_limit("key", limits.key_bytes))
            elif length > limits.value_bytes:
                raise Rejected(errors.over_limit("value", limits.value_bytes))
        if sum(lengths) > limits.request_bytes:
            raise Rejected(errors.over_limit("request", limits.request_bytes))

    def command_of(self, spec: WriteSpec, request: Request) -> kv.Command:
        """The state machine command of a write. Raises Rejected.

        Values are limited here for every command that stores one: `check` has limited the arguments, and a
        command that makes a longer value of them gets the limit to be applied with.
        """
        if spec.grows and self._host.dataset_bytes > self._port.dataset_bytes_max:
            raise Rejected(errors.OUT_OF_MEMORY)
        command = spec.run(request)
        if type(command) in _LENGTHENING:
            return msgspec.structs.replace(command, limit=self._port.limits.value_bytes)
        return command
