"""The counters that INFO shows: by command, by error, and in all; CONFIG RESETSTAT sets them to zero.

Prometheus has counters of its own, in `kraft.telemetry`: those only grow.
"""

from collections import Counter, defaultdict, deque
from dataclasses import dataclass, field

RATE_SECONDS = 1.0  # between two samples
RATE_SAMPLES = 3  # a rate is the mean over the time since the oldest of them
LATENCY_BITS = 5  # kept of a latency in microseconds: it is counted with at most 6 % too little
PERCENTILES = (50.0, 99.0, 99.9)


@dataclass(slots=True)
class CommandStatistics:
    """One command. `calls` were executed, `failed` of them with an error; `rejected` were refused before.

    `seconds` is the sum of the times from the start of a segment of requests to its answer. `latencies`
    counts the calls by that time in microseconds, rounded down by `rounded`.
    """

    calls: int = 0
    seconds: float = 0.0
    rejected: int = 0
    failed: int = 0
    latencies: dict[int, int] = field(default_factory=dict)

    def percentile(self, percent: float) -> int:
        """The latency in microseconds that so many percent of the calls do not exceed; 0 without calls."""
        left = sum(self.latencies.values()) * percent / 100
        for latency, count in sorted(self.latencies.items()):
            left -= count
            if left <= 0:
                return latency
        return 0


def rounded(seconds: float) -> int:
    """A latency in microseconds, of which the first LATENCY_BITS bits are kept."""
    microseconds = int(seconds * 1e6)
    cut = max(microseconds.bit_length() - LATENCY_BITS, 0)
    return microseconds >> cut << cut


@dataclass(slots=True)
class Statistics:
    """Everything that is counted on the client port since the start or CONFIG RESETSTAT."""

    commands: dict[str, CommandStatistics] = field(default_factory=lambda: defaultdict(CommandStatistics))
    errors: Counter[str] = field(default_factory=Counter)  # by the first word of the reply
    commands_processed: int = 0
    connections_received: int = 0
    connections_rejected: int = 0
    bytes_received: int = 0
    bytes_sent: int = 0
    hits: int = 0
    misses: int = 0
    dataset_bytes_peak: int = 0

    def add(self, name: str, calls: int, seconds: float) -> None:
        """Count `calls` of a command that were answered after `seconds` each."""
        if not calls:
            return
        row = self.commands[name]
        row.calls += calls
        row.seconds += seconds * calls
        latency = rounded(seconds)
        row.latencies[latency] = row.latencies.get(latency, 0) + calls

    def add_errors(self, name: str, rejected: int, failed: int) -> None:
        """Count calls of a command that were refused before they were executed, or failed."""
        if rejected or failed:
            row = self.commands[name]
            row.rejected += rejected
            row.failed += failed


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
        """Forget everything: the counters begin again, or were not sampled for a while."""
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
