"""The follower: takes entries from the leader, and asks for votes when it has not heard one for too long."""

from kraft.raft.errors import invariant
from kraft.raft.messages import Append, AppendReply, Heartbeat, HeartbeatReply
from kraft.raft.role import Role
from kraft.raft.role_change import RoleChange
from kraft.raft.state import CANDIDATE, FOLLOWER, PRECANDIDATE

PARTS_TIMEOUTS = 20  # election timeouts for which parts of messages are a sign of life
FRESH_HEARTBEATS = 2  # intervals since the leader was heard, up to which no follower watches each tick
SLOW_TIMEOUTS = 2  # election timeouts that a slow node waits longer: the others campaign first


class Follower(Role):
    """One object serves all terms: the time without a leader is in the state, as it outlives a term."""

    __slots__ = ()

    def tick(self) -> None:
        """Start to campaign after a silence longer than the timeout (RP 5.2), and with its vote on disk."""
        state = self._state
        state.elapsed += 1
        patience = SLOW_TIMEOUTS * state.settings.election_ticks if state.slow else 0
        if state.elapsed < state.timeout + patience:
            return
        if state.electable and state.vote_durable:
            state.role_change = RoleChange(PRECANDIDATE)
        elif state.leader:  # a node that may not campaign must not believe in a lost leader for ever either
            state.role_change = RoleChange(FOLLOWER)

    def skip(self, ticks: int) -> None:
        """Count them."""
        self._state.elapsed += ticks

    @property
    def spare_ticks(self) -> int:
        """A heartbeat interval while the leader is heard: that ends before the shortest election timeout."""
        state = self._state
        interval = state.settings.heartbeat_ticks
        fresh = state.leader and state.elapsed <= FRESH_HEARTBEATS * interval
        return max(0, min(interval, state.timeout - state.elapsed) - 1) if fresh else 0

    def append(self, sender: str, message: Append) -> None:
        """Take the entries if the logs match before them (RP figure 2), and answer when they are durable."""
        state = self._state
        state.quiet = False
        self._heard(sender)
        if state.suspended:
            return  # the disk is full: keep nothing more in memory; the leader repeats it
        log = state.log
        previous, entries = message.prev_index, message.entries
        if previous < state.commit:
            # The leader has what is committed here, so up to there the logs agree, even where this one
            # begins later and could not tell.
            entries = entries[state.commit - previous :]
            previous = state.commit
        elif not log.matches(previous, message.prev_term):
            state.effects.send_after_persist(sender, self._rejection(message))
            return
        log.merge(previous, entries, state.commit)
        if log.configurations.current is not state.configuration:
            state.reconfigured()
        last = previous + len(entries)
        if last > state.matched:
            state.matched = last
        # Beyond this message the log may hold entries that this leader will replace.
        state.commit_to(min(message.commit, last))
        state.effects.send_after_persist(sender, AppendReply(state.term, last))

    def _rejection(self, message: Append) -> AppendReply:
        state, log = self._state, self._state.log
        # The leader has what is committed here: no need to look before that, where this log may not reach.
        hint = max(log.last_at_most(message.prev_index, message.prev_term), state.commit)
        return AppendReply(state.term, message.prev_index, True, hint, log.term(hint))

    def heartbeat(self, sender: str, message: Heartbeat) -> None:
        """Echo the round, which confirms to the leader that its term is the present one."""
        state = self._state
        self._heard(sender)
        state.commit_to(message.commit)
        # The reply promises nothing about the log or a vote, so it need not wait for the disk.
        reply = HeartbeatReply(state.term, message.round, state.wall_clock(), not state.electable, state.slow)
        state.effects.send_now(sender, reply)

    def receiving(self, sender: str) -> None:
        """Wait on for a leader whose link became narrow, and tell it so.

        What the kernels hold of a large message passes before any heartbeat: for seconds, where the link has
        just become narrow. An election then would gain nothing, and its winner would send all of it again.
        The answer, with what this node certainly has, keeps the leader from stepping down. For lease and
        reads it counts nothing.
        """
        state = self._state
        bound = PARTS_TIMEOUTS * state.settings.election_ticks
        if state.leader != sender or not state.elapsed or state.ticks - state.heard > bound:
            return
        state.elapsed = 0
        known = min(state.commit, state.log.durability.durable)
        state.effects.send_now(sender, AppendReply(state.term, known))

    def timeout_now(self, sender: str) -> None:
        """Campaign at once, without asking first: the leader knows that the time is right (RD 3.10)."""
        state = self._state
        if state.electable and state.leader in ("", sender):
            state.role_change = RoleChange(CANDIDATE, transfer=True)

    def spoken_for(self, peer: str, heard: int) -> None:
        """The leader's beat counts like a heartbeat of that tick."""
        state = self._state
        if state.leader == peer and heard > state.heard:
            state.heard = heard
            state.elapsed = state.ticks - heard

    def _heard(self, sender: str) -> None:
        state = self._state
        state.elapsed = 0
        state.heard = state.ticks
        if state.leader != sender:
            invariant(not state.leader, "a term has one leader")
            state.follow(sender)
