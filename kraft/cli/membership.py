"""Who belongs to a cluster, asked of its leader: other nodes, and those that were removed, may be behind."""

from collections.abc import Iterable
from dataclasses import dataclass, field

from kraft.cli.client import Client, ErrorReply, Value

ASK_SECONDS = 1.0  # nodes on this machine answer in a millisecond, or are stopped

Address = tuple[str, int]


@dataclass(frozen=True, slots=True)
class ClusterMembership:
    """`kinds` has voter or learner for every member id; `lags` how many entries it is behind, if known.

    `snapshots` has (bytes sent, bytes of all) for members that the leader sends one to.
    """

    leader: str
    address: Address  # the leader's client port
    kinds: dict[str, str]
    lags: dict[str, int | None]
    snapshots: dict[str, tuple[int, int]] = field(default_factory=dict)

    @property
    def voters(self) -> list[str]:
        """Ids, sorted."""
        return sorted(id_ for id_, kind in self.kinds.items() if kind == "voter")


def ask(addresses: Iterable[Address]) -> ClusterMembership | None:
    """From the leader that the first of these client ports knows; None when no leader answers."""
    for address in addresses:
        try:
            leader = _leader(address)
            with Client.connect(leader, ASK_SECONDS) as client:
                status, members = client.call("KRAFT", "STATUS"), client.call("KRAFT", "MEMBERS")
            return understood(status, members, leader)
        except (OSError, ErrorReply, ValueError, KeyError, TypeError):
            continue  # down, without a leader, stopped between two questions, or no kraft node at all
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
    """What is being sent, from the status of groups that are all led there, else ValueError."""
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
