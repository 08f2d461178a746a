"""Entry point of the `kraft` command: picks the subcommand, turns its outcome into an exit status.

Status 0: done, all is well. 1: it was done and the answer is bad news, or it could not be done; one line on
standard error says why. 2: the command line itself is wrong.
"""

import argparse
import os
import sys
from collections.abc import Sequence

from kraft import __version__
from kraft.cli import check, demo, doctor, recover, status
from kraft.cli.failure import Failure

EXAMPLES = """\
examples:
  kraft demo                                 three nodes on this machine, Ctrl-C stops them
  kraft status                               the cluster of the node on 127.0.0.1:10021
  kraft check-config /etc/kraft/n1.yaml      before a restart
  kraft doctor /etc/kraft/n1.yaml            what is wrong around this node, and what to do
  kraft recover /var/lib/kraft/K1            after the loss of a majority: what this node holds
  twistd -n kraft --config kraft.yaml        a node itself (kraft is a twistd plugin)

exit status: 0 all well, 1 bad news or not possible, 2 wrong usage
"""


def build_parser() -> argparse.ArgumentParser:
    """The whole command line; each subcommand leaves its `run` in the namespace."""
    parser = argparse.ArgumentParser(
        prog="kraft",
        description="Replicated key-value server: tools around the nodes, which run as `twistd -n kraft`.",
        epilog=EXAMPLES,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument("--version", action="version", version=f"kraft {__version__}")
    commands = parser.add_subparsers(title="commands", metavar="COMMAND", required=True)
    for command in (demo, status, doctor, check, recover):
        command.add(commands)
    return parser


def main(arguments: Sequence[str] | None = None) -> int:
    """Run one command and return its exit status."""
    chosen = build_parser().parse_args(arguments)
    try:
        outcome: int = chosen.run(chosen)
        sys.stdout.flush()
    except Failure as failure:
        print(f"kraft: {failure}", file=sys.stderr)
        return 1
    except KeyboardInterrupt:
        return 130
    except BrokenPipeError:
        # The reader (`| head`) left; the interpreter's own flush at exit must not complain about it again.
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return 1
    return outcome


if __name__ == "__main__":
    sys.exit(main())
