"""Latency at a rate that the system cannot slow down: at shares of its own peak, or the same rates for all.

The peak is the throughput of the same client in a closed loop, just before. See `load_generator` for how
requests are timed.
"""

from collections.abc import Sequence
from typing import Any

from bench.compare import Factory, Plan, line, measured, rotated, running, size
from bench.load_generator import MOST_REQUESTS
from bench.loads import Load
from bench.measure import resident_mb
from bench.progress import Progress, say
from bench.systems import System

PEAK_SECONDS = 1.0
KEPT_UP = 0.97  # the Poisson process itself is off by a per cent


def open_loop(
    factories: Sequence[Factory],
    plan: Plan,
    shares: Sequence[float],
    rates: Sequence[float],
    samples: list[dict[str, Any]],
) -> None:
    """Add one sample for each round, system, load, and share of the peak or rate, to `samples`."""
    progress = Progress(plan.rounds * len(factories) * len(plan.loads))
    for number in range(plan.rounds):
        for factory in rotated(factories, number):
            with running(factory) as system:
                idle_mb = [resident_mb(pid) for pid in system.pids()]
                view = next(iter(system.views()))
                for load in filter(system.takes, plan.loads):
                    for name, rate in _steps(system, view, load, plan, shares, rates):
                        sample = _sample(system, view, load, plan, name, rate)
                        samples.append({"round": number, "system": view, "idle_mb": idle_mb, **sample})
                        say(line(samples[-1]))
                    progress.step()


def _steps(
    system: System, view: str, load: Load, plan: Plan, shares: Sequence[float], rates: Sequence[float]
) -> list[tuple[str, float]]:
    """The name and rate of each measurement."""
    system.prepare(load, system.views()[view])
    if rates:
        return [(f"{load.name} at {rate:,.0f}/s", rate) for rate in rates]
    pilot = system.paced(load, system.views()[view], size(load, plan), 0.0)
    requests = size(load, plan, pilot.rate * min(plan.seconds, PEAK_SECONDS))
    peak = system.paced(load, system.views()[view], requests, 0.0).rate
    say(f"{view}, {load.name}: peak {peak:,.0f}/s")
    return [(f"{load.name} at {share:.0%}", share * peak) for share in shares]


def _sample(system: System, view: str, load: Load, plan: Plan, name: str, rate: float) -> dict[str, Any]:
    requests = max(load.clients, min(MOST_REQUESTS, int(rate * plan.seconds)))
    sample = measured(system, view, name, plan, lambda to: system.paced(load, to, requests, rate))
    return {"asked": rate, "kept_up": sample["rate"] >= KEPT_UP * rate, **sample}
