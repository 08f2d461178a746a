"""Three nodes with one or several groups, to compare what their leaders do together.

With several groups redis-benchmark is a client of a cluster: it asks a node for the slots and sends each
request to the leader of its key. It uses a key of each slot then, and needs two leaders at least. With one
group it sends as many keys to the only leader.
"""

from dataclasses import replace
from pathlib import Path

from bench.client import ask, order
from bench.loads import Access, Load, Outcome
from bench.processes import Address, BenchError, local
from bench.systems import Kraft

SLOTS = 16_384
FILL = Load("set", 50, 16, 0)


class Grouped(Kraft):
    """Three nodes with so many groups, all of which have slots."""

    def __init__(self, directory: Path, groups: int, *, label: str = "groups", redirect: bool = True) -> None:
        super().__init__(directory, 3, label=label)
        self.groups = groups
        self.redirect = redirect
        self._filled = False
        self.access = Access(cluster=redirect and groups > 1)

    def secured(self, name: str, text: str) -> str:  # noqa: ARG002 - all nodes have the same groups
        """Set the number of groups, and the mode."""
        text = text.replace("cluster: {members", f"cluster: {{groups: {self.groups}, members")
        return (
            text.replace("client: {listen", "client: {routing: redirect, listen") if self.redirect else text
        )

    def healthy(self) -> bool:
        """Whether every node knows a leader of each group, and the leaders are spread over the nodes."""
        return all(self._knows_leaders(port) for port in self.ports)

    def _knows_leaders(self, port: int) -> bool:
        try:
            shown = ask(local(port), b"CLUSTER", b"INFO")
        except OSError:
            return False
        leaders = min(self.groups, self._nodes)
        return b"cluster_state:ok" in shown and b"cluster_size:%d\r" % leaders in shown

    def views(self) -> dict[str, Address]:
        """Return the address of the leader, or of a node that tells where the leaders are."""
        leader = self.leader() if self.groups == 1 else 0
        if leader is None:
            raise BenchError(f"{self.name} has no leader")
        return {self.name: local(self.ports[leader])}

    def prepare(self, load: Load, address: Address) -> None:
        """Write nearly all of the keys that a load reads."""
        if load.reads and not self._filled:
            self.run(FILL, address, 4 * SLOTS)
            self._filled = True

    def run(self, load: Load, address: Address, requests: int) -> Outcome:
        """Run a load with as many keys as there are slots, if it names none."""
        more = self.groups == 1 and not load.keys
        return super().run(replace(load, keys=SLOTS) if more else load, address, requests)

    def leader_of(self, key: bytes) -> Address:
        """The node that leads the group of a key."""
        shown = ask(local(self.ports[0]), b"KRAFT", b"LEADER", key)
        names = [b"\r\nleader\r\n$2\r\nn%d\r\n" % number for number in range(1, self._nodes + 1)]
        return next(local(port) for name, port in zip(names, self.ports, strict=True) if name in shown)

    def plan(self, first: int, last: int, group: int) -> None:
        """Let slots move to a group. Raises BenchError if that is refused."""
        words = (b"KRAFT", b"MOVE", b"SLOTS", b"%d" % first, b"%d" % last, b"TO", b"%d" % group)
        reply = order(local(self.ports[0]), *words)
        if reply[:1] != b":":
            raise BenchError(f"KRAFT MOVE: {reply!r}")

    def still(self) -> bool:
        """Whether no move is left."""
        return ask(local(self.ports[0]), b"KRAFT", b"MOVES", seconds=10.0) == b"*0\r\n"
