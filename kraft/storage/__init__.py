"""Stable storage of one node: logs and hard states in one SQLite database, keys in a state file per group.

A commit is answered only after its fsync. A failed write or sync ends the process; a full disk does not.
"""

from kraft.storage.errors import StorageError
from kraft.storage.store import Store, open_store

__all__ = ["StorageError", "Store", "open_store"]
