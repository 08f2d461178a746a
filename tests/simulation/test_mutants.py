"""The checks must catch planted bugs. This file plants a few; `tox -e mutants` plants all of them."""

import ast
import builtins
import re
from pathlib import Path

import pytest

from tests.simulation.mutants import documented_tests, failed_test, mutated, planted, search, searched
from tests.simulation.mutations import MUTATIONS
from tests.simulation.test_schedules import REGRESSIONS

ROOT = Path(__file__).resolve().parents[2]
# With a seed that finds each at once, and that `test_schedules` runs without it.
QUICK = (
    ("own log counted before the disk has it", 1017),
    ("vote answered before it is durable", 18),
    ("entries acknowledged before they are durable", 18),
    ("every append truncates", 1017),
    ("reads do not wait until applied", 1017),
    ("log cut beyond the checkpoint", 1442),
    ("votes not written", 18),
)


@pytest.mark.parametrize("mutation", MUTATIONS, ids=lambda m: m.name)
def test_the_list_follows_the_code(mutation):
    """Each line is in the source exactly once, and the mutated source compiles."""
    source = (ROOT / mutation.file).read_text()
    changed = mutated(source, mutation)
    compile(changed, mutation.file, "exec")
    assert changed != source
    assert unknown_names(changed) == set()


def unknown_names(source: str) -> set[str]:
    """Names that a module uses and binds nowhere: a mistake with one would be found at once, as an error."""
    bound, used = set(dir(builtins)) | {"__file__"}, set()
    for node in ast.walk(ast.parse(source)):
        match node:
            case ast.Name(id=name, ctx=ast.Load()):
                used.add(name)
            case ast.Name(id=name) | ast.arg(arg=name) | ast.ExceptHandler(name=str(name)):
                bound.add(name)
            case ast.FunctionDef(name=name) | ast.ClassDef(name=name):
                bound.add(name)
            case ast.MatchAs(name=str(name)) | ast.MatchStar(name=str(name)):
                bound.add(name)
            case ast.alias(name=name, asname=alias):
                bound.add(alias or name.partition(".")[0])
    return used - bound


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


@pytest.mark.parametrize(("name", "seed"), QUICK)
def test_the_simulator_finds(name, seed):
    mutation = next(m for m in MUTATIONS if m.name == name)
    with planted(mutation):
        found = search(mutation, [seed])
    assert found["seed"] == seed, found
    assert seed in REGRESSIONS


@pytest.mark.slow
def test_a_process_of_its_own_finds_one_as_well():
    """As `tox -e mutants` plants them."""
    found = searched(next(m for m in MUTATIONS if m.name == QUICK[1][0]))
    assert found["seed"] is not None, found


@pytest.mark.parametrize(
    ("likely", "found"), [("", "test_first"), ("test_second", "test_second"), ("test_gone", "test_first")]
)
def test_the_likely_test_runs_before_the_others(tmp_path, likely, found):
    file = tmp_path / f"test_failures_with_{likely}.py"  # a module is imported once
    file.write_text("def test_first():\n    assert 0\n\n\ndef test_second():\n    assert 0\n")
    assert failed_test(str(file), likely) == found


def test_the_page_names_the_test_of_each_mutation_that_tests_find():
    assert {mutation.name for mutation in MUTATIONS if mutation.test} <= documented_tests().keys()
