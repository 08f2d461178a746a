"""`kraft doctor`: finds problems of one node and its machine, each with the next command to type.

Each check is a function in `checks` that works whether the node runs or not. It has a time limit, and its
failure does not affect other checks. Nothing is changed, and no file of a running node is opened.
"""

import argparse
import json
import time
from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Sequence
from functools import partial
from pathlib import Path

from kraft.cli.checks import backups, cluster, files, machine, network
from kraft.cli.checks.result import LEVELS, OK, PROBLEM, WARNING, Bounded, CheckResult
from kraft.cli.checks.subject import Subject, look_at
from kraft.cli.output.blocks import BAD, COMMAND, EMPTY, GOOD, STRONG, WARN, Line, Span, line
from kraft.cli.output.display import display
from kraft.config import Config, ConfigError, Problem, load
from kraft.process.start_problems import start_problems

CHECK_SECONDS = 10.0  # the longest have 3 s for the disk, and 3 s for a peer
LOOK_SECONDS = 10.0  # two rounds of HTTP requests
FILE_HERE, FOLDER = Path("kraft.yaml"), Path("/etc/kraft")  # where to find the configuration by default
DEMO = Path("kraft-demo")  # the files of the demo, which are proposed

EXAMPLES = """\
examples:
  kraft doctor                              uses kraft.yaml here, or the only file in /etc/kraft
  kraft doctor /etc/kraft/K1.yaml           before the first start, while the node runs, or when it does not
  sudo -u kraft kraft doctor /etc/kraft/K1.yaml      as the node's user: also checks the log of a stopped node
  kraft doctor --strict --json K1.yaml | jq '.findings[] | select(.level != "ok")'

Checks: config, node (whether it runs), directory, secret, python (how it was built), files (how many may be
open), memory, disk, fsync, clock, ports, peers, cluster (quorum, leader, members), versions, backups.
docs/doctor.md explains each.

exit status: 0 no problem (with --strict: and no warning); 1 a problem; 2 wrong usage
"""

Check = Callable[[Subject], Iterable[CheckResult]]
CHECKS: tuple[tuple[str, Check], ...] = (
    ("node", cluster.node),
    ("directory", files.directory),
    ("secret", files.secret),
    ("python", machine.python),
    ("files", machine.files),
    ("memory", machine.memory),
    ("disk", files.space),
    ("fsync", files.sync),
    ("clock", machine.clock),
    ("ports", network.ports),
    ("peers", network.peers),
    ("cluster", cluster.cluster),
    ("versions", cluster.versions),
    ("backups", backups.backups),
)
_Found = tuple[str, CheckResult]  # with the name of its check


def declare(parser: argparse.ArgumentParser) -> None:
    """Declare the subcommand."""
    parser.description = (
        "Checks a node's configuration, files, machine, network and cluster; changes nothing."
    )
    parser.epilog = EXAMPLES
    parser.add_argument("file", nargs="?", type=Path, metavar="CONFIG", help="the node's YAML file")
    parser.add_argument("--json", action="store_true", help="print one JSON object instead of lines")
    parser.add_argument("--strict", action="store_true", help="exit status 1 for warnings too")
    parser.set_defaults(run=run, wrong=parser.error)


def run(chosen: argparse.Namespace) -> int:
    """Run the checks and print the results as they come. Returns the exit status."""
    file = str(chosen.file or _only_file(chosen.wrong))
    if chosen.json:
        found = list(examine(file))
        print(json.dumps(facts(file, found), indent=2))
    else:
        found = _shown(file)
    counts = Counter(finding.level for _, finding in found)
    return 1 if counts[PROBLEM] or (chosen.strict and counts[WARNING]) else 0


def _shown(file: str) -> list[_Found]:
    """The results, which are shown as they come."""
    out, found = display(), []
    with out.busy() as doing:
        for each in examine(file, lambda name: doing(f"checking: {name}")):
            found.append(each)
            out.show(*lines(*each))
    out.show(EMPTY, summary(Counter(finding.level for _, finding in found)))
    return found


def _only_file(wrong: Callable[[str], object]) -> Path:
    if FILE_HERE.exists():
        return FILE_HERE
    there = sorted(FOLDER.glob("*.yaml"))
    if len(there) != 1:
        known = ", ".join(map(str, there or sorted(DEMO.glob("*/kraft.yaml"))))
        known = known or f"there is no {FILE_HERE} here, and none in {FOLDER}"
        wrong(f"name the node's configuration file ({known})")
    return there[0]


def examine(file: str, begins: Callable[[str], object] = lambda _: None) -> Iterator[_Found]:
    """(name of the check, result) of all checks. If the configuration is invalid, only its problems.

    `begins` is told the name of each check before it is made.
    """
    problems: Sequence[Problem]
    try:
        config = load(file)
        problems = start_problems(config, file)
    except ConfigError as error:
        problems = error.problems
    if problems:
        again = f"kraft check-config {file}"
        yield from (("config", CheckResult(PROBLEM, str(problem), again)) for problem in problems)
        return
    yield "config", CheckResult(OK, f"{file}: node {config.node.id}, {_members(config)}")
    try:
        subject = Bounded(partial(look_at, file, config)).result(time.monotonic() + LOOK_SECONDS)
    except Exception as error:
        yield "node", _failed(error, LOOK_SECONDS, file)
        subject = Subject(file, config, pid=0, silence="no answer")  # treat it as running: hands off
    for name, check in CHECKS:
        begins(name)
        yield from ((name, finding) for finding in _made(check, subject))


def _members(config: Config) -> str:
    members = ", ".join(config.cluster.members)
    alone = "waits to be added" if config.cluster.standby else "forms a cluster alone"
    return f"members {members}" if members else alone


def _made(check: Check, subject: Subject) -> list[CheckResult]:
    """The results of a check; a check that fails or hangs has that as its result."""
    try:
        return Bounded(lambda: list(check(subject))).result(time.monotonic() + CHECK_SECONDS)
    except Exception as error:
        return [_failed(error, CHECK_SECONDS, subject.file)]


def _failed(error: Exception, seconds: float, file: str) -> CheckResult:
    if isinstance(error, TimeoutError):
        text = f"did not finish within {seconds:g} s: something hangs"
        return CheckResult(PROBLEM, text, "dmesg | tail; uptime")
    if isinstance(error, PermissionError):
        return CheckResult(WARNING, f"could not be checked: {error}", f"sudo kraft doctor {file}")
    return CheckResult(WARNING, f"could not be checked: {type(error).__name__}: {error}")


# -- output -------------------------------------------------------------------------------------------

_WIDTH = max(map(len, LEVELS)), max(len("config"), *(len(name) for name, _ in CHECKS))


_STYLES = {OK: GOOD, WARNING: WARN, PROBLEM: BAD}


def lines(name: str, finding: CheckResult) -> Iterator[Line]:
    """One result; the next command is on a line of its own."""
    level, check = f"{finding.level:<{_WIDTH[0]}}", f"{name:<{_WIDTH[1]}}"
    hang = sum(_WIDTH) + 4
    yield line(Span(level, _STYLES[finding.level]), "  ", Span(check, STRONG), f"  {finding.text}", hang=hang)
    if finding.command:
        yield line(" " * hang, "next: ", Span(finding.command, COMMAND))


def summary(counts: Counter[str]) -> Line:
    """The last line of the output."""
    told = [
        Span(f"{counts[level]} {level}{'' if counts[level] == 1 else 's'}", _STYLES[level])
        for level in (PROBLEM, WARNING)
        if counts[level]
    ]
    if len(told) > 1:
        return line(told[0], ", ", told[1])
    return line(*told) if told else line(Span("all well", GOOD))


def facts(file: str, found: Sequence[_Found]) -> dict[str, object]:
    """The results as JSON values."""
    return {
        "file": file,
        "healthy": all(finding.level != PROBLEM for _, finding in found),
        "findings": [
            {
                "check": name,
                "level": finding.level,
                "text": finding.text,
                "command": finding.command or None,
            }
            for name, finding in found
        ],
    }
