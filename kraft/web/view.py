"""A cluster as seen by asking all its nodes: plain values, for the page and for `kraft status`."""

from collections.abc import Iterator
from dataclasses import dataclass

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


@dataclass(frozen=True, slots=True)
class ClusterView:
    """The report of one node, and one entry per member (itself included), in the order of their ids."""

    own: Report
    answers: tuple[MemberReport, ...]

    @property
    def reports(self) -> Iterator[Report]:
        """The reports of all members that answer."""
        return (answer.report for answer in self.answers if answer.report is not None)
