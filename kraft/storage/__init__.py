"""Stable storage of one node: every group's log and hard state in one SQLite database, one writer thread.

A commit is answered only after its fsync. A failed write or sync ends the process; a full disk does not.
"""

from kraft.storage.errors import StorageError
from kraft.storage.store import Store, open_store

__all__ = ["StorageError", "Store", "open_store"]
