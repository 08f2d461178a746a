"""The network between simulated nodes: batches in the production codec, and network faults.

A link is a connection. While it is up, consensus messages may still be lost, repeated, delayed and reordered,
which is more than TCP does. Forwarded requests are never repeated, and reports of places are only lost with
their connection, because a connection does so and the layers above rely on that. A blocked path may drop one
direction only; after a while both ends notice.
"""

import zlib
from collections import Counter, deque
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from functools import partial
from random import Random
from typing import TYPE_CHECKING

from kraft.peerwire import codec
from kraft.peerwire.messages import Forward, ForwardReply, GroupPlace, WaitingForward
from kraft.raft.messages import Urgency
from tests.simulation.connections import NOTICE_DELAY, Connections, Path, pair_of
from tests.simulation.world import World

if TYPE_CHECKING:
    pass

RELEASE_SECONDS = 0.01  # in which an unclogged path delivers everything it held, in no order
QUEUE_BYTES = 1_000  # of bulk that waits for a narrow path before more is refused
RETRANSMIT_SECONDS = 0.2  # of what only a lost connection may lose
PART_SECONDS = 0.05  # between two parts of a batch that a narrow path delivers
QUEUE_SECONDS = 0.1  # of work of a narrow path that nodes take for its window
WIDE_BYTES = 1 << 20  # the window of any other path
OLD_MESSAGES = 64  # batches kept to be delivered again much later
FORWARDED = frozenset((Forward, WaitingForward, ForwardReply))

Directories = tuple[str, ...]  # incarnations of both ends
# Each batch belongs to a numbered connection. An old batch may arrive by any connection between the same
# directories: a greeting tells a new directory from an old one, so nothing passes from one to the other.
Belonging = int | Directories
Messages = Sequence[tuple[int, object]]


@dataclass
class Weather:
    """The permanent properties of the network; probabilities are per batch, delays in seconds."""

    loss: float = 0.0
    repeat: float = 0.0
    ancient: float = 0.0
    delay: tuple[float, float] = (0.0002, 0.003)
    heavy_tail: float = 0.0


class Queue:
    """What waits for a narrow path, in two classes as in `transport.outbox`: control overtakes bulk."""

    def __init__(self) -> None:
        self.control: deque[tuple[Messages, int]] = deque()  # batches, with the numbers of their connections
        self.bulk: deque[tuple[Messages, int]] = deque()
        self.bulk_bytes = 0
        self.busy = False

    def put(self, messages: Messages, number: int) -> bool:
        """Whether there was room. Control is taken in any case."""
        control = [pair for pair in messages if pair[1].urgency is Urgency.CONTROL]  # type: ignore[attr-defined]
        if control:
            self.control.append((control, number))
        bulk = [pair for pair in messages if pair[1].urgency is not Urgency.CONTROL]  # type: ignore[attr-defined]
        if not bulk:
            return True
        if self.bulk and self.bulk_bytes > QUEUE_BYTES:
            return False
        self.bulk.append((bulk, number))
        self.bulk_bytes += len(codec.encode(bulk))  # type: ignore[arg-type]
        return True

    def take(self) -> tuple[Messages, int]:
        """The next batch."""
        if self.control:
            return self.control.popleft()
        messages, number = self.bulk.popleft()
        self.bulk_bytes -= len(codec.encode(messages))  # type: ignore[arg-type]
        return messages, number


class Network:
    """All paths. Path faults are counted, so that they can overlap and each one is undone separately."""

    def __init__(self, world: World, weather: Weather) -> None:
        self.world = world
        self.weather = weather
        self._dice = world.dice("links")
        self._ping_dice = world.dice("pings")
        self._path_dice: dict[Path, Random] = {}
        self._blocked: Counter[Path] = Counter()  # paths that deliver nothing
        self._clogged: Counter[Path] = Counter()  # paths that hold everything back
        self._held: dict[Path, list[tuple[bytes, int, Belonging]]] = {}
        self._slow: dict[Path, float] = {}  # the most extra seconds of a batch
        self._rates: dict[Path, float] = {}  # of narrow paths, in bytes per second
        self._windows: dict[str, dict[str, int]] = {}  # by node, as long as its links and rates stay the same
        self.connections = Connections(world, self._dice, self._blocked, self._windows.clear)
        self._queues: dict[Path, Queue] = {}
        self._halving: set[Path] = set()  # pairs whose next batch arrives by half, and nothing after it
        self._old: list[tuple[Path, bytes, int, Directories]] = []

    # -- faults

    def block(self, paths: Iterable[Path]) -> None:
        """Stop delivery on these paths; both ends notice after a while."""
        for path in paths:
            self._blocked[path] += 1
            pair = pair_of(*path)
            number = self.connections.links.get(pair)
            if number is not None:
                delay = self._dice.uniform(*NOTICE_DELAY)
                self.world.call_later(delay, lambda p=pair, n=number: self.connections.give_up(p, n))  # type: ignore[misc]

    def unblock(self, paths: Iterable[Path]) -> None:
        """Undo one `block` of these paths."""
        for path in paths:
            if self._blocked.get(path, 0):
                self._blocked[path] -= 1
                self.connections.dial(*pair_of(*path))

    def clog(self, path: Path) -> None:
        """Hold back everything that is sent on this path."""
        self._clogged[path] += 1

    def unclog(self, path: Path) -> None:
        """Deliver everything that was held back, in no particular order."""
        if self._clogged.get(path, 0):
            self._clogged[path] -= 1
        if not self._clogged.get(path, 0):
            for data, count, number in self._held.pop(path, []):
                delay = self._dice.uniform(0, RELEASE_SECONDS)
                self.world.call_later(
                    delay,
                    lambda d=data, c=count, n=number: self._arrive(path, d, c, n),  # type: ignore[misc]
                )

    def slow_down(self, path: Path, seconds: float) -> None:
        """Delay batches on this path by up to `seconds`; 0 undoes it."""
        self._slow[path] = seconds

    def narrow(self, path: Path, rate: float) -> None:
        """Let this path carry `rate` bytes per second; 0 undoes it."""
        self._windows.clear()
        if rate:
            self._rates[path] = rate
        else:
            self._rates.pop(path, None)

    def windows(self, id_: str) -> dict[str, int]:
        """What the links of a node carry without a long queue."""
        found = self._windows.get(id_)
        if found is not None:
            return found
        found = self._windows[id_] = {}
        for pair in sorted(self.connections.links):
            if id_ in pair:
                peer = pair[0] if pair[1] == id_ else pair[1]
                rate = self._rates.get((id_, peer))
                found[peer] = max(1, int(rate * QUEUE_SECONDS)) if rate else WIDE_BYTES
        return found

    def reset(self, one: str, two: str) -> None:
        """Break the connection; batches in flight are lost."""
        pair = pair_of(one, two)
        if pair in self.connections.links:
            self.connections.drop(pair, closed=self._dice.random() < 0.5)
            self.world.counts["connection reset"] += 1

    def halve(self, one: str, two: str) -> None:
        """Break the connection during the next batch: half of its messages arrive."""
        self._halving.add(pair_of(one, two))

    def sound(self, ids: Sequence[str]) -> bool:
        """Whether these nodes have links to one another, and no path between them has a fault."""
        pairs = [(one, two) for one in sorted(ids) for two in sorted(ids) if one < two]
        paths = [path for pair in pairs for path in (pair, pair[::-1])]
        blocked, clogged, slow = self._blocked, self._clogged, self._slow
        bad = any(blocked.get(path) or clogged.get(path) or slow.get(path) for path in paths)
        return not bad and all(pair in self.connections.links and pair not in self._halving for pair in pairs)

    def heal(self) -> None:
        """Undo all path faults."""
        for path in list(self._clogged):
            self._clogged[path] = 0
            self.unclog(path)
        self._blocked.clear()
        self._slow.clear()
        self._rates.clear()
        self._windows.clear()
        self._halving.clear()
        ids = sorted(self.connections.processes)
        for place, one in enumerate(ids):
            for two in ids[place + 1 :]:
                self.connections.dial(one, two)

    # -- messages

    def send(self, sender: str, to: str, messages: Messages) -> bool:
        path, pair = (sender, to), pair_of(sender, to)
        number = self.connections.links.get(pair)
        if number is None:
            return False
        if pair in self._halving:
            self._send_half(path, messages, number)
            return True
        queue = self._queues.get(path)
        if path in self._rates or (queue is not None and queue.busy):
            if queue is None:
                queue = self._queues[path] = Queue()
            taken = queue.put(messages, number)
            if not taken:
                self.world.counts["batch refused by a full queue"] += 1
            if not queue.busy:
                self._transmit(path, queue)
            return taken
        self._carry(path, messages, number)
        return True

    def ping(self, sender: str, to: str, answered: Callable[[], None]) -> None:
        """Let the process `to` answer. Only the end of the connection can lose the ping or its answer."""
        number = self.connections.links.get(pair_of(sender, to))
        if number is not None:
            self._carry_ping((sender, to), number, partial(self._carry_ping, (to, sender), number, answered))

    def _carry_ping(self, path: Path, number: int, arrived: Callable[[], object]) -> None:
        def arrive() -> None:
            process = self.connections.processes.get(path[1])
            if process is None or self.connections.links.get(pair_of(*path)) != number:
                return
            if self._blocked.get(path, 0) or self._clogged.get(path, 0):
                self.world.call_later(RETRANSMIT_SECONDS, arrive)
            else:
                process.clock.run(arrived)

        self.world.call_later(self._ping_dice.uniform(*self.weather.delay), arrive)

    def _transmit(self, path: Path, queue: Queue) -> None:
        """Let the next batch leave, in the time that it takes on a narrow path."""
        queue.busy = bool(queue.control or queue.bulk)
        if not queue.busy:
            return
        messages, number = queue.take()
        rate = self._rates.get(path)
        seconds = len(codec.encode(messages)) / rate if rate else 0.0  # type: ignore[arg-type]
        if (
            self.connections.links.get(pair_of(*path)) != number
        ):  # what waited for a connection is lost with it
            self.world.call_later(0, lambda: self._transmit(path, queue))
            return

        for n in range(1, int(seconds / PART_SECONDS) + 1):
            self.world.call_later(n * PART_SECONDS, lambda: self._arrive_in_part(path, number))

        def through() -> None:
            self.world.counts["batch through a narrow path"] += 1
            self._carry(path, messages, number)
            self._transmit(path, queue)

        self.world.call_later(seconds, through)

    def _carry(self, path: Path, messages: Messages, number: int) -> None:
        data = codec.encode(messages)  # type: ignore[arg-type]
        once = False
        for _, message in messages:
            once = once or type(message) in FORWARDED
        weather, counts, dice = self.weather, self.world.counts, self._dice_of(path)
        if self._blocked.get(path, 0) or (not once and dice.random() < weather.loss):
            counts["batch lost"] += 1
            self._retransmit(path, messages, number)
            return
        self._deliver_later(path, data, len(messages), number, dice)
        if not once:
            if dice.random() < weather.repeat:
                counts["batch repeated"] += 1
                self._deliver_later(path, data, len(messages), number, dice)
            if dice.random() < weather.ancient:
                self._remember(path, data, len(messages), dice)

    def _retransmit(self, path: Path, messages: Messages, number: int) -> None:
        """Carry once more what may be lost only with its connection."""
        places = [pair for pair in messages if type(pair[1]) is GroupPlace]
        if places and self.connections.links.get(pair_of(*path)) == number:
            self.world.counts["place sent once more"] += 1
            self.world.call_later(RETRANSMIT_SECONDS, partial(self._carry, path, places, number))

    def _send_half(self, path: Path, messages: Messages, number: int) -> None:
        pair = pair_of(*path)
        self._halving.discard(pair)
        half = messages[: len(messages) // 2]
        if half and not self._blocked.get(path, 0):
            self._arrive(path, codec.encode(half), len(half), number)  # type: ignore[arg-type]
        self.world.counts["connection reset"] += 1
        self.connections.drop_later(pair, number, closed=False)

    def _dice_of(self, path: Path) -> Random:
        dice = self._path_dice.get(path)
        if dice is None:
            dice = self._path_dice[path] = self.world.dice(f"path {path[0]} {path[1]}")
        return dice

    def _remember(self, path: Path, data: bytes, count: int, dice: Random) -> None:
        self._old.append((path, data, count, self._directories(path)))
        if len(self._old) > OLD_MESSAGES:
            old_path, old_data, old_count, directories = self._old.pop(dice.randrange(len(self._old)))
            self.world.counts["ancient batch delivered again"] += 1
            self._deliver_later(old_path, old_data, old_count, directories, self._dice_of(old_path))

    def _directories(self, path: Path) -> Directories:
        live = [self.connections.processes.get(id_) for id_ in path]
        return tuple("" if p is None else p.host.peers.formation.identity.incarnation for p in live)

    def _deliver_later(self, path: Path, data: bytes, count: int, belongs: Belonging, dice: Random) -> None:
        least, most = self.weather.delay
        delay = least + (most - least) * dice.random()
        if dice.random() < self.weather.heavy_tail:
            delay += dice.expovariate(2.0)
        longer = self._slow.get(path)
        if longer:
            delay += dice.uniform(longer / 2, longer)
        self.world.call_later(delay, partial(self._arrive, path, data, count, belongs))

    def _arrive_in_part(self, path: Path, number: int) -> None:
        sender, to = path
        process = self.connections.processes.get(to)
        current = self.connections.links.get(pair_of(sender, to)) == number
        if process is not None and current and not (self._blocked.get(path, 0) or self._clogged.get(path, 0)):
            self.world.counts["part of a batch delivered"] += 1
            process.clock.run(lambda: process.host.peer_receiver.receiving(sender))

    def _arrive(self, path: Path, data: bytes, count: int, belongs: Belonging) -> None:
        if self._clogged.get(path, 0):
            self._held.setdefault(path, []).append((data, count, belongs))
            return
        sender, to = path
        connection = self.connections.links.get(pair_of(sender, to))
        here = connection if type(belongs) is int else self._directories(path)
        if connection is None or belongs != here:
            return
        if self._blocked.get(path, 0):
            if type(belongs) is int:
                self._retransmit(path, codec.decode(data), belongs)
            return
        process = self.connections.processes.get(to)
        if process is not None:
            world = self.world
            world.counts["batch delivered"] += 1
            world.counts["message delivered"] += count
            world.note(f"{sender}>{to} {len(data)} {zlib.crc32(data):08x}")
            process.clock.run(partial(process.received, sender, data))
