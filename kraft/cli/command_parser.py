"""The parser of the command line, which says what a mistyped command or option may have been.

Python 3.14 has `suggest_on_error` for this, but not for options.
"""

import argparse
import difflib
import re
from collections.abc import Iterable, Mapping, Sequence
from typing import Any, NoReturn

_OPTION = re.compile(r"(?<![\w-])--?[a-z][\w-]*")


class CommandParser(argparse.ArgumentParser):
    """A parser with subcommands, whose parsers are of the same class."""

    commands: Mapping[str, argparse.ArgumentParser]

    def __init__(self, *arguments: Any, **options: Any) -> None:
        super().__init__(*arguments, **options)
        self.commands = {}

    def add_subparsers(self, **options: Any) -> Any:
        """As in argparse; `commands` are then the parsers by name."""
        action = super().add_subparsers(**options)
        self.commands = action.choices
        return action

    def parse_args(self, args: Sequence[str] | None = None, namespace: Any = None) -> Any:  # type: ignore[override]
        """The namespace. Wrong usage ends the process with status 2 and a line that names the next step."""
        words = list(args or ())
        command = next((word for word in words if not word.startswith("-")), "")
        if command and command not in self.commands:
            hint = _hint(command, self.commands) or f"; {self.prog} help lists the commands"
            self.error(f"there is no command {command!r}{hint}")
        chosen, unknown = self.parse_known_args(words, namespace)
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
        known = set(_OPTION.findall(parser.format_help()))
        parser.error(f"there is no option {option}" + _hint(option, known))


def _hint(word: str, known: Iterable[str], before: str = "") -> str:
    """`; did you mean ...?`, if a known word is close."""
    close = difflib.get_close_matches(word, sorted(known), 1)
    return f"; did you mean '{before}{close[0]}'?" if close else ""
