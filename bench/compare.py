"""The comparison: every round runs every load against every system, under the same conditions.

One system runs at a time and starts afresh in every round; each round begins with another system. Slow
changes of the machine (heat, other tenants, the disk) then affect all systems alike, and ratios within a
round are more reliable than single figures.
"""

import contextlib
from collections.abc import Callable, Iterator, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from bench.loads import LOADS, Load, Outcome
from bench.measure import Meter, resident_mb, wait_until_quiet
from bench.processes import Address, BenchError
from bench.progress import Progress, say
from bench.systems import System

ATTEMPTS = 3
MOST_REQUESTS = 3_000_000

Factory = Callable[[], System]


@dataclass(frozen=True, slots=True)
class Plan:
    """Duration and repetitions: `seconds` is the approximate time of one load, `quiet_seconds` limits each
    wait.

    A sample is repeated when anything but servers and client used more than `noise_cores` of CPU. A load
    sends at least `least` of the requests of its pilot run.
    """

    rounds: int = 3
    seconds: float = 2.0
    quiet_seconds: float = 20.0
    noise_cores: float = 0.25
    least: float = 1.0
    loads: Sequence[Load] = LOADS


@contextlib.contextmanager
def running(factory: Factory) -> Iterator[System]:
    """Start a system, and stop it at the end. A BenchError has the last log lines of its processes."""
    system = factory()
    try:
        system.start()
        try:
            yield system
        except (BenchError, OSError) as error:
            tails = [f"--- {process.name}\n{process.last_words()}" for process in system.processes]
            raise BenchError("\n".join([str(error), *tails])) from error
    finally:
        system.stop()


def rotated(factories: Sequence[Factory], number: int) -> list[Factory]:
    """The order of systems in a round."""
    shift = number % len(factories)
    return [*factories[shift:], *factories[:shift]]


def compare(factories: Sequence[Factory], plan: Plan, samples: list[dict[str, Any]]) -> None:
    """Run all rounds; add one sample (a flat dict) for each round, view and load to `samples`."""
    sizes: dict[tuple[str, str], int] = {}
    progress = Progress(plan.rounds * len(factories) * len(plan.loads))
    for number in range(plan.rounds):
        for factory in rotated(factories, number):
            with running(factory) as system:
                idle_mb = [resident_mb(pid) for pid in system.pids()]
                for load in plan.loads:
                    for view in system.views() if system.takes(load) else ():
                        sample = _sample(system, view, load, plan, sizes)
                        samples.append({"round": number, "system": view, "idle_mb": idle_mb, **sample})
                        say(line(samples[-1]))
                    progress.step()


def line(sample: dict[str, Any]) -> str:
    """Describe a sample in a line of progress."""
    noise = "" if sample["other_cores"] is None else f"  others {sample['other_cores']:.2f}"
    return (
        f"round {sample['round'] + 1}  {sample['system']:<17} {sample['load']:<20} {sample['rate']:>10,.0f}/s"
        f"  p50 {sample['p50_ms']:.2f}  p99 {sample['p99_ms']:.2f} ms{noise}"
    )


def _sample(
    system: System, view: str, load: Load, plan: Plan, sizes: dict[tuple[str, str], int]
) -> dict[str, Any]:
    system.prepare(load, system.views()[view])
    if (view, load.name) not in sizes:
        pilot = system.run(load, system.views()[view], size(load, plan))
        sizes[view, load.name] = size(load, plan, pilot.rate * plan.seconds)
    requests = sizes[view, load.name]
    return measured(system, view, load.name, plan, lambda address: system.run(load, address, requests))


def measured(
    system: System, view: str, name: str, plan: Plan, run: Callable[[Address], Outcome]
) -> dict[str, Any]:
    """Measure until the machine was quiet, at most a few times; return the sample with the least noise."""
    best: dict[str, Any] | None = None
    for _ in range(ATTEMPTS):
        sample = _attempt(system, view, plan, run)
        if sample is None:
            say(f"{view}, {name}: the leader changed, repeating")
        elif best is None or sample["other_cores"] < best["other_cores"]:
            best = sample
        if best is not None and (best["other_cores"] or 0.0) <= plan.noise_cores:
            break
    if best is None:
        raise BenchError(f"{view}: the leader changed in each of {ATTEMPTS} attempts at {name}")
    return {"load": name, **best}


def _attempt(
    system: System, view: str, plan: Plan, run: Callable[[Address], Outcome]
) -> dict[str, Any] | None:
    """Measure once; None when the leader changed meanwhile, because the view then had another role."""
    address = system.views()[view]
    quiet_share = wait_until_quiet(plan.quiet_seconds)
    meter = Meter(system.pids())
    outcome = run(address)
    cost = meter.stop(outcome.requests)
    if system.views()[view] != address:
        return None
    return {**asdict(outcome), **cost, "busy_before": quiet_share}


def size(load: Load, plan: Plan, wanted: float = 0.0) -> int:
    """Round a number of requests up to whole pipelines for every client, at least those of a pilot run."""
    granule = load.clients * load.pipeline
    return -(-max(int(load.pilot * plan.least), min(MOST_REQUESTS, int(wanted))) // granule) * granule


def scratch(directory: Path, name: str) -> Path:
    """Return a new directory for one start of a system."""
    for number in range(10_000):
        path = directory / f"{name}-{number}"
        with contextlib.suppress(FileExistsError):
            path.mkdir(parents=True)
            return path
    raise BenchError(f"{directory} is full of old runs")
