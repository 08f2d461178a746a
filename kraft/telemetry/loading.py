"""The loading of a large state at a start: an event when it turns out to take long, one at its end.

In between, whoever watches is told how far it has come: a terminal, systemd, `kraft demo`.
"""

import time
from collections.abc import Callable

from kraft.telemetry.event_log import EventLog

LONG_SECONDS = 1.0  # loading that takes less is not worth a word
TOLD_SECONDS = 0.2  # between two times that watchers are told


class StateLoading:
    """One start. Everything happens on the thread that opens the store, before the reactor runs."""

    def __init__(self, events: EventLog, seconds: Callable[[], float] = time.monotonic) -> None:
        self._events = events
        self._seconds = seconds
        self._watch: Callable[[str], object] = lambda _: None
        self._began: dict[int, float] = {}  # by group, until it is loaded
        self._logged: set[int] = set()
        self._told_at = 0.0

    def watch(self, watch: Callable[[str], object]) -> None:
        """Tell `watch` from now on, in words that go on from the name of the node."""
        self._watch = watch

    def progressed(self, group: int, keys: int, of: int) -> None:
        """`keys` of the `of` keys of a group are loaded."""
        now = self._seconds()
        if now - self._began.setdefault(group, now) < LONG_SECONDS:
            return
        if group not in self._logged:
            self._logged.add(group)
            self._events.log("state_loading", group=group, keys=of)
        if now >= self._told_at + TOLD_SECONDS:
            self._told_at = now
            self._watch(f"loads its data: {keys:,} of {of:,} keys ({100 * keys // max(of, 1)} %)")

    def finished(self, group: int) -> None:
        """The keys of a group are loaded."""
        began = self._began.pop(group, 0.0)
        if group in self._logged:
            self._logged.remove(group)
            self._events.log("state_loaded", group=group, seconds=round(self._seconds() - began, 3))
