"""The members of a cluster, as its leader reports them: other nodes may not know the latest change."""

from collections.abc import Iterable
from dataclasses import dataclass, field

from kraft.cli.client import Client, ErrorReply, Value

ASK_SECONDS = 1.0  # nodes on this machine answer in a millisecond, or are stopped

Address = tuple[str, int]


@dataclass(frozen=True, slots=True)
class ClusterMembership:
    """The members and their state.

    address: the client port of the leader.
    kinds: voter or learner, by member id.
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


def ask(addresses: Iterable[Address]) -> ClusterMembership | None:
    """The members according to the leader that one of these client ports knows; None if no leader answers."""
    for address in addresses:
        try:
            leader = _leader(address)
            with Client.connect(leader, ASK_SECONDS) as client:
                status, members = client.call("KRAFT", "STATUS"), client.call("KRAFT", "MEMBERS")
            return understood(status, members, leader)
        except (OSError, ErrorReply, ValueError, KeyError, TypeError):
            continue  # down, without a leader, stopped between two requests, or not a kraft node
    return None


def _leader(address: Address) -> Address:
    """The client port of the leader that the node at `address` follows."""
    with Client.connect(address, ASK_SECONDS) as client:
        answer = client.call("KRAFT", "LEADER")
    if not isinstance(answer, dict):
        raise TypeError("KRAFT LEADER answers a map")
    host, _, port = str(answer["address"]).rpartition(":")
    return host.strip("[]"), int(port)


def understood(status: Value, members: Value, address: Address) -> ClusterMembership:
    """From the replies to KRAFT STATUS and KRAFT MEMBERS. Raises TypeError, KeyError or ValueError."""
    if not isinstance(status, dict):
        raise TypeError("KRAFT STATUS answers a map")
    kinds: dict[str, str] = {}
    lags: dict[str, int | None] = {}
    for member in _maps(members):
        id_, lag = str(member["id"]), member["lag"]
        kinds[id_] = str(member["kind"])
        lags[id_] = lag if isinstance(lag, int) else None
    return ClusterMembership(str(status["node"]), address, kinds, lags, _snapshots(status["groups"]))


def _snapshots(groups: Value) -> dict[str, tuple[int, int]]:
    """Snapshots that the node sends. Raises ValueError if it does not lead all its groups any more."""
    found: dict[str, tuple[int, int]] = {}
    for group in _maps(groups):
        if group["role"] != "leader":
            raise ValueError("not the leader any more")
        for transfer in _maps(group["transfers"]):
            done, size = transfer["done_bytes"], transfer["size_bytes"]
            if transfer["direction"] == "send" and isinstance(done, int) and isinstance(size, int):
                found[str(transfer["peer"])] = done, size
    return found


def _maps(value: Value) -> list[dict[str, Value]]:
    if not isinstance(value, list):
        raise TypeError("a list is missing")
    maps = [each for each in value if isinstance(each, dict)]
    if len(maps) != len(value):
        raise TypeError("a map is missing")
    return maps
