"""Style, script and picture of the page, under names that contain a hash of their content.

So a browser may cache them for ever, and they always match the version of the page.
"""

from dataclasses import dataclass
from hashlib import sha256
from pathlib import Path

_FOLDER = Path(__file__).parent / "assets"
_TYPES = {".css": "text/css; charset=utf-8", ".js": "text/javascript; charset=utf-8", ".svg": "image/svg+xml"}


@dataclass(frozen=True, slots=True)
class Asset:
    """One file. `name` is its path without the leading slash."""

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
