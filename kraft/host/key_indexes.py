"""The indexes of keys that some commands need: built when the first of them arrives, dropped when none does.

An index of a million keys takes some seconds to build, in the background, while its callers wait.
"""

from collections.abc import Callable, Iterator, Mapping
from functools import partial

from kraft.host.background import Background
from kraft.host.group.group import Group
from kraft.kv.keyspace import IndexType, Keyspace
from kraft.node.ports import Clock

IDLE_SECONDS = 600.0  # without a command that needs it, an index is dropped


class KeyIndexes:
    """The indexes of all groups of a node; `background` does the work."""

    def __init__(self, groups: Mapping[int, Group], background: Background, clock: Clock) -> None:
        self._groups = groups
        self._background = background
        self._clock = clock
        self._building: dict[int, tuple[Keyspace, IndexType, list[Callable[[], None]]]] = {}
        self._used: dict[tuple[int, IndexType], float] = {}

    def when_ready(self, group: int, kind: IndexType, done: Callable[[], None]) -> None:
        """Call `done` when the group has an index of this type, or has no replica here.

        The callers of an index whose keyspace is replaced by a snapshot are called, too: they have to ask
        again. Two indexes of a group are built one after the other.
        """
        if group not in self._groups:
            done()
            return
        if not self._used:
            self._clock.call_later(IDLE_SECONDS / 4, self._drop_unused)
        self._used[group, kind] = self._clock.seconds()
        if self._keyspace(group).has_index(kind):
            done()
        elif group in self._building:
            _, built, waiting = self._building[group]
            waiting.append(done if kind is built else partial(self.when_ready, group, kind, done))
        else:
            self._building[group] = (self._keyspace(group), kind, [done])
            self._background.add(self._build(group))

    def do(self, steps: Iterator[object]) -> None:
        """Do the steps of a command that takes long in the background."""
        self._background.add(steps)

    def forget(self, group: int) -> None:
        """The replica of `group` is about to be destroyed: who waits for an index of it has to ask again."""
        for each in [each for each in self._used if each[0] == group]:
            del self._used[each]

    def _build(self, group: int) -> Iterator[None]:
        keyspace, kind, waiting = self._building[group]
        for _ in keyspace.build_index(kind):
            yield
            if group not in self._groups or self._keyspace(group) is not keyspace:
                break
        del self._building[group]
        for done in waiting:
            done()
            yield

    def _drop_unused(self) -> None:
        now = self._clock.seconds()
        for (group, kind), used in tuple(self._used.items()):
            if now - used >= IDLE_SECONDS and group not in self._building:
                self._keyspace(group).drop_index(kind)
                del self._used[group, kind]
        if self._used:
            self._clock.call_later(IDLE_SECONDS / 4, self._drop_unused)

    def _keyspace(self, group: int) -> Keyspace:
        return self._groups[group].state.machine.keyspace
