"""The entry point of the `kraft` command: runs a subcommand and returns its exit status.

0: success, and all is well. 1: the command found a problem, or failed, which one line on standard error
explains. 2: wrong usage.
"""

import os
import sys
from collections.abc import Sequence

from kraft import __version__
from kraft.cli import completion
from kraft.cli.command_parser import CommandParser
from kraft.cli.failure import Failure, WrongUsage
from kraft.cli.subcommands import SUBCOMMANDS

EXAMPLES = """\
examples:
  kraft demo                                 three nodes on this machine, Ctrl-C stops them
  kraft status                               the cluster of the node on 127.0.0.1:10021
  kraft check-config /etc/kraft/n1.yaml      before a restart
  kraft doctor /etc/kraft/n1.yaml            problems of this node and its machine, and what to do
  kraft recover /var/lib/kraft/K1            after the loss of a majority: the data that this node holds
  twistd -n kraft --config kraft.yaml        a node itself (kraft is a twistd plugin)

exit status: 0 all well, 1 a problem was found or the command failed, 2 wrong usage
"""


def build_parser() -> CommandParser:
    """The parser of the whole command line; each subcommand sets `run` in the namespace."""
    parser = CommandParser(
        prog="kraft",
        description="Tools for a replicated key-value server, whose nodes run as `twistd -n kraft`.",
        epilog=EXAMPLES,
    )
    parser.add_argument("--version", action="version", version=f"kraft {__version__}")
    for each in SUBCOMMANDS:
        parser.add_command(each.name, each.summary, each.declare)
    parser.add_command("completion", completion.SUMMARY, completion.declaration(parser))
    return parser


def main(arguments: Sequence[str] | None = None) -> int:
    """Run one command and return its exit status."""
    words = list(sys.argv[1:] if arguments is None else arguments)
    parser = build_parser()
    if not words or words == ["help"]:
        parser.print_help()
        return 0
    if words[0] == "help":
        words = [words[1], "--help"]
    chosen = parser.parse_args(words)
    try:
        outcome: int = chosen.run(chosen)
        sys.stdout.flush()
    except Failure as failure:
        print(f"kraft: {failure}", file=sys.stderr)
        return failure.status
    except WrongUsage as wrong:
        print(f"kraft: {wrong}", file=sys.stderr)
        return 2
    except KeyboardInterrupt:
        return 130
    except BrokenPipeError:
        # The reader (`| head`) is gone; keep the interpreter's flush at exit from reporting it again.
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return 1
    return outcome


if __name__ == "__main__":
    sys.exit(main())
