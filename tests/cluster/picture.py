"""A terminal's screen as an SVG picture: text that stays text, light and dark as the reader's system is."""

from collections.abc import Iterator
from html import escape
from itertools import groupby
from typing import Any

CELL_WIDTH, LINE_HEIGHT, MARGIN = 8.4, 19, 14  # of a font of 14 pixels
STYLE = """
    rect { fill: #ffffff; stroke: #d0d7de }
    text { fill: #1f2328; font: 14px ui-monospace, Menlo, Consolas, monospace; white-space: pre }
    .bold { font-weight: 600 }
    .red { fill: #cf222e } .green { fill: #1a7f37 } .brown { fill: #9a6700 }
    .cyan { fill: #1b7c83 } .brightblack { fill: #6e7781 }
    @media (prefers-color-scheme: dark) {
      rect { fill: #0d1117; stroke: #30363d }
      text { fill: #e6edf3 }
      .red { fill: #ff7b72 } .green { fill: #3fb950 } .brown { fill: #d29922 }
      .cyan { fill: #39c5cf } .brightblack { fill: #8b949e }
    }
"""


def svg(screen: Any, lines: int) -> str:
    """The first `lines` lines of a pyte screen."""
    width = round(2 * MARGIN + screen.columns * CELL_WIDTH)
    height = 2 * MARGIN + lines * LINE_HEIGHT
    size = f'viewBox="0 0 {width} {height}" width="{width}" height="{height}"'
    frame = f'<rect x="0.5" y="0.5" width="{width - 1}" height="{height - 1}" rx="6"/>'
    texts = (text for y in range(lines) for text in _texts(screen, y))
    head = f'<svg xmlns="http://www.w3.org/2000/svg" {size}>\n  <style>{STYLE}  </style>'
    return "\n".join([head, f"  {frame}", *texts, "</svg>", ""])


def _texts(screen: Any, y: int) -> Iterator[str]:
    """One element for each run of characters that look alike."""
    cells = [(x, screen.buffer[y][x]) for x in range(screen.columns)]
    for (colour, bold), run in groupby(cells, lambda cell: (cell[1].fg, cell[1].bold)):
        found = list(run)
        text = "".join(cell.data for _, cell in found)
        if text.strip():
            x = MARGIN + found[0][0] * CELL_WIDTH
            names = " ".join([*([colour] if colour != "default" else []), *(["bold"] if bold else [])])
            mark = f' class="{names}"' if names else ""
            place = f'x="{x:.1f}" y="{MARGIN + (y + 1) * LINE_HEIGHT - 5}"'
            yield f"  <text {place}{mark}>{escape(text.rstrip())}</text>"
