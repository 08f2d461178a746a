"""Raft nodes joined in memory. The test controls their disks and links.

Messages wait in `Cluster.wires` until they are delivered, writes in `Peer.writes` until they are finished, so
that a test decides every order. `settle` runs everything to quiet, copies of the state machine included if
`auto_snapshots` is on. The checker of `kraft.raft.invariants` looks at the whole after every step.

The state machine is the list of all entries applied; a state file holds one, and the base it stands at.
"""

from collections import deque
from collections.abc import Callable

from kraft.raft.invariants import InvariantChecker
from kraft.raft.membership.configuration import Base, Configuration
from kraft.raft.messages import Entry, EntryKind, Message
from kraft.raft.ports import RaftSettings, Restored
from kraft.raft.raft import Raft
from kraft.raft.ready import Fetch, Outgoing, Persist, Ready
from kraft.raft.state import ReplicaState
from tests.raft.disk import Disk, Image
from tests.raft.values import EMPTY, SETTINGS, bootstrap, configuration


class Recorder:
    """Observer that remembers."""

    def __init__(self) -> None:
        self.roles: list[tuple[str, int, str]] = []
        self.elections: list[tuple[str, str]] = []
        self.resent = 0  # bytes

    def role_changed(self, group: int, role: str, term: int, leader: str) -> None:
        self.roles.append((role, term, leader))

    def election_ended(self, group: int, kind: str, outcome: str) -> None:
        self.elections.append((kind, outcome))

    def entries_resent(self, group: int, peer: str, size: int) -> None:
        self.resent += size


class Peer:
    """One node with its disk; `auto_disk` finishes writes when settling."""

    def __init__(self, cluster: "Cluster", name: str, restored: Restored, settings: RaftSettings) -> None:
        self.cluster = cluster
        self.name = name
        self.settings = settings
        self.incarnation = name.lower() * 16
        self.disk = Disk(restored)
        self.auto_disk = True
        self.jitters: Callable[[int], int] | None = None
        self.jitter = 3 * (int(name[1:]) - 1)  # K1 campaigns first
        self.wall = 1000
        self.observer = Recorder()
        self._start(restored)

    def _start(self, restored: Restored) -> None:
        self.node = Raft(
            id=self.name,
            group=0,
            settings=self.settings,
            restored=restored,
            jitter=lambda n: self.jitters(n) if self.jitters else min(self.jitter, n - 1),
            wall_clock=lambda: self.wall,
            observer=self.observer,
            incarnation=self.incarnation,
        )
        self.writes: deque[tuple[Persist, tuple[Outgoing, ...]]] = deque()
        self.state_file = self.disk.state  # its number; the disk may not have switched to it yet
        image = self.disk.image
        replayed = self.disk.read(image.base.index + 1, restored.commit)
        self.applied: list[Entry] = [*image.applied, *replayed]
        self.reads: list[tuple[int, int]] = []
        self.failed: list[int] = []
        self.fetches: list[Fetch] = []
        self.wanted: list[str] = []  # followers that were named for a snapshot
        self.up = True

    @property
    def state(self) -> ReplicaState:
        return self.node.state

    def crash(self) -> None:
        """Lose everything that no finished write covers."""
        self.up = False
        self.cluster.drop(lambda a, b, m: b == self.name)

    def restart(self) -> None:
        self._start(self.disk.restored())
        self.cluster.checker.restarted(self.node)

    def wipe(self, incarnation: str) -> None:
        """Begin anew with an empty directory, as another member."""
        self.crash()
        self.incarnation = incarnation
        self.disk = Disk(EMPTY)
        self.restart()

    def ready(self) -> Ready | None:
        ready = self.node.take_ready()
        if ready is None:
            return None
        self.cluster.checker.ready(self.node, ready)
        self._post(ready.send_now)
        if ready.persist is not None:
            self.writes.append((ready.persist, ready.send_after_persist))
        else:
            assert not ready.send_after_persist
        if ready.restored is not None:
            assert ready.persist is not None
            assert ready.persist.state_file is not None
            self.state_file = ready.persist.state_file
            image = self.disk.states[self.state_file]
            assert image.base == ready.restored
            self.applied = [*image.applied, *self.applied[len(image.applied) :]]
        self.applied += ready.apply
        self.wanted += ready.snapshots
        self.reads += [(r.ctx, r.index) for r in ready.reads]
        self.failed += ready.reads_failed
        self.fetches += ready.fetch
        return ready

    def finish_write(self) -> None:
        persist, after = self.writes.popleft()
        self.disk.write(persist)
        self.node.persisted(persist.sequence)
        self._post(after)
        self.cluster.checker.step(self.node)

    def answers(self) -> list[tuple[str, Message]]:
        """Everything that the node says now, its writes finished: (to, message) pairs."""
        while self.ready() is not None or self.writes:
            while self.writes:
                self.finish_write()
        said = [(to, message) for sender, to, message in self.cluster.wires if sender == self.name]
        self.cluster.wires.clear()
        return said

    def answer(self) -> Message:
        """The one message that the node has to say."""
        said = self.answers()
        assert len(said) == 1, said
        return said[0][1]

    def answer_fetch(self) -> None:
        fetch = self.fetches.pop(0)
        self.node.fetched(fetch.peer, self.disk.read(fetch.first, fetch.last))

    def checkpoint(self) -> Base:
        """Bring the state file to what is applied now."""
        base = self.state.base_at(len(self.applied))
        self.disk.states[self.state_file] = Image(base, tuple(self.applied))
        return base

    def compact(self, index: int) -> None:
        """Forget the log up to `index`, after a checkpoint taken now."""
        self.checkpoint()
        self.node.compact(index)
        self.cluster.checker.step(self.node)

    def install(self, image: Image) -> bool:
        """A copy arrived."""
        taken = self.node.install(image.base, self.disk.add_state(image))
        self.cluster.checker.step(self.node)
        return taken

    def copy_to(self, name: str) -> bool:
        """Carry out one wanted snapshot: whether the receiver took it."""
        self.wanted.remove(name)
        taken = self.cluster[name].install(self.disk.image)
        self.node.snapshot_ended(name)
        return taken

    def reconfigure(self, target: Configuration) -> tuple[int, int]:
        position = self.node.reconfigure(target)
        self.cluster.checker.step(self.node)
        return position

    def propose(self, data: bytes = b"x") -> tuple[int, int]:
        return self.node.propose(EntryKind.COMMANDS, self.state.log.last_stamp, data)

    def _post(self, messages: tuple[Outgoing, ...]) -> None:
        for outgoing in messages:
            self.cluster.checker.sent(self.node, outgoing)
            self.cluster.post(self.name, outgoing)


class Cluster:
    """Nodes K1..Kn and the messages between them."""

    def __init__(
        self,
        size: int = 3,
        *,
        settings: RaftSettings = SETTINGS,
        restored: dict[str, Restored] | None = None,
        learners: tuple[str, ...] = (),
        spare: tuple[str, ...] = (),
    ) -> None:
        """`spare` nodes are there, and not in the configuration."""
        names = tuple(f"K{i + 1}" for i in range(size))
        first = bootstrap(configuration(*names, learners=learners))
        self.checker = InvariantChecker()
        self.peers = {n: Peer(self, n, (restored or {}).get(n, first), settings) for n in names + learners}
        self.peers |= {n: Peer(self, n, EMPTY, settings) for n in spare}
        self.auto_snapshots = True
        self.auto_fetch = False
        self.wires: deque[tuple[str, str, Message]] = deque()
        self.cut: set[tuple[str, str]] = set()

    def __getitem__(self, name: str) -> Peer:
        return self.peers[name]

    def post(self, sender: str, outgoing: Outgoing) -> None:
        """Send it, unless it asks something of a member whose id another incarnation has now."""
        if (sender, outgoing.to) in self.cut:
            return
        answers = outgoing.message.is_reply
        if answers or self._is_current(sender, outgoing.to):
            self.wires.append((sender, outgoing.to, outgoing.message))

    def _is_current(self, name: str, peer: str) -> bool:
        """Whether the node called `peer` now is the one that `name` means by that id."""
        return self[name].state.is_current_incarnation(peer, self[peer].incarnation)

    def disconnect(self, a: str, b: str, *, one_way: bool = False) -> None:
        """Cut the link; `one_way` cuts only from a to b."""
        self.cut.add((a, b))
        if not one_way:
            self.cut.add((b, a))
        self.drop(lambda x, y, m: (x, y) in self.cut)

    def isolate(self, name: str) -> None:
        for other in self.peers:
            if other != name:
                self.disconnect(name, other)

    def heal(self) -> None:
        self.cut.clear()

    def drop(self, chosen: Callable[[str, str, Message], bool]) -> None:
        self.wires = deque(w for w in self.wires if not chosen(*w))

    def deliver(self, sender: str, to: str, message: Message) -> None:
        peer = self.peers[to]
        answers = message.is_reply
        if peer.up and (not answers or self._is_current(to, sender)):
            peer.node.step(sender, message)
            self.checker.step(peer.node)

    def deliver_until(self, reached: Callable[[], bool]) -> None:
        """Deliver one message after the other, with disks that finish at once, until `reached`."""
        while not reached():
            for peer in self.peers.values():
                peer.ready()
                while peer.writes:
                    peer.finish_write()
            self.deliver(*self.wires.popleft())

    def settle(self) -> None:
        """Deliver and persist until nothing is left to do."""
        busy = True
        while busy:
            busy = False
            for peer in self.peers.values():
                if peer.up and peer.ready() is not None:
                    busy = True
                while peer.up and peer.auto_disk and peer.writes:
                    peer.finish_write()
                    busy = True
                while peer.up and self.auto_fetch and peer.fetches:
                    peer.answer_fetch()
                    busy = True
                busy |= self.auto_snapshots and peer.up and self._copy(peer)
            for _ in range(len(self.wires)):
                self.deliver(*self.wires.popleft())
                busy = True

    def _copy(self, peer: Peer) -> bool:
        reachable = [n for n in peer.wanted if self.peers[n].up and (peer.name, n) not in self.cut]
        for name in reachable:
            peer.copy_to(name)
        return bool(reachable)

    def tick(self, count: int = 1, *names: str) -> None:
        """Ticks for the named nodes, or all, with everything settled after each."""
        for _ in range(count):
            for name, peer in self.peers.items():
                if peer.up and (not names or name in names):
                    peer.node.tick()
                    self.checker.step(peer.node)
            self.settle()

    def elect(self, name: str) -> Peer:
        self.peers[name].node.campaign()
        self.settle()
        assert self.peers[name].state.role == "leader"
        return self.peers[name]

    def leaders(self) -> list[str]:
        return [n for n, p in self.peers.items() if p.up and p.state.role == "leader"]
