"""`kraft check-config`: reports every problem of a configuration file at once."""

import argparse
import json
from pathlib import Path

from kraft.cli.output.blocks import DIM, GOOD, STRONG, Line, Span, line
from kraft.cli.output.display import display
from kraft.config import ConfigError, Problem, load
from kraft.process.start_problems import start_problems

EXAMPLES = """\
examples:
  kraft check-config kraft.yaml
  kraft check-config --json /etc/kraft/n1.yaml      for programs: {"file", "valid", "problems": [...]}

Checks the file, the certificates and tokens that it names, and whether a first start is refused because
everybody could do everything. `kraft doctor` also checks the ports, the data directory and the rest of the
machine.

exit status: 0 valid, 1 not valid, 2 wrong usage
"""


def declare(parser: argparse.ArgumentParser) -> None:
    """Declare the subcommand."""
    parser.description = "Reads a configuration file and prints every problem in it, with line and option."
    parser.epilog = EXAMPLES
    parser.add_argument("file", type=Path, metavar="FILE", help="the YAML file")
    parser.add_argument("--json", action="store_true", help="print one JSON object instead of text")
    parser.set_defaults(run=run)


def run(chosen: argparse.Namespace) -> int:
    """Load the file and print its problems. Returns the exit status."""
    problems: list[Problem] = []
    try:
        config = load(str(chosen.file))
    except ConfigError as error:
        problems += error.problems
    else:
        problems += start_problems(config, str(chosen.file))
    if chosen.json:
        facts = [{"line": each.line or None, "option": each.path, "problem": each.text} for each in problems]
        print(json.dumps({"file": str(chosen.file), "valid": not problems, "problems": facts}, indent=2))
    elif problems:
        display().show(*map(_line, problems))
    else:
        alone = "none, it waits to be added" if config.cluster.standby else "none, it forms a cluster alone"
        members = ", ".join(config.cluster.members) or alone
        groups = f", groups: {config.cluster.groups}" if config.cluster.groups > 1 else ""
        told = f" (node {config.node.id}, members: {members}{groups})"
        display().show(line(f"{chosen.file}: ", Span("ok", GOOD), told))
    return 1 if problems else 0


def _line(problem: Problem) -> Line:
    """`str(problem)` with styles."""
    place, option = Span(f"{problem.place}: ", DIM), Span(f"{problem.path}: " if problem.path else "", STRONG)
    return line(place, option, problem.text)
