"""What was refused to users of late: the entries of ACL LOG. A node remembers its own."""

from collections.abc import Sequence
from dataclasses import dataclass

ENTRIES_MAX = 128  # as in Redis
GROUPED_SECONDS = 60.0  # an entry that comes again within so long is counted
COMPARED_MAX = 10  # with so many entries a new one is compared

COMMAND, KEY, AUTH, CERTIFICATE = "command", "key", "auth", "tls-cert"
TOPLEVEL, MULTI, LUA = "toplevel", "multi", "lua"


@dataclass(slots=True)
class AccessLogEntry:
    """A refusal: its `reason`, in which `context`, the `subject` that was asked for, and by whom."""

    reason: str
    context: str
    subject: bytes
    user: bytes
    client: str
    at: float
    count: int = 1


class AccessLog:
    """The entries, the latest first."""

    def __init__(self) -> None:
        self._entries: list[AccessLogEntry] = []

    def add(self, entry: AccessLogEntry) -> None:
        """Add an entry, or count it with an equal one."""
        for place, known in enumerate(self._entries[:COMPARED_MAX]):
            same = (known.reason, known.context, known.subject, known.user) == (
                entry.reason, entry.context, entry.subject, entry.user
            )  # fmt: skip
            if same and entry.at - known.at <= GROUPED_SECONDS:
                del self._entries[place]
                entry.count = known.count + 1
                break
        self._entries.insert(0, entry)
        del self._entries[ENTRIES_MAX:]

    def latest(self, count: int) -> Sequence[AccessLogEntry]:
        """At most so many entries."""
        return self._entries[: max(0, count)]

    def clear(self) -> None:
        """Forget all entries."""
        self._entries.clear()
