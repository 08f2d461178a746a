"""A cluster as one who asks all its nodes sees it: plain values, for the page and for `kraft status`."""

from collections.abc import Iterator
from dataclasses import dataclass

from kraft.web.report import Report


@dataclass(frozen=True, slots=True)
class MemberReport:
    """What is known of one member.

    `report` is there when it answered the last time it was asked; otherwise `error` says why not, and `last`
    is what it said before, if it ever did. Without both, it was not asked yet.
    """

    id: str
    address: str
    report: Report | None = None
    error: str = ""
    last: Report | None = None


@dataclass(frozen=True, slots=True)
class ClusterView:
    """A node, and the cluster as it sees it. `answers` has one for each member, this node too, by id."""

    own: Report
    answers: tuple[MemberReport, ...]

    @property
    def reports(self) -> Iterator[Report]:
        """Of all that answer."""
        return (answer.report for answer in self.answers if answer.report is not None)
