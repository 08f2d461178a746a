"""Marks of events in the charts: elections, restarts and snapshots, from the journals of all nodes."""

from dataclasses import dataclass

from kraft.telemetry.recent.journal import ELECTION, RESTART, SNAPSHOT, JournalEntry
from kraft.web.charts.series import Series
from kraft.web.view import ClusterView
from kraft.web.words import utc

KINDS = (ELECTION, RESTART, SNAPSHOT)  # the first that is in a mark gives it its shape
SHARE_APART = 0.012  # of the width; what is nearer shares a mark
MARKS_MAX = 24  # in a chart; where there would be more, events further apart share a mark
LINES_MAX = 4  # of a mark


_Told = tuple[JournalEntry, str]  # an event, and the node that tells it


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
    apart = shown.range.seconds * SHARE_APART
    while len(groups := _grouped(events, apart)) > MARKS_MAX:
        apart *= 2
    return [_mark(group) for group in groups]


def _grouped(events: list[_Told], apart: float) -> list[list[_Told]]:
    """The events, in groups that begin at least so many seconds after each other."""
    groups: list[list[_Told]] = []
    for pair in events:
        if groups and pair[0].at - groups[-1][0][0].at < apart:
            groups[-1].append(pair)
        else:
            groups.append([pair])
    return groups


def _mark(group: list[_Told]) -> Mark:
    kind = min((entry.mark for entry, _ in group), key=KINDS.index)
    lines = [f"{utc(entry.at)}: {node} {entry.text}" for entry, node in group[:LINES_MAX]]
    if len(group) > LINES_MAX:
        lines.append(f"and {len(group) - LINES_MAX} more")
    return Mark(group[0][0].at, kind, tuple(lines))
