"""Meets a node before it becomes a member: dials it until it greets, and checks that it can be a member.

Only a greeting says which incarnation a node has. A member is therefore made from a greeting, and never from
the text of a command alone.
"""

from kraft.host.membership.peers import Peers
from kraft.peerwire.hello import Hello
from kraft.raft.errors import ChangeRefused
from kraft.raft.membership.configuration import Member

DIAL_SECONDS = 0.5  # between tries
GREETING_SECONDS = 5.0  # the longest wait for a first greeting: a node that runs answers at once


class Admission:
    """The admission of one node at a time, from `begin` to `end`."""

    def __init__(self, peers: Peers) -> None:
        self._peers = peers
        self._id = ""
        self._address = ""
        self._until = 0.0
        self._dial_at = 0.0

    @property
    def under_way(self) -> bool:
        """Whether a node is being admitted."""
        return bool(self._id)

    def begin(self, id_: str, address: str, now: float) -> None:
        """Look for the node `id_` at `address` (`host:port` of its peer port)."""
        self._id, self._address = id_, address
        self._until = now + GREETING_SECONDS
        self._dial_at = now
        self._peers.failures.pop(id_, None)
        self._peers.formation.introduce(id_)

    def greeted(self, now: float, *, force: bool) -> Member | None:
        """The node as a member, or None before it has greeted.

        Raises `ChangeRefused` when it does not greet in time, or cannot become a member.
        """
        hello = self._peers.hello_of(self._id)
        if hello is not None:
            self._check(hello, force=force)
            return Member(self._id, hello.incarnation, self._address)
        if now >= self._until:
            raise ChangeRefused(self._peers.formation.objections.get(self._id) or self._silence)
        if now >= self._dial_at:
            self._dial_at = now + DIAL_SECONDS
            self._peers.network.introduce(self._id, self._address)
        return None

    def end(self, *, accepted: bool) -> None:
        """End the admission. A node that was not accepted loses its link, and greets as a stranger again.

        One that is a member already keeps it: it may wait for its invitation.
        """
        if not self._id:
            return
        self._peers.formation.dismiss(self._id)
        if not (accepted or self._is_member):
            self._peers.network.greet_again(self._id)
        self._id = ""

    @property
    def _is_member(self) -> bool:
        hello, everyone = self._peers.hello_of(self._id), self._peers.formation.current.everyone
        return hello is not None and any(
            (member.id, member.incarnation) == (self._id, hello.incarnation) for member in everyone
        )

    @property
    def _silence(self) -> str:
        reason = self._peers.failures.get(self._id)
        return (
            f"{self._id} cannot be reached at {self._address}{f' ({reason})' if reason else ''}: check that "
            f"it runs with cluster.standby, that its node.id is {self._id} and that this is its "
            "peer.advertise; its log names the nodes that it refused"
        )

    def _check(self, hello: Hello, *, force: bool) -> None:
        too_old = self._peers.formation.version.objection(hello)  # it greeted before a version was raised
        if too_old is not None:
            raise ChangeRefused(too_old)
        if not hello.cluster and not hello.standby:
            raise ChangeRefused(
                f"{self._id} is configured as a member of a cluster of its own, not in standby: set "
                "cluster.standby in its configuration and start it again"
            )
        if hello.peer and hello.peer != self._address and not force:
            raise ChangeRefused(
                f"{self._id} says that its peer port is at {hello.peer}, not at {self._address}: repeat with "
                "that address, correct its peer.advertise, or repeat with FORCE"
            )
