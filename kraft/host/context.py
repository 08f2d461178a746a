"""What every group of a node shares with its host."""

from collections.abc import Callable
from dataclasses import dataclass

from kraft.host.membership.peers import Peers
from kraft.host.persistence import Persistence
from kraft.host.ports import Disk, HostObserver
from kraft.host.turns import Turns
from kraft.node.ports import Clock


@dataclass(frozen=True, slots=True)
class GroupContext:
    """The parts of a host that its groups use. `fatal` ends the process with a reason, and never returns."""

    clock: Clock
    disk: Disk
    persistence: Persistence
    observer: HostObserver
    peers: Peers
    turns: Turns
    fatal: Callable[[str], None]

    def broken(self, error: Exception) -> None:
        """End the process: consensus or the state machine met a state that cannot be.

        To go on could break a promise that was made to a client.
        """
        self.fatal(f"stopped, something impossible happened: {type(error).__name__}: {error}")
