"""A read of a group that needs an index of its keys, which may take seconds to build."""

from collections.abc import Callable

import msgspec

from kraft.host.requests.round import View
from kraft.kv.keyspace import IndexType
from kraft.server.ports import NodeHost, ReadDone


class IndexedRead(msgspec.Struct, eq=False):
    """Lets `read` be done once the `group` has the index that it `needs`.

    `done` gets a view of a keyspace that has it, or an exception.
    """

    host: NodeHost
    group: int
    needs: IndexType
    read: Callable[[ReadDone], None]
    done: ReadDone

    def begin(self) -> None:
        """Wait for the index."""
        self.host.indexes.when_ready(self.group, self.needs, self._ready)

    def _ready(self) -> None:
        self.read(self._viewed)

    def _viewed(self, outcome: View | Exception) -> None:
        if isinstance(outcome, View) and not outcome.keyspace.has_index(self.needs):
            self.begin()  # the state was replaced meanwhile
        else:
            self.done(outcome)
