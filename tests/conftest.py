"""Fixtures for all tests, and the rule about programs that are not installed.

A test that needs another program or library is skipped by name if that is missing, so `make test` passes on a
bare machine. CI installs everything and sets KRAFT_TEST_ALL, which turns a skip into a failure.

No result depends on chance or on the speed of the machine: generated examples are the same in each run.
KRAFT_TEST_DICE, which `tox -e dice` sets, generates others each time, and more of them.
"""

import os
import shutil
import signal
from collections.abc import Callable, Generator
from typing import Any, TypeVar

import pytest
from hypothesis import HealthCheck, Phase, settings
from hypothesis.internal.conjecture import engine

Report = TypeVar("Report", pytest.TestReport, pytest.CollectReport)
ALL = bool(os.environ.get("KRAFT_TEST_ALL"))
DICE = bool(os.environ.get("KRAFT_TEST_DICE"))
# Files that compare times with a bound, in tests/cluster, tests/browser and tests/bench: one after the other.
TIMED = frozenset(
    f"tests/{name}.py"
    for name in (
        "bench/test_smoke",
        "browser/test_page",
        "cluster/test_crash",
        "cluster/test_hostile_input",
        "cluster/test_locks",
        "cluster/test_slow_disk",
        "cluster/test_slow_links",
        "cluster/test_transfer",
    )
)
LONG = ("tests/deploy/", "tests/cluster/", "tests/browser/", "tests/bench/", "tests/simulation/")
SLOW_TIMEOUT_SECONDS = 400  # of a test of real processes: less than half a minute on a quiet machine

# A failing example is made smaller for a short time, so that it is shown before
# pytest-timeout ends the run, which would show nothing of it. Phase.explain is left out for the same reason:
# it traces each line of Python code.
settings.register_profile(
    "kraft",
    derandomize=not DICE,
    max_examples=200 if DICE else 50,  # of a test that names no number
    deadline=None,
    phases=(Phase.explicit, Phase.reuse, Phase.generate, Phase.shrink),
    suppress_health_check=[HealthCheck.too_slow],
)
settings.load_profile("kraft")
engine.MAX_SHRINKING_SECONDS = 20  # instead of 300; there is no public name for it

# A shell that starts the tests in the background lets them ignore these, and all processes that they start,
# to which some tests send them.
for _number in (signal.SIGINT, signal.SIGQUIT, signal.SIGHUP):
    if signal.getsignal(_number) is signal.SIG_IGN:
        signal.signal(_number, signal.default_int_handler if _number == signal.SIGINT else signal.SIG_DFL)


def pytest_addoption(parser: pytest.Parser) -> None:
    """`--rewrite` accepts the current traces of golden scripts (docs/scripts.md).

    `--screenshots` names the directory in which tests/browser keeps pictures of the status page.
    """
    parser.addoption("--rewrite", action="store_true", help="rewrite the traces of golden scripts")
    parser.addoption("--screenshots", metavar="FOLDER", help="keep pictures of the status page here")


@pytest.fixture(scope="session")
def need() -> Callable[[str], str]:
    """`need("redis-cli")` returns the path of a program, or skips the test and names the program."""

    def find(program: str) -> str:
        path = shutil.which(program)
        if path is None:
            pytest.skip(f"needs {program}")
        return path

    return find


@pytest.hookimpl(wrapper=True)
def pytest_runtest_makereport() -> Generator[None, pytest.TestReport, pytest.TestReport]:
    """With KRAFT_TEST_ALL, turn a skipped test into a failure."""
    return _no_skip((yield))


@pytest.hookimpl(wrapper=True)
def pytest_make_collect_report() -> Generator[None, pytest.CollectReport, pytest.CollectReport]:
    """With KRAFT_TEST_ALL, turn a skipped module into a failure."""
    return _no_skip((yield))


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Long tests come first, so that no worker is left alone with one, and get more time.

    With other examples in each run, any number of them, `--timeout` alone decides.
    """
    items.sort(key=lambda item: _place(item.nodeid))
    for item in items:
        if not DICE and item.get_closest_marker("slow") and not item.get_closest_marker("timeout"):
            item.add_marker(pytest.mark.timeout(SLOW_TIMEOUT_SECONDS))


@pytest.hookimpl(optionalhook=True)
def pytest_xdist_make_scheduler(config: pytest.Config, log: Any) -> Any:
    """With `-n`, one worker runs all tests that measure time in sequence; other tests are spread by file.

    xdist's groups are not used: they have no effect from pytest 9.2 on, because xdist 3.8 renames tests in a
    field that is no longer read.
    """
    from xdist.scheduler import LoadScopeScheduling  # type: ignore[import-untyped]

    config.option.loadscopereorder = False  # but in the order of _place
    scheduler = LoadScopeScheduling(config, log)
    scheduler._split_scope = _scope  # the method that its subclasses override
    return scheduler


def _scope(test: str) -> str:
    """The tests that run in one worker, in sequence."""
    file = test.partition("::")[0]
    if file.startswith("tests/deploy/"):
        return "deploy"  # they share one package, which takes long to build
    if file == "tests/simulation/test_schedules.py":
        return test  # each is many runs
    return "timed" if file in TIMED else file


def _place(test: str) -> int:
    """Of the test in the order: what takes longest comes first."""
    scope = _scope(test)
    if scope in ("timed", "deploy"):
        return 0
    return 1 if scope.startswith(LONG) else 2


def _no_skip(report: Report) -> Report:
    if ALL and report.outcome == "skipped" and not hasattr(report, "wasxfail"):
        reason = report.longrepr[2] if isinstance(report.longrepr, tuple) else report.longrepr
        report.outcome = "failed"
        report.longrepr = f"KRAFT_TEST_ALL is set, so this counts as a failure: {reason}"
    return report
