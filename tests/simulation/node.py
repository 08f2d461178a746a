"""A simulated machine: its directory, the faults of its disk, and the starts and ends of its process."""

from dataclasses import replace
from functools import partial
from typing import TYPE_CHECKING, Any

from kraft.config import ClusterConfig, Config
from kraft.kv.versions import MACHINE_VERSION
from kraft.node.values import Identity
from kraft.storage.errors import StorageError
from tests.simulation.checks import former
from tests.simulation.durable_state import DurableState, copy_of
from tests.simulation.process import Process
from tests.simulation.realdisk import RealStorage
from tests.simulation.violation import demand
from tests.simulation.world import NodeClock

if TYPE_CHECKING:
    from tests.simulation.cluster import SimulatedCluster

RESTART_SECONDS = 1.0  # until a process that ended on its own is restarted
Backup = tuple[DurableState, dict[str, bytes]]


class SimulatedNode:
    """A machine, whose directory outlives its processes.

    `medium` carries out the operations of the directory, and `durable` models its content; on a `real` disk
    they differ.
    """

    def __init__(self, cluster: "SimulatedCluster", id_: str, config: Config, real: bool) -> None:
        self._real = real
        self._storage: RealStorage | None = None
        self.id = id_
        self.world = cluster.world
        self.moving = cluster.homes.moving
        self.config = config
        self.process: Process | None = None
        self._cluster = cluster
        self.directories = 0
        self.starts = 0
        self.damaged = False  # a fault changed the directory in a way that no disk may
        self.lost = False  # the node has to be re-admitted
        self.troubled = False  # a disk fault can have ended the process
        self.failures: list[str] = []
        self.machine_version = MACHINE_VERSION  # of the program that is installed
        self.too_old = False  # that program ended because of it
        self.wipe()

    def wipe(self) -> None:
        """Replace the directory by an empty one. The old one still counts for what it acknowledged."""
        self.directories += 1
        self.damaged = False
        self.newest_program = 0  # the highest machine version of a program that ran on this directory
        incarnation = f"{self.world.dice(f'{self.id} directory {self.directories}').getrandbits(128):032x}"
        self.durable = DurableState(Identity(self.id, incarnation))
        self.durable.on_left = self._left
        self._cluster.durable_states[incarnation] = self.durable
        if self._real:
            self.close()
            dice = self.world.dice(f"{self.id} directory {self.directories} files")
            self._storage = RealStorage(self.durable, dice)

    def _left(self, group: int, incarnation: str) -> None:
        self._cluster.checks.left(self.id, group, incarnation)

    @property
    def medium(self) -> Any:
        """The object that carries out the disk operations."""
        return self._storage or self.durable

    def close(self) -> None:
        """The run is over."""
        if self._storage is not None:
            self._storage.gone()

    # -- disk faults

    def fall_ill(self, illness: str) -> bool:
        """Make reads or syncs fail from now on; False for a disk without such faults."""
        if self._storage is None:
            return False
        self.troubled = True
        setattr(self._storage.files, f"fail_{illness}", True)
        return True

    def mend(self) -> None:
        """End all disk faults and make room."""
        self.medium.full = False
        if self._storage is not None:
            self._storage.mend()

    def flip_bit(self, what: str) -> bool:
        """End the process and flip one bit of a file; False for a disk without files."""
        if self._storage is None:
            return False
        self.crash()
        self._storage.settle()
        names = [n for n in self._storage.names() if n == what or (what == "state" and n.startswith(what))]
        flipped = bool(names) and self._storage.flip_bit(names[-1])
        self.damaged = self.troubled = self.troubled or flipped
        return True

    def backup(self) -> Backup:
        """Copy the directory while no process runs."""
        if self._storage is None:
            return copy_of(self.durable), {}
        self._storage.settle()
        return copy_of(self.durable), self._storage.copy()

    def put_back(self, backup: Backup) -> None:
        """Restore a backup of the directory."""
        self.damaged = self.troubled = True
        old, files = backup
        self._cluster.durable_states[former(self.durable.identity.incarnation)] = self.durable
        self.durable = old
        old.on_left = self._left
        self._cluster.durable_states[old.identity.incarnation] = old
        self._cluster.checks.put_back(old.identity.incarnation)
        if self._storage is not None:
            self._storage.durable = old
            self._storage.put_back(files)

    @property
    def address(self) -> str:
        """The address of its peer port."""
        return self.config.peer.advertise

    def stand_by(self) -> None:
        """Use standby from the next start on: the node waits to be added while it belongs to no cluster."""
        self.config = replace(self.config, cluster=ClusterConfig(standby=True))

    def fatal(self, reason: str, *, outdated: bool = False) -> None:
        """The process reports that it cannot continue, and ends."""
        self.world.note(f"fatal {self.id} {reason}")
        self.world.call_later(0, partial(self._end, self.starts))
        if outdated:
            demand(self.machine_version < MACHINE_VERSION, f"{self.id} takes itself for too old: {reason}")
            self.world.counts["program too old"] += 1
            self.too_old = True
            self.world.call_later(RESTART_SECONDS, self.upgrade)
            return
        self.world.counts["process gave up"] += 1
        if self._removed_unformed and "KRAFT ADD" in reason:
            return
        self.failures.append(reason)
        if self.troubled:
            self.world.call_later(RESTART_SECONDS, self._start_again)

    @property
    def _removed_unformed(self) -> bool:
        """Whether this founder was removed for good before it knew of a cluster: it has to end.

        A committed joint configuration decides that. Others show its target before that is committed, too.
        """
        mine, known = self.durable.identity, self._cluster.checks.committed[0].configuration
        return not mine.cluster and mine.incarnation in (known.target or known).retired

    def _end(self, start: int) -> None:
        """End the process of that start; it may have been replaced meanwhile."""
        if self.starts == start:
            self.crash()

    def upgrade(self) -> None:
        """The newest program is installed, and started where one ran, or should."""
        self.machine_version = MACHINE_VERSION
        if self.process is not None and self.process.machine_version == MACHINE_VERSION:
            return
        wanted = self.process is not None or self.too_old
        self.too_old = False
        self.crash()
        if wanted:
            self._start_again()

    def lose_power(self) -> None:
        """End the process; it is restarted after a moment."""
        self.crash()
        self.world.call_later(RESTART_SECONDS, self._start_again)

    def _start_again(self) -> None:
        if self.process is None and not self.lost:
            self.start()

    def _refused(self, reason: str) -> None:
        """Handle a directory that is refused for now, or permanently."""
        self.world.note(f"refused {self.id} {reason}")
        self.world.counts["start refused"] += 1
        if "KRAFT REPLACE" in reason:
            demand(self.damaged, f"{self.id} refuses a directory that nothing happened to: {reason}")
            self.lost = True
            return
        demand(self.troubled or self.medium.full, f"{self.id} does not start: {reason}")
        self.world.call_later(RESTART_SECONDS, self._start_again)

    def start(self) -> None:
        world = self.world
        try:
            loaded = self.medium.load()
        except StorageError as error:
            self._refused(str(error))
            return
        self.starts += 1
        self.newest_program = max(self.newest_program, self.machine_version)
        dice = world.dice(f"{self.id} start {self.starts} clock")
        drift, skew = self._cluster.drift, self._cluster.skew_ms
        skew = dice.choice((0, 1, 1)) * dice.uniform(-skew, skew)
        clock = NodeClock(world, skew, dice.uniform(-drift, drift), dice)
        self.process = Process(self, clock, self._cluster.network, self._cluster.checks, loaded)
        world.note(f"start {self.id}")
        self.process.start()

    def crash(self) -> None:
        process, self.process = self.process, None
        if process is None:
            return
        self.world.note(f"crash {self.id}")
        self.world.counts["crash"] += 1
        process.clock.dead = True
        process.disk.crash()
        self.medium.close()
        if process.id in self._cluster.network.connections.processes:
            self._cluster.network.connections.died(process)
        for hear in self._cluster.on_crash:
            hear(process)
