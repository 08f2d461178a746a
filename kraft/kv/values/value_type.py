"""What the rest of kraft asks about a value, whatever its type.

A value is a plain immutable Python object without methods of ours: a string is `bytes`, so it costs no second
object per key and no call per write. What depends on the type is said once, by one `ValueType` per type.
"""

from collections.abc import Sequence
from typing import Protocol, TypeVar

V_contra = TypeVar("V_contra", contravariant=True)


class ValueType(Protocol[V_contra]):
    """One type of value.

    `kind` is its number in the state file (column `kind`), never given to another type. `name` is the reply
    of the command TYPE.
    """

    @property
    def kind(self) -> int: ...

    @property
    def name(self) -> str: ...

    def size(self, value: V_contra) -> int:
        """Bytes of its contents, as counted by limits and by `Checkpoint.size`."""

    def rows(self, value: V_contra) -> Sequence[bytes]:
        """Its contents in a canonical order: what is hashed, and what a state file keeps one by one."""
