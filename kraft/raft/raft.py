"""One group's consensus on one node as its host sees it: inputs are methods, effects come out of `ready`."""

from collections.abc import Sequence
from dataclasses import dataclass

from kraft.raft import snapshots
from kraft.raft.candidate import Candidate
from kraft.raft.core import Core
from kraft.raft.elections import bound_by_lease
from kraft.raft.errors import NotLeading
from kraft.raft.leader import Leader
from kraft.raft.membership.configuration import Base, Configuration
from kraft.raft.messages import Entry, EntryKind, Message
from kraft.raft.ports import Jitter, RaftObserver, Restored, Settings, WallClock
from kraft.raft.ready import Ready


@dataclass(frozen=True, slots=True)
class FollowerStatus:
    """A leader's view of one follower; `silent_ticks` since it answered.

    `state` is probe, replicate or snapshot (it waits for a copy of the state machine). `declines`: it would
    not take over leadership.
    """

    peer: str
    match: int
    next: int
    state: str
    inflight: int
    silent_ticks: int
    declines: bool = False


class Raft:
    """One replica. Not thread-safe, never calls back into its host, raises `InvariantViolation` to stop.

    After any sequence of inputs the host calls `ready` and carries the result out.

    `incarnation` is this node's own: with it the node knows a member of its own id for another one. The empty
    one knows no difference, and will do where ids never return.
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
        observer: RaftObserver,
        incarnation: str = "",
    ) -> None:
        self._core = Core(id, group, settings, restored, jitter, wall_clock, observer, incarnation)

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
        log has no room; one entry of any size is taken when nothing is uncommitted. While leadership is
        being transferred `NotLeading` names the next leader.
        """
        return self._leader().propose(kind, stamp, data)

    def read(self, ctx: int, floor: int = 0) -> None:
        """Start a read round; `ctx` comes back in `Ready.reads`, or in `Ready.reads_failed` on step-down.

        The index it comes with is at least `floor`, and held back until this term has committed its no-op.
        Raises `NotLeading`.
        """
        self._leader().read(ctx, floor)

    def campaign(self) -> None:
        """Ask for prevotes now. Nothing happens where this node may not, or need not, be elected.

        With leases that is so until an election timeout has passed since a leader was heard.
        """
        core = self._core
        if core.electable and not bound_by_lease(core) and not isinstance(core.role, Leader | Candidate):
            core.become_precandidate()

    def leader_lost(self, peer: str) -> None:
        """`peer` closed its link: if it led, it is not heard any more, and votes need not be refused.

        With leases they are: another process may have the lease, or the same one without its links.
        """
        core = self._core
        if core.settings.leases:
            return
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
        """The answer to a `Fetch` for `peer`: contiguous from its first index, or none: cut off meanwhile."""
        if isinstance(self._core.role, Leader):
            self._core.role.fetched(peer, entries)

    # Snapshots and compaction

    def compact(self, index: int) -> None:
        """Forget the entries up to `index`, at most `applied`; the next `Persist` carries the new base.

        Nothing happens when they are forgotten already. Any number may go at once; the disk prefers few.
        """
        snapshots.compact(self._core, index)

    def base_at(self, index: int) -> Base:
        """What a copy of the state machine at `index` is labelled with: from the base to `applied`.

        Asked when the entry at `index` is applied the stamp is exact; much later it may be a later one.
        """
        return snapshots.base_at(self._core, index)

    def install(self, base: Base, state: int) -> bool:
        """Put a received copy, durable in state file `state`, in the place of the log up to `base`.

        False when `base` is not news: nothing happens. Else the next `Ready` has `restored`, and a `persist`
        with base and state; the leader is told when that is durable. Entries behind a matching base stay.
        """
        return snapshots.install(self._core, base, state)

    def reseed(self, base: Base, state: int) -> None:
        """Exchange only the state file for `state`, a copy at `base` from within the committed log.

        The next `Ready` has `restored`, and a `persist` with the state; what `apply` gave out stays given
        out, so that the host reads the entries from `base` to `applied` again by itself.
        """
        snapshots.reseed(self._core, base, state)

    def snapshot_ended(self, peer: str) -> None:
        """The copying to a peer named in `Ready.snapshots` ended, well or not: it may be named again."""
        if isinstance(self._core.role, Leader):
            self._core.role.snapshot_ended(peer)

    # Membership and leadership

    def reconfigure(self, target: Configuration) -> tuple[int, int]:
        """Begin to change the configuration to `target`: (index, term) of the first entry of that.

        Where the voters stay the same members, that entry is the target; else it is joint, and the entry with
        the target follows by itself when it is committed. Raises `NotLeading`, or `ChangeRefused`: another
        change is not complete, this term has committed nothing, leadership is being transferred, or the
        target is no configuration to go to.
        """
        return self._leader().reconfigure(target)

    def transfer(self, to: str) -> None:
        """Hand leadership to the voter `to`, within an election timeout; after that lead on.

        Raises `NotLeading`, or `TransferRefused`: no voter, this node itself, or another transfer under way.
        """
        self._leader().transfer(to)

    def drain(self, on: bool) -> None:
        """While `on` never campaign, not even on the leader's request. A leader goes on leading."""
        self._core.drain(on)

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
    def incarnation(self) -> str:
        """This node's incarnation, '' if it was not told."""
        return self._core.incarnation

    @property
    def group(self) -> int:
        """The group's id."""
        return self._core.group

    @property
    def role(self) -> str:
        """One of leader, follower, candidate, precandidate, and learner: a follower without a vote."""
        return self._core.role_name

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
    def leads(self) -> bool:
        """Whether this node is the leader of `term`, as far as it knows."""
        return self._core.leader == self._core.id

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
    def base(self) -> Base:
        """Where the log begins: at the entry behind this."""
        return self._core.log.base

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
    def configuration_index(self) -> int:
        """The index of the entry that carries `configuration`, 0 for none."""
        return self._core.log.configuration_index

    def means(self, peer: str, incarnation: str) -> bool:
        """Whether it is this incarnation that the core speaks of as `peer`: the member, or one it removed.

        Requests for `peer` must go to it alone, and answers of `peer` be its own: to another one that came
        under the same id they would be a vote, or a log, that it never gave, or never had.
        """
        configuration = self._core.log.configuration
        member = configuration.member(peer)
        if member is None:
            return incarnation in configuration.retired
        return member.incarnation == incarnation

    @property
    def transferring(self) -> str:
        """To whom this leader is handing over; '' when it is not."""
        role = self._core.role
        return role.transferring if isinstance(role, Leader) else ""

    @property
    def draining(self) -> bool:
        """Whether `drain` is on."""
        return self._core.draining

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
        """The term of the entry at `index`, at most the last one; 0 where the log does not know any more."""
        log = self._core.log
        return log.term(index) if index >= log.base.index else 0

    def term_runs(self) -> tuple[tuple[int, int], ...]:
        """(first index, term) runs of the whole log, its base included."""
        return self._core.log.runs()

    def progress(self) -> tuple[FollowerStatus, ...]:
        """A leader's followers in the order of their ids; else empty."""
        role = self._core.role
        if not isinstance(role, Leader):
            return ()
        return tuple(
            FollowerStatus(
                p.peer,
                p.match,
                p.next,
                p.state.value,
                p.inflight,
                self._core.ticks - p.contact,
                p.declines,
            )
            for p in role.progress.values()
        )

    def _leader(self) -> Leader:
        role = self._core.role
        if not isinstance(role, Leader):
            raise NotLeading(self._core.leader)
        return role
