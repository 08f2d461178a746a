"""Where the client port learns that the users in the replicated state have changed."""

from collections.abc import Callable, Mapping
from typing import Any

from kraft.kv.ledger import Ledger
from kraft.kv.machine import Machine

Watcher = Callable[[Ledger], None]


class UserWatch:
    """What the client port is told of users. `groups` are those of the node; group 0 has the users."""

    def __init__(self, groups: Mapping[int, Any] | None = None) -> None:
        self.watcher: Watcher | None = None
        self._groups = {} if groups is None else groups

    def watch(self, watcher: Watcher) -> None:
        """Give `watcher` the ledger that has the users, now if there is one, and after each change."""
        self.watcher = watcher
        if 0 in self._groups:
            self.changed(self._groups[0].state.machine)

    @property
    def age(self) -> float:
        """Seconds since this node certainly knew all changes of users; infinite if it never did."""
        group = self._groups.get(0)
        if group is None:
            return float("inf")
        age: float = group.requests.reads.age
        return 0.0 if group.raft.state.leads else age  # a leader that is cut off soon leads no more

    def changed(self, machine: Machine) -> None:
        """The users of the machine of group 0 have changed, or it is another machine."""
        machine.users_changed = False
        if self.watcher is not None:
            self.watcher(machine.keyspace.ledger)
