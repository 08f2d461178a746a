"""The leader to which a replica that does not lead sends its clients' requests."""

from kraft.raft.raft import Raft


class LeaderRoute:
    """The route of one replica's requests. A leader that refuses one is left alone until the next tick."""

    __slots__ = ("_raft", "_refused")

    def __init__(self, raft: Raft) -> None:
        self._raft = raft
        self._refused: tuple[str, int] | None = None  # (leader, term)

    @property
    def target(self) -> str:
        """The node to ask now; '' when no leader is known, or it has just refused."""
        leader = self._raft.state.leader
        if self._refused is not None and self._refused == (leader, self._raft.state.term):
            return ""
        return leader

    def refused(self, peer: str) -> None:
        """`peer` does not lead, or its link took nothing: ask it again after the next tick."""
        if peer == self._raft.state.leader:
            self._refused = (peer, self._raft.state.term)

    def tick(self) -> None:
        """One tick of the host passed."""
        self._refused = None
