"""What commands have in common that stand in front of another one, such as KRAFT GUARD."""

from typing import Any

import msgspec

from kraft.kv.commands.keys import Expiry
from kraft.kv.commands.strings import VALUE_BYTES_MAX


class Prefix(msgspec.Struct, frozen=True, array_like=True, gc=False):
    """A command with another one, its field `command`, whose expiry and limit it shows as its own."""

    @property
    def _inner(self) -> Any:
        return self.command  # type: ignore[attr-defined]  # a field of each subclass, at a place of its own

    @property
    def expiry(self) -> int:
        """That of the command."""
        expiry: int = getattr(self._inner, "expiry", Expiry.NONE)
        return expiry

    @property
    def expiry_ms(self) -> int:
        """That of the command."""
        milliseconds: int = getattr(self._inner, "expiry_ms", 0)
        return milliseconds

    @property
    def limit(self) -> int:
        """That of the command."""
        limit: int = getattr(self._inner, "limit", VALUE_BYTES_MAX)
        return limit
