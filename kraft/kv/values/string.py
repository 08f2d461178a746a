"""Strings: `bytes`, the only type of value so far."""

from collections.abc import Sequence


class StringType:
    """Implements `ValueType` for `bytes`."""

    kind = 0
    name = "string"

    def size(self, value: bytes) -> int:
        """Its length in bytes."""
        return len(value)

    def rows(self, value: bytes) -> Sequence[bytes]:
        """One row: the string itself."""
        return (value,)
