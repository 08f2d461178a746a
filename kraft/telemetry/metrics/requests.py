"""The metrics of clients' requests, made at a scrape of the numbers that the client port keeps.

So a request costs a few additions to plain numbers, and no call of an observer.
"""

from collections.abc import Collection, Iterator

from prometheus_client.metrics_core import Metric

from kraft.telemetry.metrics import declarations
from kraft.telemetry.metrics.holders import CounterHolder, HistogramHolder
from kraft.telemetry.sources import RequestCounts, Sources

CLASSES = ("read", "write", "index", "local", "admin")
CODES = (
    "ERR", "MOVED", "ASK", "TRYAGAIN", "CLUSTERDOWN", "UNCERTAIN", "READONLY", "MASTERDOWN", "LOADING",
    "BUSY", "OOM", "MISCONF", "NOAUTH", "WRONGPASS", "NOPERM", "NOPROTO",
    "CROSSSLOT", "EXECABORT", "NOSCRIPT", "ONCEFULL", "ONCEREUSED",
)  # fmt: skip
OTHER = "other"


class RequestMetrics:
    """The metrics of `sources.clients`; all zero until there are clients."""

    def __init__(self, commands: Collection[str], sources: Sources) -> None:
        """`commands` are the names that are known in advance; any other counts as `other`."""
        self._names = frozenset(commands)
        self._sources = sources

    def families(self) -> Iterator[Metric]:
        """Every metric family of requests."""
        clients = self._sources.clients
        commands = CounterHolder(declarations.COMMANDS, (*sorted(self._names), OTHER), ("ok", "error"))
        durations = HistogramHolder(declarations.COMMAND_DURATION, CLASSES)
        errors = CounterHolder(declarations.COMMAND_ERRORS, (*CODES, OTHER))
        redirects = CounterHolder(declarations.CLIENT_REDIRECTS, ("moved",))
        received = CounterHolder(declarations.CLIENT_RECEIVED_BYTES)
        sent = CounterHolder(declarations.CLIENT_SENT_BYTES)
        hits = CounterHolder(declarations.KEYSPACE_HITS)
        misses = CounterHolder(declarations.KEYSPACE_MISSES)
        if clients is not None:
            counts = clients.statistics
            self._add_commands(counts, commands, durations)
            for code, number in counts.errors.items():
                errors.add(number, code if code in CODES else OTHER)
            redirects.add(counts.errors.get("MOVED", 0), "moved")
            received.add(counts.bytes_received)
            sent.add(counts.bytes_sent)
            hits.add(counts.hits)
            misses.add(counts.misses)
        for holder in (commands, durations, errors, redirects, received, sent, hits, misses):
            yield holder.family()

    def _add_commands(
        self, counts: RequestCounts, commands: CounterHolder, durations: HistogramHolder
    ) -> None:
        for name, row in counts.commands.items():
            label = name if name in self._names else OTHER
            wrong = row.rejected + row.failed
            commands.add(row.latencies.number - wrong, label, "ok")
            commands.add(wrong, label, "error")
            latencies = row.latencies
            durations.add(latencies.within(durations.declaration.buckets), latencies.seconds, row.kind)

    def durations(self, kind: str) -> tuple[int, ...]:
        """Requests of one class so far by the buckets of their duration; empty before the first."""
        clients = self._sources.clients
        rows = () if clients is None else clients.statistics.commands.values()
        buckets = declarations.COMMAND_DURATION.buckets
        columns = [row.latencies.within(buckets) for row in rows if row.kind == kind]
        return tuple(map(sum, zip(*columns, strict=True)))
