"""Carries out the faults of a plan, each kind by one function, and undoes them all at the end.

If the victim of a fault is already down, the fault strikes the next node; if there is none, it does not
count. `World.counts` has the others as "fault FAMILY: KIND".
"""

from collections.abc import Callable
from functools import partial
from typing import Any

from kraft.kv.versions import MACHINE_VERSION, MACHINE_VERSION_MIN
from tests.simulation.cluster import SimulatedCluster
from tests.simulation.disk_faults import DiskFaults
from tests.simulation.fault_kinds import Details
from tests.simulation.move_faults import ACTS as MOVE_ACTS
from tests.simulation.move_faults import MoveFaults
from tests.simulation.network import Weather
from tests.simulation.node import SimulatedNode
from tests.simulation.operator import Operator
from tests.simulation.plan import Fault, Plan
from tests.simulation.process import Process
from tests.simulation.replica_faults import ACTS as REPLICA_ACTS
from tests.simulation.replica_faults import ReplicaFaults

DAY_MS = 86_400_000
ROLL_SECONDS = 1.0  # between two nodes of a rolling upgrade
LOGGED_SECONDS = 1.0  # in which a leader logs a change that it was told to make
LOOK_SECONDS = 0.0001  # between two looks at its log: less than a message takes
LAST_UPGRADE_SECONDS = 3.0  # after the others, when everything heals


class Faults(DiskFaults):
    """The faults of one run, including those that an operator carries out. `met` has the families that have
    struck so far.
    """

    def __init__(self, cluster: SimulatedCluster, plan: Plan) -> None:
        super().__init__(cluster, Operator(cluster))
        self._plan = plan
        self._over = False
        self.moves = MoveFaults(cluster, self.crash)
        self.replicas = ReplicaFaults(cluster, self.crash)
        self.met: set[str] = set()

    def start(self) -> None:
        """Begin standing faults now, before the cluster starts, and schedule the others."""
        passing = []
        for fault in self._plan.faults:
            if fault.at:
                passing.append(fault)
            else:
                self._strike(fault)
        self._coming = iter(passing)
        self._operator.start()
        self._await_next()

    def _await_next(self) -> None:
        fault = next(self._coming, None)
        if fault is not None:
            self._world.call_later(fault.at - self._world.lived, lambda: self._strike_and_go_on(fault))

    def _strike_and_go_on(self, fault: Fault) -> None:
        self._strike(fault)
        self._await_next()

    @property
    def command_waits(self) -> bool:
        """Whether a command of the operator is not answered yet."""
        return self._operator.waits

    def heal(self) -> None:
        """End all faults and repair all damage."""
        self._over = True
        self._network.weather = Weather()
        self._operator.over = self.moves.over = self.replicas.over = True
        for node in self._cluster.nodes.values():
            node.mend()
            if node.machine_version < MACHINE_VERSION:  # those that were added come last, learners often
                last = node.id in self._cluster.spares
                self._world.call_later(LAST_UPGRADE_SECONDS if last else 0.0, node.upgrade)
            wanted = self._operator.member(node) or not self._cluster.formed
            if node.process is None and wanted and not node.lost and node.id not in self._cluster.spares:
                node.start()
            process = node.process
            if process is not None:
                process.disk.slow = 1.0
                process.disk.hangs = False
                process.disk.die = None
                process.clock.slow = 1.0
                process.clock.busy = 0.0
                if process.clock.paused:
                    process.clock.resume()
        self._cluster.habits.strangers = False  # they would take the time in which the members are to answer
        self._network.heal()
        self._operator.undrain()

    def _strike(self, fault: Fault) -> None:
        if self._over:
            return
        self._world.note(f"fault {fault}")
        if ACTS[fault.kind](self, fault.details) is not False:
            self.met.add(fault.family)
            self._world.counts[f"fault {fault.family}: {fault.kind}"] += 1

    # -- crashes

    def crash_one(self, details: Details) -> bool:
        process = self._victim(details)
        if process is not None:
            self.crash(process.id, details["back"])
        return process is not None

    def crash_some(self, details: Details, majority: bool) -> None:
        order = details["order"]
        count = len(order) // 2 + 1 if majority else max(1, (len(order) - 1) // 2)
        for id_ in order[:count]:
            self.crash(id_, details["back"])

    def crash_all(self, details: Details) -> None:
        for id_ in self._ids():
            self.crash(id_, details.get("back", 0.0))
        if "skip" in details:
            self._world.leap(details["skip"])

    def crash_at_commit(self, details: Details) -> bool:
        """Crash the node at its next disk operation, with other work in progress."""
        process = self._victim(details)
        if process is not None:
            process.disk.die = lambda: self.crash(process.id, details["back"])
        return process is not None

    def crash_in_recovery(self, details: Details) -> bool:
        """Crash the node repeatedly, so soon after each start that its recovery has not finished."""
        process = self._victim(details)
        if process is None:
            return False
        for time in range(1, details["times"]):
            delay = details["back"] + time * self._dice.uniform(details["back"], 3 * details["back"])
            self._world.call_later(delay, lambda: self.crash(process.id, details["back"]))
        self.crash(process.id, details["back"])
        return True

    def crash(self, id_: str, back: float) -> None:
        """Crash the node and restart it after `back` seconds."""
        node = self._cluster.nodes[id_]
        node.crash()

        def restart() -> None:
            old_copy = node.lost and node.damaged  # started again before all refuse it, it would be taken
            if node.process is None and not old_copy:
                node.start()

        if not self._over:
            self._world.call_later(back, restart)
        else:
            restart()

    # -- versions

    def old_programs(self, details: Details) -> None:
        """Before the start: these machines have an older program."""
        spares = self._cluster.spares if details["spares"] else ()
        for id_ in (*details["nodes"], *spares):
            self._cluster.nodes[id_].machine_version = MACHINE_VERSION_MIN

    def upgrade(self, details: Details) -> bool:
        """One node stops, and comes back with the newest program."""
        victim = self._victim(details)
        old = [n for n in self._cluster.nodes.values() if n.machine_version < MACHINE_VERSION]
        if victim is None or not old:
            return False
        chosen = [n for n in old if n.id == victim.id] or old
        self._exchange(chosen[0], MACHINE_VERSION, details["back"])
        return True

    def upgrade_all(self, details: Details) -> None:
        """One node after the other, whoever still has the older program."""
        for place, id_ in enumerate(details["order"], 1):
            node = self._cluster.nodes[id_]
            delay = place * (details["back"] + ROLL_SECONDS)
            self._world.call_later(delay, partial(self._roll, node, details["back"]))

    def _roll(self, node: SimulatedNode, back: float) -> None:
        if node.machine_version < MACHINE_VERSION and not self._over:
            self._exchange(node, MACHINE_VERSION, back)

    def downgrade(self, details: Details) -> bool:
        """One node goes back to the older program: it may until the version is raised."""
        victim = self._victim(details)
        if victim is None or (self._cluster.checks.committed[0].version > 1 and self._dice.random() < 0.7):
            return False
        self._exchange(self._cluster.nodes[victim.id], MACHINE_VERSION_MIN, details["back"])
        return True

    def _exchange(self, node: SimulatedNode, version: int, back: float) -> None:
        node.machine_version = version
        if node.process is not None:
            self.crash(node.id, back)

    # -- time

    def day_ahead(self, details: Details) -> None:
        """All clocks are a day ahead when another leader is elected, and right again afterwards."""
        processes = self._cluster.processes()
        for process in processes:
            process.clock.jump(DAY_MS)
            self._later(details, partial(process.clock.jump, -DAY_MS))
        for process in processes:
            process.host.transfers.transfer_all(process.host.groups.values(), lambda: None)

    def jump(self, details: Details) -> bool:
        process = self._victim(details)
        if process is not None:
            process.clock.jump(details["ms"])
        return process is not None

    def pause(self, details: Details) -> bool:
        """Pause the process. With `ahead` it finds that minutes have passed, while its timers and messages
        are old.
        """
        process = self._victim(details)
        if process is None or process.clock.paused:
            return False
        process.clock.pause()

        def resume() -> None:
            if process.clock.paused and not process.clock.dead:
                process.clock.resume(details.get("ahead", 0.0))

        self._later(details, resume)
        return True

    def busy(self, details: Details) -> bool:
        """Make the process late for deferred calls, which then run after the waiting messages."""
        process = self._victim(details)
        if process is not None:
            process.clock.busy = details["upto"]
            self._later(details, lambda: setattr(process.clock, "busy", 0.0))
        return process is not None

    def standstill(self, details: Details) -> bool:
        """Crash one node and stop all others for an hour; then all continue, with the messages in flight."""
        dead = self._victim(details)
        if dead is not None:
            self.crash(dead.id, 0.0)
        for process in self._cluster.processes():
            if not process.clock.paused:
                self.pause({"who": process.id, "seconds": 0.0})
        self._world.leap(details["skip"])
        return dead is not None

    # -- the cluster

    def remove(self, details: Details) -> bool:
        return self._operator.remove(self._victim(details), details["fewest"])

    def cut_off(self, details: Details) -> bool:
        """Cut off a leader as soon as it has logged a membership change: its successor undoes the change."""
        leader = self._leader()
        if leader is None or not self._operator.change_alone(leader, demote=details["demote"]):
            return False
        self._cut_off_once_logged(leader, details, self._world.now + LOGGED_SECONDS)
        return True

    def _cut_off_once_logged(self, leader: Process, details: Details, until: float) -> None:
        """The leader asks group 0 first, so it logs the change some messages later."""
        if self._over or self._cluster.nodes[leader.id].process is not leader:
            return
        states = [group.raft.state for group in leader.host.groups.values()]
        if any(state.leads and state.configuration_index > state.commit for state in states):
            self.block(details, (path for path in self._paths() if leader.id in path))
        elif self._world.now < until:
            again = partial(self._cut_off_once_logged, leader, details, until)
            self._world.call_later(LOOK_SECONDS, again)

    def transfer_cut_off(self, details: Details) -> bool:
        """Cut off a leader after it has sent TimeoutNow, so that it does not learn about its successor."""
        leader = self._leader()
        if leader is None or not self._operator.hand_over(leader):
            return False
        away = partial(self.block, details, [path for path in self._paths() if leader.id in path])
        self._world.call_later(details["after"], away)
        return True

    def compact(self, details: Details) -> bool:
        return self._operator.compact(self._victim(details), details["keep"])

    def drain(self, details: Details) -> bool:
        begun = self._operator.drain(self._victim(details))
        self._later(details, self._operator.undrain)
        return begun

    def habits(self, **changed: Any) -> None:
        for name, value in changed.items():
            setattr(self._cluster.habits, name, value)


def _move(act: Callable[[MoveFaults, Details], object], faults: Faults, details: Details) -> object:
    return act(faults.moves, details)


def _replica(act: Callable[[ReplicaFaults, Details], object], faults: Faults, details: Details) -> object:
    return act(faults.replicas, details)


ACTS: dict[str, Callable[[Faults, Details], object]] = {
    "loss": lambda faults, details: faults.weather(loss=details["rate"]),
    "repetition": lambda faults, details: faults.weather(repeat=details["rate"]),
    "ancient messages": lambda faults, details: faults.weather(ancient=details["rate"]),
    "long delays": lambda faults, details: faults.weather(delay=(details["upto"] / 10, details["upto"])),
    "heavy tail": lambda faults, details: faults.weather(heavy_tail=details["rate"]),
    "clogged path": Faults.clog,
    "slow path": Faults.slow_path,
    "narrow path": Faults.narrow_path,
    "narrow links": Faults.narrow_links,
    "reset": lambda faults, details: faults._network.reset(*details["pair"]),
    "reset amidst a batch": lambda faults, details: faults._network.halve(*details["pair"]),
    "halves": Faults.halves,
    "isolated": Faults.isolate,
    "bridge": Faults.bridge,
    "ring": Faults.ring,
    "dead link": lambda faults, details: faults.block(details, (details["pair"], details["pair"][::-1])),
    "one way": lambda faults, details: faults.block(details, (details["path"],)),
    "flapping": Faults.flap,
    "stranded": Faults.strand,
    "one": Faults.crash_one,
    "minority": lambda faults, details: faults.crash_some(details, majority=False),
    "majority": lambda faults, details: faults.crash_some(details, majority=True),
    "all": Faults.crash_all,
    "at a commit": Faults.crash_at_commit,
    "during recovery": Faults.crash_in_recovery,
    "disk full": Faults.disk_full,
    "slow disk": Faults.slow_disk,
    "hung disk": Faults.hang,
    "failed sync": lambda faults, details: faults.ill(details, "sync"),
    "read error": lambda faults, details: faults.ill(details, "read"),
    "bit flip": Faults.flip,
    "wiped directory": Faults.wipe,
    "old directory": Faults.put_back,
    "skewed clocks": lambda faults, details: setattr(faults._cluster, "skew_ms", details["ms"]),
    "drifting clocks": lambda faults, details: setattr(faults._cluster, "drift", details["rate"]),
    "jump of a clock": Faults.jump,
    "clocks a day ahead": Faults.day_ahead,
    "pause": Faults.pause,
    "pause of minutes": Faults.pause,
    "busy": Faults.busy,
    "standstill": Faults.standstill,
    "add": lambda faults, details: faults._operator.add(details),
    "promote": lambda faults, details: faults._operator.promote(details),
    "demote": lambda faults, details: faults._operator.demote(details),
    "remove": Faults.remove,
    "change cut off": Faults.cut_off,
    "replace": lambda faults, details: faults._operator.replace(faults._victim(details)),
    "address change": lambda faults, details: faults._operator.move(faults._victim(details)),
    "transfer": lambda faults, details: faults._operator.transfer(details),
    "transfer cut off": Faults.transfer_cut_off,
    "drain": Faults.drain,
    "snapshot": lambda faults, details: faults._operator.snapshot(details),
    "compaction": Faults.compact,
    "verify": lambda faults, details: faults._operator.verify(details),
    "old programs": Faults.old_programs,
    "upgrade": Faults.upgrade,
    "rolling upgrade": Faults.upgrade_all,
    "downgrade": Faults.downgrade,
    "stale reads": lambda faults, details: faults.habits(stale=details["rate"]),
    "retries": lambda faults, details: faults.habits(retry=details["rate"]),
    "repeats": lambda faults, details: faults.habits(repeat=details["rate"]),
    "impatience": lambda faults, details: faults.habits(patience=details["seconds"]),
    "hot key": lambda faults, details: faults.habits(hot=details["keys"]),
    "number of voters": lambda faults, details: faults._operator.replicate(details),
    "rebalance of votes": lambda faults, _: faults._operator.rebalance_votes(),
    **{kind: partial(_move, act) for kind, act in MOVE_ACTS.items()},
    **{kind: partial(_replica, act) for kind, act in REPLICA_ACTS.items()},
}
