"""Raft nodes joined in memory: carries out Readies with a disk and links the test controls.

Messages wait in `Cluster.wires` until they are delivered, writes in `Peer.writes` until they are finished, so
that a test decides every order. `settle` runs everything to quiet. The checker of `kraft.raft.invariants`
looks at the whole after every step.
"""

from collections import deque
from collections.abc import Callable
from dataclasses import replace

from kraft.raft.invariants import ClusterChecker
from kraft.raft.membership import Configuration, Member
from kraft.raft.messages import Entry, EntryKind, HardState, Message, PreVoteReply, VoteReply
from kraft.raft.node import Node
from kraft.raft.ports import Restored, Settings
from kraft.raft.ready import Fetch, Outgoing, Persist, Ready

SETTINGS = Settings(election_ticks=10, heartbeat_ticks=2)


def configuration(*voters: str, learners: tuple[str, ...] = ()) -> Configuration:
    members = tuple(sorted(Member(v, v.lower() * 16, f"{v}:1") for v in voters + learners))
    return Configuration(members, tuple(sorted(voters)), tuple(sorted(learners)))


def bootstrap(config: Configuration) -> Restored:
    entry = Entry(1, 1, 0, EntryKind.CONFIGURATION, config.encode())
    return Restored(HardState(1), 1, 1, ((1, 1),), (entry,), ((1, config),), 0)


class Recorder:
    """Observer that remembers."""

    def __init__(self) -> None:
        self.roles: list[tuple[str, int, str]] = []
        self.elections: list[tuple[str, str]] = []

    def role_changed(self, group: int, role: str, term: int, leader: str) -> None:
        self.roles.append((role, term, leader))

    def election_ended(self, group: int, kind: str, outcome: str) -> None:
        self.elections.append((kind, outcome))


class Disk:
    """What one node's disk has: rows and a hard state."""

    def __init__(self, restored: Restored) -> None:
        self.hard_state = restored.hard_state
        self.entries = list(restored.tail)
        self.commit = restored.commit
        self.configurations = restored.configurations

    def write(self, persist: Persist) -> None:
        if persist.hard_state is not None:
            self.hard_state = persist.hard_state
        if persist.truncate_from is not None:
            self.entries = [e for e in self.entries if e.index < persist.truncate_from]
        if persist.entries:
            assert persist.entries[0].index == len(self.entries) + 1
        self.entries += persist.entries
        self.commit = max(self.commit, persist.commit)

    def restored(self) -> Restored:
        runs: list[tuple[int, int]] = []
        for e in self.entries:
            if not runs or runs[-1][1] != e.term:
                runs.append((e.index, e.term))
        last = self.entries[-1]
        return Restored(
            self.hard_state,
            last.index,
            min(self.commit, last.index),
            tuple(runs),
            tuple(self.entries),
            self.configurations,
            last.stamp,
        )


class Peer:
    """One node with its disk; `auto_disk` finishes writes when settling."""

    def __init__(self, cluster: "Cluster", name: str, restored: Restored, settings: Settings) -> None:
        self.cluster = cluster
        self.name = name
        self.settings = settings
        self.disk = Disk(restored)
        self.auto_disk = True
        self.jitter = 3 * (int(name[1:]) - 1)  # K1 campaigns first
        self.wall = 1000
        self.observer = Recorder()
        self._start(restored)

    def _start(self, restored: Restored) -> None:
        self.node = Node(
            id=self.name,
            group=0,
            settings=self.settings,
            restored=restored,
            jitter=lambda n: min(self.jitter, n - 1),
            wall_clock=lambda: self.wall,
            observer=self.observer,
        )
        self.writes: deque[tuple[Persist, tuple[Outgoing, ...]]] = deque()
        self.applied: list[Entry] = list(self.disk.entries[: restored.commit])
        self.reads: list[tuple[int, int]] = []
        self.failed: list[int] = []
        self.fetches: list[Fetch] = []
        self.up = True

    def crash(self) -> None:
        """Lose everything that no finished write covers."""
        self.up = False
        self.cluster.drop(lambda a, b, m: b == self.name)

    def restart(self) -> None:
        self._start(self.disk.restored())
        self.cluster.checker.restarted(self.node)

    def ready(self) -> Ready | None:
        ready = self.node.ready()
        if ready is None:
            return None
        self.cluster.checker.ready(self.node, ready)
        self._post(ready.send_now)
        if ready.persist is not None:
            self.writes.append((ready.persist, ready.send_after_persist))
        else:
            assert not ready.send_after_persist
        self.applied += ready.apply
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

    def answer_fetch(self) -> None:
        fetch = self.fetches.pop(0)
        self.node.fetched(fetch.peer, self.disk.entries[fetch.first - 1 : fetch.last])

    def propose(self, data: bytes = b"x") -> tuple[int, int]:
        return self.node.propose(EntryKind.COMMANDS, self.node.last_stamp, data)

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
        settings: Settings = SETTINGS,
        restored: dict[str, Restored] | None = None,
        learners: tuple[str, ...] = (),
    ) -> None:
        names = tuple(f"K{i + 1}" for i in range(size))
        first = bootstrap(configuration(*names, learners=learners))
        self.checker = ClusterChecker()
        self.peers = {n: Peer(self, n, (restored or {}).get(n, first), settings) for n in names + learners}
        self.wires: deque[tuple[str, str, Message]] = deque()
        self.cut: set[tuple[str, str]] = set()

    def __getitem__(self, name: str) -> Peer:
        return self.peers[name]

    def post(self, sender: str, outgoing: Outgoing) -> None:
        if (sender, outgoing.to) not in self.cut:
            self.wires.append((sender, outgoing.to, outgoing.message))

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
        if peer.up:
            peer.node.step(sender, message)
            self.checker.step(peer.node)

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
            for _ in range(len(self.wires)):
                self.deliver(*self.wires.popleft())
                busy = True

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
        assert self.peers[name].node.role == "leader"
        return self.peers[name]

    def leaders(self) -> list[str]:
        return [n for n, p in self.peers.items() if p.up and p.node.role == "leader"]


def with_log(base: Restored, term: int, *terms: int, commit: int = 1, vote: str = "") -> Restored:
    """`base` (one bootstrap entry) followed by an entry of each of `terms`; hard state `term`."""
    tail = list(base.tail)
    for t in terms:
        tail.append(Entry(len(tail) + 1, t, 0, EntryKind.COMMANDS, b"%d" % t))
    runs: list[tuple[int, int]] = []
    for e in tail:
        if not runs or runs[-1][1] != e.term:
            runs.append((e.index, e.term))
    return replace(
        base,
        hard_state=HardState(term, vote),
        last_index=len(tail),
        commit=commit,
        terms=tuple(runs),
        tail=tuple(tail),
    )


def lone(base: Restored, name: str = "K2", settings: Settings = SETTINGS, size: int = 3) -> Peer:
    """One node of a cluster whose other nodes are played by the test."""
    cluster = Cluster(size, restored={name: base}, settings=settings)
    for other, peer in cluster.peers.items():
        peer.up = other == name
    return cluster[name]


def answers(peer: Peer) -> list[tuple[str, Message]]:
    """Everything `peer` says now, its writes finished: (to, message) pairs."""
    while peer.ready() is not None or peer.writes:
        while peer.writes:
            peer.finish_write()
    said = [(to, message) for sender, to, message in peer.cluster.wires if sender == peer.name]
    peer.cluster.wires.clear()
    return said


def answer(peer: Peer) -> Message:
    """The one message `peer` has to say."""
    said = answers(peer)
    assert len(said) == 1, said
    return said[0][1]


def commands(first: int, *terms: int) -> tuple[Entry, ...]:
    """Entries from index `first`, one for each of `terms`, equal to those of `with_log`."""
    return tuple(Entry(first + i, t, 0, EntryKind.COMMANDS, b"%d" % t) for i, t in enumerate(terms))


def lone_leader(*terms: int, term: int, name: str = "K1") -> Peer:
    """One of three, leading `term` by the vote of K2, with entries of `terms` behind the bootstrap entry and
    its no-op last, which it did not send yet.
    """
    peer = lone(with_log(bootstrap(configuration("K1", "K2", "K3")), term - 1, *terms), name)
    peer.node.campaign()
    answers(peer)
    peer.node.step("K2", PreVoteReply(term, True))
    answers(peer)
    peer.node.step("K2", VoteReply(term, True, 0))
    assert (peer.node.role, peer.node.term) == ("leader", term)
    return peer
