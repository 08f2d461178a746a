"""The last question before a node forms a cluster: is every member of its file still there, and without one?

A node has met all members when it has a link to each. But greetings are of different ages, and a link may be
dead already. Of a member that it met early it then does not know that it has formed a cluster meanwhile, with
a directory that another member has lost since. So it asks all of them once more. A member that forms closes
its links at that moment, before its groups start (`Peers.greet_again`). An answer therefore shows that it had
formed no cluster after each of the others was there with the directory that it has shown.

Safety follows without any assumption about time. Let a majority serve a first cluster, and let one of its
members lose its directory. To form a second cluster with the new directory, every other member has to answer
after that node has come back. A member of the majority does not: it has formed before. If the majority forms
only after that, the second cluster has too few members left, as each node belongs to one cluster.
"""

from collections.abc import Callable
from functools import partial

from kraft.host.membership.peers import Peers
from kraft.node.values import Identity


class RollCall:
    """Calls `found` with the identity of a new cluster once all its members have answered."""

    def __init__(self, peers: Peers, found: Callable[[Identity], None]) -> None:
        self._peers = peers
        self._found = found

    def begin(self) -> None:
        """Ask all members, if there is a link to each and this node may form a cluster with them."""
        identity = self._peers.formation.founding_identity()
        if identity is None:
            return
        silent = {member.id for member in identity.members if member.id != identity.id}
        if not silent:
            self._found(identity)
        for peer in sorted(silent):
            self._peers.network.ping(peer, partial(self._answered, identity, silent, peer))

    def _answered(self, identity: Identity, silent: set[str], peer: str) -> None:
        silent.discard(peer)
        if not silent and self._peers.formation.founding_identity() == identity:  # none was lost meanwhile
            self._found(identity)
