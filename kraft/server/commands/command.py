"""COMMAND: the table of commands in the form of Redis, for clients, redis-cli and shells."""

from functools import cache

from kraft.resp.values import Reply, Request, SetOf
from kraft.server import errors
from kraft.server.commands.arguments import limited, matches
from kraft.server.commands.complexity import complexity_of
from kraft.server.commands.introspection import unknown_subcommand
from kraft.server.commands.key_access import key_flags_of
from kraft.server.commands.spec import AnySpec, CommandContext, CommandTable
from kraft.server.commands.syntax import Syntax
from kraft.server.commands.tips import TIPS
from kraft.server.errors import Rejected


def command(context: CommandContext, request: Request) -> Reply:
    """COMMAND: the whole table."""
    if len(request) > 1:
        raise Rejected(unknown_subcommand(context, request))
    return [_entry(spec) for spec in context.table.values()]


def count(context: CommandContext, _: Request) -> Reply:
    """COMMAND COUNT: without subcommands, as in Redis."""
    return len(context.table)


def list_(context: CommandContext, request: Request) -> Reply:
    """COMMAND LIST [FILTERBY MODULE name | ACLCAT category | PATTERN pattern]: subcommands too."""
    specs = all_specs(context.table)
    if len(request) > 2:
        if len(request) != 5 or request[2].upper() != b"FILTERBY":
            raise Rejected(errors.SYNTAX)
        kind, wanted = request[3].upper(), request[4]
        if kind == b"PATTERN":
            specs = [spec for spec in specs if matches(wanted, spec.name)]
        elif kind == b"ACLCAT":
            specs = [spec for spec in specs if wanted.lower() in (name.encode() for name in spec.categories)]
        elif kind == b"MODULE":
            specs = []
        else:
            raise Rejected(errors.SYNTAX)
    return [spec.name.encode() for spec in specs]


def all_specs(table: CommandTable) -> list[AnySpec]:
    """All commands, each followed by its subcommands."""
    return [each for spec in table.values() for each in (spec, *spec.subcommands.values())]


def info(context: CommandContext, request: Request) -> Reply:
    """COMMAND INFO [name ...]: null for an unknown name."""
    specs = _named(context, request[2:]) if len(request) > 2 else list(context.table.values())
    return [None if spec is None else _entry(spec) for spec in specs]


def docs(context: CommandContext, request: Request) -> Reply:
    """COMMAND DOCS [name ...]: unknown names are left out."""
    specs = _named(context, request[2:]) if len(request) > 2 else list(context.table.values())
    return {spec.name.encode(): _docs(spec) for spec in specs if spec is not None}


def getkeys(context: CommandContext, request: Request) -> Reply:
    """COMMAND GETKEYS command [argument ...]."""
    _, keys = _keys(context, request[2:])
    return list(keys)


def getkeysandflags(context: CommandContext, request: Request) -> Reply:
    """COMMAND GETKEYSANDFLAGS command [argument ...]: each key with what the command does to it."""
    spec, keys = _keys(context, request[2:])
    flags = key_flags_of(spec.name, spec.key_flags, request[2:])
    last = len(flags) - 1
    return [[key, SetOf(flags[min(place, last)])] for place, key in enumerate(keys)]


def _keys(context: CommandContext, inner: Request) -> tuple[AnySpec, list[bytes]]:
    spec = context.table.get(inner[0].upper())
    if spec is not None and spec.subcommands and len(inner) > 1:
        spec = spec.subcommands.get(inner[1].upper())
    if spec is None:
        raise Rejected("ERR Invalid command specified")
    spec = spec.variant(inner) or spec
    if not spec.low <= len(inner) <= spec.high:
        raise Rejected("ERR Invalid number of arguments specified for command")
    keys = spec.keys_of(inner)
    if not keys:
        raise Rejected("ERR The command has no key arguments")
    return spec, keys


def named(table: CommandTable, name: bytes) -> AnySpec | None:
    """The command of that name, `client|id` for a subcommand; None if there is none."""
    family, _, word = name.upper().partition(b"|")
    spec = table.get(family)
    return spec.subcommands.get(word) if spec is not None and word else spec


def _named(context: CommandContext, names: Request) -> list[AnySpec | None]:
    return [named(context.table, name) for name in limited(names)]


@cache
def _entry(spec: AnySpec) -> Reply:
    """The ten elements of one entry of COMMAND's reply."""
    first, last, step = spec.keys
    return [
        spec.name.encode(),
        spec.arity,
        SetOf(spec.flags),
        first,
        last,
        step,
        SetOf(tuple([f"@{category}" for category in spec.categories])),
        SetOf(TIPS.get(spec.name, ())),
        SetOf(tuple(_key_specs(spec))),
        SetOf(tuple([_entry(sub) for sub in spec.subcommands.values()])),
    ]


def _key_specs(spec: AnySpec) -> list[Reply]:
    """Where the keys are, and what the command does with them."""
    first, last, step = spec.keys
    place, counted_step = spec.counted
    if place:
        find: Reply = {b"keynumidx": 0, b"firstkey": 1, b"keystep": counted_step}
        return [_key_spec(spec.key_flags[0], place, b"keynum", find)]
    specs = []
    for number, flags in enumerate(spec.key_flags):
        begin, rest = first + number * step, number == len(spec.key_flags) - 1
        end = (last - begin if last > 0 else last) if rest else 0
        find = {b"lastkey": end, b"keystep": step, b"limit": 0}
        specs.append(_key_spec(flags, begin, b"range", find))
    return specs


def _key_spec(flags: tuple[str, ...], begin: int, kind: bytes, find: Reply) -> Reply:
    search: Reply = {b"type": b"index", b"spec": {b"index": begin}}
    return {b"flags": SetOf(flags), b"begin_search": search, b"find_keys": {b"type": kind, b"spec": find}}


@cache
def _docs(spec: AnySpec) -> Reply:
    docs: dict[Reply, Reply] = {
        b"summary": spec.summary.encode(),
        b"since": spec.since.encode(),
        b"group": spec.group.encode(),
        b"complexity": complexity_of(spec.name).encode(),
    }
    if spec.usage:
        syntax = Syntax(spec.usage, kinds=len(spec.key_flags))
        docs[b"arguments"] = [argument.reply() for argument in syntax.arguments()]
    if spec.subcommands:
        docs[b"subcommands"] = {sub.name.encode(): _docs(sub) for sub in spec.subcommands.values()}
    return docs
