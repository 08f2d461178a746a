"""`kraft check-config`: reports every problem of a configuration file at once."""

import argparse
import json
from pathlib import Path

from kraft.config import ConfigError, load

EXAMPLES = """\
examples:
  kraft check-config kraft.yaml
  kraft check-config --json /etc/kraft/n1.yaml      for programs: {"file", "valid", "problems": [...]}

Checks only the file. `kraft doctor` also checks the ports, the data directory and the rest of the machine.

exit status: 0 valid, 1 not valid, 2 wrong usage
"""


def add(commands: "argparse._SubParsersAction[argparse.ArgumentParser]") -> None:
    """Declare the subcommand."""
    parser = commands.add_parser(
        "check-config",
        help="check a configuration file",
        description="Reads a configuration file and prints every problem in it, with line and option.",
        epilog=EXAMPLES,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument("file", type=Path, metavar="FILE", help="the YAML file")
    parser.add_argument("--json", action="store_true", help="print one JSON object instead of text")
    parser.set_defaults(run=run)


def run(chosen: argparse.Namespace) -> int:
    """Load the file and print its problems. Returns the exit status."""
    try:
        config = load(str(chosen.file))
    except ConfigError as error:
        problems = error.problems
    else:
        problems = ()
    if chosen.json:
        facts = [{"line": each.line or None, "option": each.path, "problem": each.text} for each in problems]
        print(json.dumps({"file": str(chosen.file), "valid": not problems, "problems": facts}, indent=2))
    elif problems:
        print("\n".join(str(each) for each in problems))
    else:
        alone = "none, it waits to be added" if config.cluster.standby else "none, it forms a cluster alone"
        members = ", ".join(config.cluster.members) or alone
        print(f"{chosen.file}: ok (node {config.node.id}, members: {members})")
    return 1 if problems else 0
