"""The follower: takes entries from the leader, and asks for votes when it has not heard one for too long."""

from typing import TYPE_CHECKING

from kraft.raft.errors import invariant
from kraft.raft.messages import Append, AppendReply, Heartbeat, HeartbeatReply
from kraft.raft.role import Role

if TYPE_CHECKING:
    from kraft.raft.core import Core


class Follower(Role):
    """Time without a leader is `Core.elapsed`, as it outlives a change of term."""

    __slots__ = ("_core",)

    name = "follower"

    def __init__(self, core: "Core") -> None:
        self._core = core

    def tick(self) -> None:
        """Start to campaign after a silence longer than the timeout (RP 5.2)."""
        core = self._core
        core.elapsed += 1
        if core.elapsed < core.timeout:
            return
        if core.electable:
            core.become_precandidate()
        elif core.leader:  # who may not campaign should not believe in a leader for ever either
            core.become_follower(core.term, "")

    def append(self, sender: str, message: Append) -> None:
        """Take the entries if the logs match before them (RP figure 2), and answer when they are durable."""
        core = self._core
        self._heard(sender)
        if core.suspended:
            return  # the disk is full: keep nothing more in memory; the leader repeats it
        log = core.log
        previous, entries = message.prev_index, message.entries
        if previous < core.commit:
            # The leader has what is committed here, so up to there the logs agree, even where this one
            # begins later and could not tell.
            entries = entries[core.commit - previous :]
            previous = core.commit
        elif not log.matches(previous, message.prev_term):
            core.send_durable(sender, self._rejection(message))
            return
        configuration = log.configurations.current
        log.merge(previous, entries, core.commit)
        if log.configurations.current is not configuration:
            core.reconfigured()
        last = previous + len(entries)
        # Beyond this message the log may hold entries that this leader will replace.
        core.commit_to(min(message.commit, last))
        core.send_durable(sender, AppendReply(core.term, last))

    def _rejection(self, message: Append) -> AppendReply:
        log = self._core.log
        # What is committed here the leader has: no need to look before it, where this log may not reach.
        hint = max(log.last_at_most(message.prev_index, message.prev_term), self._core.commit)
        return AppendReply(self._core.term, message.prev_index, True, hint, log.term(hint))

    def heartbeat(self, sender: str, message: Heartbeat) -> None:
        """Echo the round, which confirms to the leader that its term is the present one."""
        core = self._core
        self._heard(sender)
        core.commit_to(message.commit)
        # Promises nothing about the log or a vote, so it need not wait for the disk.
        core.send(sender, HeartbeatReply(core.term, message.round, core.wall_clock(), not core.electable))

    def timeout_now(self, sender: str) -> None:
        """Campaign at once, without asking first: the leader knows that the time is right (RD 3.10)."""
        core = self._core
        if core.electable and core.leader in ("", sender):
            core.become_candidate(transfer=True)

    def _heard(self, sender: str) -> None:
        core = self._core
        core.elapsed = 0
        core.heard = core.ticks
        if core.leader != sender:
            invariant(not core.leader, "a term has one leader")
            core.follow(sender)
