"""Faults of disks: full, slow, hung or failing, flipped bits, directories that are wiped or put back."""

from tests.simulation.cluster import SimulatedCluster
from tests.simulation.fault_kinds import Details
from tests.simulation.network_faults import NetworkFaults
from tests.simulation.node import Backup, SimulatedNode
from tests.simulation.operator import Operator


class DiskFaults(NetworkFaults):
    """Those of one run. The `operator` knows which directories the cluster can lose."""

    def __init__(self, cluster: SimulatedCluster, operator: Operator) -> None:
        super().__init__(cluster)
        self._operator = operator

    def disk_full(self, details: Details) -> bool:
        process = self._victim(details)
        if process is not None:
            process.disk.full = True
            self._later(details, lambda: setattr(process.disk, "full", False))
        return process is not None

    def ill(self, details: Details, illness: str) -> bool:
        """Make syncs or reads fail for a while, which ends the process."""
        process = self._victim(details)
        if process is None or not self._cluster.nodes[process.id].fall_ill(illness):
            return False
        self._later(details, self._cluster.nodes[process.id].mend)
        return True

    def slow_disk(self, details: Details) -> bool:
        process = self._victim(details)
        if process is not None:
            process.disk.slow = details["factor"]
            self._later(details, lambda: setattr(process.disk, "slow", 1.0))
        return process is not None

    def hang(self, details: Details) -> bool:
        """No log write of the node ends for a while. Without faults beside it a leader must give way."""
        process = self._victim(details)
        if process is not None:
            process.disk.hangs = True
            self._later(details, lambda: setattr(process.disk, "hangs", False))
        return process is not None

    def flip(self, details: Details) -> bool:
        """Flip a bit of a file while the node is down."""
        node = self._destroyable(details)
        if node is None or not node.flip_bit(details["file"]):
            return False
        node.start()
        return True

    def wipe(self, details: Details) -> bool:
        """Restart the node with an empty directory."""
        node = self._destroyable(details)
        if node is None:
            return False
        node.crash()
        node.wipe()
        node.lost = node.troubled = True
        node.start()
        return True

    def put_back(self, details: Details) -> bool:
        """Restore a backup of the directory. The peers refuse the node then."""
        node = self._destroyable(details)
        if node is None:
            return False
        node.crash()
        backup = node.backup()
        node.start()
        self._world.call_later(details["seconds"], lambda: self._put_back(node, backup))
        return True

    def _put_back(self, node: SimulatedNode, backup: Backup) -> None:
        others = [p for p in self._cluster.processes() if p.id != node.id]
        lives = [p.host.peers.formation._lives.get(node.id) for p in others]
        mine = (node.durable.identity.incarnation, node.durable.starts)
        remembered = all(life is not None and life[:2] == mine for life in lives)
        all_there = len(others) == len(self._cluster.members()) - 1
        if self._operator.destroyable(node.process) and remembered and all_there:
            self._world.counts["old directory put back"] += 1
            node.crash()
            node.put_back(backup)
            node.lost = True
            node.start()

    def _destroyable(self, details: Details) -> SimulatedNode | None:
        process = self._victim(details)
        if process is None or not self._operator.destroyable(process):
            return None
        return self._cluster.nodes[process.id]
