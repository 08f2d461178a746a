"""The specification of one command: what COMMAND shows of it, and the function that runs it.

There is one class for each kind of command, because the kind decides what the function is given and gives:

    local   (context, request) -> reply         answered at once from this connection and this node
    switch  (context, request) -> reply         the same, and changes the connection itself
    read    (view, request) -> reply            looks at a view of the keyspace
    write   (request) -> state machine command  makes the command that the group logs
    script  (request) -> script                 makes the call that the leader evaluates
    wait    (request) -> (command, seconds)     makes the command of a lock, and how long to wait for it
    index   (request) -> query                  makes the query that an index of all keys answers
    admin   (request) -> admin command          makes the command that the host carries out
    all groups                                  a read, a write or a script that concerns several groups
    watch   (context, request) -> keys by group WATCH, which reads their revisions
    exec    (context, request) -> execution     EXEC, which executes what is queued
    users   (context, request) -> task          reads or changes users, or logs a client in
    replicas (context, request) -> wait         waits for replicas

Every function may raise `errors.Rejected`. The specifications themselves are in `commands.table`.
"""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import ClassVar, final

from kraft.acl.catalog import CATEGORIES
from kraft.host.requests.round import View
from kraft.int64 import parse_int64
from kraft.kv.commands import Command, Lock
from kraft.kv.footprint import RowName
from kraft.kv.ledger import LedgerKind
from kraft.kv.replies import Reply as Outcome
from kraft.node.admin import AdminCommand, AdminResult
from kraft.resp.values import Reply, Request
from kraft.server.commands.all_groups import AllGroups
from kraft.server.commands.key_access import access_by_options, needed_access
from kraft.server.commands.key_range import KeyRange
from kraft.server.commands.scan import AllKeys, RandomKey, Scan
from kraft.server.port import ClientPort
from kraft.server.rights import Range
from kraft.server.session_state import SessionState

SEGMENT_COMMANDS = 1024  # longer runs are cut, so that other connections get their turn
ARGUMENTS_MAX = 1 << 20  # the protocol's own maximum; the parser enforces the configured one

Query = Scan | RandomKey | AllKeys | KeyRange
"""What an `IndexSpec` asks; `needs` is the type of the index that answers it."""

NO_KEYS = (0, 0, 0)
ONE_KEY = (1, 1, 1)  # the first argument is the key
ALL_KEYS = (1, -1, 1)  # all arguments are keys
KEY_VALUE_PAIRS = (1, -1, 2)  # keys and values alternate

_CATEGORY_OF_GROUP = {
    "string": "string",
    "bitmap": "bitmap",
    "generic": "keyspace",
    "connection": "connection",
    "transactions": "transaction",
    "scripting": "scripting",
    "kraft": "kraft",
}
_COUNTED_AS = {"switch": "local", "script": "write", "watch": "read", "exec": "write", "users": "local"}
_CATEGORIES_OF_FLAG = {"write": ("write",), "readonly": ("read",), "admin": ("admin", "dangerous")}


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class CommandSpec:
    """The part that all kinds share.

    `name` is in lower case, `client|id` for a subcommand. `arity` is Redis': the exact number of words, or
    negative for a minimum; `low` and `high` are the same as bounds. `keys` is Redis' (first, last, step) of
    the words that are keys; `counted` is the place of a word that says how many keys follow it, with the step
    between them. `key_flags` has what becomes of the keys: the last element is about all of them that are
    left, each one before it about one key. `usage` is the syntax of the arguments
    (`commands.syntax`). `acl` are categories in addition to those that follow from the rest. A family
    (CLIENT, KRAFT) has `subcommands` by their word. `immediate` commands run at once between MULTI and EXEC:
    they are never part of the transaction; those with `no_multi` are refused there. A prefix in front of
    commands has `variants`: the specifications that take its place, by the words that the request has at
    one of `variant_places`. A variant may have variants itself. `lock` is the place of a word that names a
    lock, which comes to the keys. A command that concerns all keys, or what every group has
    beside its keys, has `all_groups`: how its replies become one where there are several groups. A variant
    of a prefix has the command after it in `inner`; that begins at the word `inner_at`. A command that reads
    keys without naming them has `covers`, which gives their range.
    """

    kind: ClassVar[str]
    segment_max: ClassVar[int] = SEGMENT_COMMANDS  # how many neighbours of the kind are done together
    name: str
    arity: int
    flags: tuple[str, ...]
    keys: tuple[int, int, int] = NO_KEYS
    counted: tuple[int, int] = (0, 1)
    key_flags: tuple[tuple[str, ...], ...] = ()
    acl: tuple[str, ...] = ()
    group: str = "server"
    summary: str = ""
    since: str = "1.0.0"
    usage: str = ""
    immediate: bool = False
    no_multi: bool = False
    subcommands: Mapping[bytes, "AnySpec"] = field(default_factory=dict)
    variants: Mapping[bytes, "AnySpec"] = field(default_factory=dict)
    variant_places: tuple[int, ...] = ()
    lock: int = 0
    all_groups: AllGroups | None = None
    inner: "AnySpec | None" = None
    inner_at: int = 0
    covers: Callable[[Request], Range] | None = None
    low: int = field(init=False)
    high: int = field(init=False)
    needs: tuple[int, ...] = field(init=False)

    def __post_init__(self) -> None:
        object.__setattr__(self, "needs", needed_access(self.key_flags))
        object.__setattr__(self, "low", abs(self.arity))
        object.__setattr__(self, "high", self.arity if self.arity > 0 else ARGUMENTS_MAX + 1)

    @property
    def counted_as(self) -> str:
        """The kind under which statistics count the command."""
        return _COUNTED_AS.get(self.kind, self.kind)

    @property
    def categories(self) -> tuple[str, ...]:
        """The ACL categories, in the order of Redis."""
        return _categories(self)

    def variant(self, request: Request) -> "AnySpec | None":
        """The specification in `variants` that fits the request, None if none does."""
        for place in self.variant_places:
            words = [word.upper() for word in request[place : place + 2]]
            found = self.variants.get(b"".join(words[:1])) or self.variants.get(b"|".join(words))
            if found is not None:
                return (found.variant(request) or found) if found.variants else found
        return None

    def key_places(self, request: Request) -> range:
        """Where the keys are among the words of the request."""
        place, step = self.counted
        if place:
            count = max(0, parse_int64(request[place]) or 0)
            return range(place + 1, min(len(request), place + 1 + count * step), step)
        first, last, step = self.keys
        return range(first, last + 1 if last > 0 else len(request) + last + 1, step) if first else range(0)

    @property
    def keyless(self) -> bool:
        """Whether no request has keys."""
        return not self.keys[0] and not self.counted[0]

    @property
    def one_key(self) -> bool:
        """Whether the first argument is the only key, and no lock, range or other command comes with it."""
        alone = self.inner is None and self.covers is None and not self.lock and not self.counted[0]
        return self.keys == ONE_KEY and alone

    @property
    def varies(self) -> bool:
        """Whether options decide what becomes of the key."""
        return bool(self.key_flags) and "variable_flags" in self.key_flags[0]

    def access(self, request: Request) -> Sequence[int]:
        """The rights that a request needs on its keys: READ and WRITE of `kraft.acl.user`.

        The last element is about all keys that are left, each one before it about one key.
        """
        if self.varies:
            return access_by_options(self.name, self.key_flags, request)
        return self.needs

    def keys_of(self, request: Request) -> list[bytes]:
        """The arguments that are keys."""
        places = self.key_places(request)
        return request[places.start : places.stop : places.step]

    def routed_by(self, request: Request) -> list[bytes]:
        """The keys that decide on the group: `keys_of`, and the name of a lock."""
        keys = self.keys_of(request)
        return [request[self.lock], *keys] if self.lock else keys


def _categories(spec: CommandSpec) -> tuple[str, ...]:
    found = {*spec.acl, _CATEGORY_OF_GROUP.get(spec.group, ""), "fast" if "fast" in spec.flags else "slow"}
    for flag, implied in _CATEGORIES_OF_FLAG.items():
        if flag in spec.flags and spec.group != "scripting":  # its commands do what their scripts do
            found.update(implied)
    return tuple(category for category in CATEGORIES if category in found)


@final
@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class LocalSpec(CommandSpec):
    """A command about this connection or this node."""

    kind: ClassVar[str] = "local"
    flags: tuple[str, ...] = ("noscript", "loading", "stale", "fast")
    run: Callable[["CommandContext", Request], Reply]


@final
@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class SwitchSpec(CommandSpec):
    """A local command that changes how replies are written, or closes the connection: a segment by itself."""

    kind: ClassVar[str] = "switch"
    segment_max: ClassVar[int] = 1
    flags: tuple[str, ...] = ("noscript", "loading", "stale", "fast")
    run: Callable[["CommandContext", Request], Reply]


def no_rows(_: Request) -> Sequence[RowName]:
    """A request that looks at all rows of a kind, or at none."""
    return ()


@final
@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class ReadSpec(CommandSpec):
    """A command that changes nothing. `rows` are the kinds of rows of the ledger at which it looks.

    `rows_of` are those of a request, where it does not look at all of them.
    """

    kind: ClassVar[str] = "read"
    flags: tuple[str, ...] = ("readonly", "fast")
    run: Callable[[View, Request], Reply]
    rows: tuple[LedgerKind, ...] = ()
    rows_of: Callable[[Request], Sequence[RowName]] = no_rows


@final
@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class IndexSpec(CommandSpec):
    """A command that changes nothing and looks at all keys, a segment by itself."""

    kind: ClassVar[str] = "index"
    segment_max: ClassVar[int] = 1
    flags: tuple[str, ...] = ("readonly",)
    acl: tuple[str, ...] = ("keyspace",)
    no_multi: bool = True
    run: Callable[[Request], Query]


@final
@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class WriteSpec(CommandSpec):
    """A command that is logged. `shape` turns the state machine's reply into the client's if they differ.

    `grows` marks a command that may need memory: it is refused while the dataset is at its limit.
    """

    kind: ClassVar[str] = "write"
    flags: tuple[str, ...] = ("write", "fast")
    run: Callable[[Request], Command]
    shape: Callable[[Outcome], Reply] | None = None
    grows: bool = field(init=False)

    def __post_init__(self) -> None:
        CommandSpec.__post_init__(self)
        object.__setattr__(self, "grows", "denyoom" in self.flags)


@final
@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class ScriptSpec(CommandSpec):
    """A command that calls a script. `shape` turns the leader's reply into the client's."""

    kind: ClassVar[str] = "script"
    flags: tuple[str, ...] = ("noscript", "stale", "skip_monitor", "no_mandatory_keys", "movablekeys")
    acl: tuple[str, ...] = ("scripting",)
    group: str = "scripting"
    run: Callable[[Request], Command]
    shape: Callable[[Outcome], Reply]


@final
@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class WaitSpec(CommandSpec):
    """A command that waits for a lock, a segment by itself. `shape` is that of `WriteSpec`."""

    kind: ClassVar[str] = "wait"
    segment_max: ClassVar[int] = 1
    flags: tuple[str, ...] = ("write", "denyoom", "blocking")
    no_multi: bool = True
    run: Callable[[Request], tuple[Lock, float]]
    shape: Callable[[Outcome], Reply]


@final
@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class AdminSpec(CommandSpec):
    """An administrator's command, a segment by itself. `shape` turns the host's result into a reply."""

    kind: ClassVar[str] = "admin"
    segment_max: ClassVar[int] = 1
    flags: tuple[str, ...] = ("admin", "noscript")
    group: str = "kraft"
    no_multi: bool = True
    run: Callable[[Request], AdminCommand]
    shape: Callable[[AdminResult], Reply]

    @property
    def categories(self) -> tuple[str, ...]:
        """Administration is given by its own category only, not with kraft's other commands."""
        return tuple(each for each in _categories(self) if each != "kraft")


@final
@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class WatchSpec(CommandSpec):
    """WATCH, a segment by itself."""

    kind: ClassVar[str] = "watch"
    segment_max: ClassVar[int] = 1
    flags: tuple[str, ...] = ("noscript", "loading", "stale", "fast", "allow_busy")
    immediate: bool = True
    run: Callable[["CommandContext", Request], dict[int, list[bytes]]]


@final
@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class ExecSpec(CommandSpec):
    """EXEC, a segment by itself. `run` gives an `Execution`, and checks the number of words."""

    kind: ClassVar[str] = "exec"
    segment_max: ClassVar[int] = 1
    flags: tuple[str, ...] = ("noscript", "loading", "stale", "skip_slowlog")
    immediate: bool = True
    run: Callable[["CommandContext", Request], object]

    def __post_init__(self) -> None:
        CommandSpec.__post_init__(self)
        object.__setattr__(self, "high", ARGUMENTS_MAX)  # a wrong number also ends the transaction


@final
@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class ReplicaSpec(CommandSpec):
    """A command that waits for replicas, a segment by itself. `run` gives a `ReplicaWait`."""

    kind: ClassVar[str] = "replicas"
    segment_max: ClassVar[int] = 1
    flags: tuple[str, ...] = ("noscript",)
    no_multi: bool = True
    run: Callable[["CommandContext", Request], object]

    @property
    def categories(self) -> tuple[str, ...]:
        """As in Redis: they look at no key."""
        return ("slow", "connection")


@final
@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class UserSpec(CommandSpec):
    """A command about users, a segment by itself. `run` gives a `UserTask`."""

    kind: ClassVar[str] = "users"
    segment_max: ClassVar[int] = 1
    no_multi: bool = True
    run: Callable[["CommandContext", Request], object]


@final
@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class AllGroupsSpec(CommandSpec):
    """A command with `all_groups` where there are several, a segment by itself. `one` is it in one group."""

    kind: ClassVar[str] = "all groups"
    segment_max: ClassVar[int] = 1
    no_multi: bool = True
    one: "ReadSpec | WriteSpec | ScriptSpec"

    @property
    def counted_as(self) -> str:
        """As the command in one group."""
        return self.one.counted_as


SingleSpec = (
    SwitchSpec
    | IndexSpec
    | ScriptSpec
    | WaitSpec
    | AdminSpec
    | WatchSpec
    | ExecSpec
    | ReplicaSpec
    | UserSpec
    | AllGroupsSpec
)
"""Of commands that are no plain reads or writes; most of them are a segment by themselves."""
AnySpec = LocalSpec | ReadSpec | WriteSpec | SingleSpec
CommandTable = Mapping[bytes, AnySpec]
"""Specifications by name in upper case; subcommands are inside their families."""


@dataclass(frozen=True, slots=True)
class CommandContext:
    """The objects that a local command may read and change: the port, one connection's state, the table."""

    port: ClientPort
    state: SessionState
    table: CommandTable


def specs_by_name(*specs: AnySpec) -> dict[bytes, AnySpec]:
    """`specs` by name in upper case, a subcommand by its own word."""
    return {spec.name.rpartition("|")[2].upper().encode(): spec for spec in specs}


def in_all_groups(table: CommandTable) -> dict[bytes, AnySpec]:
    """The `table` of a node with several groups: an `AllGroupsSpec` for each command with `all_groups`."""
    return {name: _in_all_groups(spec) for name, spec in table.items()}


def _in_all_groups(spec: AnySpec) -> AnySpec:
    if spec.all_groups is not None and isinstance(spec, ReadSpec | WriteSpec | ScriptSpec):
        return AllGroupsSpec(
            name=spec.name, arity=spec.arity, flags=spec.flags, acl=spec.acl, group=spec.group,
            summary=spec.summary, usage=spec.usage, lock=spec.lock, all_groups=spec.all_groups,
            inner=spec.inner, inner_at=spec.inner_at, one=spec,
        )  # fmt: skip
    if not spec.subcommands and not spec.variants:
        return spec
    return replace(spec, subcommands=in_all_groups(spec.subcommands), variants=in_all_groups(spec.variants))
