"""The command line of the simulator: repeats runs, prints statistics, shrinks failing runs.

    python -m tests.simulation.schedule --seed 7 --trace               # one run, event by event
    python -m tests.simulation.schedule --seed 0 --runs 1000 --jobs 2  # statistics, and failed runs
    python -m tests.simulation.schedule --runs 1000 --groups 2         # only plans with two groups or more
    python -m tests.simulation.schedule --runs 1000 --moves            # slots move, and groups are created
    python -m tests.simulation.schedule --runs 1000 --votes            # few nodes vote in each group
    python -m tests.simulation.schedule --runs 1000 --replicas         # nodes leave groups and come back
    python -m tests.simulation.schedule --runs 1000 --leases           # reads rely on leases
    python -m tests.simulation.schedule --seed 7 --shrink              # the smallest plan that still fails
    python -m tests.simulation.schedule --seed 7 --without 3,5         # without these faults of its plan

Run it from the checkout; `tox -e sim -- --seed 0 --runs 1000` is the same. docs/simulation.md has more.
"""

import argparse
import sys
import traceback
from collections.abc import Iterator
from concurrent.futures import ProcessPoolExecutor
from dataclasses import dataclass
from functools import partial
from itertools import count, islice

from tests.simulation.coverage import Coverage
from tests.simulation.plan import Plan, draw
from tests.simulation.run import Result, run_plan
from tests.simulation.shrink import command_of, shrink


@dataclass(frozen=True)
class Failure:
    """A failed run and its error."""

    plan: Plan
    text: str


def attempt(plan: Plan) -> Result | Failure:
    """Run `plan`; return its result or its failure."""
    try:
        return run_plan(plan)
    except Exception:
        return Failure(plan, traceback.format_exc())


def main(arguments: list[str] | None = None) -> int:
    options = _parser().parse_args(arguments)
    if options.plan:
        for plan in _plans(options):
            _show(plan)
        return 0
    if options.trace:
        return _trace(_plan(options, options.seed))
    coverage = Coverage()
    failures: list[Failure] = []
    for outcome in _all(_plans(options), options.jobs):
        if isinstance(outcome, Failure):
            failures.append(outcome)
            _say(f"seed {outcome.plan.seed} failed\n{outcome.text}")
        else:
            coverage.add(outcome)
            if options.traces:
                _say(f"seed {outcome.plan.seed} trace {outcome.trace}")
    _say(coverage.table())
    _say(f"{options.runs} runs, {len(failures)} failed: {_seeds(failures)}")
    if failures and options.shrink:
        _shrink(failures[0].plan)
    return 1 if failures else 0


def _all(plans: Iterator[Plan], jobs: int) -> Iterator[Result | Failure]:
    if jobs == 1:
        yield from map(attempt, plans)
        return
    with ProcessPoolExecutor(jobs) as pool:
        yield from pool.map(attempt, plans, chunksize=4)


def _trace(plan: Plan) -> int:
    lines: list[str] = []
    failed = False
    try:
        run_plan(plan, lines)
    except Exception:
        failed = True
        lines.append(traceback.format_exc())
    _say("\n".join(lines))
    return int(failed)


def _shrink(plan: Plan) -> None:
    _say("shrinking, for at most a few minutes ...")
    smaller, error = shrink(plan, lambda text: _say(f"  {text}"))
    _say(f"the smaller plan fails with {type(error).__name__}: {error}")
    _show(smaller)
    _say(f"repeat it with: {command_of(smaller)} --trace")


def _show(plan: Plan) -> None:
    _say(
        f"seed {plan.seed}: {plan.nodes} nodes, {plan.groups} groups, {plan.clients} clients,"
        f" {plan.seconds:g} seconds, {plan.disks} disks{', calm' if plan.calm else ''}"
    )
    for fault in plan.faults:
        _say(str(fault))


def _plans(options: argparse.Namespace) -> Iterator[Plan]:
    """`options.runs` plans with enough groups, from the first seed on."""
    plans = map(partial(_plan, options), count(options.seed))
    return islice((plan for plan in plans if plan.groups >= options.groups), options.runs)


def _plan(options: argparse.Namespace, seed: int) -> Plan:
    wanted = {"moving": options.moves, "placing": options.votes, "replicas": options.replicas}
    plan = draw(seed, **wanted, leasing=options.leases)
    if options.only is not None:
        plan = plan.without({f.index for f in plan.faults} - set(options.only))
    plan = plan.without(options.without)
    if options.clients is not None:
        plan = plan.of_clients(options.clients)
    return plan.until(options.seconds) if options.seconds is not None else plan


def _seeds(failures: list[Failure]) -> str:
    return " ".join(str(failure.plan.seed) for failure in failures) or "none"


def _indexes(text: str) -> list[int]:
    return [int(part) for part in text.split(",") if part]


def _say(text: str) -> None:
    sys.stdout.write(text + "\n")
    sys.stdout.flush()


def _parser() -> argparse.ArgumentParser:
    description = "Simulate whole clusters, each run from one seed."
    parser = argparse.ArgumentParser(prog="python -m tests.simulation.schedule", description=description)
    add = parser.add_argument
    add("--seed", type=int, default=0, help="the first seed")
    add("--runs", type=int, default=1, help="number of plans")
    add("--groups", type=int, default=1, choices=(1, 2, 3), help="only plans with at least so many groups")
    add("--moves", action="store_true", help="slots move between groups, and groups are created")
    add("--votes", action="store_true", help="few nodes vote in each group, which the cluster chooses")
    add("--replicas", action="store_true", help="nodes leave groups, and come back to them")
    add("--leases", action="store_true", help="reads rely on leases")
    add("--jobs", type=int, default=1, help="number of processes")
    add("--plan", action="store_true", help="print the plan without running it")
    add("--trace", action="store_true", help="one run: print every event")
    add("--traces", action="store_true", help="print a digest of each run's trace")
    add("--shrink", action="store_true", help="shrink the first failing run")
    add("--without", type=_indexes, default=[], metavar="I,J", help="leave out these faults of the plan")
    add("--only", type=_indexes, default=None, metavar="I,J", help="leave out all other faults")
    add("--seconds", type=float, default=None, help="heal after this many seconds")
    add("--clients", type=int, default=None, help="so many clients")
    return parser


if __name__ == "__main__":
    sys.exit(main())
