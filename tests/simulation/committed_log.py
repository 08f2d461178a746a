"""The committed entries of a group, from the first on: more than any node can know."""

from collections.abc import Callable, Iterable, Iterator
from typing import TYPE_CHECKING

from kraft.kv.commands import decode as decode_commands
from kraft.kv.commands import needed_version
from kraft.kv.versions import decode_version
from kraft.raft.membership.configuration import NOBODY, Configuration, decode
from kraft.raft.messages import Entry, EntryKind
from tests.simulation.logged import MARK
from tests.simulation.violation import Violation, demand

if TYPE_CHECKING:
    from tests.simulation.durable_state import GroupLog


class CommittedLog:
    """Grows with the highest commit index that any node knows; the entries come from the directories.

    Every node derives the first entry from the members it forms with: it is committed by definition.
    """

    def __init__(self, group: int) -> None:
        self.entries: list[Entry] = []
        self.times: list[float] = []  # in virtual seconds, when each entry became known as committed
        self.configurations = [NOBODY]
        self.version = 1  # of the machine, in force
        self._group = group
        self._places: dict[bytes, list[int]] = {}  # the indexes of the entries with each mark

    @property
    def configuration(self) -> Configuration:
        """The last committed one."""
        return self.configurations[-1]

    def places(self, marked: bytes) -> list[int]:
        """The indexes of the entries that contain a mark."""
        return self._places.get(marked, [])

    def entry_of(self, marked: bytes) -> Entry:
        """The entry of an acknowledged write: the last one, as what meets a frozen slot is logged again."""
        return self.entries[self._places[marked][-1] - 1]

    def grow(
        self, commit: int, term_at: Callable[[int], int], logs: Iterable["GroupLog"], now: float
    ) -> Iterator[Entry]:
        """Take each entry up to `commit` from one of the `logs` that holds it, and yield it."""
        some = list(logs)
        for index in range(len(self.entries) + 1, commit + 1):
            term = term_at(index)
            found = next((log for log in some if log.base.index < index and log.holds(index, term)), None)
            if found is None:
                raise Violation(f"the committed index {index} of group {self._group} is in no directory")
            entry = found.entries[index - found.base.index - 1]
            self._add(entry, now)
            yield entry

    def _add(self, entry: Entry, now: float) -> None:
        self.entries.append(entry)
        self.times.append(now)
        if entry.kind == EntryKind.COMMANDS:
            for marked in MARK.findall(entry.data):
                self._places.setdefault(marked, []).append(entry.index)
            needed = needed_version(decode_commands(entry.data))
            obstacle = f"a command of version {needed} is logged, and {self.version} is in force"
            demand(needed <= self.version, obstacle)
        elif entry.kind == EntryKind.CONFIGURATION:
            self.configurations.append(decode(entry.data))
        elif entry.kind == EntryKind.VERSION:
            self.version = max(self.version, decode_version(entry.data))
