"""How far replicas may lag, and which of them a quorum can count on, as the leader of a group sees it."""

from collections import deque

from kraft.host.membership import quorum_safety
from kraft.raft.raft import Raft

LAG_ENTRIES = 100  # a replica that lacks no more than this has caught up, however quiet the group is


class ReplicaHealth:
    """The replicas of one group. An election timeout lasts `election_ticks` ticks."""

    def __init__(self, raft: Raft, election_ticks: int) -> None:
        self._raft = raft
        self._election_ticks = election_ticks
        self._last_indexes: deque[int] = deque(maxlen=election_ticks)  # of the log, at each of the last ticks

    def tick(self) -> None:
        """One tick of the host passed while this node leads."""
        self._last_indexes.append(self._raft.state.log.last_index)

    def skip(self, ticks: int) -> None:
        """So many ticks passed, and nothing was appended."""
        self._last_indexes.extend([*self._last_indexes][-1:] * ticks)

    def clear(self) -> None:
        """This node does not lead: forget what was observed."""
        self._last_indexes.clear()

    @property
    def lag(self) -> int:
        """Entries that a healthy replica may lack: about those that arrive in an election timeout."""
        seen = self._last_indexes  # none before the first tick of a new leader
        return max(LAG_ENTRIES, seen[-1] - seen[0] if seen else 0)

    @property
    def replicas(self) -> frozenset[str]:
        """The ids of the replicas that a quorum can count on."""
        state, progress = self._raft.state, self._raft.progress()
        return quorum_safety.healthy_replicas(
            state.id, progress, state.commit, self._election_ticks, self.lag
        )

    @property
    def caught_up(self) -> frozenset[str]:
        """The ids of the followers that answer, and lack no more than `lag` entries of the whole log."""
        last, lag = self._raft.state.log.last_index, self.lag
        return frozenset(
            p.peer
            for p in self._raft.progress()
            if p.state == "replicate" and p.silent_ticks <= self._election_ticks and last - p.match <= lag
        )
