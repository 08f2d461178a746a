"""Spreads the leaders of several groups over the voters, so that no node does the work of all.

Every group has a preferred leader, which follows from its number and its voters alone, so all nodes agree on
it. A leader that is not the preferred one hands over to it, once that node could have led for a while without
interruption: it has caught up, its link is open, and it is neither draining nor fenced, slow or full. A node
has few transfers at a time under way. After a failed one it waits longer, because nothing is written during a
transfer.

A group that waits for its transfer may hibernate: whatever would end its wait wakes it, and then it is looked
at again.
"""

from collections.abc import Callable, Collection, Iterable, Mapping, Sequence

from kraft.host.admin.transfer_obstacle import transfer_obstacle
from kraft.host.admin.transfers import LeadershipTransfers, TransferOutcome
from kraft.host.group.group import Group
from kraft.host.membership.peers import Peers
from kraft.raft.membership.configuration import Configuration

STEADY_SECONDS = 10.0  # that a preferred leader could have led, before it is handed the leadership
DOUBLINGS_MAX = 6  # of that time, one for each try that failed
GROUPS_PER_TRANSFER = 64  # of so many groups that wait, one is handed over at a time


def leader_order(group: int, voters: Sequence[str]) -> tuple[str, ...]:
    """The `voters` in the order in which they should lead `group`: the preferred leader, then the others.

    The groups with the same preferred leader differ in the order of the others, so that the survivors of a
    node share its groups evenly.
    """
    if not voters:
        return ()
    round_, first = divmod(group, len(voters))
    others = (*voters[first + 1 :], *voters[:first])
    turn = round_ % len(others) if others else 0
    return (voters[first], *others[turn:], *others[:turn])


def preferred_leader(group: int, configuration: Configuration) -> str:
    """The voter that should lead `group`; '' while the voters are being changed."""
    voters = configuration.voters
    return voters[group % len(voters)] if voters and not configuration.joint else ""


class LeaderSpread:
    """Hands over those of `groups` that this node leads and another one should.

    `wake` wakes those of some groups that hibernate.
    """

    def __init__(
        self,
        groups: Mapping[int, Group],
        peers: Peers,
        transfers: LeadershipTransfers,
        wake: Callable[[Collection[int]], None],
    ) -> None:
        self._groups = groups
        self._peers = peers
        self._transfers = transfers
        self._wake = wake
        self._able_since: dict[int, float] = {}  # group id -> since when its preferred leader could lead it
        self._failures: dict[int, int] = {}  # group id -> tries that failed while this node led it
        self._under_way = 0

    def tick(self, now: float, awake: Iterable[Group]) -> None:
        """One tick of the host passed; `now` in monotonic seconds. The others hibernate: nothing changes."""
        for group in awake:
            if self.successor(group):
                self._able_since.setdefault(group.id, now)
                continue
            self._able_since.pop(group.id, None)
            if not group.raft.state.leads:
                self._failures.pop(group.id, None)
        waiting = self._able_since
        free = 1 + len(waiting) // GROUPS_PER_TRANSFER - self._under_way
        if waiting and free > 0:
            due = [id_ for id_, since in waiting.items() if since + self._patience(id_) <= now]
            for id_ in due[:free]:
                self._begin(id_)

    def _patience(self, id_: int) -> float:
        return STEADY_SECONDS * (1 << self._failures.get(id_, 0))

    def _begin(self, id_: int) -> None:
        def ended(outcome: TransferOutcome) -> None:
            self._under_way -= 1
            if isinstance(outcome, Exception):
                self._failures[id_] = min(DOUBLINGS_MAX, self._failures.get(id_, 0) + 1)

        del self._able_since[id_]
        group = self._groups.get(id_)
        if group is None:  # this node has left it meanwhile
            return
        self._wake((id_,))
        wanted = self.successor(group)
        if wanted:
            self._under_way += 1
            self._transfers.begin(group, wanted, ended)

    def successor(self, group: Group) -> str:
        """The preferred leader of `group` if this node leads in its place, and it could lead now; else ''."""
        state = group.raft.state
        if not state.leads_with_commit or state.transferring or group.drained:
            return ""
        wanted = preferred_leader(group.id, state.configuration)
        if wanted in ("", state.id) or not group.membership.caught_up(wanted):
            return ""
        if not self._peers.is_able(wanted):
            return ""
        return "" if transfer_obstacle(group, self._peers, wanted) else wanted
