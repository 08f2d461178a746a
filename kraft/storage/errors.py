"""The reasons why a data directory cannot be used; each is one line, the last one that a start prints."""

WAY_OUT = (
    "move the directory aside and re-admit the node with KRAFT REPLACE;"
    " if a majority is lost, run kraft recover on another node"
)


class StorageError(Exception):
    """The directory, or the database in it, cannot be used."""


class DirectoryLocked(StorageError):
    """Another process works with the directory."""


class DirectoryUnusable(StorageError):
    """Not a directory, not ours, or not writable."""


class WrongNode(StorageError):
    """The directory belongs to a node with another id."""


class UnknownVersion(StorageError):
    """The schema is not one of this program's, or the file is not kraft's at all."""


class NewerVersion(UnknownVersion):
    """A newer kraft wrote the file. It is in order: that kraft can go on with it."""


class PragmaRefused(StorageError):
    """SQLite did not accept a setting that durability needs."""


class NoSpace(StorageError):
    """The disk is full: what was being written was rolled back and may be tried again."""


class CannotOpen(StorageError):
    """A file could not be opened, as when the process has too many open: nothing was written.

    A checkpoint or a snapshot may be tried again.
    """


class DiskFailed(StorageError):
    """A read, write or sync failed. What the disk holds is unknown: exit, and recover from the log."""


class OutOfOrder(StorageError):
    """The caller broke the contract: a gap between entries, an impossible group, another node's identity."""


class Damaged(StorageError):
    """The directory lacks what it held, or has it changed: no later start helps, only a re-admission."""


class DamagedLog(Damaged):
    """Acknowledged data is missing or changed, so this incarnation may have forgotten a vote or an entry.

    Cutting the log at the damage would lose what a majority counted on (Alagappan et al., FAST'18).
    """

    def __init__(self, place: str, damage: str) -> None:
        self.damage = damage
        super().__init__(f"{place}: {damage}; this node's incarnation must not vote again: {WAY_OUT}")


class DamagedState(Damaged):
    """A group's state file is missing or wrong, and its log begins too late to make the file anew."""

    def __init__(self, place: str, damage: str) -> None:
        super().__init__(f"{place}: {damage}; the log alone does not hold the data any more: {WAY_OUT}")
