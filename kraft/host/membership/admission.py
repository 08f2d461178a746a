"""Meeting a node before it becomes a member: it is dialled until it greets, and asked whether it can be one.

Only a greeting tells the incarnation of a node; a member is never made from what somebody typed.
"""

from kraft.host.membership.formation import Formation
from kraft.host.membership.invitations import Greeting
from kraft.host.ports import Network
from kraft.peerwire.hello import Hello
from kraft.raft.errors import ChangeRefused
from kraft.raft.membership.configuration import Member

DIAL_SECONDS = 0.5  # between tries
PATIENCE_SECONDS = 5.0  # for a first greeting: a node that runs answers at once


class Admission:
    """One node on its way in, from `begin` to `end`."""

    def __init__(self, formation: Formation, network: Network, greeting: Greeting) -> None:
        self._formation = formation
        self._network = network
        self._greeting = greeting
        self._id = ""
        self._address = ""
        self._until = 0.0
        self._dial_at = 0.0

    @property
    def under_way(self) -> bool:
        """A node is being dialled."""
        return bool(self._id)

    def begin(self, id_: str, address: str, now: float) -> None:
        """Look for `id_` at `address`."""
        self._id, self._address = id_, address
        self._until = now + PATIENCE_SECONDS
        self._dial_at = now
        self._formation.introduce(id_)

    def greeted(self, now: float, *, force: bool) -> Member | None:
        """The node as a member, None before it has greeted. Raises `ChangeRefused` when it cannot be one."""
        hello = self._greeting(self._id)
        if hello is not None:
            self._check(hello, force=force)
            return Member(self._id, hello.incarnation, self._address)
        if now >= self._until:
            raise ChangeRefused(self._formation.objections.get(self._id) or self._silence)
        if now >= self._dial_at:
            self._dial_at = now + DIAL_SECONDS
            self._network.introduce(self._id, self._address)
        return None

    def end(self, *, accepted: bool) -> None:
        """That is over. A node that did not become a member loses its link: it greets as a stranger again."""
        if not self._id:
            return
        self._formation.dismiss(self._id)
        if not accepted:
            self._network.greet_again(self._id)
        self._id = ""

    @property
    def _silence(self) -> str:
        return (
            f"{self._id} cannot be reached at {self._address}: check that it runs with cluster.standby, that "
            f"its node.id is {self._id} and that this is its peer.advertise; its log says whom it refused"
        )

    def _check(self, hello: Hello, *, force: bool) -> None:
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
