"""docs/configuration.md and the schema say the same, both ways."""

import re
from pathlib import Path
from typing import get_origin

import yaml

from kraft.config import parse
from kraft.config.kinds import Duration, format_duration
from kraft.config.launcher import LauncherOptions
from kraft.config.loader import kind_of, options, sections

TEXT = Path(__file__).parents[2].joinpath("docs", "configuration.md").read_text()
ROW = re.compile(r"^\| `([a-z_]+\.[a-z_]+)` \| (.+) \| (.+?) \| ((?:\\\||[^|])+) \|$", re.MULTILINE)
ROWS = {path: (meaning, default, form) for path, meaning, default, form in ROW.findall(TEXT)}
_EMPTY = '""'
SCHEMA = {
    f"{name}.{option.name}": (option, hint)
    for name, section in sections()
    for option, hint in options(section)
}


def test_every_option_is_documented_and_nothing_else() -> None:
    assert list(ROWS) == list(SCHEMA)


def test_defaults_and_bounds_are_the_real_ones() -> None:
    for path, (option, hint) in SCHEMA.items():
        if get_origin(hint) is dict or not isinstance(option.default, str | int | float):
            continue
        kind = kind_of(hint)
        is_duration = isinstance(kind, Duration)
        default = format_duration(float(option.default)) if is_duration else str(option.default).lower()
        assert ROWS[path][1] == f"`{default or _EMPTY}`", path


def test_what_may_be_written_is_said() -> None:
    for path, (_, hint) in SCHEMA.items():
        if get_origin(hint) is not dict:
            assert ROWS[path][2].replace("\\|", "|") == kind_of(hint).form, path


def test_required_options_are_marked() -> None:
    assert [path for path, row in ROWS.items() if row[1] == "required"] == ["node.id", "node.data"]


def test_the_examples_are_valid() -> None:
    examples = re.findall(r"```yaml\n(.+?)```", TEXT, re.DOTALL)

    assert len(examples) == 2
    for example in examples:
        assert yaml.safe_load(example)
        assert parse(example, "example").node.id == "K1"


def test_endpoints_in_the_text_are_valid() -> None:
    text = TEXT[TEXT.index("- **Endpoints**") : TEXT.index("- **Paths**")]
    endpoints = [
        word.strip('"').replace("\\\\", "\\") for word in re.findall(r"`([^`]+)`", text) if ":" in word[1:-1]
    ]

    assert len(endpoints) == 4
    for endpoint in endpoints:
        parse(f"node: {{id: K1, data: d}}\nclient: {{listen: '{endpoint}', advertise: 'h:1'}}\n", "example")


def test_every_launcher_option_is_documented() -> None:
    for name in LauncherOptions.__dataclass_fields__:
        assert f"`--{name.replace('_', '-')} " in TEXT
