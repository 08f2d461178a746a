"""The checks must catch planted bugs. This file plants a few; `tox -e mutants` plants all of them."""

import re
from pathlib import Path

import pytest

from tests.simulation.mutants import find, mutated
from tests.simulation.mutations import MUTATIONS

ROOT = Path(__file__).resolve().parents[2]
QUICK = (
    "own log counted before the disk has it",
    "vote answered before it is durable",
    "entries acknowledged before they are durable",
    "every append truncates",
    "reads do not wait until applied",
    "log cut beyond the checkpoint",
    "votes not written",
)


@pytest.mark.parametrize("mutation", MUTATIONS, ids=lambda m: m.name)
def test_the_list_follows_the_code(mutation):
    """Each line is in the source exactly once, and the mutated source compiles."""
    source = (ROOT / mutation.file).read_text()
    changed = mutated(source, mutation)
    compile(changed, mutation.file, "exec")
    assert changed != source


def test_there_are_enough_of_them_and_no_two_of_a_name():
    assert len({m.name for m in MUTATIONS}) == len(MUTATIONS) >= 40


def test_the_documented_table_lists_them():
    """docs/simulation.md has each mutation with its file, in the same order."""
    page = (ROOT / "docs/simulation.md").read_text()
    rows = re.findall(r"^\| (.+?) \| `([\w/]+\.py)` \| ", page, re.MULTILINE)
    assert rows == [(m.name, m.file.removeprefix("kraft/")) for m in MUTATIONS]


def test_a_line_that_is_gone_is_an_error():
    lost = MUTATIONS[0]._replace(line="no such line")
    with pytest.raises(LookupError, match="0 times"):
        mutated((ROOT / lost.file).read_text(), lost)


@pytest.mark.slow
@pytest.mark.parametrize("name", QUICK)
def test_the_simulator_finds(name):
    found = find(next(m for m in MUTATIONS if m.name == name))
    assert found["seed"] is not None, found
