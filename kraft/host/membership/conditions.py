"""The conditions of nodes, such as a full disk: what this node tells its peers, and what they tell it.

A node sends its condition to every peer with a link: in the tick after a change, after a new link, and every
few seconds. A peer that speaks an older peer wire gets none and sends none: its condition is unknown.
"""

from collections.abc import Mapping

from msgspec.structs import replace

from kraft.host.ports import Network
from kraft.peerwire.hello import WIRE_CONDITION, Hello
from kraft.peerwire.messages import NodeCondition

REPEAT_SECONDS = 2.0  # any message may be lost; also the age at which a wall clock in it is renewed


class Conditions:
    """`own` is the condition of this node; `heard` has the last one of each peer with an open link, by id."""

    def __init__(self) -> None:
        self.own = NodeCondition()
        self.heard: dict[str, NodeCondition] = {}
        self._due_at = 0.0

    def link_up(self) -> None:
        """A link is open: its peer knows nothing of this node yet."""
        self._due_at = 0.0

    def link_down(self, peer: str) -> None:
        """The link to `peer` is gone, and what it reported is old."""
        self.heard.pop(peer, None)

    def received(self, peer: str, condition: NodeCondition) -> bool:
        """`peer` reports its condition. Returns whether it is another one than before."""
        before, self.heard[peer] = self.heard.get(peer), condition
        return before is not None and replace(before, wall_ms=0) != replace(condition, wall_ms=0)

    def of(self, node: str) -> NodeCondition | None:
        """The condition of a peer; None if it is unknown."""
        return self.heard.get(node)

    def tick(self, now: float, own: NodeCondition, hellos: Mapping[str, Hello], network: Network) -> None:
        """Report `own` to the peers in `hellos`, those with an open link, if it is time; `now` in seconds."""
        changed = replace(self.own, wall_ms=own.wall_ms) != own
        self.own = own
        if not changed and now < self._due_at:
            return
        self._due_at = now + REPEAT_SECONDS
        for peer, hello in hellos.items():
            if hello.wire_max >= WIRE_CONDITION:
                network.send(peer, [(0, own)])
