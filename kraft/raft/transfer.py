"""Leadership transfer: the next leader first gets all entries, and then a request to campaign (RD 3.10)."""

from collections.abc import Iterable

from kraft.raft.membership.quorum import Outcome
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
    """The voter to lead next, "" for none: a fit one, rather one that is not slow, with most of the log."""
    fit = _fit(state, followers)
    return min(fit, key=lambda f: (f.slow, -f.match, f.silent_ticks, f.peer)).peer if fit else ""


def dispensable(state: ReplicaState, followers: Iterable[FollowerStatus]) -> bool:
    """Whether voters that are fit to lead and not slow can elect, and commit, without this leader."""
    return state.quorum.tally({f.peer: True for f in _fit(state, followers) if not f.slow}) is Outcome.WON


def _fit(state: ReplicaState, followers: Iterable[FollowerStatus]) -> list[FollowerStatus]:
    """The voters that can lead next.

    Such a voter stays one, does not decline, has answered one of the last two heartbeats (half an interval is
    left for the way), and is being sent entries: it neither searches for the place where the logs meet nor
    waits for a snapshot.
    """
    voters = (state.configuration.target or state.configuration).voters
    silent_ticks_max = 2 * state.settings.heartbeat_ticks + state.settings.heartbeat_ticks // 2
    return [
        f
        for f in followers
        if f.peer in voters
        and f.state == ProgressState.REPLICATE.value
        and f.silent_ticks <= silent_ticks_max
        and not f.declines
    ]
