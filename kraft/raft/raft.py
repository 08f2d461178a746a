"""Consensus of one group on one node: inputs are methods, effects come out of `take_ready`.

This module applies the term rules (RP 5.1), and has a change of role carried out when the role's method has
returned. See docs/design/consensus.md for the protocol as a whole.
"""

from collections.abc import Collection, Mapping, Sequence
from dataclasses import replace

from kraft.raft import elections, snapshots
from kraft.raft.membership.configuration import Base, Configuration
from kraft.raft.messages import (
    Append,
    AppendReply,
    Entry,
    EntryKind,
    Heartbeat,
    HeartbeatReply,
    Message,
    PreVote,
    PreVoteReply,
    TimeoutNow,
    Vote,
    VoteReply,
)
from kraft.raft.ports import Jitter, RaftObserver, RaftSettings, Restored, WallClock
from kraft.raft.progress import FollowerStatus
from kraft.raft.ready import Ready
from kraft.raft.role_change import RoleChange
from kraft.raft.roles import Roles
from kraft.raft.state import CANDIDATE, NO_LINKS, PRECANDIDATE, ReplicaState


class Raft:
    """One replica. It is not thread-safe and never calls back into its host.

    After any sequence of inputs the host calls `take_ready` and carries the result out. It reads `state`, and
    changes nothing there. Any method may raise `InvariantViolation`; then the group must stop.
    The `incarnation` tells this node apart from another member under the same id. An empty one matches any,
    which is enough where ids never return.
    """

    __slots__ = ("_roles", "state")

    def __init__(
        self,
        *,
        id: str,  # noqa: A002 - it is called so everywhere
        group: int,
        settings: RaftSettings,
        restored: Restored,
        jitter: Jitter,
        wall_clock: WallClock,
        observer: RaftObserver,
        incarnation: str = "",
    ) -> None:
        self.state = ReplicaState(
            id=id,
            group=group,
            settings=settings,
            restored=restored,
            jitter=jitter,
            wall_clock=wall_clock,
            observer=observer,
            incarnation=incarnation,
        )
        self._roles = Roles(self.state)

    # Time, messages and the disk

    def tick(self, links: Mapping[str, int] = NO_LINKS) -> None:
        """One tick of the host passed. `links` has the bytes that each link carries, as far as is known."""
        state = self.state
        state.ticks += 1
        state.links = links
        self._roles.current.tick()
        if state.role_change is not None:
            self._roles.change()

    def skip(self, ticks: int) -> None:
        """So many ticks passed without a call of `tick`: at most `spare_ticks`, or the group was quiet."""
        self.state.ticks += ticks
        self._roles.current.skip(ticks)

    @property
    def spare_ticks(self) -> int:
        """How many ticks may pass before the next call of `tick`: nothing is due before that."""
        return self._roles.current.spare_ticks

    def step(self, sender: str, message: Message) -> None:
        """Take `message`, which arrived over the authenticated link of `sender`."""
        state = self.state
        if message.term != state.term and not self._settle_term(sender, message):
            return
        match message:
            case AppendReply():
                self._roles.current.append_reply(sender, message)
            case Append():
                self._roles.hear_leader(sender)
                self._roles.current.append(sender, message)
            case HeartbeatReply():
                self._roles.current.heartbeat_reply(sender, message)
            case Heartbeat():
                self._roles.hear_leader(sender)
                self._roles.current.heartbeat(sender, message)
            case PreVote():
                elections.answer_prevote(state, sender, message)
            case PreVoteReply():
                self._roles.current.prevote_reply(sender, message)
            case Vote():
                elections.answer_vote(state, sender, message)
            case VoteReply():
                self._roles.current.vote_reply(sender, message)
            case TimeoutNow():
                self._roles.current.timeout_now(sender)
        if state.role_change is not None:
            self._roles.change()

    def receiving(self, sender: str) -> None:
        """A part of a message arrived over the authenticated link of `sender`, which may be the leader."""
        self._roles.current.receiving(sender)

    def _settle_term(self, sender: str, message: Message) -> bool:
        """Enter the term of `message` if it is newer (RP 5.1). Returns whether to process the message.

        A prevote, and the grant of one, carry a term that nobody has entered yet. A refusal carries the
        voter's own term: without adopting it this node could never win.
        """
        state = self.state
        newer = message.term > state.term
        if isinstance(message, PreVoteReply) and newer and not message.granted:
            self._roles.follow(message.term, "")
            return False
        if isinstance(message, PreVote | PreVoteReply):
            return True
        if not newer:
            self._answer_stale(sender, message)
            return False
        if isinstance(message, Vote) and elections.ignores_votes(state, transfer=message.transfer):
            return False
        self._roles.follow(message.term, sender if message.from_leader else "")
        return True

    def _answer_stale(self, sender: str, message: Message) -> None:
        """Inform a stale leader or candidate of the present term, which promises nothing."""
        state = self.state
        match message:
            case Append():
                state.effects.send_now(sender, AppendReply(state.term, message.prev_index, True))
            case Heartbeat():
                # Without its round: that is of another term, and must not confirm a read in this one.
                state.effects.send_now(sender, HeartbeatReply(state.term, 0, state.wall_clock()))
            case Vote():
                state.effects.send_now(sender, VoteReply(state.term, False, state.wall_clock()))

    def persisted(self, sequence: int) -> None:
        """The `Persist` with this sequence, and every one before it, is durable."""
        self.state.persisted(sequence)
        self._roles.current.persisted()
        if self.state.role_change is not None:
            self._roles.change()

    def take_ready(self) -> Ready | None:
        """The effects to carry out now, None for none. The entries in `apply` count as applied now."""
        state = self.state
        if state.effects.wants_replication:
            state.effects.wants_replication = False
            self._roles.current.replicate()
        persist = state.take_persist()
        return state.effects.take(persist, state.take_committed())

    # Requests of the host to a leader

    def propose(self, kind: EntryKind, stamp: int, data: bytes) -> tuple[int, int]:
        """Append an entry to the leader's log. Returns its (index, term).

        `stamp` in Unix ms is at least that of the last entry. Raises `NotLeading`, or `LogFull` when too much
        is not applied yet: not committed, or not durable here. One entry of any size is taken when all is
        applied. While leadership is being transferred, `NotLeading` names the next leader.
        """
        return self._roles.current.propose(kind, stamp, data)

    def read(self, ctx: int, floor: int = 0) -> None:
        """Start a heartbeat round. `ctx` returns in `Ready.reads`, or in `Ready.reads_failed` on step-down.

        The index that comes with it is at least `floor`. It comes after this term has committed its no-op.
        Raises `NotLeading`.
        """
        self._roles.current.read(ctx, floor)

    def reconfigure(self, target: Configuration) -> tuple[int, int]:
        """Begin to change the configuration to `target`. Returns the (index, term) of its first entry.

        If the voters stay the same members, that entry carries the target. Else it carries a joint
        configuration, and the leader appends the target by itself once that is committed. The first entry
        gives new replicas their numbers. Raises `NotLeading`, or `ChangeRefused`: another change is not
        complete, this term has committed nothing, leadership is being transferred, or `target` cannot follow.
        """
        return self._roles.current.reconfigure(target)

    def transfer(self, to: str) -> None:
        """Transfer leadership to the voter `to`; if that takes more than an election timeout, keep it.

        Raises `NotLeading`, or `TransferRefused`: `to` is no voter, or this node, or another transfer runs.
        """
        self._roles.current.transfer(to)

    def progress(self) -> tuple[FollowerStatus, ...]:
        """The followers in the order of their ids, if this node leads; else nothing."""
        return self._roles.current.progress()

    def fetched(self, peer: str, entries: Sequence[Entry]) -> None:
        """Answer a `Fetch` for `peer`: contiguous entries from its first index, or none if they were cut."""
        self._roles.current.fetched(peer, entries)

    def snapshot_ended(self, peer: str) -> None:
        """The copying to a peer in `Ready.snapshots` ended, successfully or not; it may be named again."""
        self._roles.current.snapshot_ended(peer)

    def unreachable(self, peer: str) -> None:
        """What was sent to `peer` may be lost: a leader sends it no entries until it hears from it."""
        self._roles.current.unreachable(peer)

    # Quiet groups

    def is_settled(self, linked: Collection[str]) -> bool:
        """Whether this node leads, and the `linked` followers lack nothing and can elect with it.

        Such a group may rest. Followers without a link are left out: nothing could be said to them.
        """
        return self._roles.current.is_settled(linked)

    def rest(self, leader: str, term: int, index: int) -> bool:
        """Let beats of the nodes speak for this group from now on. Returns whether that is right here.

        `leader` leads `term`, and has committed `index`, its last entry. A quiet leader sends no heartbeats
        but those of reads. A follower agrees only when it holds the whole log of the leader. What is said for
        the group comes by `spoken_for`. Any entry, and any change of term, leader or role, ends it.
        """
        state, log = self.state, self.state.log
        right = (state.term, state.leader, log.last_index) == (term, leader, index)
        if state.leads:
            right = right and state.commit == index
        else:  # only the leader of a term makes its entries: the last one shows that the logs are equal
            right = right and log.last_term == term and state.following and not state.suspended
        if right:
            state.commit_to(index)
        state.quiet = right
        return right

    def wake(self) -> None:
        """Let the heartbeats of the group speak for it again."""
        self.state.quiet = False

    def spoken_for(self, peer: str, ticks_ago: int) -> None:
        """While the group is quiet, the node `peer` spoke for it so many ticks ago.

        That is the leader, or a follower that has answered the leader's beat.
        """
        if self.state.quiet:
            self._roles.current.spoken_for(peer, self.state.ticks - ticks_ago)

    # Elections

    def campaign(self) -> None:
        """Ask for prevotes now, unless this node is slow, or may not, or need not, be elected (yet)."""
        state = self.state
        free = (state.following or state.role == PRECANDIDATE) and state.vote_durable
        if free and state.electable and not state.slow and not elections.bound_by_lease(state):
            state.role_change = RoleChange(PRECANDIDATE)
            self._roles.change()

    def leader_lost(self, peer: str) -> None:
        """`peer` closed its link: if it led, forget it, so that this node may vote at once.

        With leases nothing happens: the lease may still be in use, by the same process without its links.
        """
        state = self.state
        if peer and state.leader == peer and peer != state.id and not state.settings.leases:
            self._roles.follow(state.term, "")

    def suspend(self) -> None:
        """The disk is full: vote for nobody, do not campaign, take no entries; a leader steps down."""
        self.state.suspended = True
        if not self.state.following:
            self._roles.follow(self.state.term, "")

    def resume(self) -> None:
        """The disk has room again."""
        self.state.suspended = False

    def contest(self) -> None:
        """There are several groups by now: campaign in the place of a candidate with a shorter log."""
        self.state.settings = replace(self.state.settings, contests=True)

    def drain(self, on: bool) -> None:
        """While `on`, never campaign, not even on the leader's request. A leader goes on leading."""
        self.state.draining = on
        if on and self.state.role in (PRECANDIDATE, CANDIDATE):
            self._roles.follow(self.state.term, "")

    def mark_slow(self, on: bool) -> None:
        """While `on`, leave it to the others to campaign first, and tell the leader so. A leader goes on."""
        self.state.slow = on

    # Snapshots and compaction

    def compact(self, index: int) -> None:
        """Drop the entries up to `index`, at most `applied`; the next `Persist` has the base, if it moves."""
        snapshots.compact(self.state, index)

    def install(self, base: Base, state_file: int) -> bool:
        """Replace the log up to `base` by a received snapshot, which is durable in file `state_file`.

        Returns False, and changes nothing, if `base` is committed here already, as it always is on a leader.
        Else the next `Ready` has `restored`, and a `persist` with base and state file; the leader gets an
        acknowledgement when that is durable. Entries after a matching base stay.
        """
        state = self.state
        if base.index <= state.commit or state.leader == state.id:
            return False
        if base.term > state.term or not state.following:
            self._roles.follow(max(base.term, state.term), "")
        snapshots.install(state, base, state_file)
        return True

    def reseed(self, base: Base, state_file: int) -> None:
        """Replace only the state, by the copy at `base`, within the committed log, in file `state_file`.

        The next `Ready` has `restored`, and a `persist` with the state file. Entries up to `applied` are not
        given out again: the host itself reads those after `base`.
        """
        snapshots.reseed(self.state, base, state_file)
