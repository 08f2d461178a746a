"""The members of a cluster, as its leader reports them: other nodes may not know the latest change.

The HTTP ports are asked: a program that watches a cluster must not look like load in its figures.
"""

from collections.abc import Iterable
from dataclasses import dataclass, field

from kraft.cli.http_access import PLAIN, HttpAccess
from kraft.cli.status_reply import ask as ask_status
from kraft.cli.status_reply import view_of
from kraft.listen_address import split_address
from kraft.node.status import Status

ASK_SECONDS = 1.0  # nodes on this machine answer in a millisecond, or are stopped

Address = tuple[str, int]


@dataclass(frozen=True, slots=True)
class ClusterMembership:
    """The members and their state.

    address: the client port of the leader.
    kinds: voter or learner, by member id. Who is getting a vote is a learner until it counts by itself.
    lags: the number of entries that a member lacks, None if unknown.
    snapshots: (bytes sent, bytes in total) of the snapshots that the leader sends, by member.
    """

    leader: str
    address: Address
    kinds: dict[str, str]
    lags: dict[str, int | None]
    snapshots: dict[str, tuple[int, int]] = field(default_factory=dict)

    @property
    def voters(self) -> list[str]:
        """Ids, sorted."""
        return sorted(id_ for id_, kind in self.kinds.items() if kind == "voter")


def ask(addresses: Iterable[str], access: HttpAccess = PLAIN) -> ClusterMembership | None:
    """The members according to the leader that one of these HTTP ports knows; None if no leader answers."""
    for address in addresses:
        status = _status(address, access)
        leader = _leader(status) if status is not None else ""
        if leader and leader != address:
            status = _status(leader, access)
        if status is not None and (found := understood(status)) is not None:
            return found
    return None


def _status(address: str, access: HttpAccess) -> Status | None:
    view = view_of([ask_status("", address, ASK_SECONDS, access)])
    return view.own.status if view is not None else None


def _leader(status: Status) -> str:
    """The HTTP port of the leader of group 0 that this node follows; '' if it knows none."""
    leader = status.groups[0].leader if status.groups else ""
    return next((member.http for member in status.members if member.id == leader), "")


def understood(status: Status) -> ClusterMembership | None:
    """The members that a node reports; None if it does not lead group 0, or not any more."""
    if not status.groups or status.groups[0].role != "leader":
        return None
    coming = {id_ for group in status.groups for id_ in {*group.target_voters} - {*group.voters}}
    return ClusterMembership(
        status.node,
        split_address(status.client),
        {each.id: "voter" if each.voter and each.id not in coming else "learner" for each in status.members},
        {member.id: member.lag_entries for member in status.members},
        {
            transfer.peer: (transfer.done_bytes, transfer.size_bytes)
            for group in status.groups
            for transfer in group.transfers
            if transfer.direction == "send"
        },
    )
