"""The parser of the command line, which says what a mistyped command or option may have been.

Python 3.14 has `suggest_on_error` for this, but not for options.
"""

import argparse
import difflib
import re
from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import Any, NoReturn

_OPTION = re.compile(r"(?<![\w-])--?[a-z][\w-]*")

Declare = Callable[[argparse.ArgumentParser], None]


class CommandParser(argparse.ArgumentParser):
    """A parser with subcommands. Each declares its options when they are needed, as that may take a while."""

    def __init__(self, **options: Any) -> None:
        super().__init__(**options, formatter_class=argparse.RawDescriptionHelpFormatter)
        self._declarations: dict[str, Declare] = {}
        self._subparsers_action: Any = None

    @property
    def commands(self) -> Mapping[str, argparse.ArgumentParser]:
        """The parsers of the subcommands, by name."""
        return self._subparsers_action.choices if self._subparsers_action is not None else {}

    def add_command(self, name: str, summary: str, declare: Declare) -> None:
        """Add a subcommand, whose parser is given to `declare` before its first use."""
        if self._subparsers_action is None:
            self._subparsers_action = self.add_subparsers(title="commands", metavar="COMMAND")
        self._subparsers_action.add_parser(name, help=summary)
        self._declarations[name] = declare

    def declare_all(self) -> None:
        """Let all subcommands declare their options: for a reader of the whole parser."""
        for name in tuple(self._declarations):
            self._declare(name)

    def _declare(self, name: str) -> None:
        if declare := self._declarations.pop(name, None):
            declare(self.commands[name])

    def parse_args(self, args: Sequence[str] | None = None, namespace: Any = None) -> Any:  # type: ignore[override]
        """The namespace. Wrong usage ends the process with status 2 and a line that names the next step."""
        words = list(args or ())
        command = next((word for word in words if not word.startswith("-")), "")
        if command and command not in self.commands:
            hint = _hint(command, self.commands) or f"; {self.prog} help lists the commands"
            self.error(f"there is no command {command!r}{hint}")
        self._declare(command)
        chosen, unknown = self.parse_known_args(words, namespace)
        if command and unknown and not any(word.startswith("-") for word in unknown):
            # Words that may be left out were taken to be left out before an option.
            rest = words[words.index(command) + 1 :]
            chosen, unknown = self.commands[command].parse_known_intermixed_args(rest)
        if unknown:
            self._refuse(self.commands.get(command, self), unknown[0])
        if not command:
            self.error(f"a command is missing; {self.prog} help lists them")
        return chosen

    def _refuse(self, parser: argparse.ArgumentParser, word: str) -> NoReturn:
        """End with the error of `parser`, which did not understand the word."""
        if not word.startswith("-"):
            parser.error(f"{word!r} is one word too many" + _hint(word, self.commands, f"{self.prog} "))
        option = word.partition("=")[0]
        declared = parser.format_help().removesuffix(f"{(parser.epilog or '').rstrip()}\n")
        known = set(_OPTION.findall(declared))  # not those of the examples, which may be of other commands
        parser.error(f"there is no option {option}" + _hint(option, known))


def _hint(word: str, known: Iterable[str], before: str = "") -> str:
    """`; did you mean ...?`, if a known word is close."""
    close = difflib.get_close_matches(word, sorted(known), 1)
    return f"; did you mean '{before}{close[0]}'?" if close else ""
