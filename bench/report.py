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


REDIS_TLS = ("redis-server-tls", "redis-server")
RATIOS = (
    ("kraft-3", "earlier-3"),
    ("kraft-3", "other-python-3"),
    ("kraft-3 follower", "earlier-3 follower"),
    ("kraft-3", "sketch"),
    ("kraft-3", "etcd"),
    ("kraft-1", "bare"),
    ("kraft-3", "bare"),
    ("kraft-1", "kraft-3"),
    ("kraft-3 follower", "kraft-3"),
    ("tls-3", "kraft-3"),
    ("users-3", "kraft-3"),
    REDIS_TLS,
    ("three-groups-3", "one-group-3"),
    ("other-sketch", "sketch"),
)
"""(numerator, denominator) of each printed ratio. A cluster given by its address is one more denominator."""
OWN = ("kraft-3", "other-python-3")
SECURED = ("tls-3", "users-3")

GOALS: dict[tuple[str, str], dict[str, tuple[float, float | None]]] = {
    ("kraft-3", "sketch"): {
        "SET 1": (0.7, 1.0),
        "SET 50": (0.6, 0.9),
        "SET 50 x 16": (0.4, 0.8),
        "GET 1": (0.5, 0.9),
        "GET 50": (0.5, 0.9),
        "GET 50 x 16": (0.3, 0.7),
    },
    ("kraft-3", "redisraft"): {
        "SET 1": (0.5, 0.8),
        "SET 50": (0.8, 0.9),
        "SET 50 x 16": (4.0, 5.0),
        "GET 1": (0.5, 0.8),
        "GET 50": (0.75, 1.0),
        "GET 50 x 16": (2.5, 3.0),
        "SET 50 10kB": (0.6, None),
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
    ("tls-3", "kraft-3"): {"SET 50": (0.75, None), "GET 50": (0.75, None)},
    ("users-3", "kraft-3"): {"SET 50": (0.97, None), "GET 50": (0.97, None)},
}
"""For the median of a ratio: the least acceptable value, and the goal. redisraft is the name that
docs/performance.md proposes for `--address`.
"""


def ordered(samples: Samples, field: str) -> list[str]:
    """Return the distinct values of a field in order of first appearance."""
    return list(dict.fromkeys(str(sample[field]) for sample in samples))


def ratios(samples: Samples, load: str, above: str, below: str, field: str = "rate") -> list[float]:
    """Return the ratio of a figure of two systems for each round in which both ran."""
    figures = {(s["round"], s["system"]): s[field] for s in samples if s["load"] == load}
    return [
        figure / figures[number, below]
        for (number, name), figure in figures.items()
        if name == above and figure is not None and figures.get((number, below))
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


def _known(samples: Samples, field: str) -> list[float]:
    """The values of a field that were measured: CPU time is not, of a cluster without process ids."""
    return [s[field] for s in samples if s[field] is not None]


def _costs(samples: Samples) -> str:
    values = _known(samples, "cpu_seconds_per_1000")
    return Spread.of(values).text(".3f") if values else "-"


def _others(samples: Samples) -> str:
    values = _known(samples, "other_cores")
    return f"{max(values):.2f}" if values else "-"


def ratio_table(samples: Samples, peers: Sequence[str] = ()) -> str:
    """Render the throughput ratios of all pairs that ran, with their goals if there are any."""
    systems = set(ordered(samples, "system"))
    rows = []
    for above, below in (*((own, peer) for peer in peers for own in OWN), *RATIOS):
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


def relative_table(samples: Samples, field: str, peers: Sequence[str] = ()) -> str:
    """Render a figure of three kraft nodes relative to the others', and with TLS or users to without.

    Lower is better; "" without two systems to compare.
    """
    systems = ordered(samples, "system")
    others = (*peers, "other-python-3", "earlier-3", "sketch", "etcd")
    pairs = [("kraft-3", name) for name in others if name in systems]
    pairs += [(name, "kraft-3") for name in SECURED if name in systems]
    pairs += [REDIS_TLS] if set(REDIS_TLS) <= set(systems) else []
    if "kraft-3" not in systems or not pairs:
        return ""
    rows = []
    for load in ordered(samples, "load"):
        values = [ratios(samples, load, *pair, field) for pair in pairs]
        rows.append([load, *(Spread.of(value).text(".2f") if value else "-" for value in values)])
    return table(["load", *(f"{above} / {below}" for above, below in pairs)], rows)


def memory_table(samples: Samples) -> str:
    """Render the memory of each system's largest process: after its start, and at most after a load."""
    rows = []
    for system in ordered(samples, "system"):
        own = [s for s in samples if s["system"] == system]
        figures = [max((mb for s in own for mb in s[field]), default=None) for field in ("idle_mb", "rss_mb")]
        rows.append([system, *("-" if mb is None else f"{mb:.0f}" for mb in figures)])
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
        f"Linux {machine['kernel']}, {machine['python']}, Twisted {machine['twisted']}, "
        f"SQLite {machine['sqlite']}."
    )


def _head(result: dict[str, Any]) -> list[str]:
    """The paragraphs before the tables."""
    plan = result["plan"]
    return [
        machine_line(result["machine"]),
        *(f"{name} runs on {built}." for name, built in result["interpreters"].items()),
        f"{plan['rounds']} rounds, about {plan['seconds']:g} s a load; median (least..most) over the rounds.",
        *(f"Skipped: {reason}." for reason in result["skipped"]),
        *(f"**Failed**: {text.splitlines()[0]}" for text in result["failures"]),
    ]


def _page(parts: list[str], sections: Iterator[tuple[str, str]]) -> str:
    return "\n\n".join([*parts, *(f"### {title}\n\n{text}" for title, text in sections)]) + "\n"


def comparison_page(result: dict[str, Any]) -> str:
    """Render the page of a comparison."""
    return _page(_head(result), _sections(result))


def _sections(result: dict[str, Any]) -> Iterator[tuple[str, str]]:
    samples, peers = result["samples"], result["peers"]
    if samples:
        yield "Ratios", ratio_table(samples, peers)
        yield "Throughput, requests/s", _by_system(samples, _rates)
        yield (
            "Latency p50 / p99, ms (of a whole pipeline where there is one)",
            _by_system(samples, _latencies),
        )
        yield from _cost_sections(samples, peers)
    if result["failover"]:
        yield "Failover: no writes after the leader was killed", failover_table(result["failover"])


def _cost_sections(samples: Samples, peers: Sequence[str]) -> Iterator[tuple[str, str]]:
    yield "CPU seconds of all processes per 1,000 requests", _by_system(samples, _costs)
    if text := relative_table(samples, "cpu_seconds_per_1000", peers):
        yield "CPU cost in ratios", text
    yield "Memory of the largest process", memory_table(samples)
    yield "Noise: most cores used by anything else", _by_system(samples, _others)


def open_loop_page(result: dict[str, Any]) -> str:
    """Render the page of an open-loop run."""
    return _page(_head(result), _open_loop_sections(result["samples"], result["peers"]))


def _open_loop_sections(samples: Samples, peers: Sequence[str]) -> Iterator[tuple[str, str]]:
    if not samples:
        return
    yield "Latency from the scheduled time, p50 / p99 / p99.9, ms", _by_system(samples, _percentiles)
    if text := relative_table(samples, "p99_ms", peers):
        yield "p99 in ratios", text
    yield "Requests/s, asked for and answered", _by_system(samples, _paces)
    yield "The client: cores used, and how late it sent (p99, ms)", _by_system(samples, _client)
    yield from _cost_sections(samples, peers)


def _percentiles(samples: Samples) -> str:
    fields = ("p50_ms", "p99_ms", "p999_ms")
    text = " / ".join(f"{median(s[field] for s in samples):.2f}" for field in fields)
    return text if all(s["kept_up"] for s in samples) else f"{text}, **did not keep up**"


def _paces(samples: Samples) -> str:
    return f"{median(s['asked'] for s in samples):,.0f}: {median(s['rate'] for s in samples):,.0f}"


def _client(samples: Samples) -> str:
    late = _known(samples, "late_p99_ms")
    cores = f"{median(s['client_cores'] for s in samples):.2f}"
    return f"{cores}; {median(late):.2f}" if late else cores


IDLE_MUST = {"cores": 0.01, "empty": 60.0, "full": 450.0}
"""For a node of kraft: the most cores, and MB of memory when it is empty and with a million keys."""


def idle_page(result: dict[str, Any]) -> str:
    """Render the page of systems that nobody uses."""
    rows = []
    for sample in result["samples"]:
        row = [sample["system"]]
        for state in ("empty", "full"):
            figures = sample.get(state)
            if figures:
                row += [f"{100 * max(figures['cores']):.2f}", f"{max(figures['mb']):.0f}"]
            else:
                row += ["-", "-"]
        rows.append(row)
    keys = f"{result['keys']:,} keys"
    head = ["the largest process of", "empty: % of a core", "MB", f"{keys}: % of a core", "MB"]
    what = f"Keys of {result['key_bytes']} bytes, values of {result['value_bytes']} bytes."
    goal = (
        f"A node of kraft must use at most {IDLE_MUST['cores']:.0%} of a core, {IDLE_MUST['empty']:.0f} MB "
        f"when it is empty, and {IDLE_MUST['full']:.0f} MB with a million keys."
    )
    return "\n\n".join([*_head(result), what, table(head, rows), goal]) + "\n"


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
                    *(f"{trial[when]['pause_ms']:.1f}" for when in ("filling", "calm", "pulse")),
                    f"{trial['calm']['most_mb']:.0f}",
                    f"{trial['pulse']['most_mb']:.0f}",
                ]
            )
    joined = result["snapshot"]
    snapshot = (
        f"A new node received a snapshot and became a voter after {joined['seconds']:.1f} s: the leader used "
        f"{joined['leader_mb_before']:.0f} MB before and {joined['leader_mb_most']:.0f} MB at most, the new "
        f"node {joined['new_mb']:.0f} MB at the end; writers saw a p99 of {joined['busy']['p99_ms']:.2f} ms."
    )
    head = ["checkpoint of", "s", "quiet p99, ms", "p99, ms", "times", "rate, of quiet"]
    head += ["longest pause while keys are written, ms", "quiet, ms", "during the checkpoint, ms"]
    head += ["most memory of a node before, MB", "during it, MB"]
    what = f"{result['keys']:,} keys of {result['key_bytes']} bytes, values of {result['value_bytes']} bytes."
    return "\n\n".join([machine_line(result["machine"]), what, table(head, rows), snapshot]) + "\n"


def scan_page(result: dict[str, Any]) -> str:
    """Render the page of scans."""
    rows = []
    for trial in result["trials"]:
        quiet, busy = trial["quiet"], trial["busy"]
        rows.append(
            [
                f"{trial['alone']:.1f}",
                f"{trial['seconds']:.1f}",
                f"{quiet['p99_ms']:.2f}",
                f"{busy['p99_ms']:.2f}",
                f"{busy['p99_ms'] / quiet['p99_ms']:.1f}",
                f"{busy['rate'] / quiet['rate']:.2f}",
                f"{trial['calm_ms']:.1f}",
                f"{trial['pause_ms']:.1f}",
            ]
        )
    head = ["scan, s", "beside writers, s", "quiet p99, ms", "p99, ms", "times", "rate, of quiet"]
    head += ["longest pause, quiet, ms", "during the scan, ms"]
    what = f"{result['keys']:,} keys of {result['key_bytes']} bytes, values of {result['value_bytes']} bytes."
    return "\n\n".join([machine_line(result["machine"]), what, table(head, rows)]) + "\n"


def backup_page(result: dict[str, Any]) -> str:
    """Render the page of backups."""
    rows = []
    for name, label in (("fetched", "`kraft backup --to`"), ("own", "`KRAFT BACKUP`")):
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
                    *(f"{trial[when]['p99_ms']:.2f}" for when in ("calm", "pulse")),
                    *(f"{trial[when]['pause_ms']:.1f}" for when in ("calm", "pulse")),
                    f"{trial['pulse']['most_mb']:.0f}",
                ]
            )
    head = ["image by", "s", "quiet p99, ms", "p99, ms", "times", "rate, of quiet"]
    head += ["p99 of the pulse, quiet, ms", "during the backup, ms"]
    head += ["longest pause, quiet, ms", "during the backup, ms", "most memory of a node, MB"]
    what = f"{result['keys']:,} keys of {result['key_bytes']} bytes, values of {result['value_bytes']} bytes."
    return "\n\n".join([machine_line(result["machine"]), what, table(head, rows)]) + "\n"


def moves_page(result: dict[str, Any]) -> str:
    """Render the page of moves of slots."""
    rows = []
    for trial in result["trials"]:
        quiet, busy = trial["quiet"], trial["busy"]
        rows.append(
            [
                trial["mode"],
                f"{trial['seconds']:.1f}",
                f"{sum(busy['requests'].values()):,}",
                str(sum(busy["failed"].values())),
                str(busy["wrong"]),
                f"{quiet['p99_ms']:.1f}",
                f"{busy['p99_ms']:.1f}",
                f"{busy['p99_ms'] / quiet['p99_ms']:.2f}",
                f"{busy['rate'] / quiet['rate']:.2f}",
                f"{busy['max_ms']:.0f}",
                f"{trial['freezes']}",
                f"{trial['freeze_p99_ms']:g}",
                f"{trial['freeze_max_ms']:g}",
            ]
        )
    head = ["routing", "all moves, s", "requests", "failed", "wrong", "quiet p99, ms", "p99, ms", "times"]
    head += ["rate, of quiet", "longest SET, ms", "freezes", "p99 below, ms", "longest below, ms"]
    what = f"{result['keys']:,} keys of {result['key_bytes']} bytes, values of {result['value_bytes']} bytes;"
    what += f" half of the slots in {result['moves']} moves."
    return "\n\n".join([machine_line(result["machine"]), what, table(head, rows)]) + "\n"


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
