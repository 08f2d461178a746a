"""The groups of a cluster, their leaders, and the nodes that are up, from the reports of several nodes."""

from collections.abc import Collection

from kraft.node.status import FORMING, REFUSED, REMOVED, STANDBY, STARTING, GroupStatus, MoveStatus, Status
from kraft.web import words
from kraft.web.view import ClusterView

GROUPS_SHOWN_MAX = 8  # each by itself; of more, only those with a problem


def groups(view: ClusterView) -> list[GroupStatus]:
    """The most authoritative report of each group: its leader's, else the one with the highest term."""
    return [max((group for _, group in view.replicas[id_]), key=_rank) for id_ in sorted(view.replicas)]


def several(view: ClusterView) -> bool:
    """Whether the keys are divided among groups."""
    return view.group_count > 1


def troubled(view: ClusterView) -> list[GroupStatus]:
    """The groups to show even where there are many: without a leader, or with a replica that is not sound."""
    return [group for group in groups(view) if _is_troubled(view, group)]


def _is_troubled(view: ClusterView, group: GroupStatus) -> bool:
    replicas = view.replicas[group.group]
    unsound = any(each.fenced or each.mismatch or each.transfers for _, each in replicas)
    return unsound or leader(view, group.group) is None


def worst(view: ClusterView) -> list[GroupStatus]:
    """Of many groups those that stand worst: they are `troubled`, or lack a voter while others do not."""
    placed, found = places_votes(view), groups(view)
    shown = [each for each in found if _is_troubled(view, each) or (placed and lacks_voters(view, each))]
    return sorted(shown, key=lambda group: losses_survived(view, group))[:GROUPS_SHOWN_MAX]


def lacks_voters(view: ClusterView, group: GroupStatus) -> bool:
    """Whether a voter of the group is down, or logs nothing."""
    return not set(group.voters) <= working(view)


def scattered(view: ClusterView) -> bool:
    """Whether nodes have replicas of some groups only."""
    return any(report.status.elsewhere for report in view.reports)


def unheld(view: ClusterView) -> list[int]:
    """The groups of which no node that answers has a replica, and that lack a majority as far as is known.

    There are none while a member was not asked. Nodes with links to others are up, if they answer or not.
    """
    asked = {answer.id for answer in view.answers if answer.report is not None or answer.error}
    members = {member.id for member in view.own.status.members}
    if left_alone(view) or not asked >= members:
        return []
    there, lost = alive(view), []
    for group in range(view.group_count):
        known = view.elsewhere.get(group)
        voters = members if known is None else known.voters
        needed = len(members) if known is None else len(voters) // 2 + 1
        if group not in view.replicas and sum(voter in there for voter in voters) < needed:
            lost.append(group)
    return lost


def moves(view: ClusterView) -> list[MoveStatus]:
    """The moves of slots that are not over, as the leader of their source tells them, else any node."""
    leading = {
        group: {node for node, each in replicas if each.role == "leader"}
        for group, replicas in view.replicas.items()
    }
    told: dict[int, MoveStatus] = {}
    for report in view.reports:
        for move in report.status.moves:
            if not leading.get(move.source) or report.status.node in leading[move.source]:
                told[move.id] = move
    return [told[id_] for id_ in sorted(told)]


def name(view: ClusterView, group: int) -> str:
    """What people call the group: the cluster, as long as there is only one."""
    return f"group {group}" if several(view) else "cluster"


def _rank(group: GroupStatus) -> tuple[int, bool, int]:
    return group.term, group.role == "leader", group.commit


def leader(view: ClusterView, group: int) -> GroupStatus | None:
    """The report of the leader of `group`; None without one. A deposed leader that does not know it yet
    loses.
    """
    found = [each for _, each in view.replicas.get(group, ()) if each.role == "leader"]
    return max(found, key=_rank, default=None)


def majority(view: ClusterView) -> bool:
    """Whether a majority of the voters of every group is up."""
    known = groups(view)
    return bool(known) and not unheld(view) and all(spare_voters(view, group) >= 0 for group in known)


def served(view: ClusterView) -> int:
    """How many groups have a leader and a majority of their voters up, as far as is known."""
    led = [group for group in groups(view) if leader(view, group.group) is not None]
    return sum(spare_voters(view, group) >= 0 for group in led)


def left_alone(view: ClusterView) -> bool:
    """Whether the node that is looked at was removed, and no other one tells how the cluster is."""
    return view.own.status.state == REMOVED and all(report is view.own for report in view.reports)


def spare_voters(view: ClusterView, group: GroupStatus) -> int:
    """The number of voters that may still fail while a majority remains; negative if too few are up.

    A node that answers and holds no replica of the cluster is no voter, whatever its id.
    """
    return _spare(group, alive(view) - _outside(view))


def _spare(group: GroupStatus, there: Collection[str]) -> int:
    """The same for the nodes in `there`; while the voters are being changed, both majorities are needed."""
    electorates = filter(None, (group.voters, group.target_voters))
    return min(sum(voter in there for voter in voters) - (len(voters) // 2 + 1) for voters in electorates)


def losses_survived(view: ClusterView, group: GroupStatus) -> int:
    """How many of the voters that work may be lost, whichever they are; negative if the group does not work.

    A voter with a full disk logs nothing, and one that is fenced or drained cannot lead.
    """
    there = working(view)
    unfit = {node for node, each in view.replicas[group.group] if each.fenced or each.drained}
    candidates = [voter for voter in _voters(group) if voter in there and voter not in unfit]
    spare = _spare(group, there)
    survived = min(spare, len(candidates) - 1)
    return max(survived, 0) if spare >= 0 and leader(view, group.group) is not None else survived


def places_votes(view: ClusterView) -> bool:
    """Whether the cluster places votes itself, so that a member without a vote in a group is no news."""
    return any(report.status.replication for report in view.reports)


def tolerance(view: ClusterView, group: GroupStatus) -> str:
    """How many losses the cluster survives, after the voters that are missing, if any.

    Where the cluster places votes, the group: it loses others than the next one.
    """
    there, whole = working(view), "the group" if places_votes(view) and several(view) else "the cluster"
    missing = [voter for voter in _voters(group) if voter not in there]
    losses = losses_survived(view, group)
    text = f"{whole} survives the loss of {losses}"
    if losses <= 0:
        lose = f"{whole} must not lose {'another' if missing else 'a'} voter"
        text = lose if losses == 0 else f"{whole} does not serve"
    if not missing:
        return text
    return f"{words.names(missing)} {'is' if len(missing) == 1 else 'are'} missing: {text}"


def _voters(group: GroupStatus) -> list[str]:
    return sorted({*group.voters, *group.target_voters})


def working(view: ClusterView) -> set[str]:
    """The nodes that are up and can log entries, as far as they say."""
    idle = {
        report.status.node
        for report in view.reports
        if report.status.disk_full or report.status.state == STARTING
    }
    return alive(view) - idle - _outside(view)


def _outside(view: ClusterView) -> set[str]:
    """The nodes that answer, but are outside the cluster as far as they know."""
    outside = (FORMING, STANDBY, REFUSED, REMOVED)
    return {report.status.node for report in view.reports if report.status.state in outside}


def alive(view: ClusterView) -> set[str]:
    """The nodes that answer, or that another node is connected to."""
    return {report.status.node for report in view.reports} | view.connected


def broken_links(view: ClusterView) -> set[frozenset[str]]:
    """The pairs of nodes that answer and of which one says that it is not connected to the other."""
    answering = {report.status.node for report in view.reports}
    return {
        frozenset((report.status.node, member.id))
        for report in view.reports
        for member in report.status.members
        if not member.connected and member.id in answering and member.id != report.status.node
    }


def machine_versions(status: Status) -> str:
    """Which machine version is in force, and which members keep it from being raised."""
    text = f"machine version {status.machine_version} is in force"
    wanted = status.machine_version_supported
    old = [f"{m.id} supports {m.machine_version}" for m in status.members if 0 < m.machine_version < wanted]
    away = [f"{m.id} is not connected" for m in status.members if not m.machine_version]
    if wanted > status.machine_version:
        return ", ".join([f"{text}, not {wanted}: {status.node} supports {wanted}", *old, *away])
    return text
