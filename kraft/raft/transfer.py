"""Leadership transfer: the next leader first gets all entries, and then a request to campaign (RD 3.10)."""

from collections.abc import Iterable

from kraft.raft.messages import TimeoutNow
from kraft.raft.progress import FollowerStatus, Progress, ProgressState
from kraft.raft.state import ReplicaState


class LeadershipTransfer:
    """One attempt. It lasts an election timeout: a longer pause than that of an election is no gain."""

    __slots__ = ("_deadline", "_progress", "_sent", "_state", "to")

    def __init__(self, state: ReplicaState, progress: Progress) -> None:
        self.to = progress.peer
        self._state = state
        self._progress = progress
        self._deadline = state.ticks + state.settings.election_ticks
        self._sent = False

    @property
    def late(self) -> bool:
        """Whether the attempt is to be given up."""
        return self._state.ticks >= self._deadline

    def advance(self) -> None:
        """Send `TimeoutNow`, once, when the next leader has all entries."""
        if not self._sent and self._progress.match == self._state.log.last_index:
            self._sent = True
            self._state.effects.send_now(self.to, TimeoutNow(self._state.term))

    def repeat(self) -> None:
        """Send it again: it may have been lost."""
        self._sent = False
        self.advance()


def best_successor(state: ReplicaState, followers: Iterable[FollowerStatus]) -> str:
    """The voter to lead next, "" for none: of those that are fit, the one with most of the log.

    A fit one stays a voter, does not decline, has answered one of the last two heartbeats (half an interval
    is left for the way), and is being sent entries: it neither searches for the place where the logs meet nor
    waits for a snapshot.
    """
    voters = (state.configuration.target or state.configuration).voters
    silent_ticks_max = 2 * state.settings.heartbeat_ticks + state.settings.heartbeat_ticks // 2
    fit = [
        f
        for f in followers
        if f.peer in voters
        and f.state == ProgressState.REPLICATE.value
        and f.silent_ticks <= silent_ticks_max
        and not f.declines
    ]
    return min(fit, key=lambda f: (-f.match, f.silent_ticks, f.peer)).peer if fit else ""
