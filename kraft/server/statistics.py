"""What is counted on the client port, as plain numbers that the path of a request adds to.

They only grow, as Prometheus needs it: telemetry reads them at a scrape. INFO shows what was counted since
the last CONFIG RESETSTAT, which keeps a copy.
"""

from collections import Counter, deque
from copy import deepcopy
from dataclasses import dataclass, field

from kraft.node.latencies import Latencies

RATE_SECONDS = 1.0  # between two samples
RATE_SAMPLES = 3  # a rate is the mean over the time since the oldest of them
PERCENTILES = (50.0, 99.0, 99.9)


@dataclass(slots=True)
class CommandStatistics:
    """One command. `latencies` are the times from the start of a segment of requests to its answer.

    Of the requests counted there, `rejected` were refused before they were executed; `failed` failed later.
    `kind` is read, write, index, local or admin.
    """

    kind: str
    latencies: Latencies = field(default_factory=Latencies)
    rejected: int = 0
    failed: int = 0

    @property
    def calls(self) -> int:
        """How many were executed."""
        return self.latencies.number - self.rejected

    def since(self, before: "CommandStatistics") -> "CommandStatistics":
        """What was counted after `before`, an earlier copy of this."""
        return CommandStatistics(
            self.kind,
            self.latencies.since(before.latencies),
            self.rejected - before.rejected,
            self.failed - before.failed,
        )


@dataclass(slots=True)
class Statistics:
    """Everything that is counted on the client port. `commands` are by name, `errors` by the first word."""

    commands: dict[str, CommandStatistics] = field(default_factory=dict)
    errors: Counter[str] = field(default_factory=Counter)
    commands_processed: int = 0
    connections_received: int = 0
    connections_rejected: int = 0
    bytes_received: int = 0
    bytes_sent: int = 0
    hits: int = 0
    misses: int = 0

    def add(self, name: str, kind: str, count: int, seconds: float) -> None:
        """Count `count` requests of a command, without errors, that took `seconds` each."""
        self.commands_processed += count
        row = self.commands.get(name) or self.begin(name, kind)
        row.latencies.add(seconds, count)

    def begin(self, name: str, kind: str) -> CommandStatistics:
        """The numbers of a command of this kind, of which this is the first request."""
        row = self.commands[name] = CommandStatistics(kind)
        return row

    def copy(self) -> "Statistics":
        """The numbers as they are now."""
        return deepcopy(self)

    def since(self, before: "Statistics") -> "Statistics":
        """What was counted after `before`, an earlier copy of this; commands and errors that were."""
        rows = {
            name: row.since(before.commands[name]) if name in before.commands else row
            for name, row in self.commands.items()
        }
        return Statistics(
            {name: row for name, row in rows.items() if row.latencies.number},
            self.errors - before.errors,
            self.commands_processed - before.commands_processed,
            self.connections_received - before.connections_received,
            self.connections_rejected - before.connections_rejected,
            self.bytes_received - before.bytes_received,
            self.bytes_sent - before.bytes_sent,
            self.hits - before.hits,
            self.misses - before.misses,
        )


@dataclass(frozen=True, slots=True)
class Rates:
    """Commands and bytes per second of the last seconds."""

    commands: float
    received: float
    sent: float


class RateSamples:
    """The counters at the last few samples."""

    def __init__(self) -> None:
        self._samples: deque[tuple[float, int, int, int]] = deque(maxlen=RATE_SAMPLES)

    def add(self, now: float, statistics: Statistics) -> None:
        """Take a sample."""
        self._samples.append(
            (now, statistics.commands_processed, statistics.bytes_received, statistics.bytes_sent)
        )

    def clear(self) -> None:
        """Forget everything: the counters were not sampled for a while."""
        self._samples.clear()

    def rates(self, now: float, statistics: Statistics) -> Rates:
        """The rates since the oldest sample; 0 without one."""
        if not self._samples or now <= self._samples[0][0]:
            return Rates(0.0, 0.0, 0.0)
        since, commands, received, sent = self._samples[0]
        seconds = now - since
        return Rates(
            (statistics.commands_processed - commands) / seconds,
            (statistics.bytes_received - received) / seconds,
            (statistics.bytes_sent - sent) / seconds,
        )
