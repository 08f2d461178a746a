"""The members of one group, for a node that has no replica of it: whom to ask, and whom not just now."""

from kraft.host.absent.directory import GroupDirectory
from kraft.host.membership.peers import Peers
from kraft.peerwire.hello import WIRE_REPLICAS


class MemberRoute:
    """The route of requests to one group. A node that was asked in vain is left alone until the next tick,
    or until the directory has news.
    """

    __slots__ = ("_directory", "_group", "_peers", "_refused")

    def __init__(self, group: int, directory: GroupDirectory, peers: Peers) -> None:
        self._group = group
        self._directory = directory
        self._peers = peers
        self._refused: set[str] = set()

    @property
    def version(self) -> int:
        """The machine version in force in the group, as far as it is known; 0 if nothing is."""
        place = self._directory.places.get(self._group)
        return 0 if place is None else place.version

    @property
    def has_leader(self) -> bool:
        """Whether a leader is known that this node has a link to."""
        place = self._directory.places.get(self._group)
        return place is not None and place.leader in self._peers.connected

    @property
    def leader(self) -> str:
        """The leader to ask now, '' if there is none."""
        place = self._directory.places.get(self._group)
        known = place is not None and self._is_open(place.leader)
        return place.leader if place is not None and known else ""

    def members(self) -> list[str]:
        """The members to ask now, the leader first: another one needs an answer of the leader as well."""
        place = self._directory.places.get(self._group)
        if place is None:
            return []
        found = dict.fromkeys((place.leader, *place.members))
        return [each for each in found if self._is_open(each) and self._answers(each)]

    def refused(self, peer: str) -> None:
        """`peer` has no replica, or does not lead, or its link took nothing."""
        self._refused.add(peer)

    def reopen(self) -> None:
        """Ask all of them again: one tick of the host passed, or the directory has news."""
        self._refused.clear()

    def _answers(self, peer: str) -> bool:
        """Whether a member understands the question: for an earlier program it would end the link."""
        hello = self._peers.hello_of(peer)
        return hello is not None and hello.wire_max >= WIRE_REPLICAS

    def _is_open(self, peer: str) -> bool:
        return peer in self._peers.connected and peer not in self._refused
