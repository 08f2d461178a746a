"""The text of `help`: the commands of the server, and those of the shell itself."""

import difflib
import textwrap
from collections.abc import Sequence

from kraft.cli.shell.catalog import CommandCatalog, CommandDoc

WIDTH = 78

OWN = """\
help COMMAND        arguments and meaning of a command, such as `help set` or `help kraft add`
help @GROUP         all commands of a group
exit, quit, Ctrl-D  leave the shell
Ctrl-C              cancels the line, or the command that waits for its reply"""

QUOTES = """\
Words are separated by spaces. "..." may contain \\n \\r \\t \\\\ \\" \\xHH, '...' only \\'. A quote that is
still open continues on the next line."""


def help_lines(catalog: CommandCatalog, topics: Sequence[str]) -> list[str]:
    """The help for a command or a group, or the overview if there is no topic."""
    if not topics:
        return _overview(catalog)
    if topics[0].startswith("@"):
        return _group(catalog, topics[0][1:].lower())
    command = catalog.find(topics)
    if command is not None:
        return _command(command)
    name = " ".join(topics)
    if not catalog.commands:
        return [f"nothing is known about {name}: no node has told its commands yet"]
    near = difflib.get_close_matches(topics[0].upper(), catalog.commands, 1)
    return [f"there is no command {name}" + (f"; did you mean {near[0]}?" if near else "; try `help`")]


def _overview(catalog: CommandCatalog) -> list[str]:
    lines = [*OWN.splitlines(), "", *QUOTES.splitlines()]
    for group, commands in catalog.groups():
        names = " ".join(command.name for command in commands)
        lines += ["", f"@{group}", *textwrap.wrap(names, WIDTH, initial_indent="  ", subsequent_indent="  ")]
    if not catalog.commands:
        lines += ["", "The commands of the server are listed here once a node answers."]
    return lines


def _group(catalog: CommandCatalog, wanted: str) -> list[str]:
    for group, commands in catalog.groups():
        if group == wanted:
            return [line for command in commands for line in _command(command)]
    known = " ".join(f"@{group}" for group, _ in catalog.groups())
    return [f"there is no group @{wanted}; the groups are {known}"]


def _command(command: CommandDoc) -> list[str]:
    lines = [f"{command.name} {command.syntax}".rstrip(), *_wrapped(command.summary)]
    for each in command.subcommands.values():
        lines += [f"  {each.name} {each.syntax}".rstrip(), *(f"  {line}" for line in _wrapped(each.summary))]
    return lines


def _wrapped(text: str) -> list[str]:
    return textwrap.wrap(text, WIDTH, initial_indent="    ", subsequent_indent="    ")
