"""Records that change while somebody iterates over most of them, in steps between which others come and go.

A dictionary of Python cannot be iterated over in steps while keys are added or removed, and to list a million
keys at once takes 20 ms. So meanwhile new keys are in a second layer, and removed ones are marked.
"""

from collections.abc import Iterator, MutableMapping
from typing import Any

from kraft.kv.garbage import Garbage
from kraft.untracked import untracked


class LayeredRecords(MutableMapping[bytes, Any]):
    """A mapping in place of the dictionary `base`, until `merge` has put everything back into that.

    It is no subclass of `dict`: a method that is not here would read a layer instead of the records.
    """

    __slots__ = ("_added", "_present", "_removed", "base")

    def __init__(self, base: dict[bytes, Any]) -> None:
        self.base = base  # None for a removed key
        self._added: dict[bytes, Any] = untracked({})
        self._present = len(base)
        self._removed: list[bytes] = untracked([])

    def __getitem__(self, key: bytes) -> Any:
        record = self.base.get(key)
        return self._added[key] if record is None else record

    def __setitem__(self, key: bytes, record: Any) -> None:
        if key in self.base:
            self._present += self.base[key] is None
            self.base[key] = record
        else:
            self._added[key] = record

    def __delitem__(self, key: bytes) -> None:
        if self.base.get(key) is None:
            del self._added[key]
            return
        self.base[key] = None
        self._removed.append(key)
        self._present -= 1

    def __len__(self) -> int:
        return self._present + len(self._added)

    def __iter__(self) -> Iterator[bytes]:
        yield from [key for key, record in self.base.items() if record is not None]
        yield from self._added

    def merge(self, count: int) -> bool:
        """Put some of what changed back into `base`, which no iterator may use any more.

        Returns False when there was nothing left to do: `base` is complete.
        """
        for _ in range(min(count, len(self._added))):
            key, record = self._added.popitem()
            self.base[key] = record
            self._present += 1
        for key in self._removed[-count:]:
            if self.base.get(key, key) is None:
                del self.base[key]
        del self._removed[-count:]
        return bool(self._added or self._removed)

    def discard(self, garbage: Garbage, size: int) -> None:
        """Leave both layers, which take `size` bytes, to `garbage`."""
        garbage.add(self.base, size)
        garbage.add(self._added, 0)
