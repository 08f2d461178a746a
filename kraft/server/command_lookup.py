"""The specifications of a client port's commands, by the words of a request."""

from kraft.resp.values import Error, Request
from kraft.server import errors
from kraft.server.commands.spec import (
    AnySpec,
    CommandContext,
    CommandTable,
    LocalSpec,
    WriteSpec,
    in_all_groups,
)
from kraft.server.suggestion import closest


def _unknown(context: CommandContext, request: Request) -> Error:
    meant = closest(errors.printable(request[0]), (spec.name for spec in context.table.values()))
    return Error(errors.unknown_command(request) + (f"- did you mean {meant}?" if meant else ""))


UNKNOWN = LocalSpec(name="unknown", arity=-1, run=_unknown)


class CommandLookup:
    """Finds the specification of a request.

    `usual` has the commands of one kind by their two usual spellings; `spec_of` finds the others.
    `transacted` are those of them that make a step of a transaction from the request alone. `multi` is MULTI.
    """

    def __init__(self, known: CommandTable) -> None:
        self._learn(known)

    def spec_of(self, request: Request) -> AnySpec:
        """The specification of the request's command, of its subcommand if there is one."""
        spec = self._known.get(request[0].upper(), UNKNOWN)
        if spec.subcommands and len(request) > 1:
            spec = spec.subcommands.get(request[1].upper(), spec)
        if spec.variants:
            return spec.variant(request) or spec
        return spec

    def learn_groups(self) -> None:
        """There are several groups: from the beginning, or by now (see SlotMap)."""
        self._learn(in_all_groups(self._known))

    def _learn(self, known: CommandTable) -> None:
        self._known = known
        plain = {name: spec for name, spec in known.items() if not (spec.subcommands or spec.variants)}
        self.usual: dict[bytes, AnySpec] = plain | {name.lower(): spec for name, spec in plain.items()}
        self.transacted: dict[bytes, WriteSpec] = {
            name: spec for name, spec in self.usual.items() if type(spec) is WriteSpec and not spec.no_multi
        }
        self.multi = known.get(b"MULTI")
