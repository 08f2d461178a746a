"""docs/metrics.md and docs/logging.md say what the code does, both ways."""

import re
from pathlib import Path

from kraft.telemetry.events import LEVELS
from kraft.telemetry.metrics.declarations import PREFIX
from kraft.telemetry.metrics.registry import DECLARATIONS

DOCS = Path(__file__).parents[2] / "docs"


def test_every_metric_is_documented_and_nothing_else() -> None:
    rows = re.findall(
        r"^\| `(kraft_\w+)` \| (\w+) \| (.*?) ?\| (.+) \|$", (DOCS / "metrics.md").read_text(), re.MULTILINE
    )

    assert rows == [
        (
            PREFIX + declaration.name,
            type(declaration).__name__.lower(),
            ", ".join(f"`{label}`" for label in declaration.labels),
            declaration.meaning,
        )
        for declaration in DECLARATIONS
    ]


def test_every_event_is_documented_with_its_level_and_nothing_else() -> None:
    rows = re.findall(r"^\| `(\w+)` \| (\w+) \| .+ \|$", (DOCS / "logging.md").read_text(), re.MULTILINE)

    assert dict(rows) == LEVELS
