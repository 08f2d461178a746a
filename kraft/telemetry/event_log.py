"""Logs the events of one node, and keeps the notable ones for the status page."""

from structlog.typing import FilteringBoundLogger

from kraft.telemetry.events import LEVELS
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

    def log(self, event: str, /, **fields: object) -> None:
        """Log one event."""
        if self._journal is not None:
            self._journal.note(event, fields)
        log_at(self._logger, LEVELS.get(event, "info"), event, **fields)

    def log_limited(self, key: str, event: str, /, *, burst: int = 1, **fields: object) -> None:
        """Log one event, unless `burst` events with the same `key` were logged in the last seconds."""
        held = self._limit.admit(key, burst)
        if held is None:
            return
        if held:
            fields["held_back"] = held
        self.log(event, **fields)
