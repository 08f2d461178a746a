"""Renders samples as a markdown page. Ratios are taken within a round, so noise affects both sides."""

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from statistics import median
from typing import Any

Samples = Sequence[dict[str, Any]]


@dataclass(frozen=True, slots=True)
class Spread:
    """Median, minimum and maximum of at least one value."""

    median: float
    least: float
    most: float

    @classmethod
    def of(cls, values: Sequence[float]) -> "Spread":
        """Summarise."""
        return cls(median(values), min(values), max(values))

    def text(self, form: str) -> str:
        """Format as median (least..most); `form` is the format of each number."""
        if self.least == self.most:
            return f"{self.median:{form}}"
        return f"{self.median:{form}} ({self.least:{form}}..{self.most:{form}})"


RATIOS = (
    ("kraft-3", "earlier-3"),
    ("kraft-3 follower", "earlier-3 follower"),
    ("kraft-3", "sketch"),
    ("kraft-3", "etcd"),
    ("kraft-1", "bare"),
    ("kraft-3", "bare"),
    ("kraft-1", "kraft-3"),
    ("kraft-3 follower", "kraft-3"),
    ("other-sketch", "sketch"),
)
"""(numerator, denominator) of each printed ratio."""

GOALS: dict[tuple[str, str], dict[str, tuple[float, float | None]]] = {
    ("kraft-3", "sketch"): {
        "SET 1": (0.7, 1.0),
        "SET 50": (0.6, 0.9),
        "SET 50 x 16": (0.4, 0.8),
        "GET 1": (0.5, 0.9),
        "GET 50": (0.5, 0.9),
        "GET 50 x 16": (0.3, 0.7),
    },
    ("kraft-3", "etcd"): {
        "SET 1": (1.2, None),
        "SET 50": (2.2, None),
        "SET 50 x 16": (6.0, None),
        "GET 1": (1.0, None),
        "GET 50": (1.5, None),
        "GET 50 x 16": (4.0, None),
    },
    ("kraft-3 follower", "kraft-3"): {
        "SET 1": (0.5, 0.7),
        "SET 50": (0.5, 0.7),
        "SET 50 x 16": (0.5, 0.7),
        "GET 1": (0.5, 0.7),
        "GET 50": (0.5, 0.7),
        "GET 50 x 16": (0.5, 0.7),
    },
}
"""For the median of a ratio: the least acceptable value, and the goal."""


def ordered(samples: Samples, field: str) -> list[str]:
    """Return the distinct values of a field in order of first appearance."""
    return list(dict.fromkeys(str(sample[field]) for sample in samples))


def ratios(samples: Samples, load: str, above: str, below: str, field: str = "rate") -> list[float]:
    """Return the ratio of a figure of two systems for each round in which both ran."""
    figures = {(s["round"], s["system"]): s[field] for s in samples if s["load"] == load}
    return [
        figure / figures[number, below]
        for (number, name), figure in figures.items()
        if name == above and figures.get((number, below))
    ]


def table(header: Sequence[str], rows: Sequence[Sequence[str]]) -> str:
    """Render a markdown table; all columns but the first are right-aligned."""
    lines = [header, ["---", *["---:"] * (len(header) - 1)], *rows]
    return "\n".join(f"| {' | '.join(line)} |" for line in lines)


def _by_system(samples: Samples, cell: Callable[[Samples], str]) -> str:
    systems, rows = ordered(samples, "system"), []
    for load in ordered(samples, "load"):
        row = [load]
        for system in systems:
            chosen = [s for s in samples if s["load"] == load and s["system"] == system]
            row.append(cell(chosen) if chosen else "-")
        rows.append(row)
    return table(["load", *systems], rows)


def _rates(samples: Samples) -> str:
    return Spread.of([s["rate"] for s in samples]).text(",.0f")


def _latencies(samples: Samples) -> str:
    return f"{median(s['p50_ms'] for s in samples):.2f} / {median(s['p99_ms'] for s in samples):.2f}"


def _costs(samples: Samples) -> str:
    return Spread.of([s["cpu_seconds_per_1000"] for s in samples]).text(".3f")


def _others(samples: Samples) -> str:
    return f"{max(s['other_cores'] for s in samples):.2f}"


def ratio_table(samples: Samples) -> str:
    """Render the throughput ratios of all pairs that ran, with their goals if there are any."""
    systems = set(ordered(samples, "system"))
    rows = []
    for above, below in RATIOS:
        if {above, below} <= systems:
            rows += [_ratio_row(samples, load, above, below) for load in ordered(samples, "load")]
    return table(
        ["ratio of throughput", "load", "median (least..most)", "must", "goal", ""], [r for r in rows if r]
    )


def _ratio_row(samples: Samples, load: str, above: str, below: str) -> list[str]:
    values = ratios(samples, load, above, below)
    if not values:
        return []
    spread = Spread.of(values)
    must, goal = GOALS.get((above, below), {}).get(load, (None, None))
    verdict = "" if must is None else "met" if spread.median >= must else "**missed**"
    goals = [f"{bound:g}" if bound is not None else "" for bound in (must, goal)]
    return [f"{above} / {below}", load, spread.text(".2f"), *goals, verdict]


def cost_ratio_table(samples: Samples) -> str:
    """Render the CPU time per request of three kraft nodes relative to the others: lower is better."""
    below = [name for name in ("earlier-3", "sketch", "etcd") if name in ordered(samples, "system")]
    rows = []
    for load in ordered(samples, "load"):
        values = [ratios(samples, load, "kraft-3", name, "cpu_seconds_per_1000") for name in below]
        rows.append([load, *(Spread.of(value).text(".2f") if value else "-" for value in values)])
    return table(["load", *(f"kraft-3 / {name}" for name in below)], rows)


def memory_table(samples: Samples) -> str:
    """Render the memory of each system's largest process: after its start, and at most after a load."""
    rows = []
    for system in ordered(samples, "system"):
        own = [s for s in samples if s["system"] == system]
        idle, most = max(max(s["idle_mb"]) for s in own), max(max(s["rss_mb"]) for s in own)
        rows.append([system, f"{idle:.0f}", f"{most:.0f}"])
    return table(["system", "started, MB", "most after a load, MB"], rows)


def failover_table(trials: Samples) -> str:
    """Render the seconds without writes after the leader was killed."""
    rows = []
    for system in ordered(trials, "system"):
        seconds = [t["seconds"] for t in trials if t["system"] == system]
        rows.append(
            [
                system,
                str(len(seconds)),
                f"{median(seconds):.3f}",
                f"{max(seconds):.3f}",
                f"{min(seconds):.3f}",
            ]
        )
    return table(["system", "trials", "median, s", "most, s", "least, s"], rows)


def machine_line(machine: dict[str, Any]) -> str:
    """Describe the machine and the commit in a sentence."""
    commit = f"`{machine['commit']}`" + (" with uncommitted changes" if machine["changed"] else "")
    return (
        f"Commit {commit}, {machine['time']}; {machine['cores']} cores, {machine['memory_gb']} GB, "
        f"Linux {machine['kernel']}, Python {machine['python']}, Twisted {machine['twisted']}, "
        f"SQLite {machine['sqlite']}."
    )


def comparison_page(result: dict[str, Any]) -> str:
    """Render the page of a comparison."""
    samples, plan = result["samples"], result["plan"]
    parts = [
        machine_line(result["machine"]),
        f"{plan['rounds']} rounds, about {plan['seconds']:g} s a load; median (least..most) over the rounds.",
        *(f"Skipped: {reason}." for reason in result["skipped"]),
        *(f"**Failed**: {text.splitlines()[0]}" for text in result["failures"]),
    ]
    for title, text in _sections(samples) if samples else ():
        parts += [f"### {title}", text]
    if result["failover"]:
        parts += ["### Failover: no writes after the leader was killed", failover_table(result["failover"])]
    return "\n\n".join(parts) + "\n"


def _sections(samples: Samples) -> Iterator[tuple[str, str]]:
    yield "Ratios", ratio_table(samples)
    yield "Throughput, requests/s", _by_system(samples, _rates)
    yield "Latency p50 / p99, ms (of a whole pipeline where there is one)", _by_system(samples, _latencies)
    yield "CPU seconds of all processes per 1,000 requests", _by_system(samples, _costs)
    if "kraft-3" in ordered(samples, "system"):
        yield "CPU cost in ratios", cost_ratio_table(samples)
    yield "Memory of the largest process", memory_table(samples)
    yield "Noise: most cores used by anything else", _by_system(samples, _others)


def checkpoint_page(result: dict[str, Any]) -> str:
    """Render the page of a checkpoint run."""
    rows = []
    for name, label in (("whole", "every key"), ("part", "a tenth of the keys")):
        for trial in result[name]:
            quiet, busy = trial["quiet"], trial["busy"]
            rows.append(
                [
                    label,
                    f"{trial['seconds']:.1f}",
                    f"{quiet['p99_ms']:.2f}",
                    f"{busy['p99_ms']:.2f}",
                    f"{busy['p99_ms'] / quiet['p99_ms']:.1f}",
                    f"{busy['rate'] / quiet['rate']:.2f}",
                ]
            )
    joined = result["snapshot"]
    snapshot = (
        f"A new node received a snapshot and became a voter after {joined['seconds']:.1f} s: the leader used "
        f"{joined['leader_mb_before']:.0f} MB before and {joined['leader_mb_most']:.0f} MB at most, the new "
        f"node {joined['new_mb']:.0f} MB at the end; writers saw a p99 of {joined['busy']['p99_ms']:.2f} ms."
    )
    head = ["checkpoint of", "s", "quiet p99, ms", "p99, ms", "times", "rate, of quiet"]
    what = f"{result['keys']:,} keys of {result['key_bytes']} bytes, values of {result['value_bytes']} bytes."
    return "\n\n".join([machine_line(result["machine"]), what, table(head, rows), snapshot]) + "\n"


RESTARTS = (
    ("from_log", "right after writing, SIGTERM"),
    ("after_stop", "after a checkpoint, SIGTERM"),
    ("after_kill", "after a checkpoint, SIGKILL"),
)


def restart_page(result: dict[str, Any]) -> str:
    """Render the page of a restart run."""
    plain = result["plain_select"]["seconds"]
    stored = sum(s["seconds"] for s in result["select"])
    rows = []
    for name, label in RESTARTS:
        again = result[name]
        times = [f"{again['seconds'] / bare:.1f}" for bare in (stored, plain)]
        rows.append([label, f"{again['seconds']:.2f}", *times, f"{again['mb']:.0f}"])
    own = ", ".join(f"`{s['file']}` {s['rows']:,} rows in {s['seconds']:.3f} s" for s in result["select"])
    what = (
        f"{result['keys']:,} keys of {result['key_bytes']} bytes, values of {result['value_bytes']} bytes, "
        f"one node; {result['idle_mb']:.0f} MB before, {result['filled_mb']:.0f} MB when filled."
    )
    parts = [
        machine_line(result["machine"]),
        what,
        table(["restart", "to serving, s", "of a SELECT of its rows", "of a plain one", "memory, MB"], rows),
        f"Bare SELECT of one row per key: {plain:.3f} s. SELECT of all rows the node stored: {own}.",
    ]
    return "\n\n".join(parts) + "\n"
