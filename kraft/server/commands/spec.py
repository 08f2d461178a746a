"""What a row of the command table is. The rows themselves are in `commands`.

The kind of a row fixes what its function is: a local one answers at once from the session, a read looks at a
view of the keyspace, a write only makes the command that the group will log, and one of an administrator the
command that the host carries out.
"""

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any

from kraft.resp.values import Reply, Request

LOCAL = "local"
READ = "read"
WRITE = "write"
ADMIN = "admin"

ARGUMENTS_MAX = 1 << 20  # the protocol's own maximum; the parser enforces the configured one


@dataclass(frozen=True, slots=True, eq=False)
class CommandSpec:
    """One command. `arity` is Redis': the exact number of words, or negative for a minimum.

    `function` is (session, request) -> Reply for a local command, (view, request) -> Reply for a read,
    (request) -> kv command for a write, and (request) -> `host.admin` command for an administrator's; it may
    raise `errors.Rejected`. `shape` turns the host's reply into the client's where they differ. `keys` is
    Redis' (first, last, step), (0, 0, 0) for none. `usage` are the arguments, for people.
    """

    name: str
    arity: int
    kind: str
    function: Callable[..., Any]
    flags: tuple[str, ...] = ()
    keys: tuple[int, int, int] = (0, 0, 0)
    group: str = "server"
    summary: str = ""
    since: str = "1.0.0"
    usage: str = ""
    shape: Callable[[Any], Reply] | None = None
    subcommands: Mapping[bytes, "CommandSpec"] = field(default_factory=dict)
    low: int = field(init=False)
    high: int = field(init=False)
    grows: bool = field(init=False)

    def __post_init__(self) -> None:
        object.__setattr__(self, "low", abs(self.arity))
        object.__setattr__(self, "high", self.arity if self.arity > 0 else ARGUMENTS_MAX + 1)
        object.__setattr__(self, "grows", "denyoom" in self.flags)

    def keys_of(self, request: Request) -> list[bytes]:
        """The arguments that are keys."""
        first, last, step = self.keys
        if not first:
            return []
        return request[first : last + 1 if last > 0 else len(request) + last + 1 : step]

    def of_subcommand(self, request: Request) -> "CommandSpec":
        """The row of `CLIENT ID` and the like; `self` where there is no second word or no such row."""
        if not self.subcommands or len(request) < 2:
            return self
        return self.subcommands.get(request[1].upper(), self)


def rows_by_name(*rows: CommandSpec) -> dict[bytes, CommandSpec]:
    """Keyed by upper-case name; a subcommand by its own word."""
    return {row.name.rpartition("|")[2].upper().encode(): row for row in rows}
