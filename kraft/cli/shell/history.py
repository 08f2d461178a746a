"""The commands that were typed, in a file that only their user can read."""

import os
from collections.abc import Callable, Sequence
from pathlib import Path

NAME = "shell_history"
ENTRIES_MAX = 1000
_SECRET = frozenset(("AUTH", "HELLO", "ACL", "CONFIG", "MIGRATE"))  # their arguments may be passwords


def default_path() -> Path | None:
    """The file below the user's state directory (XDG Base Directory Specification), None without a home."""
    if state := os.environ.get("XDG_STATE_HOME"):
        return Path(state) / "kraft" / NAME
    try:
        return Path.home() / ".local" / "state" / "kraft" / NAME
    except RuntimeError:
        return None


class HistoryFile:
    """One entry per line, the oldest first.

    A file that cannot be used is no error: the history then lasts as long as the shell.
    """

    def __init__(self, path: Path | None) -> None:
        self._path = path
        self.entries: list[str] = []
        if path is not None:
            self._guard(lambda: self._load(path))

    def append(self, entry: str) -> bool:
        """Keep an entry. Not kept: a repetition, a possible secret, a line that starts with a space."""
        if not entry.strip() or entry[0] == " " or entry.split()[0].upper() in _SECRET:
            return False
        if self.entries and self.entries[-1] == entry:
            return False
        self.entries.append(entry)
        if (path := self._path) is not None:
            self._guard(lambda: _write(path, os.O_APPEND, [entry]))
        return True

    def _load(self, path: Path) -> None:
        path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
        _write(path, os.O_APPEND, [])  # creates it
        path.chmod(0o600)
        lines = path.read_text("utf-8", "replace").split("\n")[:-1]
        self.entries = lines[-ENTRIES_MAX:]
        if len(lines) > 2 * ENTRIES_MAX:
            _write(path, os.O_TRUNC, self.entries)

    def _guard(self, act: Callable[[], None]) -> None:
        try:
            act()
        except OSError:
            self._path = None


def _write(path: Path, flag: int, entries: Sequence[str]) -> None:
    descriptor = os.open(path, os.O_WRONLY | os.O_CREAT | flag, 0o600)
    with os.fdopen(descriptor, "wb") as file:
        file.write("".join(f"{entry}\n" for entry in entries).encode("utf-8", "replace"))
