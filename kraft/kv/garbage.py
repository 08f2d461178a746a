"""What a flush let go: containers of up to millions of elements, which are freed piece by piece.

To free a million keys at once takes a tenth of a second. They are not read any more, so whoever has time may
free a few of them now and then; until then they count as memory.
"""

from typing import Any, NamedTuple

LARGE_KEYS = 100_000  # of a dictionary whose table takes a while to free: 0.4 ms


class _Discarded(NamedTuple):
    things: dict[Any, Any] | list[Any]
    elements: int  # when it was discarded
    size: int  # bytes of all of them
    keys: int  # that all of them hold together


class Garbage:
    """Containers that nothing else refers to, with the memory that they still take."""

    __slots__ = ("_waiting",)

    def __init__(self) -> None:
        self._waiting: list[_Discarded] = []

    def __bool__(self) -> bool:
        return bool(self._waiting)

    def add(self, things: dict[Any, Any] | list[Any], size: int, keys: int = 0) -> None:
        """Take a container whose elements take `size` bytes together. The caller must let go of it.

        `keys` is how many keys its elements hold together, if each holds several.
        """
        if things:
            self._waiting.append(_Discarded(things, len(things), size, max(keys, len(things))))

    def free(self, count: int) -> bool:
        """Free elements that hold about `count` keys, or all there are.

        Returns whether the next call will free the table of a large dictionary and nothing else: with a
        million keys that takes 4 ms.
        """
        if self._waiting and not self._waiting[-1].things:
            self._waiting.pop()
            return False
        while count > 0 and self._waiting:
            things, elements, _, keys = self._waiting[-1]
            number = min(max(count * elements // keys, 1), len(things))
            if isinstance(things, list):
                del things[len(things) - number :]
            else:
                for _ in range(number):
                    things.popitem()
            count -= number * keys // elements
            if not things:
                if isinstance(things, dict) and elements >= LARGE_KEYS:
                    return True
                self._waiting.pop()
        return False

    @property
    def bytes(self) -> int:
        """The memory that is not free yet."""
        return sum([size * len(things) // elements for things, elements, size, _ in self._waiting])
