"""What has changed since somebody looked last: the copy of a move of slots has to follow its keys."""

from collections.abc import Mapping

from kraft.kv.record import Record
from kraft.untracked import untracked

Changes = dict[bytes, Record | None]
"""What keys, or rows of the ledger, hold now, None for removed ones."""


class NotedKeys:
    """The `keys` that were changed since `take`, in the order of their first changes.

    `cleared`: all keys were removed at once.
    """

    __slots__ = ("cleared", "keys")

    def __init__(self) -> None:
        self.keys: dict[bytes, None] = {}
        self.cleared = False

    def take(self) -> dict[bytes, None]:
        """The keys, and from here on those that change later."""
        taken, self.keys = self.keys, {}
        return taken


class NotedChanges(Changes):
    """Changes that no checkpoint has; each new one is noted as well."""

    __slots__ = ("_noted",)

    def __init__(self, noted: NotedKeys, changes: Mapping[bytes, Record | None]) -> None:
        super().__init__(changes)
        self._noted = noted

    def __setitem__(self, key: bytes, record: Record | None) -> None:
        self._noted.keys[key] = None
        super().__setitem__(key, record)


def noting(noted: NotedKeys | None, changes: Changes) -> Changes:
    """The same changes, noted from here on, or not any more."""
    if noted is not None:
        changes = NotedChanges(noted, changes)
    elif type(changes) is not dict:
        changes = dict(changes)
    return untracked(changes)
