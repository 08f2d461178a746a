"""What must hold after every step, over all nodes at once (correctness of the logs, not of the clients)."""

import zlib
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from tests.simulation.cluster import Process, SimulatedCluster


class Violation(AssertionError):
    """A safety property does not hold."""


def demand(condition: bool, what: str) -> None:
    if not condition:
        raise Violation(what)


class Checks:
    """Incremental: looks only at what moved since the last step."""

    def __init__(self, cluster: "SimulatedCluster") -> None:
        self._cluster = cluster
        self._leaders: dict[tuple[int, int], str] = {}  # (group, term) -> node
        self._committed: dict[int, list[tuple[int, int]]] = {}  # group -> (term, crc) of each committed entry
        self._seen: dict[tuple[str, int], tuple[int, int, int]] = {}  # (node, group) -> term, commit, durable

    def forget(self, node: str) -> None:
        """A process died: what it held in memory may go back to what is on its platter."""
        for key in [k for k in self._seen if k[0] == node]:
            del self._seen[key]

    def after_step(self) -> None:
        for process in self._cluster.processes():
            for id_, group in process.host.groups.items():
                node = group.node
                now = (node.term, node.commit, node.durable)
                before = self._seen.get((process.id, id_), (0, 0, 0))
                if now != before:
                    self._seen[(process.id, id_)] = now
                    self._moved(process, id_, before, now)
                if group.leads:
                    self._led(process.id, id_, node.term)

    def _led(self, node: str, group: int, term: int) -> None:
        leader = self._leaders.setdefault((group, term), node)
        demand(leader == node, f"two leaders in term {term} of group {group}: {leader} and {node}")

    def _moved(
        self, process: "Process", group: int, before: tuple[int, int, int], now: tuple[int, int, int]
    ) -> None:
        demand(now[0] >= before[0], f"the term of {process.id} went back: {before[0]} to {now[0]}")
        demand(now[1] >= before[1], f"the commit index of {process.id} went back: {before[1]} to {now[1]}")
        node = process.host.groups[group].node
        demand(node.applied <= node.commit, f"{process.id} applied beyond its commit index")
        demand(node.applied <= node.durable, f"{process.id} applied what is not on its disk")
        self._agree(process, group, now[2], now[1])

    def _agree(self, process: "Process", group: int, durable: int, commit: int) -> None:
        """Every committed entry is the same wherever it is durable, for ever."""
        rows = self._cluster.nodes[process.id].platter.groups[group].entries
        history = self._committed.setdefault(group, [])
        for index in range(len(history) + 1, min(commit, durable, len(rows)) + 1):
            entry = rows[index - 1]
            history.append((entry.term, _sum(entry.data)))
        upto = min(commit, durable, len(rows), len(history))
        if upto:
            entry = rows[upto - 1]
            demand(
                history[upto - 1] == (entry.term, _sum(entry.data)),
                f"{process.id} holds another entry at committed index {upto} of group {group}",
            )

    def majority_holds(self) -> None:
        """Every committed entry is durable on a majority of the platters."""
        nodes = self._cluster.nodes.values()
        for group, history in self._committed.items():
            for index, (term, crc) in enumerate(history, 1):
                holders = 0
                for node in nodes:
                    log = node.platter.groups.get(group)
                    if log is not None and len(log.entries) >= index:
                        entry = log.entries[index - 1]
                        holders += (entry.term, _sum(entry.data)) == (term, crc)
                demand(holders * 2 > len(nodes), f"committed index {index} is on {holders} platters only")

    def equal_states(self) -> None:
        """All replicas that applied the same index hold the same data."""
        states: dict[tuple[int, int], tuple[str, bytes]] = {}
        for process in self._cluster.processes():
            for id_, group in process.host.groups.items():
                digest = group.machine.digest()
                other, expected = states.setdefault((id_, group.applied), (process.id, digest))
                demand(digest == expected, f"{process.id} and {other} differ at index {group.applied}")


def _sum(data: bytes) -> int:
    return zlib.crc32(data)
