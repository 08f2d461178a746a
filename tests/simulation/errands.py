"""The commands that the operator of the simulated cluster has sent, and what became of them.

A change that a command reports as done must be in the committed entries of every group, or of group 0 where
nodes have replicas of some groups only.
"""

from collections.abc import Callable
from dataclasses import dataclass
from random import Random

from kraft.node import admin
from kraft.node.errors import Refused
from kraft.raft.membership.configuration import Configuration
from tests.simulation.cluster import SimulatedCluster
from tests.simulation.process import Process
from tests.simulation.violation import demand

PATIENCE_SECONDS = 45.0  # limit for an answer; the server's own limit is shorter
FIRST = 2  # configurations of a group that has just begun: one without members, and its own

Command = admin.AdminCommand
InForce = Callable[[Configuration], bool]


@dataclass(frozen=True, slots=True)
class Errand:
    """A command sent to `process` when `known` configurations of each group were committed. Once it is done,
    `in_force` accepts the last of these or a later one, in every group, also in those created meanwhile.
    """

    process: Process
    command: Command
    in_force: InForce | None
    changes: bool
    known: tuple[int, ...]
    lingers: float = PATIENCE_SECONDS  # how long it may still take effect after an uncertain answer


class Errands:
    """Sends commands; `waiting` has those that are not answered yet.

    `halves` are the changes that did not end well, the last one first. Perhaps only some groups have made
    them, or will: what one node has in its log can be committed long after another change was tried.
    """

    def __init__(self, cluster: SimulatedCluster, dice: Random) -> None:
        self._cluster = cluster
        self._world = cluster.world
        self._dice = dice
        self._uncertain_until = 0.0  # without leaps: nothing happens in them that could end a change
        self.halves: list[Errand] = []
        self.waiting: list[Errand] = []
        cluster.on_crash.append(self._crashed)

    @property
    def change_waits(self) -> bool:
        """Whether a change of the members is not answered yet."""
        return any(errand.changes for errand in self.waiting)

    @property
    def may_change(self) -> bool:
        """Whether a command that was sent may still change the members."""
        return self.change_waits or self._world.lived < self._uncertain_until

    def ask(self, command: Command, in_force: InForce | None = None, changes: bool = False) -> bool:
        """Send a command to a serving node, preferably one that knows a leader; False when there is none."""
        ready = [p for p in self._cluster.processes() if p.ready and 0 in p.host.groups]
        ready = [p for p in ready if not p.clock.paused and p.id in self._cluster.members()]
        ready = [p for p in ready if all(map(p.host.leader, p.host.groups))] or ready
        if not ready:
            return False
        self.tell(self._dice.choice(ready), command, in_force, changes)
        return True

    def tell(
        self,
        process: Process,
        command: Command,
        in_force: InForce | None = None,
        changes: bool = False,
        lingers: float = PATIENCE_SECONDS,
    ) -> None:
        known = tuple(
            len(self._cluster.checks.committed[group].configurations) for group in self._cluster.groups
        )
        errand = Errand(process, command, in_force, changes, known, lingers)
        self.waiting.append(errand)
        self._world.note(f"operator {process.id} {command}")
        process.clock.touched()
        process.host.admin(command, lambda outcome: self._answered(errand, outcome))
        self._world.call_later(PATIENCE_SECONDS, lambda: self._answered(errand, TimeoutError()))

    def _answered(self, errand: Errand, outcome: object) -> None:
        if not any(each is errand for each in self.waiting):
            return
        self.waiting = [each for each in self.waiting if each is not errand]
        name = type(errand.command).__name__.lower()
        if isinstance(outcome, Exception):
            fate = "refused" if isinstance(outcome, Refused) else "uncertain"
            if fate == "uncertain" and errand.changes:
                self._uncertain_until = max(self._uncertain_until, self._world.lived + errand.lingers)
            if errand.changes:
                self.halves.insert(0, errand)
        else:
            fate = "done"
            if errand.in_force is not None:
                groups = self._cluster.groups[:1] if self._cluster.scattered else self._cluster.groups
                for group in groups:
                    known = errand.known[group] if group < len(errand.known) else FIRST
                    since = self._cluster.checks.committed[group].configurations[known - 1 :]
                    demand(
                        any(map(errand.in_force, since)),
                        f"{errand.command} was answered {outcome!r}, and is not in force in group {group}",
                    )
        self._world.note(f"operator {name} {fate} {outcome}")
        self._world.counts[f"admin {name} {fate}"] += 1

    def _crashed(self, process: Process) -> None:
        for errand in [e for e in self.waiting if e.process is process]:
            self._answered(errand, ConnectionError())
