"""One run of one node: production host, consensus, machine and codec; virtual clock, disk and network."""

from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING

from kraft.host.host import Host
from kraft.node.values import Loaded
from kraft.peerwire import codec
from kraft.peerwire.hello import Hello
from kraft.peerwire.messages import without_numbers
from tests.simulation.checks import Checks
from tests.simulation.disk import Disk
from tests.simulation.network import Network
from tests.simulation.script_evaluator import SimulatedEvaluator
from tests.simulation.world import NodeClock, World

if TYPE_CHECKING:
    from tests.simulation.node import SimulatedNode


class Silent:
    """Observer of host and consensus that counts events for the coverage of runs."""

    def __init__(self, world: World) -> None:
        self._world = world

    def proposal(self, group: int, outcome: str, count: int) -> None:
        self._world.counts[f"proposal {outcome}"] += count

    def committed(self, group: int, seconds: float, proposals: int) -> None:
        pass

    def applied(self, group: int, seconds: float) -> None:
        pass

    def read(self, group: int, kind: str, outcome: str, seconds: float) -> None:
        self._world.counts[f"read {kind} {outcome}"] += 1

    def forwarded(self, outcome: str, count: int) -> None:
        self._world.counts[f"forwarded {outcome}"] += count

    def heartbeat_unsent(self, group: int, peer: str) -> None:
        self._world.counts["heartbeat unsent"] += 1

    def replaying(self, group: int, entries: int, of: int) -> None:
        self._world.counts["piece of a log replayed"] += 1

    def compared(self, group: int, outcome: str) -> None:
        self._world.counts[f"compared {outcome}"] += 1

    def snapshot_transfer(self, group: int, direction: str, outcome: str, size: int, seconds: float) -> None:
        self._world.counts[f"snapshot {direction} {outcome}"] += 1

    def slots_frozen(self, group: int, seconds: float) -> None:
        self._world.counts["slots frozen"] += 1

    def event(self, name: str, **fields: object) -> None:
        self._world.counts[name] += 1

    def script_stopped(self, limit: str) -> None:
        self._world.counts[f"script stopped by {limit}"] += 1

    def role_changed(self, group: int, role: str, term: int, leader: str) -> None:
        if role == "leader":
            self._world.counts["leader elected"] += 1

    def election_ended(self, group: int, kind: str, outcome: str) -> None:
        self._world.counts[f"{kind} {outcome}"] += 1

    def entries_resent(self, group: int, peer: str, size: int) -> None:
        self._world.counts["bytes resent"] += size


class Process:
    """One run of one node, from start to crash; implements `host.ports.Network` for its host."""

    def __init__(
        self, node: "SimulatedNode", clock: NodeClock, network: Network, checks: Checks, loaded: Loaded
    ) -> None:
        self.id = node.id
        self.clock = clock
        clock.owner = self
        self.address = node.config.peer.advertise
        self.addresses: dict[str, str] = {}  # peers to keep a link to, with their addresses
        self._up: dict[str, int] = {}  # the numbers of its links, by peer
        self._network = network
        self._checks = checks
        name = f"{node.id} start {node.starts}"
        dice = node.world.dice(f"{name} disk")
        self.machine_version = node.machine_version
        self.disk = Disk(node.world, clock, node.medium, dice, node.fatal, node.lose_power)
        observer = Silent(node.world)
        self.host = Host(
            node.config,
            loaded,
            clock=clock,
            disk=self.disk,
            jitter=node.world.dice(f"{name} jitter").randrange,
            observer=observer,
            raft_observer=observer,
            fatal=node.fatal,
            machine_version=node.machine_version,
        )
        evaluator = SimulatedEvaluator(
            node.config, self.host, observer, clock, node.world, moving=node.moving
        )
        self.host.use_evaluator(evaluator)
        self.ready = False

    def start(self) -> None:
        def started() -> None:
            self.ready = True
            self._network.connections.started(self)
            for peer, address in self.host.peers.first_peers.items():
                self.connect(peer, address)

        self.host.start(self, started)

    def send(self, peer: str, messages: Sequence[tuple[int, object]]) -> bool:
        self._checks.sent(self, peer, [(group, without_numbers(m)) for group, m in messages])  # type: ignore[arg-type]
        taken = self._network.send(self.id, peer, messages)
        if not taken:
            self._checks.resending.excused(self, peer)
        return taken

    def congested(self) -> list[str]:
        return []

    def windows(self) -> dict[str, int]:
        return self._network.windows(self.id)

    def greet_again(self, peer: str) -> None:
        self._network.connections.close(self.id, peer)

    def ping(self, peer: str, answered: Callable[[], None]) -> None:
        self._network.ping(self.id, peer, answered)

    def connect(self, peer: str, address: str) -> None:
        if peer != self.id and self.addresses.get(peer) != address:
            moved = peer in self.addresses
            self.addresses[peer] = address
            self._network.connections.wanted(self, peer, moved)

    def introduce(self, peer: str, address: str) -> None:
        self._network.connections.introduce(self, peer, address)

    def disconnect(self, peer: str) -> None:
        self.addresses.pop(peer, None)
        self._network.connections.close(self.id, peer)

    def received(self, peer: str, data: bytes) -> None:
        messages = codec.decode(data)
        plain = [(group, without_numbers(message)) for group, message in messages]
        self._checks.resending.received(self, peer, plain)
        if self._checks.understood(self, plain):
            self.host.peer_receiver.received(peer, messages)
        else:  # an older program takes such bytes for garbage
            self._network.connections.close(self.id, peer)

    def link_up(self, peer: str, number: int, hello: Hello) -> None:
        """As with real links, a link that is replaced goes down first, even if its end is noticed later."""
        self._checks.resending.excused(self, peer)
        if peer in self._up:
            self.host.peer_receiver.link_down(peer, False)
        self._up[peer] = number
        self.host.peer_receiver.link_up(peer, hello)

    def link_down(self, peer: str, number: int, closed_by_peer: bool) -> None:
        if self._up.get(peer) == number:
            del self._up[peer]
            self._checks.resending.excused(self, peer)
            self.host.peer_receiver.link_down(peer, closed_by_peer)
