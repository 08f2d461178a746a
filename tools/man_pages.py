"""Writes the man pages of the `kraft` command from its parser: kraft.1, and one page for each subcommand.

    python tools/man_pages.py FOLDER

The examples and the exit status are in the epilog of each parser, which argparse-manpage leaves out of the
pages of subcommands.
"""

import argparse
import re
import sys
from collections.abc import Iterator
from pathlib import Path

from kraft import __version__
from kraft.cli.main import build_parser


def pages() -> Iterator[tuple[str, str]]:
    """(file name, text) of each page."""
    everything = build_parser()
    everything.declare_all()
    subcommands = next(
        action for action in everything._actions if isinstance(action, argparse._SubParsersAction)
    )
    summaries = {action.dest: action.help or "" for action in subcommands._choices_actions}
    yield "kraft.1", page(everything, "kraft", "tools for a replicated key-value server", summaries)
    for name, parser in subcommands.choices.items():
        yield f"kraft-{name}.1", page(parser, f"kraft-{name}", summaries[name], {})


def page(parser: argparse.ArgumentParser, name: str, summary: str, commands: dict[str, str]) -> str:
    """One page in man(7) macros."""
    lines = [f'.TH {name.upper()} 1 "" "kraft {__version__}" "User Commands"', ".SH NAME"]
    lines += [f"{_text(name)} \\- {_text(summary)}", ".SH SYNOPSIS", ".nf"]
    lines += [_text(line) for line in parser.format_usage().removeprefix("usage: ").splitlines()]
    lines += [".fi", ".SH DESCRIPTION", *_paragraphs(parser.description or "")]
    if commands:
        lines += [".SH COMMANDS", *(part for item in commands.items() for part in _item(*item))]
    options = [action for action in parser._actions if not isinstance(action, argparse._SubParsersAction)]
    lines += [
        ".SH OPTIONS",
        *(part for action in options for part in _item(_names(parser, action), action.help)),
    ]
    lines += [".SH EXAMPLES AND EXIT STATUS", ".nf", *map(_text, (parser.epilog or "").splitlines()), ".fi"]
    if commands:
        lines += [".SH SEE ALSO", ", ".join(f"\\fBkraft\\-{_text(each)}\\fR(1)" for each in commands)]
    return "\n".join(lines) + "\n"


def _names(parser: argparse.ArgumentParser, action: argparse.Action) -> str:
    """How an option or argument is written."""
    return parser._get_formatter()._format_action_invocation(action)


def _item(names: str, text: str | None) -> list[str]:
    return [".TP", f"\\fB{_text(names)}\\fR", _text((text or "").replace("%%", "%")) or "\\&"]


def _paragraphs(text: str) -> list[str]:
    return [_text(line) or ".PP" for line in text.strip().splitlines()]


def _text(line: str) -> str:
    """A line as roff takes it: escapes, and no macro at its beginning."""
    escaped = line.replace("\\", "\\e").replace("-", "\\-").replace("'", "\\(aq").replace("`", "\\(ga")
    return re.sub(r"^\.", r"\\&.", escaped)


if __name__ == "__main__":
    folder = Path(sys.argv[1])
    folder.mkdir(parents=True, exist_ok=True)
    for file, content in pages():
        (folder / file).write_text(content)
