"""`kraft doctor`: what is wrong around one node, each finding with the command to give next.

Every check is a small function in `checks`, works whether the node runs or not, has its time, and costs no
other when it fails. Nothing is changed; of a running node no file is opened.
"""

import argparse
import json
import time
from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Sequence
from functools import partial
from pathlib import Path

from kraft.cli.checks import cluster, files, machine, network
from kraft.cli.checks.result import LEVELS, OK, PROBLEM, WARNING, Bounded, CheckResult
from kraft.cli.checks.subject import Subject, look_at
from kraft.config import Config, ConfigError, load

CHECK_SECONDS = 10.0  # the longest have 3 s for the disk, and 3 s for a peer
LOOK_SECONDS = 10.0  # two rounds of questions over HTTP
FILE_HERE, FOLDER = Path("kraft.yaml"), Path("/etc/kraft")  # where the configuration is when none is named

EXAMPLES = """\
examples:
  kraft doctor                              the file kraft.yaml here, else the only one in /etc/kraft
  kraft doctor /etc/kraft/K1.yaml           before the first start, while it runs, or when it does not
  sudo -u kraft kraft doctor /etc/kraft/K1.yaml      as the node's user: also looks into a stopped node's log
  kraft doctor --strict --json K1.yaml | jq '.findings[] | select(.level != "ok")'

Looked at: config, node (does it run), directory, secret, files (how many may be open), disk, fsync, clock,
ports, peers, cluster (quorum, leader, members), versions. docs/doctor.md says what each means.

exit status: 0 no problem (warnings count with --strict); 1 a problem; 2 wrong usage
"""

Check = Callable[[Subject], Iterable[CheckResult]]
CHECKS: tuple[tuple[str, Check], ...] = (
    ("node", cluster.node),
    ("directory", files.directory),
    ("secret", files.secret),
    ("files", machine.files),
    ("disk", files.space),
    ("fsync", files.sync),
    ("clock", machine.clock),
    ("ports", network.ports),
    ("peers", network.peers),
    ("cluster", cluster.cluster),
    ("versions", cluster.versions),
)
_Found = tuple[str, CheckResult]  # with the name of its check


def add(commands: "argparse._SubParsersAction[argparse.ArgumentParser]") -> None:
    """Declare the subcommand."""
    parser = commands.add_parser(
        "doctor",
        help="look for what is wrong around a node",
        description="Checks a node's configuration, files, machine, network and cluster; changes nothing.",
        epilog=EXAMPLES,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument("file", nargs="?", type=Path, metavar="CONFIG", help="the node's YAML file")
    parser.add_argument("--json", action="store_true", help="print one JSON object instead of lines")
    parser.add_argument("--strict", action="store_true", help="exit status 1 for warnings too")
    parser.set_defaults(run=run, wrong=parser.error)


def run(chosen: argparse.Namespace) -> int:
    """Look, tell each check as it ends, and say by the exit status whether all is well."""
    file = str(chosen.file or _only_file(chosen.wrong))
    found: list[_Found] = []
    for each in examine(file):
        found.append(each)
        if not chosen.json:
            print("\n".join(lines(*each)), flush=True)
    counts = Counter(finding.level for _, finding in found)
    if chosen.json:
        print(json.dumps(facts(file, found), indent=2))
    else:
        print(f"\n{summary(counts)}")
    return 1 if counts[PROBLEM] or (chosen.strict and counts[WARNING]) else 0


def _only_file(wrong: Callable[[str], object]) -> Path:
    if FILE_HERE.exists():
        return FILE_HERE
    there = sorted(FOLDER.glob("*.yaml"))
    if len(there) != 1:
        known = ", ".join(map(str, there)) or f"there is no {FILE_HERE} here, and none in {FOLDER}"
        wrong(f"name the node's configuration file ({known})")
    return there[0]


def examine(file: str) -> Iterator[_Found]:
    """All findings, check by check; a configuration that cannot be used is the end of it."""
    try:
        config = load(file)
    except ConfigError as error:
        again = f"kraft check-config {file}"
        yield from (("config", CheckResult(PROBLEM, str(problem), again)) for problem in error.problems)
        return
    yield "config", CheckResult(OK, f"{file}: node {config.node.id}, {_members(config)}")
    try:
        subject = Bounded(partial(look_at, file, config)).result(time.monotonic() + LOOK_SECONDS)
    except Exception as error:
        yield "node", _failed(error, LOOK_SECONDS, file)
        subject = Subject(file, config, pid=0, silence="it was asked in vain")  # as if it ran: hands off
    for name, check in CHECKS:
        yield from ((name, finding) for finding in _made(check, subject))


def _members(config: Config) -> str:
    members = ", ".join(config.cluster.members)
    alone = "waits to be added" if config.cluster.standby else "forms a cluster alone"
    return f"members {members}" if members else alone


def _made(check: Check, subject: Subject) -> list[CheckResult]:
    """What the check finds; that it fails, or does not end, is a finding too."""
    try:
        return Bounded(lambda: list(check(subject))).result(time.monotonic() + CHECK_SECONDS)
    except Exception as error:
        return [_failed(error, CHECK_SECONDS, subject.file)]


def _failed(error: Exception, seconds: float, file: str) -> CheckResult:
    if isinstance(error, TimeoutError):
        text = f"did not end within {seconds:g} s: something hangs"
        return CheckResult(PROBLEM, text, "dmesg | tail; uptime")
    if isinstance(error, PermissionError):
        return CheckResult(WARNING, f"could not be looked at: {error}", f"sudo kraft doctor {file}")
    return CheckResult(WARNING, f"could not be looked at: {type(error).__name__}: {error}")


# -- what is said -------------------------------------------------------------------------------------

_WIDTH = max(map(len, LEVELS)), max(len("config"), *(len(name) for name, _ in CHECKS))


def lines(name: str, finding: CheckResult) -> Iterator[str]:
    """One finding for people; what to type next stands below."""
    yield f"{finding.level:<{_WIDTH[0]}}  {name:<{_WIDTH[1]}}  {finding.text}"
    if finding.command:
        yield f"{'':<{sum(_WIDTH) + 4}}next: {finding.command}"


def summary(counts: Counter[str]) -> str:
    """The last line."""
    told = [
        f"{counts[level]} {level}{'' if counts[level] == 1 else 's'}"
        for level in (PROBLEM, WARNING)
        if counts[level]
    ]
    return ", ".join(told) if told else "all well"


def facts(file: str, found: Sequence[_Found]) -> dict[str, object]:
    """The same for programs."""
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
