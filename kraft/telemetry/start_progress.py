"""What takes long at a start, the loading of a large state and the replay of a long log: who is told of it.

The log gets an event when it turns out to take long and one at intervals. In between, whoever watches is told
how far it has come: a terminal, systemd, `kraft demo`.
"""

import time
from collections.abc import Callable

from kraft.telemetry.event_log import EventLog

LONG_SECONDS = 1.0  # what takes less is not worth a word
TOLD_SECONDS = 0.2  # between two times that watchers are told
LOGGED_SECONDS = 10.0  # between two events


class StartProgress:
    """One start. The state is loaded on the thread that opens the store, before the reactor runs; the log is
    replayed in the reactor.
    """

    def __init__(self, events: EventLog, seconds: Callable[[], float] = time.monotonic) -> None:
        self._events = events
        self._seconds = seconds
        self._watch: Callable[[str], object] = lambda _: None
        self._began: dict[tuple[str, int], float] = {}  # by kind of work and group, until it is done
        self._logged_at: dict[tuple[str, int], float] = {}
        self._told_at = 0.0

    def watch(self, watch: Callable[[str], object]) -> None:
        """Tell `watch` from now on, in words that go on from the name of the node."""
        self._watch = watch

    def loading(self, group: int, keys: int, of: int) -> None:
        """`keys` of the `of` keys of a group are loaded."""
        if self._is_long("state", group):
            if self._is_due("state", group):
                self._events.log("state_loading", group=group, keys=keys, of=of)
            self._tell(f"loads its data: {keys:,} of {of:,} keys ({100 * keys // max(of, 1)} %)")

    def loaded(self, group: int) -> None:
        """The keys of a group are loaded."""
        began = self._began.pop(("state", group), 0.0)
        if self._logged_at.pop(("state", group), None) is not None:
            self._events.log("state_loaded", group=group, seconds=round(self._seconds() - began, 3))

    def replaying(self, group: int, entries: int, of: int) -> None:
        """`entries` of the `of` entries of a group's log, after its state, are replayed. An event of the host
        tells the end.
        """
        if entries >= of:
            self._began.pop(("log", group), None)
            self._logged_at.pop(("log", group), None)
        elif self._is_long("log", group):
            if self._is_due("log", group):
                self._events.log("log_replaying", group=group, entries=entries, of=of)
            self._tell(f"replays its log: {entries:,} of {of:,} entries ({100 * entries // max(of, 1)} %)")

    def _is_long(self, work: str, group: int) -> bool:
        """Whether it has taken long so far."""
        now = self._seconds()
        return now - self._began.setdefault((work, group), now) >= LONG_SECONDS

    def _is_due(self, work: str, group: int) -> bool:
        """Whether the log is told now."""
        now = self._seconds()
        due = now - self._logged_at.get((work, group), -LOGGED_SECONDS) >= LOGGED_SECONDS
        if due:
            self._logged_at[work, group] = now
        return due

    def _tell(self, words: str) -> None:
        now = self._seconds()
        if now >= self._told_at + TOLD_SECONDS:
            self._told_at = now
            self._watch(words)
