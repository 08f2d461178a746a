"""Golden scripts: conversations between nodes, told in prose, played by the real core and shown in full.

A script (`data/*.txt`) is text in paragraphs. One with a line `----` is a block: commands above it, the trace
that they leave below. All other paragraphs are prose. `play` carries the commands out and returns the text as
it should be, so that a test compares and `--rewrite` writes it down.
"""

from tests.raft.script_commands import COMMANDS
from tests.raft.stage import Block, Stage

RULE = "----"


def paragraphs(text: str) -> list[str | Block]:
    """The script in its parts: prose as it stands, and blocks without their traces."""
    parts: list[str | Block] = []
    line = 1
    for paragraph in text.rstrip("\n").split("\n\n"):
        lines = paragraph.split("\n")
        if RULE in lines:
            parts.append(Block(tuple(lines[: lines.index(RULE)]), line))
        else:
            parts.append(paragraph)
        line += len(lines) + 1
    return parts


def play(text: str) -> str:
    """The script with the traces that its commands leave now."""
    stage = Stage(COMMANDS)
    played = []
    for part in paragraphs(text):
        if isinstance(part, Block):
            trace = stage.play(part)
            played.append("\n".join([*part.commands, RULE, *trace]))
        else:
            played.append(part)
    return "\n\n".join(played) + "\n"
