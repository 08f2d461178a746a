"""The links between simulated nodes: greetings, batches in the production codec, and all that goes wrong.

A link is a connection: while it is up, consensus messages may still be lost, repeated, delayed and reordered
(more than TCP would do); forwarded requests are never repeated, because a connection does not repeat them and
nothing above claims otherwise. A cut path may drop one direction only; after a while both ends notice.
"""

import zlib
from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

from kraft.peerwire import codec
from kraft.peerwire.messages import Forward, ForwardReply
from tests.simulation.world import World

if TYPE_CHECKING:
    from tests.simulation.cluster import Process

CONNECT_DELAY = (0.001, 0.1)
NOTICE_DELAY = (0.05, 3.0)  # until a silent path is given up
OLD_MESSAGES = 64  # kept to be delivered again much later


@dataclass
class Weather:
    """The network of one run; probabilities per batch, delays in seconds."""

    loss: float = 0.0
    repeat: float = 0.0
    ancient: float = 0.0
    delay: tuple[float, float] = (0.0002, 0.003)
    heavy_tail: float = 0.0


class Network:
    """All paths. `blocked` holds the ordered pairs that deliver nothing."""

    def __init__(self, world: World, weather: Weather) -> None:
        self.world = world
        self.weather = weather
        self.blocked: set[tuple[str, str]] = set()
        self.processes: dict[str, Process] = {}
        self._links: dict[tuple[str, str], int] = {}  # unordered pair -> connection number
        self._connections = 0
        self._old: list[tuple[str, str, bytes]] = []

    # -- connections

    def started(self, process: "Process") -> None:
        """A process came up: connections to it are tried from now on."""
        self.processes[process.id] = process
        for other in sorted(self.processes):
            if other != process.id:
                self._dial(*sorted((process.id, other)))

    def died(self, process: "Process") -> None:
        """Its peers see their connections closed, if the path lets them."""
        del self.processes[process.id]
        for pair in sorted(p for p in self._links if process.id in p):
            self._close(pair, process.id)

    def _close(self, pair: tuple[str, str], dead: str) -> None:
        del self._links[pair]
        other = self.processes.get(pair[0] if pair[1] == dead else pair[1])
        if other is None:
            return
        heard = (dead, other.id) not in self.blocked
        delay = self.world.random.uniform(*((0.0005, 0.01) if heard else NOTICE_DELAY))
        other.clock.call_later(delay, lambda: other.link_down(dead, closed_by_peer=heard))

    def _dial(self, one: str, two: str) -> None:
        self.world.call_later(self.world.random.uniform(*CONNECT_DELAY), lambda: self._connect(one, two))

    def _connect(self, one: str, two: str) -> None:
        a, b = self.processes.get(one), self.processes.get(two)
        if a is None or b is None or (one, two) in self._links:
            return
        if self._broken(one, two) or a.clock.paused or b.clock.paused:
            self.world.call_later(0.2, lambda: self._connect(one, two))
            return
        hello_a, hello_b = a.host.hello(), b.host.hello()
        refusals = [a.host.check(hello_b), b.host.check(hello_a)]
        if any(refusals):
            self.world.counts["link refused"] += 1
            self.world.call_later(1.0, lambda: self._connect(one, two))
            return
        self._connections += 1
        self._links[(one, two)] = self._connections
        a.host.link_up(two, hello_b)
        b.host.link_up(one, hello_a)

    def _broken(self, one: str, two: str) -> bool:
        return (one, two) in self.blocked or (two, one) in self.blocked

    # -- faults

    def block(self, paths: Sequence[tuple[str, str]]) -> None:
        """These ordered pairs deliver nothing more; both ends notice after a while."""
        self.blocked.update(paths)
        for one, two in paths:
            pair = (min(one, two), max(one, two))
            number = self._links.get(pair)
            if number is not None:
                delay = self.world.random.uniform(*NOTICE_DELAY)
                self.world.call_later(delay, lambda p=pair, n=number: self._give_up(p, n))  # type: ignore[misc]

    def heal(self) -> None:
        self.blocked.clear()
        ids = sorted(self.processes)
        for place, one in enumerate(ids):
            for two in ids[place + 1 :]:
                self._dial(one, two)

    def reset(self, one: str, two: str) -> None:
        """The connection breaks; what is on its way is lost."""
        pair = (min(one, two), max(one, two))
        if pair in self._links:
            self._drop(pair, closed=self.world.chance(0.5))
            self.world.counts["connection reset"] += 1

    def close(self, one: str, two: str) -> None:
        """A node closes its link; a new one is dialled."""
        pair = (min(one, two), max(one, two))
        number = self._links.get(pair)

        def drop() -> None:
            if number is not None and self._links.get(pair) == number:
                self._drop(pair, closed=True)

        self.world.call_later(0, drop)

    def _give_up(self, pair: tuple[str, str], number: int) -> None:
        if self._links.get(pair) == number and self._broken(*pair):
            self._drop(pair, closed=False)

    def _drop(self, pair: tuple[str, str], closed: bool) -> None:
        del self._links[pair]
        for mine, theirs in (pair, pair[::-1]):
            process = self.processes.get(mine)
            if process is not None:
                process.clock.run(lambda p=process, t=theirs: p.link_down(t, closed_by_peer=closed))  # type: ignore[misc]
        self._dial(*pair)

    # -- messages

    def send(self, sender: str, to: str, messages: Sequence[tuple[int, object]]) -> bool:
        number = self._links.get((min(sender, to), max(sender, to)))
        if number is None:
            return False
        data = codec.encode(messages)  # type: ignore[arg-type]
        once = any(isinstance(m, Forward | ForwardReply) for _, m in messages)
        weather, world = self.weather, self.world
        if (sender, to) in self.blocked or (not once and world.chance(weather.loss)):
            world.counts["batch lost"] += 1
            return True
        self._deliver_later(sender, to, data, number)
        if not once:
            if world.chance(weather.repeat):
                world.counts["batch repeated"] += 1
                self._deliver_later(sender, to, data, number)
            self._remember(sender, to, data)
        return True

    def _remember(self, sender: str, to: str, data: bytes) -> None:
        if self.world.chance(self.weather.ancient):
            self._old.append((sender, to, data))
            if len(self._old) > OLD_MESSAGES:
                old = self._old.pop(self.world.random.randrange(len(self._old)))
                self.world.counts["ancient batch delivered again"] += 1
                self._deliver_later(*old, None)

    def _deliver_later(self, sender: str, to: str, data: bytes, number: int | None) -> None:
        delay = self.world.random.uniform(*self.weather.delay)
        if self.world.chance(self.weather.heavy_tail):
            delay += self.world.random.expovariate(2.0)
        self.world.call_later(delay, lambda: self._deliver(sender, to, data, number))

    def _deliver(self, sender: str, to: str, data: bytes, number: int | None) -> None:
        pair = (min(sender, to), max(sender, to))
        current = self._links.get(pair)
        if current is None or (number is not None and number != current) or (sender, to) in self.blocked:
            return
        process = self.processes.get(to)
        if process is not None:
            self.world.counts["batch delivered"] += 1
            self.world.note(f"{sender}>{to} {len(data)} {zlib.crc32(data):08x}")
            process.clock.run(lambda: process.received(sender, data))
