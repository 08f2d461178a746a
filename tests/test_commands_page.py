"""docs/commands.md is what tools/commands_page.py writes, and commands on data say how long they take."""

import subprocess
import sys
from pathlib import Path

from kraft.server.commands.command import all_specs
from kraft.server.commands.complexity import COMPLEXITY
from kraft.server.commands.spec import IndexSpec, ReadSpec, WaitSpec, WriteSpec
from kraft.server.commands.table import TABLE

ROOT = Path(__file__).parents[1]


def test_the_page_is_current(tmp_path):
    place = tmp_path / "commands.md"
    subprocess.run([sys.executable, ROOT / "tools/commands_page.py", place], check=True, cwd=ROOT)
    assert place.read_text() == (ROOT / "docs/commands.md").read_text(), "run `make commands-page`"


def test_every_command_has_a_row():
    page = (ROOT / "docs/commands.md").read_text()
    for spec in all_specs(TABLE):
        if not spec.summary.startswith("Contains"):
            name = spec.name.replace("|", " ").upper()
            assert f"| `{name} " in page or f"| `{name}`" in page, name


def test_every_command_on_data_says_how_long_it_takes():
    names = {spec.name for spec in all_specs(TABLE)}
    data = {
        spec.name
        for spec in all_specs(TABLE)
        if isinstance(spec, ReadSpec | WriteSpec | IndexSpec | WaitSpec)
    }
    assert data - COMPLEXITY.keys() == set()
    assert COMPLEXITY.keys() - names == set()


def test_a_difference_is_shown_at_its_own_command_only():
    page = (ROOT / "docs/commands.md").read_text()
    rows = {line.split("`")[1]: line for line in page.splitlines() if line.startswith("| `")}
    assert "`COMMAND INFO`" not in rows["INFO [section ...]"]
    assert "`COMMAND INFO`" in rows["COMMAND INFO [command-name ...]"]
    assert "nothing that it wrote" in rows["EVAL script numkeys [key [key ...]] [arg [arg ...]]"]
