"""What the process of a node and its machine have room for."""

import sys
from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Capacity:
    """`connections` is how many clients the limit of open files admits.

    `dataset_bytes` is how much data the memory holds, if `limits.dataset_bytes` does not say.
    """

    connections: int = sys.maxsize
    dataset_bytes: int = sys.maxsize
