"""Logs the events of one node, and keeps the notable ones for the status page."""

from collections.abc import Callable

from kraft.telemetry.events import LEVELS, STATE_EVENTS
from kraft.telemetry.lean_structlog import FilteringBoundLogger
from kraft.telemetry.logs import RateLimit, log_at
from kraft.telemetry.recent.journal import Journal


class EventLog:
    """Logs documented events at their documented levels, and enters the notable ones in the journal."""

    def __init__(
        self, logger: FilteringBoundLogger, limit: RateLimit, journal: Journal | None = None
    ) -> None:
        self._logger = logger
        self._limit = limit
        self._journal = journal
        self.changed: Callable[[], object] = _nothing  # called after an event of STATE_EVENTS, logged or not

    def log(self, event: str, /, **fields: object) -> None:
        """Log one event."""
        if self._journal is not None:
            self._journal.note(event, fields)
        log_at(self._logger, LEVELS.get(event, "info"), event, **fields)
        self._check_changed(event)

    def log_limited(self, key: str, event: str, /, *, burst: int = 1, **fields: object) -> None:
        """Log one event, unless `burst` events with the same `key` were logged in the last seconds."""
        held = self._limit.admit(key, burst)
        if held is None:
            self._check_changed(event)
            return
        if held:
            fields["held_back"] = held
        self.log(event, **fields)

    def _check_changed(self, event: str) -> None:
        if event in STATE_EVENTS:
            self.changed()


def _nothing() -> None:
    """Nobody wants to know."""
