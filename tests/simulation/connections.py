"""The links between simulated nodes: who dials whom, greetings, and how both ends learn of its end.

The node with the smaller id dials. Connections are numbered, so that what belongs to an earlier one is known.
"""

from collections.abc import Callable, Mapping
from functools import partial
from random import Random
from typing import TYPE_CHECKING

from tests.simulation.world import World

if TYPE_CHECKING:
    from tests.simulation.process import Process

CONNECT_DELAY = (0.001, 0.1)
NOTICE_DELAY = (0.05, 3.0)  # until both ends give up a silent path

Path = tuple[str, str]  # from, to


class Connections:
    """`links` has the number of each connection, by smaller and larger id. `changed` is called when one comes
    or goes. A path that is `blocked` delivers nothing.
    """

    def __init__(
        self, world: World, dice: Random, blocked: Mapping[Path, int], changed: Callable[[], None]
    ) -> None:
        self.processes: dict[str, Process] = {}
        self.links: dict[Path, int] = {}
        self.on_refused: Callable[[str, str], None] = lambda id_, reason: (
            None
        )  # nodes that refuse a link to this node, and why
        self._world = world
        self._dice = dice
        self._blocked = blocked
        self._changed = changed
        self._dialling: set[Path] = set()  # pairs that are about to retry
        self._connections = 0

    def started(self, process: "Process") -> None:
        """A process has started: connect it to every node that wants a link to it."""
        self.processes[process.id] = process
        for other in sorted(self.processes):
            if other != process.id:
                self.dial(*pair_of(process.id, other))

    def wanted(self, process: "Process", peer: str, moved: bool) -> None:
        """`process` wants a permanent link to `peer`, at a new address if the peer `moved`."""
        pair = pair_of(process.id, peer)
        if moved and pair in self.links and not self._at_home(process.id, peer):
            self.drop_later(pair, self.links[pair], closed=True)
        self.dial(*pair)

    def introduce(self, process: "Process", peer: str, address: str) -> None:
        """`process` dials `peer` at `address` once."""
        pair = pair_of(process.id, peer)

        def knock() -> None:
            other = self.processes.get(peer)
            mine = self.processes.get(process.id) is process
            if not mine or other is None or other.address != address or pair in self.links:
                return
            if not self.broken(pair) and not process.clock.paused and not other.clock.paused:
                self._greet(*pair)

        self._world.call_later(self._dice.uniform(*CONNECT_DELAY), knock)

    def _at_home(self, one: str, two: str) -> bool:
        """Whether `one` dials the current address of `two`."""
        process, other = self.processes.get(one), self.processes.get(two)
        return process is not None and other is not None and process.addresses.get(two) == other.address

    def died(self, process: "Process") -> None:
        """Close the connections of a dead process, as far as the paths deliver that."""
        del self.processes[process.id]
        for pair in sorted(p for p in self.links if process.id in p):
            self._close(pair, process.id)

    def _close(self, pair: Path, dead: str) -> None:
        number = self._unlink(pair)
        other = self.processes.get(pair[0] if pair[1] == dead else pair[1])
        if other is None:
            return
        heard = not self._blocked.get((dead, other.id), 0)
        delay = self._dice.uniform(*((0.0005, 0.01) if heard else NOTICE_DELAY))
        down = partial(other.clock.run, partial(other.link_down, dead, number, closed_by_peer=heard))
        self._world.call_later(delay, down)

    def _unlink(self, pair: Path) -> int:
        self._changed()
        return self.links.pop(pair)

    def dial(self, one: str, two: str) -> None:
        self._world.call_later(self._dice.uniform(*CONNECT_DELAY), lambda: self._connect(one, two))

    def _connect(self, one: str, two: str) -> None:
        """The node with the smaller id dials."""
        a, b = self.processes.get(one), self.processes.get(two)
        if a is None or b is None or (one, two) in self.links or not self._at_home(one, two):
            return
        if (one, two) in self._dialling:
            return
        if self.broken((one, two)) or a.clock.paused or b.clock.paused:
            self._dial_again(one, two, 0.2)
        elif not self._greet(one, two):
            self._dial_again(one, two, 1.0)

    def _dial_again(self, one: str, two: str, seconds: float) -> None:
        self._dialling.add((one, two))

        def again() -> None:
            self._dialling.discard((one, two))
            self._connect(one, two)

        self._world.call_later(seconds, again)

    def _greet(self, one: str, two: str) -> bool:
        a, b = self.processes[one], self.processes[two]
        hello_a, hello_b = a.host.peer_receiver.hello(), b.host.peer_receiver.hello()
        refusals = {two: a.host.peer_receiver.check(hello_b), one: b.host.peer_receiver.check(hello_a)}
        if any(refusals.values()):
            if (reason := refusals[two]) is not None:
                b.host.peer_receiver.refused(hello_a, reason)
            if (reason := refusals[one]) is not None:
                a.host.peer_receiver.refused(hello_b, reason)
            self._world.counts["link refused"] += 1
            self._world.note(f"refused {one} {two} {list(refusals.values())}")
            for id_, reason in refusals.items():
                if reason:
                    self.on_refused(id_, reason)
            return False
        self._connections += 1
        self.links[(one, two)] = self._connections
        self._changed()
        a.link_up(two, self._connections, hello_b)
        b.link_up(one, self._connections, hello_a)
        return True

    def broken(self, pair: Path) -> bool:
        return self._blocked.get(pair, 0) > 0 or self._blocked.get(pair[::-1], 0) > 0

    def close(self, one: str, two: str) -> None:
        """`one` closes its link to `two`; a new one is dialled. Over a blocked path `two` notices late."""
        pair, process = pair_of(one, two), self.processes.get(one)
        number = self.links.get(pair)

        def close() -> None:
            if number is None or self.links.get(pair) != number:
                return
            if process is None or not self._blocked.get((one, two), 0):
                self.drop(pair, closed=True)
                return
            self._close(pair, one)
            process.clock.run(partial(process.link_down, two, number, closed_by_peer=False))
            self.dial(*pair)

        self._world.call_later(0, close)

    def drop_later(self, pair: Path, number: int | None, closed: bool) -> None:
        def drop() -> None:
            if number is not None and self.links.get(pair) == number:
                self.drop(pair, closed)

        self._world.call_later(0, drop)

    def give_up(self, pair: Path, number: int) -> None:
        if self.links.get(pair) == number and self.broken(pair):
            self.drop(pair, closed=False)

    def drop(self, pair: Path, closed: bool) -> None:
        number = self._unlink(pair)
        for mine, theirs in (pair, pair[::-1]):
            process = self.processes.get(mine)
            if process is not None:
                process.clock.run(partial(process.link_down, theirs, number, closed_by_peer=closed))
        self.dial(*pair)


def pair_of(one: str, two: str) -> Path:
    """The link between two nodes, regardless of direction."""
    return (one, two) if one < two else (two, one)
