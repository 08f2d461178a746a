"""Nodes that are linked under the id of a member and are not that member: they came back without their data.

Messages for the member must not go to such a node, and its replies must not be taken for the member's: they
would be votes that the member never gave, or a log that it does not have.
"""

from kraft.raft.state import ReplicaState


class Strangers:
    """The strangers of one group. `ids` are the ids under which they are linked."""

    def __init__(self, state: ReplicaState) -> None:
        self.ids: frozenset[str] = frozenset()
        self._state = state
        self._linked: dict[str, str] = {}  # the incarnation at the other end of each link, by id

    def link_up(self, peer: str, incarnation: str) -> None:
        """A link to `peer` is open; its other end has this incarnation."""
        self._linked[peer] = incarnation
        self.ids = self._found

    def link_down(self, peer: str) -> None:
        """The link to `peer` is gone."""
        self._linked.pop(peer, None)
        self.ids = self._found

    def reconfigured(self) -> None:
        """The configuration has changed. Messages of the turn may still be meant for a member of before.

        Until the end of the turn, nodes that were strangers before count as well: what was made for the
        member under their id, such as a heartbeat with its commit index, must not reach them.
        """
        self.ids |= self._found

    def turned(self) -> None:
        """The messages of the turn in which the configuration changed are posted."""
        self.ids = self._found

    @property
    def _found(self) -> frozenset[str]:
        state = self._state
        return frozenset(
            peer
            for peer, incarnation in self._linked.items()
            if not state.is_current_incarnation(peer, incarnation)
        )
