"""Moves of slots in a run: who plans and cancels them, what happens to the leaders that they need, and splits
and merges of groups.
"""

from collections.abc import Callable
from functools import partial
from typing import Any

from kraft.kv.slot_map import MapOutcome, PlannedMove, map_reply
from kraft.kv.slots import SLOTS
from kraft.node.admin import AdminCommand, AdminOutcome, MergeGroups, RebalanceSlots, SplitGroup
from kraft.node.errors import Refused
from tests.simulation.cluster import SimulatedCluster
from tests.simulation.fault_kinds import Details
from tests.simulation.process import Process
from tests.simulation.violation import demand

AT_ONCE_SECONDS = 0.05  # within which moves begin that are planned at once
OTHER_SLOT = 0.37  # of all, between the first slots of two such moves
EARLY = "the log time of the receiver is behind"
GROUPS_MAX = 6  # that a run has: each costs time


class MoveFaults:
    """Asks any node to plan moves, and crashes leaders by `crash` (node, seconds until it is back).

    `asked` has the processes that have not answered a command yet, once for each.
    """

    def __init__(self, cluster: SimulatedCluster, crash: Callable[[str, float], None]) -> None:
        self._cluster = cluster
        self._world = cluster.world
        self._dice = cluster.world.dice("moves")
        self._crash = crash
        self.asked: list[Process] = []
        self.over = False
        cluster.on_crash.append(self._crashed)

    def move(self, details: Details) -> bool:
        """Plan a move of a slot that clients use."""
        return self._plan(details)

    def moves(self, details: Details) -> bool:
        """Plan several moves, of different slots."""
        for number in range(1, details["count"]):
            other = details | {"slot": (details["slot"] + number * OTHER_SLOT) % 1.0}
            self._world.call_later(self._dice.uniform(0.0, AT_ONCE_SECONDS), partial(self._plan, other))
        return self._plan(details)

    def cancelled(self, details: Details) -> bool:
        """Plan a move, and cancel the last move that is known then, whichever that is."""
        self._world.call_later(details["after"], self._cancel)
        return self._plan(details)

    def leaderless(self, details: Details) -> bool:
        """Plan a move, and take a leader away from it."""
        self._world.call_later(details["after"], partial(self._strike, details))
        return self._plan(details)

    def split(self, details: Details) -> bool:
        """Divide the slots of a group, so that groups are created if none is without slots."""
        process = self._member()
        if process is None or process.host.slots.groups + details["parts"] - 1 > GROUPS_MAX:
            return False
        return self._command(process, SplitGroup(_group(process, details["group"]), details["parts"]))

    def merge(self, details: Details) -> bool:
        """Give all slots of a group to another one."""
        process = self._member()
        if process is None:
            return False
        group, into = _group(process, details["group"]), _group(process, details["into"])
        return group != into and self._command(process, MergeGroups(group, into))

    def rebalance(self, _: Details) -> bool:
        """Give all groups that have slots the same number of them."""
        process = self._member()
        return process is not None and self._command(process, RebalanceSlots())

    def cancel_early(self) -> None:
        """Cancel the moves that cannot end: the log time of the receiver is before that of the source."""
        known = [each for process in self._cluster.processes() for each in process.host.moves.status()]
        early = {each.id for each in known if EARLY in each.problem}
        for move in self._planned():
            if move.id in early:
                self._world.counts["move cancelled as too early"] += 1
                self._stop(move)

    def _plan(self, details: Details) -> bool:
        process = self._member()
        if process is None or self.over:
            return False
        homes, groups = self._cluster.homes, process.host.slots.groups
        slot = homes.slots[int(details["slot"] * homes.count)]
        first, last = max(0, slot - details["more"]), min(SLOTS - 1, slot + details["more"])
        receiver = (process.host.slots.group_of(slot) + 1 + int(details["to"] * (groups - 1))) % groups
        process.clock.touched()
        process.host.moves.plan(first, last, receiver, partial(self._answered, "planned"))
        return True

    def _command(self, process: Process, command: AdminCommand) -> bool:
        if self.over:
            return False
        self.asked.append(process)
        process.clock.touched()
        process.host.admin(command, partial(self._done, process, type(command).__name__.lower()))
        return True

    def _done(self, process: Process, name: str, outcome: AdminOutcome) -> None:
        self.asked.remove(process)
        fate = "done"
        if isinstance(outcome, Exception):
            fate = "refused" if isinstance(outcome, Refused) else "uncertain"
        self._world.note(f"{name} {fate} {outcome}")
        self._world.counts[f"{name} {fate}"] += 1

    def _crashed(self, process: Process) -> None:
        self.asked = [each for each in self.asked if each is not process]

    def _cancel(self) -> None:
        planned = self._planned()
        if planned:
            self._stop(planned[-1])

    def _stop(self, move: PlannedMove) -> None:
        process = self._member()
        if process is not None:
            process.clock.touched()
            process.host.moves.stop(move.id, partial(self._answered, "cancelled"))

    def _strike(self, details: Details) -> None:
        planned = self._planned()
        if not planned or self.over:
            return
        groups = {"source": planned[-1].source, "receiver": planned[-1].receiver, "map": 0}
        leading = self._cluster.leaders(groups[details["of"]])
        if not leading:
            return
        self._world.counts[f"leader of the {details['of']} of a move lost"] += 1
        id_ = self._dice.choice(leading)
        if not details["cut"]:
            self._crash(id_, details["seconds"])
            return
        others = [each for each in self._cluster.nodes if each != id_]
        paths = [(id_, other) for other in others] + [(other, id_) for other in others]
        self._cluster.network.block(paths)
        self._world.call_later(details["seconds"], lambda: self._cluster.network.unblock(paths))

    def _member(self) -> Process | None:
        """A member to ask, None if there is none."""
        members = self._cluster.members()
        ready = [p for p in self._cluster.processes() if p.ready and 0 in p.host.groups and p.id in members]
        ready = [p for p in ready if not p.clock.paused]
        return self._dice.choice(ready) if ready else None

    def _planned(self) -> tuple[PlannedMove, ...]:
        """The moves that some node knows, the last one planned at the end."""
        plans = [p.host.slots.plan for p in self._cluster.processes()]
        return max((plan.moves for plan in plans if plan is not None and plan.moves), default=(), key=len)

    def _answered(self, what: str, outcome: Any) -> None:
        if isinstance(outcome, Exception):
            fate = "refused" if isinstance(outcome, Refused) else "uncertain"
        else:
            reply = map_reply(outcome[0])
            fate = "done" if reply.outcome is MapOutcome.PLANNED else reply.outcome.name.lower()
            demand(reply.outcome is not MapOutcome.FULL, "too many moves are planned")
        self._world.note(f"move {what} {fate}")
        self._world.counts[f"move {what} {fate}"] += 1


def _group(process: Process, share: float) -> int:
    """One of the groups that the node knows."""
    return int(share * process.host.slots.groups)


ACTS: dict[str, Callable[[MoveFaults, Details], object]] = {
    "move": MoveFaults.move,
    "moves at once": MoveFaults.moves,
    "move that is cancelled": MoveFaults.cancelled,
    "move that loses a leader": MoveFaults.leaderless,
    "split": MoveFaults.split,
    "merge": MoveFaults.merge,
    "rebalance": MoveFaults.rebalance,
}
