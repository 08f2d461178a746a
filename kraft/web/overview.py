"""What the answers of several nodes say together: groups, their leaders, who is there."""

from kraft.node.status import GroupStatus
from kraft.web.view import ClusterView


def groups(view: ClusterView) -> list[GroupStatus]:
    """One replica of each group, whatever it knows best: its leader's, else the one with the highest term."""
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
    """The replica that leads, by its own word; an older leader that was not told yet does not count."""
    found = [
        each
        for report in view.reports
        for each in report.status.groups
        if each.group == group and each.role == "leader"
    ]
    return max(found, key=_rank, default=None)


def majority(view: ClusterView) -> bool:
    """Whether enough voters of every group are there."""
    known = groups(view)
    return bool(known) and all(spare_voters(view, group) >= 0 for group in known)


def spare_voters(view: ClusterView, group: GroupStatus) -> int:
    """How many voters more may fail while the rest can go on; negative when too few are left."""
    there = alive(view)
    return sum(voter in there for voter in group.voters) - (len(group.voters) // 2 + 1)


def alive(view: ClusterView) -> set[str]:
    """Nodes that answer, or that another one has a link to."""
    return {report.status.node for report in view.reports} | connected(view)


def connected(view: ClusterView) -> set[str]:
    """Nodes that another one has a link to."""
    return {
        member.id
        for report in view.reports
        for member in report.status.members
        if member.connected and member.id != report.status.node
    }
