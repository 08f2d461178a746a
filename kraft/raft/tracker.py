"""Whom a leader feeds: every other member of the configuration in force, and for a while those it removed.

A removed node that never hears of its removal would campaign for ever (harmlessly, RD 4.2.3, but for ever):
it is fed until it is known to have heard that its removal is committed, or the time for that is over. It
counts nowhere, as quorums are made from the configuration alone.
"""

from collections.abc import Callable
from dataclasses import dataclass
from typing import TYPE_CHECKING

from kraft.raft.membership.configuration import Configuration
from kraft.raft.progress import Progress

if TYPE_CHECKING:
    from kraft.raft.core import Core

PATIENCE_TIMEOUTS = 10  # election timeouts, from the commit on, for a removed node to hear of it


@dataclass(slots=True)
class _Departure:
    """`index` of the entry that removes, `round` that tells of its commit and `deadline` in ticks; or 0."""

    index: int
    round: int = 0
    deadline: int = 0


class Tracker:
    """`progress` of each, by id in sorted order; a new dict whenever the configuration changes."""

    __slots__ = ("_core", "_departures", "_incarnations", "progress")

    def __init__(self, core: "Core") -> None:
        self._core = core
        self._departures: dict[str, _Departure] = {}
        self._incarnations: dict[str, str] = {}
        self.progress: dict[str, Progress] = {}

    def follow(self, configuration: Configuration, *, changed_from: Configuration, first: int) -> None:
        """`configuration` is in force; whoever is new is sent entries from `first` on."""
        me, old = self._core.id, self.progress
        incarnations = {m.id: m.incarnation for m in configuration.everyone if m.id != me}
        gone = {m.id for m in changed_from.everyone}.difference(incarnations, (me,))
        departures = {p: d for p, d in self._departures.items() if p not in incarnations}
        for peer in gone.difference(departures):
            departures[peer] = _Departure(self._core.log.configuration_index)
        # The same id with another incarnation is another member, with nothing in its log.
        same = {p for p, incarnation in incarnations.items() if self._incarnations.get(p) == incarnation}
        same.update(departures)
        self.progress = {
            peer: old[peer] if peer in old and peer in same else self._new(peer, first)
            for peer in sorted({*incarnations, *departures})
        }
        self._departures = departures
        self._incarnations = incarnations
        self._greet(configuration, changed_from)

    def _greet(self, configuration: Configuration, changed_from: Configuration) -> None:
        """Give new electors the time to answer before their silence counts."""
        for peer in set(configuration.electors).difference(changed_from.electors, (self._core.id,)):
            self.progress[peer].contact = self._core.ticks

    def _new(self, peer: str, first: int) -> Progress:
        settings = self._core.settings
        return Progress(
            peer,
            first,
            self._core.ticks,
            max_messages=settings.inflight_messages,
            max_bytes=settings.inflight_bytes,
        )

    def departing(self, peer: str) -> bool:
        """Whether `peer` is no member any more."""
        return peer in self._departures

    def release(self, new_round: Callable[[], int]) -> None:
        """Let go of those who know that they were removed; called before heartbeats leave.

        Whoever holds the entry is told of its commit by a heartbeat with a round of its own: the answer to
        that, or to a later one, says that it was heard.
        """
        core = self._core
        for peer, departure in list(self._departures.items()):
            if core.commit < departure.index:
                continue
            progress = self.progress[peer]
            if not departure.deadline:
                departure.deadline = core.ticks + PATIENCE_TIMEOUTS * core.settings.election_ticks
            knows = departure.round and progress.round >= departure.round
            if knows or core.ticks >= departure.deadline:
                del self._departures[peer], self.progress[peer]
            elif not departure.round and progress.match >= departure.index:
                departure.round = new_round()
