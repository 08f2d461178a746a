"""The commands of the server, as COMMAND and COMMAND DOCS describe them: for completion, hints and help.

The shell has no list of commands of its own, so it knows those of the node that it is connected to.
"""

import textwrap
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field

from kraft.cli.cluster_client import pairs, text
from kraft.resp.values import Reply, SetOf

HINT_LINES_MAX = 3  # of the syntax

Words = Sequence[bytes]
Ask = Callable[[Words], Reply]

# Commands without the flag `readonly` that change nothing, or nothing more when they are executed twice.
_HARMLESS = (
    frozenset(("PING", "ECHO", "TIME", "INFO", "ROLE", "COMMAND", "CLUSTER", "READONLY", "READWRITE"))
    | frozenset(f"KRAFT {word}" for word in ("STATUS", "MEMBERS", "LEADER", "VERSION", "HELP", "CONSISTENCY"))
    | frozenset(f"CLIENT {word}" for word in ("ID", "INFO", "LIST", "GETNAME", "SETNAME"))
    | frozenset(f"FUNCTION {word}" for word in ("DUMP", "LIST", "STATS", "HELP"))
    | frozenset(f"SCRIPT {word}" for word in ("EXISTS", "SHOW", "HELP"))
    | frozenset(("CONFIG GET",))
)


@dataclass(frozen=True, slots=True)
class CommandDoc:
    """One command or subcommand: its name as typed in upper case, `CLIENT KILL`, and what is known of it.

    syntax: its arguments. tokens: the words with a fixed spelling among them. flags: as in COMMAND.
    """

    name: str
    syntax: str
    tokens: tuple[str, ...]
    summary: str
    group: str
    flags: frozenset[str]
    subcommands: dict[str, "CommandDoc"] = field(default_factory=dict)


class CommandCatalog:
    """The commands by name; empty until `load`."""

    def __init__(self) -> None:
        self.commands: dict[str, CommandDoc] = {}
        self.loaded = False

    def load(self, ask: Ask) -> None:
        """Ask a server for its commands. One that does not describe them leaves the catalog empty."""
        entries = ask([b"COMMAND"])
        docs = pairs(ask([b"COMMAND", b"DOCS"]))
        for entry in entries if isinstance(entries, list) else []:
            if isinstance(entry, list) and len(entry) >= 3:
                doc = _doc(entry, docs)
                self.commands[doc.name] = doc
        self.loaded = True

    def find(self, words: Sequence[str]) -> CommandDoc | None:
        """The command that these words begin with; a subcommand if the second word names one."""
        command = self.commands.get(words[0].upper()) if words else None
        if command is None or len(words) < 2:
            return command
        return command.subcommands.get(words[1].upper(), command)

    def repeatable(self, words: Words) -> bool:
        """Whether executing this command twice is the same as once. Unknown commands count as writes."""
        name = [text(word).upper() for word in words[:2]]
        if name[0] in _HARMLESS or " ".join(name) in _HARMLESS:
            return True
        found = self.find(name)
        return found is not None and "readonly" in found.flags

    def complete(self, words: Sequence[str], last: str) -> list[str]:
        """What may stand in place of `last`, after `words`; in lower case if `last` is."""
        if not words:
            found = [name for name in self.commands if "-" not in name or last]
        elif (command := self.find(words)) is None:
            found = []
        elif command.subcommands and len(words) == 1:
            found = [name.partition(" ")[2] for name in (each.name for each in command.subcommands.values())]
        else:
            found = [token for token in command.tokens if last]  # an empty word is more likely to be a key
        matching = sorted(word for word in found if word.startswith(last.upper()))
        return [word.lower() for word in matching] if last.islower() else matching

    def hint(self, words: Sequence[str], width: int) -> list[str]:
        """The syntax of the command that is being typed, and its summary, in lines; none if it is unknown."""
        command = self.find(words)
        if command is None:
            return []
        syntax = textwrap.wrap(f"{command.name} {command.syntax}", width, break_on_hyphens=False)
        return [*syntax[:HINT_LINES_MAX], command.summary[:width]]

    def groups(self) -> Iterator[tuple[str, list[CommandDoc]]]:
        """(group, its commands), both sorted."""
        for group in sorted({command.group for command in self.commands.values()}):
            yield (
                group,
                sorted(
                    (each for each in self.commands.values() if each.group == group),
                    key=lambda each: each.name,
                ),
            )


def _doc(entry: list[Reply], docs: dict[str, Reply]) -> CommandDoc:
    raw = text(entry[0])
    name = raw.upper().replace("|", " ")
    doc = pairs(docs.get(raw))
    arguments = doc.get("arguments")
    parts = [pairs(each) for each in arguments] if isinstance(arguments, list) else []
    nested = _list(entry[9]) if len(entry) > 9 else []
    inner = pairs(doc.get("subcommands"))
    subcommands = [_doc(each, inner) for each in nested if isinstance(each, list) and len(each) >= 3]
    flags = _list(entry[2])
    return CommandDoc(
        name=name,
        syntax=" ".join(map(_syntax, parts)) or _by_arity(entry, bool(subcommands)),
        tokens=tuple(dict.fromkeys(token for part in parts for token in _tokens(part))),
        summary=text(doc.get("summary")),
        group=text(doc.get("group")),
        flags=frozenset(map(text, flags)),
        subcommands={each.name.partition(" ")[2]: each for each in subcommands},
    )


def _syntax(argument: dict[str, Reply]) -> str:
    """One argument as redis.io shows it. Source: https://redis.io/docs/latest/commands/command-docs/."""
    flags = {text(flag) for flag in _list(argument.get("flags"))}
    token, kind = text(argument.get("token")), text(argument.get("type"))
    name = text(argument.get("display_text")) or text(argument.get("name"))
    inner = [_syntax(pairs(each)) for each in _list(argument.get("arguments"))]
    if kind == "oneof":
        joined = "|".join(inner)
        shown = joined if "optional" in flags else f"<{joined}>"
    else:
        shown = "" if kind == "pure-token" else " ".join(inner) or name
    if "multiple" in flags:
        repeated = f"{token} {shown}" if "multiple_token" in flags else shown
        shown = f"{shown} [{repeated} ...]"
    shown = f"{token} {shown}".strip()
    return f"[{shown}]" if "optional" in flags else shown


def _tokens(argument: dict[str, Reply]) -> Iterator[str]:
    if token := text(argument.get("token")):
        yield token
    for each in _list(argument.get("arguments")):
        yield from _tokens(pairs(each))


def _by_arity(entry: list[Reply], family: bool) -> str:
    """The arguments as far as their number and the positions of keys tell."""
    if family:
        return "subcommand"
    arity, first = entry[1], entry[3] if len(entry) > 3 else 0
    if not isinstance(arity, int):
        return ""
    name = text(entry[0])
    count = abs(arity) - 1 - name.count("|")
    shown = ["key" if number == first else "value" for number in range(1, count + 1)]
    return " ".join([*shown, "[...]"] if arity < 0 else shown)


def _list(value: Reply) -> list[Reply]:
    if isinstance(value, SetOf):
        return list(value.elements)
    return value if isinstance(value, list) else []
