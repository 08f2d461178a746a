"""Suites that others wrote, against kraft. Nothing of them is kept here: a folder is an argument.

    tox -e suites -- redis ../redis           # Redis's own tests in TCL, of tag 7.0.15; needs tclsh
    tox -e suites -- redis-py ../redis-py     # the tests of redis-py, of tag v8.1.0
    tox -e suites -- tair ../compatibility-test-suite-for-redis     # one test for each form of a command

Without --port, three nodes are started and a follower is tested. Every test of the files below is run. One
that fails because it uses a command that kraft does not have is counted under that command. One that fails
for another reason must be in the list of differences (`redis_differences.txt` and its neighbours),
else the exit status is 1. --port tests another server, such as a redis-server: what fails there says little.
"""

import argparse
import contextlib
import os
import re
import shutil
import signal
import subprocess
import sys
import tempfile
import xml.etree.ElementTree
from collections import Counter, defaultdict
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from tests.cluster.harness import Cluster, free_ports

FOLDER = Path(__file__).parent
SUITE_SECONDS = 3600.0
TEST_SECONDS = 300  # of redis-py, which allows 30 and ends with an internal error if that is over in a report
UNIT_SECONDS = 1800.0  # tens of thousands of commands one after the other, on a machine that may be busy
# Values of some megabytes are usual in these suites, and a change of leader on a busy machine is no failure.
SECTIONS: Mapping[str, Mapping[str, int | str]] = {
    "client": {"leader_wait": "20s", "write_timeout": "60s"},
    "limits": {
        "key_bytes": 64 << 10,
        "value_bytes": 8 << 20,
        "request_bytes": 16 << 20,
        "multi_commands": 65_536,
    },
    "raft": {"election_timeout": "2s"},
    "scripts": {"time": "1s"},
}
SHOWN_LINES = 12  # of an unexpected failure

UNITS = (
    *("type/string", "type/incr", "expire", "keyspace", "scan", "multi", "protocol"),
    *("scripting", "bitops", "bitfield", "dump", "quit", "functions", "acl-v2", "acl", "auth"),
)
TCL_TAGS = "-needs:debug -needs:repl -needs:config-maxmemory -large-memory"
TCL_OPTIONS = ("--singledb", "--ignore-encoding", "--ignore-digest", "--durable", "--tags", TCL_TAGS)
TCL_CLIENT_PORTS = 32  # below its --baseport the suite listens for its own clients
# In the copy: a server without FUNCTION is tested, too; and a connection on which a test has failed, perhaps
# in the middle of a transaction, is not used by the next one, which begins as the same user. Of the tests of
# users those run that need no file and no option of a server that the suite starts itself. A password of the
# default user takes the place of requirepass, and is gone before the next connection. The user of the tests
# of channels is there although PUBLISH is not, and rules do not name it.
NEXT_TEST = "incr ::num_failed; catch {set user [r acl whoami]}; catch {reconnect}; catch {r auth $user {}}"
TCL_CHANGES = (
    ("tests/support/server.tcl", "    r function flush", "    catch {r function flush}"),
    ("tests/support/test.tcl", "incr ::num_failed", NEXT_TEST),
    (
        "tests/unit/acl.tcl",
        'start_server {tags {"acl external:skip"}} {',
        'start_server {tags {"acl"}} {\n    r acl setuser psuser on >pspass +acl +client +@pubsub',
    ),
    ("tests/unit/acl.tcl", "r ACL setuser antirez resetchannels +publish", ""),
    ("tests/unit/acl-v2.tcl", 'start_server {tags {"acl external:skip"}} {', 'start_server {tags {"acl"}} {'),
    ("tests/unit/auth.tcl", 'start_server {tags {"auth external:skip"}} {', 'start_server {tags {"auth"}} {'),
    (
        "tests/unit/auth.tcl",
        'start_server {tags {"auth external:skip"} overrides {requirepass foobar}} {',
        'start_server {tags {"auth"}} {\n    r acl setuser default resetpass >foobar\n    reconnect',
    ),
    (
        "tests/unit/auth.tcl",
        '\n}\n\nstart_server {tags {"auth_binary_password external:skip"}} {',
        '\n    catch {r auth foobar}; r acl setuser default nopass\n}\n\nstart_server {tags {"auth"}} {',
    ),
    ("tests/unit/auth.tcl", 'r config set requirepass "', 'r acl setuser default resetpass ">'),
    ("tests/unit/auth.tcl", 'start_server {tags {"masterauth"}} {', "r acl setuser default nopass; if 0 {"),
)
FILES = (
    *("commands", "pipeline", "lock", "scripting", "function", "encoding", "connection_pool"),
    *("asyncio/test_commands", "asyncio/test_pipeline", "asyncio/test_lock", "asyncio/test_scripting"),
    *("asyncio/test_encoding",),
)
MARKS = "not onlycluster and not redismod and not ssl and not experimental and not cp_integration"

# The suite prints exceptions by repr, which says nothing in redis-py 8, and expects the forms of RESP2.
TAIR_PROGRAM = """
import functools, redis, runpy
redis.RedisError.__repr__ = Exception.__repr__
redis.Redis = functools.partial(redis.Redis, protocol=2)
runpy.run_path("redis_compatibility_test.py", run_name="__main__")
"""

REDIS_DIFFERENCES = FOLDER / "redis_differences.txt"
REDIS_PY_DIFFERENCES = FOLDER / "redis_py_differences.txt"
TAIR_DIFFERENCES = FOLDER / "tair_differences.txt"

NOT_OFFERED = re.compile(
    r"(?:unknown (?:sub)?command|ERR Command|SETUSER modifier) '[+-]?([a-z|_-]*)'(?! command)"
    r"|(Unknown Redis command called from script)",
    re.IGNORECASE,
)
COLOUR = re.compile(r"\x1b\[[0-9;]*m")
TCL_LINE = re.compile(r"^\[(ok|err|exception|ignore|skip)\]: ?(.*)$")
TAIR_LINE = re.compile(r"^test: (.*) (passed|failed|(?:tags |version )?skipped)$", re.MULTILINE)
TAIR_REASON = re.compile(r"^FailedTest\(name=(['\"])(.*?)\1, reason=(.*)\)$", re.MULTILINE)
TCL_NAME = re.compile(r"^(.*?)(?: in tests/\S+\.tcl| \(\d+ ms\))?$")


@dataclass(frozen=True)
class Outcome:
    """What became of one test. `kind` is passed, failed or skipped; `detail` says why it failed."""

    name: str
    kind: str
    detail: str = ""


def differences(file: Path) -> dict[str, str]:
    """Name of a test to the reason why it may fail: the last line before it that starts with `#`."""
    found: dict[str, str] = {}
    reason = ""
    for line in file.read_text().splitlines():
        if line.startswith("# "):
            reason = line.removeprefix("# ")
        elif line:
            found[line] = reason
    return found


def left_out() -> list[str]:
    """The tests of Redis that are not started."""
    known = differences(REDIS_DIFFERENCES)
    return [name for name, reason in known.items() if reason.startswith("Left out: ")]


def run_redis(folder: Path, port: int, units: Sequence[str]) -> list[Outcome]:
    """Redis's tests, each unit by itself, in a copy of the folder, as they write into it."""
    with tempfile.TemporaryDirectory() as scratch:
        copy = Path(scratch) / "redis"
        shutil.copytree(folder / "tests", copy / "tests", symlinks=True)
        for file, old, new in TCL_CHANGES:
            (copy / file).write_text((copy / file).read_text().replace(old, new))
        return [outcome for unit in units or UNITS for outcome in run_unit(copy, port, unit)]


def run_unit(copy: Path, port: int, unit: str) -> Iterator[Outcome]:
    """One unit. A test that hangs is a failure, and ends the unit."""
    address = ("--host", "127.0.0.1", "--port", str(port))
    skipped = [word for name in left_out() for word in ("--skiptest", name)]
    own = ("--baseport", str(free_ports(1)[0] + TCL_CLIENT_PORTS))
    options = (*address, *own, *TCL_OPTIONS, *skipped)
    command = ["tclsh", "tests/test_helper.tcl", *options, "--single", f"unit/{unit}"]
    log = copy / "output.txt"
    with (
        log.open("wb") as output,
        subprocess.Popen(command, cwd=copy, stdout=output, stderr=output, start_new_session=True) as process,
    ):
        with contextlib.suppress(subprocess.TimeoutExpired):
            process.wait(UNIT_SECONDS)
        with contextlib.suppress(ProcessLookupError):
            os.killpg(process.pid, signal.SIGKILL)
    yield from tcl_outcomes(unit, COLOUR.sub("", log.read_text(errors="replace")))


def tcl_outcomes(unit: str, output: str) -> Iterator[Outcome]:
    """The tests in the output of test_helper.tcl, before its summary."""
    kinds = {"ok": "passed", "err": "failed", "exception": "failed", "ignore": "skipped", "skip": "skipped"}
    found: list[tuple[str, list[str]]] = []
    for line in output.partition("\n                   The End\n")[0].splitlines():
        match = TCL_LINE.match(line)
        if match:
            found.append((match[1], [match[2]]))
        elif found and found[-1][0] in ("err", "exception"):
            found[-1][1].append(line)
    for kind, lines in found:
        name = TCL_NAME.match(lines[0])
        yield Outcome(name[1] if name else lines[0], kinds[kind], "\n".join(lines[1:]))
    if "The End" not in output:
        yield Outcome(f"the end of {unit}", "failed", "\n".join(output.splitlines()[-SHOWN_LINES:]))


def run_redis_py(folder: Path, port: int, files: Sequence[str]) -> list[Outcome]:
    """redis-py's tests, with the library of that folder."""
    paths = [f"tests/test_{name}.py" for name in files or FILES]
    with tempfile.TemporaryDirectory() as scratch:
        report = Path(scratch) / "report.xml"
        options = ["-q", "-o", "addopts=", "-p", "no:cacheprovider", "-m", MARKS, f"--junitxml={report}"]
        options += ["--tb=native", f"--timeout={TEST_SECONDS}"]  # other tracebacks parse 7,000 lines for each
        url = f"redis://127.0.0.1:{port}/0"
        run = subprocess.run(
            [sys.executable, "-m", "pytest", *options, "--redis-url", url, *paths],
            cwd=folder,
            stdout=subprocess.PIPE,
            text=True,
            timeout=SUITE_SECONDS,
            env=os.environ | {"PYTHONDONTWRITEBYTECODE": "1"},
        )
        if not report.exists():  # such as for a library that is not installed
            sys.exit(f"pytest has written no report:\n{run.stdout}")
        cases = xml.etree.ElementTree.parse(report).iter("testcase")
        return [junit_outcome(case) for case in cases]


def junit_outcome(case: xml.etree.ElementTree.Element) -> Outcome:
    """One `testcase` of pytest's report."""
    name = f"{case.get('classname')}::{case.get('name')}"
    for child in case:
        if child.tag in ("failure", "error"):
            return Outcome(name, "failed", f"{child.get('message')}\n{child.text}")
        if child.tag == "skipped":
            return Outcome(name, "skipped", str(child.get("message")))
    return Outcome(name, "passed")


def run_tair(folder: Path, port: int, _: Sequence[str]) -> list[Outcome]:
    """The compatibility suite of Tair: all its tests for a server that is no cluster."""
    options = ["--host", "127.0.0.1", "--port", str(port), "--testfile", "cts.json", "--show-failed"]
    run = subprocess.run(
        [sys.executable, "-c", TAIR_PROGRAM, *options],
        cwd=folder,
        capture_output=True,
        text=True,
        check=True,
        timeout=SUITE_SECONDS,
    )
    return list(tair_outcomes(run.stdout))


def tair_outcomes(output: str) -> Iterator[Outcome]:
    """The tests in the output of redis_compatibility_test.py. Reasons come after all tests, by name."""
    reasons: dict[str, list[str]] = defaultdict(list)
    for match in TAIR_REASON.finditer(output):
        reasons[match[2]].append(match[3])
    for name, kind in TAIR_LINE.findall(output):
        detail = reasons[name].pop(0) if kind == "failed" else ""
        yield Outcome(name, kind.split()[-1], detail)


def report(outcomes: Sequence[Outcome], known: Mapping[str, str]) -> bool:
    """Print the numbers, and each failure that is not in `known`; whether there is none."""
    failures = [outcome for outcome in outcomes if outcome.kind == "failed"]
    unknown = {each: match for each in failures if (match := NOT_OFFERED.search(each.detail))}
    commands = Counter((match[1] or "in a script").upper() for match in unknown.values())
    rest = [each for each in failures if each not in unknown]
    meant: dict[str, list[str]] = defaultdict(list)
    unexpected = []
    for each in rest:
        if each.name in known:
            meant[known[each.name]].append(each.name)
        else:
            unexpected.append(each)
    for each in unexpected:
        print(f"\nFAILED {each.name}", *each.detail.splitlines()[:SHOWN_LINES], sep="\n    ")
    print("\nThe tests that need commands which kraft does not have:")
    print("   ", ", ".join(f"{command} {count}" for command, count in commands.most_common()) or "none")
    for reason, names in meant.items():
        print(f"\n{reason}", *names, sep="\n    ")
    passed = [each.name for each in outcomes if each.kind == "passed"]
    print("\n", *[f"listed as different, but passes: {name}\n" for name in passed if name in known], sep="")
    kinds = Counter(each.kind for each in outcomes)
    print(
        f"{kinds['passed']} passed, {len(unknown)} need other commands, {len(rest) - len(unexpected)} differ"
        f" as listed, {kinds['skipped']} skipped by the suite, {len(unexpected)} failed"
    )
    return not unexpected


RUNS: dict[str, tuple[Callable[[Path, int, Sequence[str]], list[Outcome]], Path]] = {
    "redis": (run_redis, REDIS_DIFFERENCES),
    "redis-py": (run_redis_py, REDIS_PY_DIFFERENCES),
    "tair": (run_tair, TAIR_DIFFERENCES),
}


@contextlib.contextmanager
def tested_port(port: int | None) -> Iterator[int]:
    """That of a follower of three nodes, unless there is one already."""
    if port is not None:
        yield port
        return
    with tempfile.TemporaryDirectory() as scratch:
        cluster = Cluster(Path(scratch), 3, **SECTIONS)
        try:
            cluster.start()
            yield cluster.followers()[0].client_port
        finally:
            cluster.kill_all()


def main() -> int:
    """Run one suite; 1 for a failure that is not in its list."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").split("\n")[0])
    parser.add_argument("suite", choices=RUNS)
    parser.add_argument("folder", type=Path, help="a checkout of the suite's repository")
    parser.add_argument("names", nargs="*", help="units, or files of tests, in place of all")
    parser.add_argument("--port", type=int, help="of a server that runs already")
    options = parser.parse_intermixed_args()
    run, known = RUNS[options.suite]
    with tested_port(options.port) as port:
        outcomes = run(options.folder.resolve(), port, options.names)
    return 0 if report(outcomes, differences(known)) else 1


if __name__ == "__main__":
    sys.exit(main())
