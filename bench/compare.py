"""The comparison: every round runs every load against every system, under the same conditions.

One system runs at a time and starts afresh in every round; each round begins with another system. Slow
changes of the machine (heat, other tenants, the disk) then affect all systems alike, and ratios within a
round are more reliable than single figures.
"""

import contextlib
import sys
from collections.abc import Callable, Iterator, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from bench.loads import LOADS, Load
from bench.measure import Meter, resident_mb, wait_until_quiet
from bench.processes import BenchError
from bench.systems import System

ATTEMPTS = 3
MOST_REQUESTS = 3_000_000
GRANULE = 800  # 50 clients x 16: every client then has the same number of whole pipelines

Factory = Callable[[], System]


@dataclass(frozen=True, slots=True)
class Plan:
    """Duration and repetitions: `seconds` is the approximate time of one load, `quiet_seconds` limits each
    wait.

    A sample is repeated when anything but servers and client used more than `noise_cores` of CPU.
    """

    rounds: int = 3
    seconds: float = 2.0
    quiet_seconds: float = 20.0
    noise_cores: float = 0.25
    loads: Sequence[Load] = LOADS


def say(text: str) -> None:
    """Report progress on standard error; the result goes to standard output."""
    print(text, file=sys.stderr, flush=True)


@contextlib.contextmanager
def running(factory: Factory) -> Iterator[System]:
    """Start a system, and stop it at the end. A BenchError includes the last log lines of its processes."""
    system = factory()
    try:
        system.start()
        try:
            yield system
        except BenchError as error:
            tails = [f"--- {process.name}\n{process.last_words()}" for process in system.processes]
            raise BenchError("\n".join([str(error), *tails])) from error
    finally:
        system.stop()


def compare(factories: Sequence[Factory], plan: Plan, samples: list[dict[str, Any]]) -> None:
    """Run all rounds; add one sample (a flat dict) for each round, view and load to `samples`."""
    sizes: dict[tuple[str, str], int] = {}
    for number in range(plan.rounds):
        shift = number % len(factories)
        for factory in [*factories[shift:], *factories[:shift]]:
            with running(factory) as system:
                idle_mb = [resident_mb(pid) for pid in system.pids()]
                for load in filter(system.takes, plan.loads):
                    for view in system.views():
                        sample = _sample(system, view, load, plan, sizes)
                        samples.append({"round": number, "system": view, "idle_mb": idle_mb, **sample})
                        say(_line(samples[-1]))


def _line(sample: dict[str, Any]) -> str:
    return (
        f"round {sample['round'] + 1}  {sample['system']:<17} {sample['load']:<16} {sample['rate']:>10,.0f}/s"
        f"  p50 {sample['p50_ms']:.2f}  p99 {sample['p99_ms']:.2f} ms  others {sample['other_cores']:.2f}"
    )


def _sample(
    system: System, view: str, load: Load, plan: Plan, sizes: dict[tuple[str, str], int]
) -> dict[str, Any]:
    """Measure until the machine was quiet, at most a few times; return the sample with the least noise."""
    best: dict[str, Any] | None = None
    for _ in range(ATTEMPTS):
        sample = _attempt(system, view, load, plan, sizes)
        if sample is None:
            say(f"{view}, {load.name}: the leader changed, repeating")
        elif best is None or sample["other_cores"] < best["other_cores"]:
            best = sample
        if best is not None and best["other_cores"] <= plan.noise_cores:
            break
    if best is None:
        raise BenchError(f"{view}: the leader changed in each of {ATTEMPTS} attempts at {load.name}")
    return best


def _attempt(
    system: System, view: str, load: Load, plan: Plan, sizes: dict[tuple[str, str], int]
) -> dict[str, Any] | None:
    """Measure once; None when the leader changed meanwhile, because the view then had another role."""
    port = system.views()[view]
    if (view, load.name) not in sizes:
        pilot = system.run(load, port, load.pilot)
        sizes[view, load.name] = _size(load, pilot.rate * plan.seconds)
    quiet_share = wait_until_quiet(plan.quiet_seconds)
    meter = Meter(system.pids())
    outcome = system.run(load, port, sizes[view, load.name])
    cost = meter.stop(outcome.requests)
    if system.views()[view] != port:
        return None
    return {"load": load.name, **asdict(outcome), **cost, "busy_before": quiet_share}


def _size(load: Load, wanted: float) -> int:
    """Round to whole pipelines for every client, within bounds."""
    granule = GRANULE if load.clients > 1 else 1
    return max(load.pilot, min(MOST_REQUESTS, int(wanted))) // granule * granule


def scratch(directory: Path, name: str) -> Path:
    """Return a new directory for one start of a system."""
    for number in range(10_000):
        path = directory / f"{name}-{number}"
        with contextlib.suppress(FileExistsError):
            path.mkdir(parents=True)
            return path
    raise BenchError(f"{directory} is full of old runs")
