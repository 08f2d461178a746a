"""HELP for people who type commands into `nc` or telnet: short lines, from the table of commands."""

import textwrap

from kraft.resp.values import Reply, Request, Verbatim
from kraft.server import errors
from kraft.server.commands.spec import AnySpec, CommandContext, CommandTable
from kraft.server.errors import Rejected
from kraft.server.suggestion import closest

WIDTH = 78  # columns of a line
_GROUPS = {"string": "values", "bitmap": "bits", "generic": "keys", "connection": "connection",
           "transactions": "multi", "scripting": "scripts", "server": "server",
           "cluster": "cluster", "kraft": "kraft"}  # fmt: skip

_FIRST_STEPS = """\
kraft {version}, a replicated key-value server. Type one command per line:

  set greeting hello   stores a value      get greeting   returns it
  kraft members        shows the nodes     kraft status   shows this node
  kraft output plain   readable replies    quit           ends the connection
  help set             shows a command's syntax, help kraft that of a family
"""


def help_(context: CommandContext, request: Request) -> Reply:
    """HELP [command [subcommand]]: the first steps and all commands, or the syntax of one."""
    if len(request) == 1:
        return Verbatim(
            "\n".join([_FIRST_STEPS.format(version=context.port.version), *_overview(context.table)])
        )
    spec = _find(context.table, [errors.printable(word) for word in request[1:3]])
    return Verbatim("\n".join(_about(spec)))


def _overview(table: CommandTable) -> list[str]:
    """All commands, one paragraph for each group."""
    lines = []
    for group, title in _GROUPS.items():
        names = " ".join(spec.name.upper() for spec in table.values() if spec.group == group)
        lines += textwrap.wrap(names, WIDTH, initial_indent=f"{title:<12}", subsequent_indent=" " * 12,
                               break_on_hyphens=False)  # fmt: skip
    return lines


def _find(table: CommandTable, words: list[str]) -> AnySpec:
    """The command of these words, or the family if the second word is none of its subcommands."""
    spec = table.get(words[0].upper().encode("utf-8", "surrogateescape"))
    if spec is None:
        meant = closest(words[0], (each.name for each in table.values()))
        raise Rejected(
            f"ERR no command '{words[0]}'" + (f" - did you mean {meant}?" if meant else ", try HELP")
        )
    if len(words) > 1 and spec.subcommands:
        return spec.subcommands.get(words[1].upper().encode("utf-8", "surrogateescape"), spec)
    return spec


def _about(spec: AnySpec) -> list[str]:
    """The syntax of a command and what it does; of a family, that of each subcommand."""
    if spec.subcommands:
        return [spec.summary, *(line for sub in spec.subcommands.values() for line in _about(sub))]
    syntax = f"{spec.name.replace('|', ' ').upper()} {spec.usage}".rstrip()
    return [
        *textwrap.wrap(
            syntax, WIDTH, subsequent_indent=" " * 8, break_long_words=False, break_on_hyphens=False
        ),
        *textwrap.wrap(spec.summary, WIDTH, initial_indent=" " * 4, subsequent_indent=" " * 4),
    ]
