"""What every group of a node shares with its host."""

from dataclasses import dataclass, field
from functools import partial

from kraft.host.backpressure import Backpressure
from kraft.host.evaluators import Evaluators
from kraft.host.membership.peers import Peers
from kraft.host.persistence import Persistence
from kraft.host.ports import Disk, Fatal, HostObserver
from kraft.host.slots import SlotMap
from kraft.host.slowness import Slowness
from kraft.host.turns import Turns
from kraft.host.user_watch import UserWatch
from kraft.kv.errors import BrokenInvariant, UnknownCommand, UnsupportedVersion
from kraft.node.ports import Clock
from kraft.raft.errors import InvariantViolation


@dataclass(frozen=True, slots=True)
class GroupContext:
    """The parts of a host that its groups use."""

    clock: Clock
    disk: Disk
    persistence: Persistence
    slowness: Slowness
    backpressure: Backpressure
    observer: HostObserver
    peers: Peers
    turns: Turns
    fatal: Fatal
    evaluators: Evaluators = field(default_factory=Evaluators)
    users: UserWatch = field(default_factory=UserWatch)
    slots: SlotMap = field(default_factory=SlotMap)

    def broken(self, error: Exception) -> None:
        """End the process: consensus or the state machine met a state that cannot be.

        To go on could break a promise that was made to a client.
        """
        if isinstance(error, UnknownCommand | UnsupportedVersion):
            self.fatal(f"stopped, this kraft is too old: {error}", outdated=True)
            return
        self.fatal(f"stopped, something impossible happened: {type(error).__name__}: {error}")

    def not_taken(self, error: Exception) -> None:
        """Somebody raised `error` when given a reply. Whoever else waits for one gets it nevertheless.

        The reactor logs the error, in a call of its own. A state that cannot be ends the process.
        """
        if isinstance(error, InvariantViolation | BrokenInvariant):
            self.broken(error)
        self.clock.call_soon(partial(_raise, error))


def _raise(error: Exception) -> None:
    raise error
