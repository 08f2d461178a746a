"""Why a backup cannot be written or read; each is one line that names what is concerned."""


class BackupError(Exception):
    """A backup cannot be made, or cannot be used."""


class DamagedBackup(BackupError):
    """What is at `place` is missing, or is not what was written there."""

    def __init__(self, place: object, damage: str) -> None:
        self.place = place
        self.damage = damage
        super().__init__(f"{place}: {damage}")

    def until(self, text: str) -> "DamagedBackup":
        """The same, with what can be done without it."""
        return DamagedBackup(self.place, f"{self.damage}; {text}")


class WrongKey(BackupError):
    """The backup is encrypted with another key, or is not encrypted."""


class Stopped(BackupError):
    """The node stops, and what was under way is given up."""


class NothingThere(BackupError):
    """The moment that was asked for is not in the backup."""
