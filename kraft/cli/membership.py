"""Who belongs to a cluster, asked of its leader: other nodes, and those that were removed, may be behind."""

from collections.abc import Iterable
from dataclasses import dataclass

from kraft.cli.client import Client, ErrorReply, Value

ASK_SECONDS = 1.0  # nodes on this machine answer in a millisecond, or are stopped

Address = tuple[str, int]


@dataclass(frozen=True, slots=True)
class Membership:
    """`kinds` has voter or learner for every member id; `lags` how many entries it is behind, if known."""

    leader: str
    address: Address  # the leader's client port
    kinds: dict[str, str]
    lags: dict[str, int | None]

    @property
    def voters(self) -> list[str]:
        """Ids, sorted."""
        return sorted(id_ for id_, kind in self.kinds.items() if kind == "voter")


def ask(addresses: Iterable[Address]) -> Membership | None:
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


def understood(status: Value, members: Value, address: Address) -> Membership:
    """From the replies to KRAFT STATUS and KRAFT MEMBERS. Raises TypeError, KeyError or ValueError."""
    if not isinstance(status, dict) or not isinstance(members, list):
        raise TypeError("not the answers of a node")
    kinds: dict[str, str] = {}
    lags: dict[str, int | None] = {}
    for member in members:
        if not isinstance(member, dict):
            raise TypeError("a member is a map")
        id_, lag = str(member["id"]), member["lag"]
        kinds[id_] = str(member["kind"])
        lags[id_] = lag if isinstance(lag, int) else None
    groups = status["groups"]
    if not isinstance(groups, list) or not all(_led_here(group) for group in groups):
        raise ValueError("not the leader any more")
    return Membership(str(status["node"]), address, kinds, lags)


def _led_here(group: Value) -> bool:
    return isinstance(group, dict) and group["role"] == "leader"
