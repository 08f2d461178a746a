"""What a node remembers of a connection, so that a new connection can take its place.

Choices such as READONLY are made again. A transaction cannot be: its watched keys and queued commands are
gone.
"""

from collections.abc import Sequence

from kraft.resp.values import Error, Reply

WATCH_LOST = "the watched keys are forgotten: begin again with WATCH"
MULTI_LOST = "the transaction is gone and nothing of it was executed: begin again with MULTI"

# A choice replaces an earlier one under the same name.
_CHOICES: dict[tuple[bytes, ...], str] = {
    (b"READONLY",): "reads",
    (b"READWRITE",): "reads",
    (b"KRAFT", b"CONSISTENCY"): "reads",
    (b"CLIENT", b"SETNAME"): "name",
    (b"AUTH",): "user",
    (b"HELLO",): "protocol",
}


class ConnectionState:
    """Choices that were made, and whether a transaction is open."""

    def __init__(self) -> None:
        self._choices: dict[str, list[bytes]] = {}
        self.multi = False
        self._watching = False

    @property
    def open(self) -> bool:
        """Whether commands depend on those before them on the same connection."""
        return self.multi or self._watching

    def replied(self, words: Sequence[bytes], reply: Reply) -> None:
        """Take note of a command and its reply."""
        name = words[0].upper()
        if name in (b"EXEC", b"DISCARD", b"RESET"):
            self.multi = self._watching = False
        elif name == b"MULTI":
            self.multi = True  # after a refused one too: a node executes nothing until EXEC or DISCARD
        if isinstance(reply, Error):
            return
        if name == b"RESET":
            self._choices.clear()
        elif name in (b"WATCH", b"UNWATCH"):
            self._watching = name == b"WATCH"
        elif not self.multi:
            choice = _CHOICES.get((name,)) or _CHOICES.get((name, b"".join(words[1:2]).upper()))
            if choice:
                self._choices[choice] = list(words)

    def settings(self) -> list[list[bytes]]:
        """The commands that make all choices again."""
        return list(self._choices.values())

    def lose(self) -> str:
        """The connection is lost. Returns what is lost with it, in words, or ''."""
        lost = MULTI_LOST if self.multi else WATCH_LOST if self._watching else ""
        self.multi = self._watching = False
        return lost
