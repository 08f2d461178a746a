"""What consensus gets from outside: settings, the restored log, dice, a wall clock and an observer."""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Protocol

from kraft.raft.membership.configuration import START, Base, Configuration
from kraft.raft.messages import Entry, HardState

Jitter = Callable[[int], int]  # jitter(n) returns a random number from 0 to n - 1
WallClock = Callable[[], int]  # Unix time in ms; used in messages only, never in a decision


@dataclass(frozen=True, slots=True)
class RaftSettings:
    """Times are in ticks of the host, sizes in bytes of entry data."""

    election_ticks: int  # a follower campaigns after election_ticks + jitter(election_ticks) ticks of silence
    heartbeat_ticks: int
    message_bytes: int = 1 << 20  # entries of one Append
    inflight_messages: int = 64  # unanswered Appends with entries, for each follower
    inflight_bytes: int = 16 << 20
    uncommitted_bytes: int = 64 << 20  # a leader's entries that are not committed, or not durable here
    tail_bytes: int = 32 << 20  # applied entries that a leader keeps in memory for followers that lack them
    leases: bool = False  # readers rely on no node voting within election_ticks of hearing a leader
    contests: bool = False  # a voter that refuses a prevote because its log is longer campaigns itself

    @property
    def short_tail_bytes(self) -> int:
        """Applied entries kept in memory where nobody is known to lack them: he may in a moment."""
        return self.tail_bytes // 8


@dataclass(frozen=True, slots=True)
class Restored:
    """One replica as read from stable storage.

    The log begins after `base`. `terms` are the (first index, term) runs of the whole log, ascending. `tail`
    holds contiguous entries up to `last_index`, and reaches back at least to `commit + 1`. `configurations`
    are the index and value of all configuration entries in the log, ascending. `commit` is the highest commit
    index on record, at least `base.index`. `last_stamp` is the stamp of the last entry, or of the base.
    """

    hard_state: HardState
    last_index: int
    commit: int
    terms: tuple[tuple[int, int], ...]
    tail: tuple[Entry, ...]
    configurations: tuple[tuple[int, Configuration], ...]
    last_stamp: int
    base: Base = START

    @property
    def first_index(self) -> int:
        """The index of the first entry that the log may hold."""
        return self.base.index + 1


class RaftObserver(Protocol):
    """Hears of elections; implementations must not raise, and must not call back."""

    def role_changed(self, group: int, role: str, term: int, leader: str) -> None:
        """Role, term or leader changed: `role` as in `ReplicaState.role`, `leader` empty when unknown."""

    def election_ended(self, group: int, kind: str, outcome: str) -> None:
        """An election ended: `kind` is prevote, vote or transfer; `outcome` is won, lost or timeout."""

    def entries_resent(self, group: int, peer: str, size: int) -> None:
        """`size` bytes of entries are sent to `peer` that were sent to it before in this leadership."""
