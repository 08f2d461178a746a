"""Marks of events in the charts: elections, restarts and snapshots, from the journals of all nodes."""

from dataclasses import dataclass

from kraft.telemetry.recent.history import TimeRange
from kraft.telemetry.recent.journal import ELECTION, RESTART, SNAPSHOT, JournalEntry
from kraft.web.charts.series import Series
from kraft.web.view import ClusterView
from kraft.web.words import utc

KINDS = (ELECTION, RESTART, SNAPSHOT)  # the first that is in a mark gives it its shape
SHARE_APART = 0.012  # of the width; what is nearer shares a mark


@dataclass(frozen=True, slots=True)
class Mark:
    """Events at about the same time. `at` is the Unix time of the first; `lines` say what and when."""

    at: float
    kind: str
    lines: tuple[str, ...]


def marks(view: ClusterView, shown: Series) -> list[Mark]:
    """The marks within the range of `shown`, the oldest first."""
    events = [
        (entry, answer.id)
        for answer in view.answers
        if answer.last is not None
        for entry in answer.last.facts.events
        if entry.mark in KINDS and shown.start <= entry.at < shown.newest + shown.range.step
    ]
    events.sort(key=lambda pair: pair[0].at)
    groups: list[list[tuple[JournalEntry, str]]] = []
    for pair in events:
        if groups and pair[0].at - groups[-1][0][0].at < _apart(shown.range):
            groups[-1].append(pair)
        else:
            groups.append([pair])
    return [_mark(group) for group in groups]


def _apart(range_: TimeRange) -> float:
    return range_.seconds * SHARE_APART


def _mark(group: list[tuple[JournalEntry, str]]) -> Mark:
    kind = min((entry.mark for entry, _ in group), key=KINDS.index)
    return Mark(group[0][0].at, kind, tuple(f"{utc(entry.at)}: {node} {entry.text}" for entry, node in group))
