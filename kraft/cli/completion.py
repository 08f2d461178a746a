"""`kraft completion`: a script that teaches a command shell to complete kraft's commands and options."""

import argparse
import importlib
from functools import partial

from kraft.cli.command_parser import CommandParser, Declare
from kraft.cli.failure import Failure

SUMMARY = "print a script for completion in bash, zsh or fish"
SHELLS = ("bash", "zsh", "fish")

EXAMPLES = """\
examples:
  kraft completion bash > ~/.local/share/bash-completion/completions/kraft
  kraft completion zsh > "${fpath[1]}/_kraft"
  kraft completion fish > ~/.config/fish/completions/kraft.fish

Needs shtab, which kraft[shell] installs.

exit status: 0 printed, 1 shtab is not installed, 2 wrong usage
"""


def declaration(everything: CommandParser) -> Declare:
    """What declares the subcommand. `everything` is the parser of the whole command line."""

    def declare(parser: argparse.ArgumentParser) -> None:
        parser.description = "Prints a script that lets Tab complete the commands and options of kraft."
        parser.epilog = EXAMPLES
        parser.add_argument("shell", choices=SHELLS)
        parser.set_defaults(run=partial(run, everything))

    return declare


def run(everything: CommandParser, chosen: argparse.Namespace) -> int:
    """Print the script. Returns the exit status."""
    try:
        shtab = importlib.import_module("shtab")
    except ImportError:
        raise Failure("completion needs shtab: pip install shtab") from None
    everything.declare_all()
    print(shtab.complete(everything, chosen.shell))
    return 0
