"""The answer to a scrape, in pieces: rendering all metrics at once would hold up the event loop."""

from collections.abc import Callable, Iterator
from copy import copy

from prometheus_client import CollectorRegistry, generate_latest
from prometheus_client.exposition import CONTENT_TYPE_PLAIN_0_0_4
from prometheus_client.metrics_core import Metric
from prometheus_client.openmetrics import exposition as openmetrics
from prometheus_client.registry import Collector

SAMPLES_MAX = 50  # the library takes a few milliseconds for a hundred of them on a busy machine
_END = b"# EOF\n"  # of OpenMetrics


def exposition_type(accept: str) -> str:
    """The content type for an Accept header: OpenMetrics if that is named, else the text format."""
    if "application/openmetrics-text" in accept:
        return openmetrics.CONTENT_TYPE_LATEST
    return CONTENT_TYPE_PLAIN_0_0_4


def expose(registry: CollectorRegistry, content_type: str) -> Iterator[bytes]:
    """The metrics of `registry` in a form from `exposition_type`, at most SAMPLES_MAX samples in a piece."""
    if content_type != openmetrics.CONTENT_TYPE_LATEST:
        for family in registry.collect():
            yield from _pieces(family, generate_latest)
        return
    for family in registry.collect():
        yield from _pieces(family, _openmetrics)
    yield _END


def _openmetrics(registry: Collector) -> bytes:
    text: bytes = openmetrics.generate_latest(registry)  # type: ignore[no-untyped-call]
    return text.removesuffix(_END)


def _pieces(family: Metric, generate: Callable[[Collector], bytes]) -> Iterator[bytes]:
    """The text of one family. Only its first piece has the lines that describe it."""
    yield generate(_Part(family, 0))
    for start in range(SAMPLES_MAX, len(family.samples), SAMPLES_MAX):
        text = generate(_Part(family, start))
        while text.startswith(b"# "):
            text = text.partition(b"\n")[2]
        yield text


class _Part(Collector):
    """A registry of one part of a metric family: SAMPLES_MAX samples after the first `start`."""

    def __init__(self, family: Metric, start: int) -> None:
        self._family = copy(family)
        self._family.samples = family.samples[start : start + SAMPLES_MAX]

    def collect(self) -> Iterator[Metric]:
        yield self._family
