"""What every test may use, and the rule about tools that are not installed.

A test that needs a program or a library beyond kraft's own skips by name, so `make test` passes on a bare
machine. CI installs everything and sets KRAFT_TEST_ALL: then a skip is a failure, and nothing is left out.
"""

import os
import shutil
from collections.abc import Callable, Generator
from typing import Any, TypeVar

import pytest

Report = TypeVar("Report", pytest.TestReport, pytest.CollectReport)
ALL = bool(os.environ.get("KRAFT_TEST_ALL"))


def pytest_addoption(parser: pytest.Parser) -> None:
    """`--rewrite`: golden scripts (docs/scripts.md) take what they leave now for right.

    `--screenshots`: tests/browser leaves the pictures of the status page there.
    """
    parser.addoption("--rewrite", action="store_true", help="rewrite the traces of golden scripts")
    parser.addoption("--screenshots", metavar="FOLDER", help="keep pictures of the status page here")


@pytest.fixture(scope="session")
def need() -> Callable[[str], str]:
    """`need("redis-cli")`: the path of a program, or the test is skipped, saying which."""

    def find(program: str) -> str:
        path = shutil.which(program)
        if path is None:
            pytest.skip(f"needs {program}")
        return path

    return find


@pytest.hookimpl(wrapper=True)
def pytest_runtest_makereport() -> Generator[None, pytest.TestReport, pytest.TestReport]:
    """With KRAFT_TEST_ALL, a skipped test has failed."""
    return _no_skip((yield))


@pytest.hookimpl(wrapper=True)
def pytest_make_collect_report() -> Generator[None, pytest.CollectReport, pytest.CollectReport]:
    """The same for a module that skips itself."""
    return _no_skip((yield))


@pytest.hookimpl(optionalhook=True)
def pytest_xdist_make_scheduler(config: pytest.Config, log: Any) -> Any:
    """With `-n`, one worker runs all real clusters and the benchmarks, one by one; the rest goes by file.

    A cluster that is timed must not share two cores with a second one. xdist's own groups are not used: they
    do nothing from pytest 9.2 on, as xdist 3.8 renames tests in a field that is no longer read.
    """
    from xdist.scheduler import LoadScopeScheduling  # type: ignore[import-untyped]

    def scope(test: str) -> str:
        file = test.partition("::")[0]
        if file.startswith("tests/deploy/"):
            return "deploy"  # they share one package, which takes its time to build
        return "clusters" if file.startswith(("tests/cluster/", "tests/browser/", "tests/bench/")) else file

    scheduler = LoadScopeScheduling(config, log)
    scheduler._split_scope = scope  # the method that its subclasses override
    return scheduler


def _no_skip(report: Report) -> Report:
    if ALL and report.outcome == "skipped" and not hasattr(report, "wasxfail"):
        reason = report.longrepr[2] if isinstance(report.longrepr, tuple) else report.longrepr
        report.outcome = "failed"
        report.longrepr = f"KRAFT_TEST_ALL is set, so this counts as a failure: {reason}"
    return report
