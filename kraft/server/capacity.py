"""What the process of a node and its machine have room for."""

import sys
from collections.abc import Callable
from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Capacity:
    """`connections` says how many clients the limit of open files admits on a node with so many groups.

    `dataset_bytes` is how much data the memory holds, if `limits.dataset_bytes` does not say.
    """

    connections: Callable[[int], int] = lambda _: sys.maxsize
    dataset_bytes: int = sys.maxsize
