"""State files, a disk that keeps them in memory, and a network that loses, repeats and reorders on demand."""

from types import SimpleNamespace
from typing import Any, cast

import msgspec

from kraft.host.snapshots.receiver import SnapshotReceiver
from kraft.host.snapshots.sender import SnapshotSender
from kraft.host.snapshots.settings import SnapshotSettings
from kraft.kv.checkpoint import Checkpoint, moved_sum, record_hash
from kraft.kv.keyspace import Keyspace
from kraft.node.values import Received, Rows
from kraft.peerwire.messages import SnapshotChunk, SnapshotOffer, SnapshotRequest
from kraft.raft.membership.configuration import Base

SETTINGS = SnapshotSettings(chunk_bytes=100, bytes_per_second=0, hold=60.0)
NOTHING = bytes(16)


class File:
    """One state file: its rows by key, and its checkpoint."""

    def __init__(self, index, rows, term=1):
        self.rows = dict(sorted(rows.items()))
        self.checkpoint = checkpoint_of(index, self.rows, term)


def checkpoint_of(index, rows, term=1):
    total = sum(int.from_bytes(record_hash(k, v, 1, 0), "big") for k, v in rows.items())
    size = sum(len(k) + len(v) for k, v in rows.items())
    return Checkpoint(Base(index, term), index, len(rows), size, moved_sum(NOTHING, total, 0))


def some_rows(count, seed=0):
    return {b"key %04d" % i: b"value %d %d" % (i, seed) * 2 for i in range(count)}


ROWS = some_rows(200)


class Reader:
    def __init__(self, disk, file):
        self.disk, self.file, self.checkpoint, self.closed = disk, file, file.checkpoint, False

    def read(self, after, max_bytes, done):
        assert not self.closed
        self.disk.reading += 1
        self.disk.reading_most = max(self.disk.reading_most, self.disk.reading)
        self.disk.later(lambda: self._read(after, max_bytes, done))

    def _read(self, after, max_bytes, done):
        self.disk.reading -= 1
        if self.closed:
            return
        self.disk.reads += 1
        piece, size = [], 0
        left = [k for k in self.file.rows if after is None or k > after]
        for key in left:
            if size >= max_bytes:
                break
            piece.append((key, self.file.rows[key]))
            size += len(key) + len(self.file.rows[key])
        end = len(piece) == len(left)
        done(Rows(msgspec.msgpack.encode(piece) if piece else b"", piece[-1][0] if piece else b"", end))

    def close(self):
        assert not self.closed
        self.closed = True


class Writer:
    def __init__(self, disk, checkpoint):
        self.disk, self.checkpoint, self.rows, self.gone, self.busy = disk, checkpoint, {}, False, False

    def write(self, data, done):
        assert not self.busy, "one piece at a time"
        assert not self.gone
        self.busy = True
        self.disk.later(lambda: self._write(data, done))

    def _write(self, data, done):
        self.busy = False
        if self.disk.full:
            done("the disk is full")
            return
        rows = msgspec.msgpack.decode(data, type=list[tuple[bytes, bytes]])
        if self.rows and rows[0][0] <= max(self.rows):
            done("rows out of order")
            return
        self.rows.update(rows)
        done("")

    def finish(self, done):
        assert not self.gone
        self.disk.later(lambda: done(self._finish()))

    def _finish(self):
        if self.disk.finish_problem:
            return self.disk.finish_problem
        found = checkpoint_of(self.checkpoint.base.index, self.rows, self.checkpoint.base.term)
        if (found.sum, found.keys) != (self.checkpoint.sum, self.checkpoint.keys):
            return "the sum is wrong"
        keyspace = Keyspace()
        keyspace.load((key, value, 1, 0) for key, value in self.rows.items())
        return Received(2, self.checkpoint, keyspace)

    def abandon(self):
        self.gone = True


class Disk:
    """`host.ports.Disk`, the part with snapshots; everything takes `delay` seconds."""

    def __init__(self, clock, file=None, delay=0.0):
        self.clock, self.file, self.delay = clock, file, delay
        self.full = False
        self.finish_problem = ""
        self.reads = self.reading = self.reading_most = 0
        self.readers, self.writers = [], []

    def later(self, call):
        self.clock.call_later(self.delay, call)

    def open_snapshot(self, group, done):
        def opened():
            if self.file is None:
                done(None)
                return
            self.readers.append(Reader(self, self.file))
            done(self.readers[-1])

        self.later(opened)

    def receive_snapshot(self, group, checkpoint, done):
        def begun():
            if self.full:
                done(None)
                return
            self.writers.append(Writer(self, checkpoint))
            done(self.writers[-1])

        self.later(begun)

    @property
    def open_readers(self):
        return [r for r in self.readers if not r.closed]

    @property
    def files_left(self):
        return [w for w in self.writers if not w.gone]


class Tale:
    """`host.ports.HostObserver`, the part that snapshots use."""

    def __init__(self):
        self.events, self.transfers = [], []

    def event(self, name, **fields):
        self.events.append((name, fields))

    def snapshot_transfer(self, group, direction, outcome, size, seconds):
        self.transfers.append((direction, outcome))

    def names(self):
        return [name for name, _ in self.events]

    def last(self, name):
        return [fields for told, fields in self.events if told == name][-1]


class Network:
    """Carries (from, to, message) after a moment, and shows each to `weather` before.

    `weather` returns the messages that arrive in its place, each with a delay in seconds.
    """

    def __init__(self, clock):
        self.clock, self.nodes, self.log = clock, {}, []
        self.weather = lambda message: [(0.001, message)]

    def send(self, sender, to, message):
        self.log.append((sender, to, message))
        for delay, arrives in self.weather(message):
            self.clock.call_later(delay, lambda arrives=arrives: self._arrive(sender, to, arrives))

    def _arrive(self, sender, to, message):
        node = self.nodes.get(to)
        if node is not None:
            node.received(sender, message)

    def messages(self, kind):
        return [message for _, _, message in self.log if isinstance(message, kind)]


class Turns:
    """`host.turns.Turns` of one node: messages leave at once."""

    def __init__(self, id_, network):
        self.id, self.network = id_, network

    def post(self, peer, group, message):
        self.network.send(self.id, peer, message)


def context_of(node, network) -> Any:
    """The parts of `host.context.GroupContext` that snapshots use."""
    return SimpleNamespace(
        clock=node.clock, disk=node.disk, observer=node.tale, turns=Turns(node.id, network)
    )


class Leader:
    """The sending side as a group drives it: `needy` are the followers that consensus keeps waiting."""

    def __init__(self, clock, network, file, id="K1", settings=SETTINGS, delay=0.0):  # noqa: A002
        self.id, self.clock = id, clock
        self.disk = cast(Any, Disk(clock, file, delay))
        self.tale = cast(Any, Tale())
        self.needy: set[str] = set()
        self.given_back: list[str] = []
        self.wanted = 0
        self.sender = SnapshotSender(0, self, context_of(self, network), settings)
        network.nodes[id] = self

    def snapshot_ended(self, peer):
        self.given_back.append(peer)

    def checkpoint_wanted(self):
        self.wanted += 1

    def offer(self, *peers, reseed=False):
        for peer in peers:
            if not reseed:
                self.needy.add(peer)
            self.sender.offer(peer, reseed)

    def received(self, sender, message):
        if isinstance(message, SnapshotRequest):
            self.sender.requested(sender, message)

    def tick(self):
        self.sender.tick(self.clock.seconds(), self.needy)


class Follower:
    """The receiving side as a group drives it; once complete it informs the `leaders`, as consensus would."""

    def __init__(self, clock, network, id="K2", leaders=(), settings=SETTINGS, delay=0.0):  # noqa: A002
        self.id, self.clock, self.leaders = id, clock, leaders
        self.disk = cast(Any, Disk(clock, delay=delay))
        self.tale = cast(Any, Tale())
        self.commit, self.fenced, self.takes = 0, False, True
        self.received_snapshots, self.not_needed = [], 0
        self.receiver = SnapshotReceiver(0, self, context_of(self, network), settings)
        network.nodes[id] = self

    def received(self, sender, message):
        if isinstance(message, SnapshotOffer):
            if not self.receiver.offered(sender, message, self.commit, self.fenced):
                self.not_needed += 1
        elif isinstance(message, SnapshotChunk):
            self.receiver.chunk(sender, message)

    def snapshot_received(self, received, offer):
        if not self.takes:
            return False
        self.received_snapshots.append(received)
        self.commit = max(self.commit, received.checkpoint.base.index)
        self.fenced = False
        for leader in self.leaders:
            leader.needy.discard(self.id)
        return True

    @property
    def rows(self):
        """The rows of the last snapshot that was taken into use."""
        return {k: r.value for k, r in self.received_snapshots[-1].keyspace.records.items()}

    def tick(self):
        self.receiver.tick(self.clock.seconds(), self.commit)


def pass_time(clock, seconds, *nodes, step=0.025):
    """Let the hosts of `nodes` tick for that many seconds."""
    end = clock.seconds() + seconds
    while clock.seconds() < end:
        clock.advance(step)
        for node in nodes:
            node.tick()


def nothing_arrives(message):
    return []


def without(kind):
    """Weather in which messages of this kind are lost."""
    return lambda message: [] if isinstance(message, kind) else [(0.001, message)]


def asked(leader, *keys):
    """Request the chunks after these keys, one directly after the other."""
    for key in keys:
        leader.sender.requested("K2", SnapshotRequest(100, 1, key))
