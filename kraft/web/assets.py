"""Style, script and pictures of the page, under names that contain a hash of their content.

So a browser may cache them for ever, and they always match the version of the page.

The icons are the mark with a badge for the state. Each badge has its own form, because a tab is small and not
everybody tells its colours apart: none when all is well, a triangle, a disc with a cross, a grey ring.
"""

from dataclasses import dataclass
from hashlib import sha256
from pathlib import Path

_FOLDER = Path(__file__).parent / "assets"
_TYPES = {".css": "text/css; charset=utf-8", ".js": "text/javascript; charset=utf-8", ".svg": "image/svg+xml"}
_BADGES = {
    "good": "",
    "warn": '<path d="M22 13 33 32H11z" fill="#ffc043" stroke="#fff" stroke-width="1.5"/>'
            '<path d="M22 20v5.500m0 2v2" stroke="#3d2600" stroke-width="2.500"/>',
    "bad": '<circle cx="22" cy="22" r="9.500" fill="#d3202f" stroke="#fff" stroke-width="1.500"/>'
           '<path d="M18.500 18.500l7 7m0-7l-7 7" stroke="#fff" stroke-width="2.500"/>',
    "silent": '<circle cx="22" cy="22" r="8" fill="#fff" stroke="#66727f" stroke-width="3.500"/>',
}  # fmt: skip


@dataclass(frozen=True, slots=True)
class Asset:
    """One file. `name` is its path without the leading slash."""

    name: str
    type: str
    body: bytes


def _read(file: str) -> Asset:
    path = _FOLDER / file
    return _asset(path.stem, path.suffix, path.read_bytes())


def _asset(stem: str, suffix: str, body: bytes) -> Asset:
    return Asset(f"{stem}-{sha256(body).hexdigest()[:12]}{suffix}", _TYPES[suffix], body)


def _badged(badge: str) -> bytes:
    return MARK.body.replace(b"</svg>", badge.encode() + b"</svg>")


STYLE = _read("kraft.css")
CHARTS_STYLE = _read("charts.css")
SCRIPTS = (_read("times.js"), _read("charts.js"), _read("kraft.js"))  # run in this order
MARK = _read("kraft.svg")
ICONS = {state: _asset(f"kraft-{state}", ".svg", _badged(badge)) for state, badge in _BADGES.items()}
ALL = (STYLE, CHARTS_STYLE, *SCRIPTS, MARK, *ICONS.values())
