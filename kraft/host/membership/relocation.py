"""Finds out whether a member is at the address that KRAFT ADDRESS gives it, before all nodes dial it there.

The greeting of a member says where it is. One without a link is dialled at the new address until it greets.
So another program that listens there, or nothing, is found before the old address is forgotten.
"""

from kraft.host.membership.admission import DIAL_SECONDS, GREETING_SECONDS
from kraft.host.membership.peers import Peers
from kraft.node.admin import Readdress
from kraft.raft.errors import ChangeRefused


class Relocation:
    """The relocation of one member at a time."""

    def __init__(self, peers: Peers) -> None:
        self._peers = peers
        self._command: Readdress | None = None
        self._until = 0.0
        self._dial_at = 0.0

    def is_confirmed(self, command: Readdress, now: float) -> bool:
        """Whether the member has greeted from its new address; call it again until it has.

        `now` is in monotonic seconds. Raises `ChangeRefused` when it says that it is elsewhere, or does not
        greet in time.
        """
        if self._command is not command:
            self._command = command
            self._until, self._dial_at = now + GREETING_SECONDS, now
            self._peers.failures.pop(command.id, None)
        said = self._peers.announced_by(command.id)
        if said == command.address:
            return True
        if said:
            raise ChangeRefused(
                f"{command.id} says that its peer port is at {said}, not at {command.address}: set its "
                "peer.advertise and start it there first, or repeat with FORCE"
            )
        if now >= self._until:
            reason = self._peers.formation.rejected.get(command.id) or self._peers.failures.get(command.id)
            raise ChangeRefused(
                f"{command.id} cannot be reached at {command.address}{f' ({reason})' if reason else ''}: "
                "start it there first, or repeat with FORCE"
            )
        if now >= self._dial_at:
            self._dial_at = now + DIAL_SECONDS
            self._peers.network.introduce(command.id, command.address)
        return False
