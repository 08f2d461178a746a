"""Style, script and picture of the page, under names that change with their content.

So a browser may keep them for ever, and never has one of another version of kraft than the page.
"""

from dataclasses import dataclass
from hashlib import sha256
from pathlib import Path

_FOLDER = Path(__file__).parent / "assets"
_TYPES = {".css": "text/css; charset=utf-8", ".js": "text/javascript; charset=utf-8", ".svg": "image/svg+xml"}


@dataclass(frozen=True, slots=True)
class Asset:
    """`name` is the path, without a slash before it."""

    name: str
    type: str
    body: bytes


def _read(file: str) -> Asset:
    path = _FOLDER / file
    body = path.read_bytes()
    name = f"{path.stem}-{sha256(body).hexdigest()[:12]}{path.suffix}"
    return Asset(name, _TYPES[path.suffix], body)


STYLE = _read("kraft.css")
SCRIPT = _read("kraft.js")
ICON = _read("kraft.svg")
ALL = (STYLE, SCRIPT, ICON)
