"""The one table of errors: what was refused or failed, as the text a client reads.

The prefix decides whether client libraries send a command again by themselves, so a prefix that they repeat
(CLUSTERDOWN, READONLY, BUSY and so on) is used only where certainly nothing was logged.
"""

from kraft.kv.commands import VALUE_BYTES_MAX, Command
from kraft.kv.replies import CommandFailure
from kraft.node.errors import (
    AdminRefused,
    Busy,
    DiskFull,
    NoLeader,
    NotLeader,
    Refused,
    Stopping,
    TooStale,
    Uncertain,
)
from kraft.resp.values import Error

SYNTAX = "ERR syntax error"
NOT_AN_INTEGER = "ERR value is not an integer or out of range"
OUT_OF_MEMORY = "OOM command not allowed when used memory > 'maxmemory'."
CROSS_SLOT = "CROSSSLOT Keys in request don't hash to the same slot"
MAX_CLIENTS = "ERR max number of clients reached"

_FAILURES: dict[CommandFailure, str] = {
    CommandFailure.NOT_AN_INTEGER: NOT_AN_INTEGER,
    CommandFailure.OVERFLOW: "ERR increment or decrement would overflow",
    CommandFailure.TOO_LARGE: "ERR value exceeds limit of {limit} bytes",
}

_OUTCOMES: dict[type[Exception], str] = {
    Uncertain: "UNCERTAIN write may or may not be applied; check before retrying",
    NoLeader: "CLUSTERDOWN No leader for group {0}",
    NotLeader: "CLUSTERDOWN No leader for group {0}",
    Busy: "BUSY too many pending writes, try again later",
    DiskFull: "MISCONF Errors writing to the log: {0}",
    TooStale: "MASTERDOWN Last contact with the leader of group {0} is longer ago than reads.max_staleness",
    AdminRefused: "ERR {0}",
    Stopping: "CLUSTERDOWN This node is shutting down",
    Refused: "CLUSTERDOWN This node does not serve the group",
}


class Rejected(Exception):
    """A request that is answered with an error (`text`) and goes no further."""

    def __init__(self, text: str) -> None:
        super().__init__(text)
        self.text = text


def outcome(failure: Exception) -> Error:
    """The reply for an exception of the host; one that is no outcome at all is raised again."""
    for kind in type(failure).__mro__:
        text = _OUTCOMES.get(kind)
        if text is not None:
            detail = failure.args[0] if failure.args else ("no space left" if kind is DiskFull else 0)
            return Error(text.format(detail))
    raise failure


def failure(failed: CommandFailure, command: Command) -> Error:
    """The reply for a command that the state machine refused."""
    return Error(_FAILURES[failed].format(limit=getattr(command, "limit", VALUE_BYTES_MAX)))


def unknown_command(request: list[bytes]) -> str:
    """Redis' text: 128 bytes of the name, then arguments while they fit into about as many."""
    shown = ""
    for argument in request[1:]:
        if len(shown) >= 128:
            break
        shown += f"'{printable(argument)[: 128 - len(shown)]}' "
    return f"ERR unknown command '{printable(request[0])[:128]}', with args beginning with: {shown}"


def unknown_subcommand(request: list[bytes]) -> str:
    """For the second word of CLIENT, CLUSTER and the like."""
    family = printable(request[0]).upper()
    return f"ERR unknown subcommand '{printable(request[1])[:128]}'. Try {family} HELP."


def wrong_arity(name: str) -> str:
    """`name` is lower case; a subcommand is written `client|setname`."""
    return f"ERR wrong number of arguments for '{name}' command"


def over_limit(what: str, limit_bytes: int) -> str:
    """`what` is key, value or request."""
    return f"ERR {what} exceeds limit of {limit_bytes} bytes"


def invalid_expiry(name: str) -> str:
    """`name` is the lower-case command."""
    return f"ERR invalid expire time in '{name}' command"


def printable(argument: bytes) -> str:
    """An argument inside an error text, on one line."""
    text = argument[:256].decode("utf-8", "surrogateescape").partition("\0")[0]  # as C would print it
    return text.replace("\r", " ").replace("\n", " ")
