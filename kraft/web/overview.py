"""The groups of a cluster, their leaders, and the nodes that are up, from the reports of several nodes."""

from kraft.node.status import GroupStatus, Status
from kraft.web.view import ClusterView


def groups(view: ClusterView) -> list[GroupStatus]:
    """The most authoritative report of each group: its leader's, else the one with the highest term."""
    best: dict[int, GroupStatus] = {}
    for report in view.reports:
        for group in report.status.groups:
            known = best.get(group.group)
            if known is None or _rank(group) > _rank(known):
                best[group.group] = group
    return [best[id_] for id_ in sorted(best)]


def _rank(group: GroupStatus) -> tuple[int, bool, int]:
    return group.term, group.role == "leader", group.commit


def leader(view: ClusterView, group: int) -> GroupStatus | None:
    """The report of the leader of `group`; None without one. A deposed leader that does not know it yet
    loses.
    """
    found = [
        each
        for report in view.reports
        for each in report.status.groups
        if each.group == group and each.role == "leader"
    ]
    return max(found, key=_rank, default=None)


def majority(view: ClusterView) -> bool:
    """Whether a majority of the voters of every group is up."""
    known = groups(view)
    return bool(known) and all(spare_voters(view, group) >= 0 for group in known)


def spare_voters(view: ClusterView, group: GroupStatus) -> int:
    """The number of voters that may still fail while a majority remains; negative if too few are up."""
    there = alive(view)
    return sum(voter in there for voter in group.voters) - (len(group.voters) // 2 + 1)


def alive(view: ClusterView) -> set[str]:
    """The nodes that answer, or that another node is connected to."""
    return {report.status.node for report in view.reports} | connected(view)


def connected(view: ClusterView) -> set[str]:
    """The nodes that another node is connected to."""
    return {
        member.id
        for report in view.reports
        for member in report.status.members
        if member.connected and member.id != report.status.node
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
