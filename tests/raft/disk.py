"""The disk of one node in a test: what a crash leaves."""

from typing import NamedTuple

from kraft.raft.membership.configuration import Base, decode
from kraft.raft.messages import Entry, EntryKind
from kraft.raft.ports import Restored
from kraft.raft.ready import Persist


class Image(NamedTuple):
    """What a state file holds: everything applied up to `base`."""

    base: Base
    applied: tuple[Entry, ...]


class Disk:
    """What one node's disk has: rows after a base, a hard state, and state files, of which one is in use."""

    def __init__(self, restored: Restored) -> None:
        self.hard_state = restored.hard_state
        self.base = restored.base
        self.entries = list(restored.tail)
        self.commit = restored.commit
        self.states = {0: Image(restored.base, ())}
        self.state = 0

    @property
    def image(self) -> Image:
        """The state file that counts."""
        return self.states[self.state]

    def add_state(self, image: Image) -> int:
        """A file beside the present one: its number."""
        number = max(self.states) + 1
        self.states[number] = image
        return number

    def write(self, persist: Persist) -> None:
        if persist.hard_state is not None:
            self.hard_state = persist.hard_state
        if persist.truncate_from is not None:
            assert persist.truncate_from > self.commit
            self.entries = [e for e in self.entries if e.index < persist.truncate_from]
        if persist.base is not None:
            assert persist.base.index > self.base.index
            self.base = persist.base
            self.entries = [e for e in self.entries if e.index > self.base.index]
        if persist.entries:
            assert persist.entries[0].index == self.last_index + 1
        self.entries += persist.entries
        self.commit = max(self.commit, persist.commit)
        if persist.state_file is not None:
            self.state = persist.state_file
            self.states = {n: image for n, image in self.states.items() if n >= self.state}
        assert self.base.index <= self.image.base.index <= self.last_index

    @property
    def last_index(self) -> int:
        return self.entries[-1].index if self.entries else self.base.index

    def read(self, first: int, last: int) -> list[Entry]:
        """The rows from `first` to `last`; none when the first is gone."""
        return [e for e in self.entries if first <= e.index <= last] if first > self.base.index else []

    def restored(self) -> Restored:
        runs: list[tuple[int, int]] = []
        for e in self.entries:
            if not runs or runs[-1][1] != e.term:
                runs.append((e.index, e.term))
        return Restored(
            self.hard_state,
            self.last_index,
            max(min(self.commit, self.last_index), self.image.base.index),
            tuple(runs),
            tuple(self.entries),
            tuple((e.index, decode(e.data)) for e in self.entries if e.kind == EntryKind.CONFIGURATION),
            self.entries[-1].stamp if self.entries else self.base.stamp,
            self.base,
        )
