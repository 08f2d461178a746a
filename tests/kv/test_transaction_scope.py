"""All histories of a transaction in a small scope, and mistakes that the search and the tests must find."""

import re
from pathlib import Path
from typing import Any

import pytest

from tests.kv.transaction_mutants import SCOPES, find
from tests.kv.transaction_mutations import TRANSACTION_MUTATIONS
from tests.kv.transaction_scope import Scope, Violation
from tests.simulation.mutants import mutated

ROOT = Path(__file__).resolve().parents[2]
PAGE = (ROOT / "docs/design/transactions.md").read_text()
STATES = (2_571, 14_146, 31_418, 59_235)
QUICK = ("Decide records no abort", "a repeated Prepare runs again")


@pytest.mark.parametrize(("scope", "states"), list(zip(SCOPES, STATES, strict=True)), ids=str)
def test_every_history_keeps_the_promises(scope: dict[str, Any], states: int):
    """The number is in the docs: it shows that nothing was left out when it changes."""
    assert Scope(**scope).explore() == states
    assert f"{states:,}" in PAGE


@pytest.mark.parametrize(
    ("mistake", "wrong"),
    [
        ("aborts by itself", "the client was told that it was not done"),
        ("commits before all have prepared", "home commits, and the participant holds no locks"),
        ("home forgets early", "home executed it twice|leaders end one half of it"),
    ],
)
def test_mistakes_of_the_nodes_are_found(mistake: str, wrong: str):
    with pytest.raises(Violation, match=wrong):
        Scope(mistake=mistake).explore()


def test_a_violation_tells_its_history():
    with pytest.raises(Violation) as found:
        Scope(mistake="aborts by itself").explore()
    steps = str(found.value).splitlines()[1:]
    assert steps[0].strip() == "the coordinator sends Prepare"
    assert any(step.strip().startswith("commit 1") for step in steps)


@pytest.mark.parametrize("planted", TRANSACTION_MUTATIONS, ids=lambda planted: planted.mutation.name)
def test_the_list_follows_the_code(planted):
    source = (ROOT / planted.mutation.file).read_text()
    compile(mutated(source, planted.mutation), planted.mutation.file, "exec")


def test_the_documented_table_lists_them():
    rows = re.findall(r"^\| (.+?) \| `(kv/[\w/]+\.py)` \| .+ \|$", PAGE, re.MULTILINE)
    assert rows == [
        (planted.mutation.name, planted.mutation.file.removeprefix("kraft/"))
        for planted in TRANSACTION_MUTATIONS
    ]


@pytest.mark.parametrize("name", QUICK)
def test_planted_mistakes_are_found(name: str):
    assert find(next(planted for planted in TRANSACTION_MUTATIONS if planted.mutation.name == name))
