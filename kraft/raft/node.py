"""One group's consensus on one node as its host sees it: inputs are methods, effects come out of `ready`."""

from collections.abc import Sequence
from dataclasses import dataclass

from kraft.raft.candidate import Candidate
from kraft.raft.core import Core
from kraft.raft.errors import NotLeading
from kraft.raft.leader import Leader
from kraft.raft.membership import Configuration
from kraft.raft.messages import Entry, EntryKind, Message
from kraft.raft.ports import Jitter, Observer, Restored, Settings, WallClock
from kraft.raft.ready import Ready


@dataclass(frozen=True, slots=True)
class FollowerStatus:
    """A leader's view of one follower; `state` is probe or replicate, `silent_ticks` since it answered."""

    peer: str
    match: int
    next: int
    state: str
    inflight: int
    silent_ticks: int


class Node:
    """One replica. Not thread-safe, never calls back into its host, raises `InvariantViolation` to stop.

    After any sequence of inputs the host calls `ready` and carries the result out.
    """

    __slots__ = ("_core",)

    def __init__(
        self,
        *,
        id: str,  # noqa: A002 - the word for it everywhere
        group: int,
        settings: Settings,
        restored: Restored,
        jitter: Jitter,
        wall_clock: WallClock,
        observer: Observer,
    ) -> None:
        self._core = Core(id, group, settings, restored, jitter, wall_clock, observer)

    # Inputs

    def tick(self) -> None:
        """One tick of the host passed."""
        self._core.tick()

    def step(self, sender: str, message: Message) -> None:
        """Take `message`, which arrived over the authenticated link of `sender`."""
        self._core.step(sender, message)

    def propose(self, kind: EntryKind, stamp: int, data: bytes) -> tuple[int, int]:
        """Append an entry to the leader's log: its (index, term).

        `stamp` in Unix ms is at least `last_stamp`. Raises `NotLeading`, or `LogFull` when the uncommitted
        log has no room; one entry of any size is taken when nothing is uncommitted.
        """
        return self._leader().propose(kind, stamp, data)

    def read(self, ctx: int, floor: int = 0) -> None:
        """Start a read round; `ctx` comes back in `Ready.reads`, or in `Ready.reads_failed` on step-down.

        The index it comes with is at least `floor`, and held back until this term has committed its no-op.
        Raises `NotLeading`.
        """
        self._leader().read(ctx, floor)

    def campaign(self) -> None:
        """Ask for prevotes now. Nothing happens where this node may not, or need not, be elected."""
        core = self._core
        if core.electable and not isinstance(core.role, Leader | Candidate):
            core.become_precandidate()

    def leader_lost(self, peer: str) -> None:
        """`peer` closed its link: if it led, it is not heard any more, and votes need not be refused."""
        core = self._core
        if peer and core.leader == peer and peer != core.id:
            core.become_follower(core.term, "")

    def unreachable(self, peer: str) -> None:
        """The link to `peer` is down: a leader holds back until it is heard again."""
        if isinstance(self._core.role, Leader):
            self._core.role.unreachable(peer)

    def persisted(self, sequence: int) -> None:
        """That `Persist`, and every one before it, is durable."""
        self._core.persisted(sequence)

    def suspend(self) -> None:
        """The disk is full: no vote, no campaign, nothing new taken; a leader steps down."""
        self._core.suspend()

    def resume(self) -> None:
        """There is room again."""
        self._core.suspended = False

    def fetched(self, peer: str, entries: Sequence[Entry]) -> None:
        """The answer to a `Fetch` for `peer`: contiguous from its first index."""
        if isinstance(self._core.role, Leader):
            self._core.role.fetched(peer, entries)

    # Effects

    def ready(self) -> Ready | None:
        """What to carry out now, None for nothing. The entries of `apply` count as applied."""
        return self._core.take_ready()

    # Status

    @property
    def id(self) -> str:
        """This node's id."""
        return self._core.id

    @property
    def group(self) -> int:
        """The group's id."""
        return self._core.group

    @property
    def role(self) -> str:
        """One of leader, follower, candidate, precandidate."""
        return self._core.role.name

    @property
    def term(self) -> int:
        """The current term; perhaps not durable yet."""
        return self._core.term

    @property
    def vote(self) -> str:
        """Who has this node's vote in `term`, '' for nobody; perhaps not durable yet."""
        return self._core.vote

    @property
    def leader(self) -> str:
        """The leader of `term`, '' when unknown."""
        return self._core.leader

    @property
    def commit(self) -> int:
        """The highest index known to be committed."""
        return self._core.commit

    @property
    def applied(self) -> int:
        """The highest index given out in `Ready.apply`, or replayed before."""
        return self._core.applied

    @property
    def durable(self) -> int:
        """The highest index of the present log that is on disk."""
        return self._core.log.durability.durable

    @property
    def first_index(self) -> int:
        """The first index of the log."""
        return self._core.log.first_index

    @property
    def last_index(self) -> int:
        """The last index of the log."""
        return self._core.log.last_index

    @property
    def last_stamp(self) -> int:
        """The stamp of the last entry, in Unix ms."""
        return self._core.log.last_stamp

    @property
    def log_bytes(self) -> int:
        """Bytes of the entries in memory."""
        return self._core.log.tail_bytes

    @property
    def uncommitted_bytes(self) -> int:
        """Bytes of the entries above `commit`."""
        return self._core.log.bytes_behind(self._core.commit)

    @property
    def configuration(self) -> Configuration:
        """The configuration in force: the last one in the log, committed or not."""
        return self._core.log.configuration

    @property
    def suspended(self) -> bool:
        """Whether `suspend` is in force."""
        return self._core.suspended

    @property
    def vote_clocks(self) -> dict[str, int]:
        """Wall clocks (Unix ms) of the voters that elected this node last, its own included."""
        return dict(self._core.vote_clocks)

    @property
    def clocks(self) -> dict[str, int]:
        """A leader's latest wall clock (Unix ms) of each follower that answered a heartbeat; else empty."""
        role = self._core.role
        return dict(role.clocks) if isinstance(role, Leader) else {}

    @property
    def leads_with_commit(self) -> bool:
        """Whether this node leads and has committed an entry of its own term."""
        role = self._core.role
        return isinstance(role, Leader) and self._core.commit >= role.noop_index

    def term_at(self, index: int) -> int:
        """The term of the entry at `index`, which lies in the log; 0 for index 0."""
        return self._core.log.term(index)

    def term_runs(self) -> tuple[tuple[int, int], ...]:
        """(first index, term) runs of the whole log."""
        return self._core.log.runs()

    def progress(self) -> tuple[FollowerStatus, ...]:
        """A leader's followers in the order of their ids; else empty."""
        role = self._core.role
        if not isinstance(role, Leader):
            return ()
        return tuple(
            FollowerStatus(
                p.peer, p.match, p.next, p.state.value, p.inflight, self._core.ticks - p.contact
            )
            for p in role.progress.values()
        )

    def _leader(self) -> Leader:
        role = self._core.role
        if not isinstance(role, Leader):
            raise NotLeading(self._core.leader)
        return role
