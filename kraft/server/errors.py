"""The texts of error replies, and the tables from a failure to its text.

Client libraries decide by the prefix whether to send a command again by themselves. A prefix after which they
repeat (CLUSTERDOWN, READONLY, BUSY and others) is used only if nothing was logged.
"""

from kraft.kv.commands import BITOP_VALUES, VALUE_BYTES_MAX, Command
from kraft.kv.excerpt import EXCERPT_BYTES
from kraft.kv.replies import CommandFailure
from kraft.node.errors import (
    AdminRefused,
    Busy,
    CheckpointFailed,
    DiskFull,
    Locked,
    NoLeader,
    NotLeader,
    NotOwner,
    Refused,
    ReplyTooLong,
    Stopping,
    TooManyWaiters,
    TooMuch,
    TooStale,
    Uncertain,
    VersionTooLow,
)
from kraft.resp.values import Error

SYNTAX = "ERR syntax error"
NO_SCRIPT = "NOSCRIPT No matching script. Please use EVAL."
SCRIPTS_TOGETHER = (
    "BUSY the scripts that were sent together do too much for one entry of the log; nothing was written,"
    " try again with fewer of them"
)
NOT_AN_INTEGER = "ERR value is not an integer or out of range"
NOT_A_FLOAT = "ERR value is not a valid float"
PREMATURE = (
    "ERR the cluster's log time is ahead of its clocks and would reach this expiry too early; "
    "use a relative one (EX, PX, EXPIRE, PEXPIRE); docs/runbooks.md#kraftlogtimeoff"
)
OUT_OF_MEMORY = "OOM command not allowed when used memory > 'maxmemory'."
CROSS_SLOT = "CROSSSLOT Keys in request don't hash to the same slot"
# This object itself, and no other error with its text, says that a request may be planned again.
SLOT_MOVED = Error("TRYAGAIN a slot of its keys moves to another group; nothing was done, try again")
LOCKED = "TRYAGAIN a transaction over several groups has locked a key; nothing was done, try again"
SCRIPT_REVISION = (
    "ERR KRAFT REV, CAS, LOCK and EXTEND are not allowed from a script with keys in several groups: revisions"
    " are known later"
)
FOREIGN_KEY = "ERR Script attempted to access a non local key in a cluster node"
ONCE_WATCHED = (
    "CROSSSLOT KRAFT ONCE remembers its token with the first key of the transaction, which has none; nothing"
    " was done: watched keys in several groups need a command with a key"
)
ONCE_REVISION = (
    "CROSSSLOT KRAFT CAS and LOCK reply revisions, which are known later than KRAFT ONCE remembers the reply"
    " with keys in several groups; nothing was done: give the keys one hash tag, or leave the token out"
)
GUARD_ALL = (
    "CROSSSLOT a lock guards commands in its own group only, and this one concerns all groups;"
    " nothing was done"
)
WATCH_INSIDE_MULTI = "ERR WATCH inside MULTI is not allowed"
NOT_IN_TRANSACTION = "ERR Command not allowed inside a transaction"
OWN_REVISION = (
    "EXECABORT Transaction discarded because of: KRAFT REV of a key that it writes before, with keys in"
    " several groups: that revision is known after EXEC only. Send KRAFT REV then, or write with KRAFT CAS"
)
ABORTED_BECAUSE = "EXECABORT Transaction discarded because of:"
TRANSACTION_REPLY = f"ERR reply of the transaction exceeds limit of {EXCERPT_BYTES} bytes"
NO_AUTH = "NOAUTH Authentication required."
WRONG_PASSWORD = "WRONGPASS invalid username-password pair or user is disabled."  # noqa: S105  # a reply
OLD_USERS = (
    "MASTERDOWN this node has heard of no leader for longer than users.max_staleness, so its users may have"
    " changed; nothing was done"
)
MAX_CLIENTS = "ERR max number of clients reached"

_FAILURES: dict[CommandFailure, str] = {
    CommandFailure.NOT_AN_INTEGER: NOT_AN_INTEGER,
    CommandFailure.OVERFLOW: "ERR increment or decrement would overflow",
    CommandFailure.TOO_LARGE: "ERR value exceeds limit of {limit} bytes",
    CommandFailure.NOT_A_FLOAT: NOT_A_FLOAT,
    CommandFailure.NOT_FINITE: "ERR increment would produce NaN or Infinity",
    CommandFailure.NO_SUCH_KEY: "ERR no such key",
    CommandFailure.OUT_OF_MEMORY: OUT_OF_MEMORY,
    CommandFailure.TOO_MUCH: (
        f"ERR the values of one BITOP exceed {BITOP_VALUES} times limits.value_bytes together"
    ),
    CommandFailure.TRANSACTION_TOO_LARGE: (
        "ERR what the transaction writes exceeds limits.request_bytes, or an entry of the log; this command"
        " did nothing"
    ),
    CommandFailure.SCRIPT_CONFLICT: (
        "BUSY a key that the script read has changed; nothing was written, try again"
    ),
    CommandFailure.LOCK_LOST: (
        "LOCKLOST the lock is not held with this token; nothing was written. Stop this work: another client"
        " may do it now. KRAFT LOCK gives a new token"
    ),
    CommandFailure.TOKEN_REUSED: (
        "ONCEREUSED this token was used with another command; nothing was executed. Take a new token for each"
        " operation, and send exactly the same command again to repeat one"
    ),
    CommandFailure.TOO_MANY_TOKENS: (
        "ONCEFULL too many tokens of KRAFT ONCE are remembered; nothing was executed. Each is forgotten"
        " once.ttl after its use: wait, lower once.ttl, or raise once.tokens or once.bytes"
    ),
    CommandFailure.PREMATURE: PREMATURE,
    CommandFailure.LOCKED: LOCKED,
}

_OUTCOMES: dict[type[Exception], str] = {
    Uncertain: "UNCERTAIN write may or may not be applied; check before retrying",
    NoLeader: "CLUSTERDOWN No leader for group {0}",
    NotLeader: "CLUSTERDOWN No leader for group {0}",
    Locked: LOCKED,
    Busy: "BUSY too many pending writes, try again later",
    TooManyWaiters: "BUSY too many clients wait for locks on this node, try again later, or at another node",
    TooMuch: (
        "ERR the keys of this command or transaction, which others change at the same time, hold more than"
        " {0} bytes in one group; nothing was done. Use fewer keys or smaller values, or give all keys one"
        " hash tag"
    ),
    ReplyTooLong: (
        "ERR the reply exceeds {0} bytes, and KRAFT ONCE would have to remember it; nothing was done. Read"
        " less in the transaction, or give all keys one hash tag"
    ),
    DiskFull: "MISCONF Errors writing to the log: {0}",
    CheckpointFailed: (
        "MISCONF no checkpoint could be written: no disk space, or too many open files;"
        " storage_failed in the log of the leader says which"
    ),
    TooStale: "MASTERDOWN Last contact with the leader of group {0} is longer ago than reads.max_staleness",
    VersionTooLow: "ERR {0}",
    AdminRefused: "ERR {0}",
    Stopping: "CLUSTERDOWN This node is shutting down",
    Refused: "CLUSTERDOWN This node does not serve the group",
}


_CONSEQUENCES = (Uncertain, NoLeader, NotLeader, Busy, TooStale)  # of an obstacle, which they do not name


class Rejected(Exception):
    """The request is answered with an error, `text`, and not executed."""

    def __init__(self, text: str) -> None:
        super().__init__(text)
        self.text = text


class CrossSlot(Rejected):
    """The keys of a request are in several groups."""

    def __init__(self, text: str = CROSS_SLOT) -> None:
        super().__init__(text)


def host_error(failure: Exception, obstacle: str = "") -> Error:
    """The reply for a request that the host refused or lost track of. Raises any other exception again.

    `obstacle` says why no such request can succeed now; it is added to errors that do not say so themselves.
    """
    if isinstance(failure, NotOwner):
        return SLOT_MOVED
    for kind in type(failure).__mro__:
        text = _OUTCOMES.get(kind)
        if text is not None:
            detail = failure.args[0] if failure.args else ("no space left" if kind is DiskFull else 0)
            why = f": {obstacle}" if obstacle and kind in _CONSEQUENCES else ""
            return Error(text.format(detail) + why)
    raise failure


def command_error(failure: CommandFailure, command: Command) -> Error:
    """The reply for `command`, which the state machine applied without effect because of `failure`."""
    if failure is CommandFailure.NOT_OWNER:
        return SLOT_MOVED
    return Error(_FAILURES[failure].format(limit=getattr(command, "limit", VALUE_BYTES_MAX)))


def unknown_command(request: list[bytes]) -> str:
    """The text of Redis: 128 bytes of the name, then arguments up to about 128 bytes."""
    shown = ""
    for argument in request[1:]:
        if len(shown) >= 128:
            break
        shown += f"'{printable(argument)[: 128 - len(shown)]}' "
    return f"ERR unknown command '{printable(request[0])[:128]}', with args beginning with: {shown}"


def subcommand_syntax(request: list[bytes]) -> str:
    """An option too many after a subcommand that takes few."""
    family, name = printable(request[0]).upper(), printable(request[1])[:128]
    return f"ERR unknown subcommand or wrong number of arguments for '{name}'. Try {family} HELP."


def unknown_subcommand(request: list[bytes]) -> str:
    """The text for an unknown second word of CLIENT, CLUSTER and other families."""
    family = printable(request[0]).upper()
    return f"ERR unknown subcommand '{printable(request[1])[:128]}'. Try {family} HELP."


def wrong_arity(name: str) -> str:
    """The text for a wrong number of words. `name` is in lower case, `client|setname` for a subcommand."""
    return f"ERR wrong number of arguments for '{name}' command"


def over_limit(what: str, limit_bytes: int) -> str:
    """The text for a key, value or request (`what`) of more than `limit_bytes`."""
    return f"ERR {what} exceeds limit of {limit_bytes} bytes"


def invalid_expiry(name: str) -> str:
    """The text for an expiry out of range. `name` is the command in lower case."""
    return f"ERR invalid expire time in '{name}' command"


def printable(argument: bytes) -> str:
    """An argument as an error text quotes it: on one line, up to a NUL byte, at most 256 bytes."""
    text = argument[:256].decode("utf-8", "surrogateescape").partition("\0")[0]  # as Redis prints it
    return text.replace("\r", " ").replace("\n", " ")
