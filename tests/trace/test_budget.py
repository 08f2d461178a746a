"""One request takes a short way through the code, and the way does not grow."""

import re
from dataclasses import dataclass
from pathlib import Path

import pytest

from tests.trace.nodes import Nodes
from tests.trace.requests import REQUESTS, traced

PAGE = Path(__file__).parents[2] / "docs" / "design" / "request-path.md"


@dataclass(frozen=True)
class Budget:
    """The most that one request may take on a leader; `Recorder.turns` says what counts as a turn."""

    calls: int
    functions: int
    files: int
    turns: int


# What it takes today; lower it with every step. Once it was SET 278, 167, 39, 4 and GET 230, 145, 39, 3.
BUDGETS = {"SET": Budget(133, 105, 37, 3), "GET": Budget(93, 74, 27, 3)}


@pytest.fixture(scope="module")
def nodes(tmp_path_factory):
    cluster = Nodes(Path(tmp_path_factory.mktemp("nodes")))
    yield cluster
    cluster.close()


@pytest.mark.parametrize("name", REQUESTS)
def test_a_request_keeps_its_budget(nodes, name):
    """`python -m tests.trace` prints the calls."""
    recorder = traced(nodes, name)
    spent = Budget(len(recorder.calls), len(recorder.functions), len(recorder.files), recorder.turns)
    budget = BUDGETS[name]
    assert spent.calls <= budget.calls, spent
    assert spent.functions <= budget.functions, spent
    assert spent.files <= budget.files, spent
    assert spent.turns <= budget.turns, spent


@pytest.mark.parametrize("name", REQUESTS)
def test_a_request_takes_the_same_way_each_time(nodes, name):
    """Else the budget would be a matter of luck."""
    assert traced(nodes, name).calls == traced(nodes, name).calls


def test_the_trace_sees_the_whole_way(nodes):
    """From the client's bytes through consensus, disk and machine."""
    files = {file.partition("/")[0] for file in traced(nodes, "SET").files}
    assert files == {"host", "kv", "peerwire", "raft", "resp", "server", "storage", "tcp", "transport"}


def test_the_design_page_lists_the_files(nodes):
    """Each with its reason: a file that joins the path has to be explained."""
    rows = re.findall(r"^\| `([\w/.]+)` \| (x?) ?\| (x?) ?\|", PAGE.read_text(), re.MULTILINE)
    for column, name in ((1, "SET"), (2, "GET")):
        assert {row[0] for row in rows if row[column]} == traced(nodes, name).files
