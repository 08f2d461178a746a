"""The file `damaged`: a process that meets damage in its directory while it runs leaves its last line in it.

A start reads less than a long run does: SQLite's free pages, for example, are used by a later commit only.
Without the file the next start would accept the directory, run until it meets the same damage, and end again.
"""

from contextlib import suppress

from kraft.storage.errors import WAY_OUT, Damaged, StorageError
from kraft.storage.ports import Directory

DAMAGE_FILE = "damaged"
REASON_BYTES_MAX = 4096  # several times as long as any line that a process leaves
_NO_REASON = f"a process found damage in this directory while it ran: {WAY_OUT}"


class DamageFound(Damaged):
    """A process has found the directory damaged while it ran; the argument is its last line."""


def remember_damage(directory: Directory, reason: str) -> None:
    """Leave `reason`, one line, in the directory, durably if the disk still can."""
    with suppress(OSError, StorageError):
        file = directory.record_file(DAMAGE_FILE)
        try:
            file.write(0, reason.encode()[:REASON_BYTES_MAX])
            file.sync()
        finally:
            file.close()


def refuse_remembered_damage(directory: Directory) -> None:
    """Raise `DamageFound` if a process has left a reason."""
    if reason := remembered_damage(directory):
        raise DamageFound(reason)


def remembered_damage(directory: Directory) -> str:
    """The line that a process has left, '' if none has."""
    if not directory.exists(DAMAGE_FILE):
        return ""
    try:
        file = directory.record_file(DAMAGE_FILE)
    except OSError:
        return f"{directory.path(DAMAGE_FILE)}: {_NO_REASON}"
    try:
        text = file.read()[:REASON_BYTES_MAX].partition(b"\0")[0].decode(errors="replace")
    finally:
        file.close()
    return " ".join(text.split()) or f"{directory.path(DAMAGE_FILE)}: {_NO_REASON}"


def forget_damage(directory: Directory) -> None:
    """Remove the line: the directory has been read whole, and an administrator takes it as it is."""
    directory.remove(DAMAGE_FILE)
