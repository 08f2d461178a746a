"""A cluster as seen by asking all its nodes: plain values, for the page and for `kraft status`."""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property

from kraft.node.status import ElsewhereStatus, GroupStatus
from kraft.web.report import Report


@dataclass(frozen=True, slots=True)
class MemberReport:
    """What is known about one member.

    report: its report, if it answered the last request.
    error: otherwise, the reason; '' if it was not asked yet.
    last: its most recent report, if it ever sent one.
    """

    id: str
    address: str
    report: Report | None = None
    error: str = ""
    last: Report | None = None


@dataclass(frozen=True)  # without slots: a cached property needs a place
class ClusterView:
    """The report of one node, and one entry per member (itself included), in the order of their ids."""

    own: Report
    answers: tuple[MemberReport, ...]

    @property
    def reports(self) -> Iterator[Report]:
        """The reports of all members that answer."""
        return (answer.report for answer in self.answers if answer.report is not None)

    @cached_property
    def replicas(self) -> Mapping[int, Sequence[tuple[str, GroupStatus]]]:
        """The replicas of each group, by its id: the node, and what it says of its replica."""
        replicas: dict[int, list[tuple[str, GroupStatus]]] = {}
        for report in self.reports:
            for group in report.status.groups:
                replicas.setdefault(group.group, []).append((report.status.node, group))
        return replicas

    @cached_property
    def connected(self) -> frozenset[str]:
        """The nodes that another node is connected to."""
        return frozenset(
            member.id
            for report in self.reports
            for member in report.status.members
            if member.connected and member.id != report.status.node
        )

    @cached_property
    def elsewhere(self) -> Mapping[int, ElsewhereStatus]:
        """What nodes without a replica of a group know of it, by its id; the latest term of several."""
        told = (each for report in self.reports for each in report.status.elsewhere)
        return {each.group: each for each in sorted(told, key=lambda each: each.term)}

    @cached_property
    def group_count(self) -> int:
        """How many groups the cluster has, as far as the members that answer know."""
        told = (report.status.group_count for report in self.reports if report.status.cluster)
        return max((*told, *(group + 1 for group in self.replicas)), default=0)
