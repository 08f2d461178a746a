"""All histories of a move in a small scope, and mistakes that the search and the tests must find."""

import re
from pathlib import Path
from typing import Any

import pytest

from tests.kv.move_mutations import MOVE_MUTATIONS, MOVER_MUTATIONS, ONCE
from tests.kv.move_scope import LONG_SCOPES, MoveScope
from tests.kv.transaction_mutants import find
from tests.kv.transaction_scope import Violation
from tests.simulation.mutants import mutated

ROOT = Path(__file__).resolve().parents[2]
PAGE = (ROOT / "docs/design/slots.md").read_text()
MUTATIONS = [*MOVE_MUTATIONS, *MOVER_MUTATIONS]
SCOPES: tuple[tuple[dict[str, Any], int], ...] = (
    (ONCE, 373),
    ({"moves": 1, "once": True, "clocks": True}, 4_552),
    ({"moves": 2}, 7_849),
)


@pytest.mark.parametrize(("scope", "states"), SCOPES, ids=str)
def test_every_history_keeps_the_promises(scope: dict[str, Any], states: int):
    """The number is in the docs: it shows that nothing was left out when it changes."""
    assert MoveScope(**scope).explore() == states
    assert f"{states:,}" in PAGE


def test_the_page_has_the_sizes_of_the_other_scopes():
    """`tox -e transactions` visits these."""
    assert all(f"{states:,}" in PAGE for _, states in LONG_SCOPES)


@pytest.mark.parametrize(
    ("mistake", "scope", "wrong"),
    [
        ("thaws by itself", ONCE, "the slot has two owners"),
        ("activates before the source is frozen", ONCE, "two owners"),
        ("gives a number again", {"route": "another"}, "the slot has two owners"),
        ("changes since the copy are not sent", ONCE, "took effect twice|does not show what was done"),
    ],
)
def test_mistakes_of_the_nodes_are_found(mistake: str, scope: dict[str, Any], wrong: str):
    with pytest.raises(Violation, match=wrong):
        MoveScope(mistake=mistake, **scope).explore()


@pytest.mark.parametrize("planted", MUTATIONS, ids=lambda planted: planted.mutation.name)
def test_the_list_follows_the_code(planted):
    source = (ROOT / planted.mutation.file).read_text()
    compile(mutated(source, planted.mutation), planted.mutation.file, "exec")


def test_the_documented_table_lists_them():
    rows = re.findall(r"^\| (.+?) \| `((?:kv|host)/[\w/]+\.py)` \| .+ \|$", PAGE, re.MULTILINE)
    assert rows == [
        (planted.mutation.name, planted.mutation.file.removeprefix("kraft/")) for planted in MUTATIONS
    ]


def test_a_planted_mistake_is_found():
    assert find(next(planted for planted in MOVE_MUTATIONS if planted.mutation.name == "tokens stay"))
