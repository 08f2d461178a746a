"""The command line: `python -m bench [compare|restart|checkpoint] ...`; compare is the default."""

import argparse
import importlib.util
import json
import shutil
import signal
import sys
import tempfile
from collections.abc import Sequence
from dataclasses import asdict, replace
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from bench import etcd, loads, report
from bench.checkpoint import checkpoint
from bench.compare import Factory, Plan, compare, running, say, scratch
from bench.failover import failover
from bench.machine import describe
from bench.processes import ROOT, BenchError
from bench.restart import restart
from bench.systems import Bare, Kraft, OtherSketch, Sketch

RESULTS = ROOT / "bench-results"
SYSTEMS = ("bare", "sketch", "kraft-1", "kraft-3", "etcd")
USUAL = Plan()
QUICK = Plan(rounds=1, seconds=0.2, quiet_seconds=0.0, noise_cores=1e3)


def parser() -> argparse.ArgumentParser:
    """Describe the options."""
    top = argparse.ArgumentParser(
        prog="python -m bench", description="Compare kraft with its yardsticks and peers."
    )
    commands = top.add_subparsers(dest="command", required=True)
    comparison = commands.add_parser("compare", help="throughput, latency, cost and failover, in one run")
    comparison.add_argument("--rounds", type=int, default=USUAL.rounds)
    comparison.add_argument(
        "--seconds", type=float, default=USUAL.seconds, help="approximate duration of one load"
    )
    comparison.add_argument(
        "--quiet-seconds", type=float, default=USUAL.quiet_seconds, help="longest wait for a quiet machine"
    )
    comparison.add_argument(
        "--quick", action="store_true", help="show that it runs: one short round, no waiting"
    )
    comparison.add_argument(
        "--systems", default=",".join(SYSTEMS), help="comma-separated; default %(default)s"
    )
    comparison.add_argument(
        "--loads", default="", help="comma-separated names such as 'SET 50 x 16'; default all"
    )
    comparison.add_argument(
        "--failovers", type=int, default=5, help="kills of the leader for each cluster; 0: none"
    )
    comparison.add_argument(
        "--other-sketch", type=Path, help="a script with the arguments of servers/sketch.py to compare with"
    )
    comparison.add_argument(
        "--earlier",
        type=Path,
        metavar="CHECKOUT",
        help="the code of another version (git worktree add CHECKOUT COMMIT), shown as earlier-3",
    )
    again = commands.add_parser("restart", help="time and memory of a restart with many keys")
    again.add_argument("--keys", type=int, default=1_000_000)
    copies = commands.add_parser("checkpoint", help="latency of writers during checkpoints and a snapshot")
    copies.add_argument("--keys", type=int, default=1_000_000)
    copies.add_argument("--rounds", type=int, default=3)
    copies.add_argument("--seconds", type=float, default=5.0, help="duration of one quiet period")
    for command in (comparison, again, copies):
        command.add_argument("--markdown", type=Path, help="also write the tables to this file")
        command.add_argument(
            "--out", type=Path, default=RESULTS, help="directory of the JSON results and of the databases"
        )
    return top


def factories(options: argparse.Namespace, directory: Path) -> tuple[dict[str, Factory], list[str]]:
    """Return the requested systems that can run, and the reasons why the others cannot."""
    known: dict[str, Factory] = {
        "bare": lambda: Bare(scratch(directory, "bare")),
        "sketch": lambda: Sketch(scratch(directory, "sketch")),
        "kraft-1": lambda: Kraft(scratch(directory, "kraft-1"), 1),
        "kraft-3": lambda: Kraft(scratch(directory, "kraft-3"), 3),
        "etcd": lambda: etcd.Etcd(scratch(directory, "etcd")),
    }
    wanted = [name.strip() for name in options.systems.split(",") if name.strip()]
    if unknown := set(wanted) - set(known):
        raise BenchError(f"no such system: {', '.join(sorted(unknown))}; there are {', '.join(known)}")
    missing = {"etcd": etcd.missing()}
    if importlib.util.find_spec("hiredis") is None:
        missing["bare"] = missing["sketch"] = "hiredis is not installed (the extra `test` has it)"
    skipped = [f"{name}: {missing[name]}" for name in wanted if missing.get(name)]
    chosen = {name: known[name] for name in wanted if not missing.get(name)}
    if options.other_sketch:
        chosen["other-sketch"] = lambda: OtherSketch(
            scratch(directory, "other"), options.other_sketch.resolve()
        )
    if options.earlier:
        chosen["earlier-3"] = lambda: Kraft(
            scratch(directory, "earlier"), 3, checkout=options.earlier.resolve()
        )
    return chosen, skipped


def plan_of(options: argparse.Namespace) -> Plan:
    """Turn options into a plan."""
    names = [name.strip() for name in options.loads.split(",") if name.strip()]
    if unknown := set(names) - {load.name for load in loads.LOADS}:
        raise BenchError(f"no such load: {', '.join(sorted(unknown))}")
    chosen = tuple(load for load in loads.LOADS if load.name in names or not names)
    base = QUICK if options.quick else Plan(options.rounds, options.seconds, options.quiet_seconds)
    return replace(base, loads=chosen)


def run_compare(options: argparse.Namespace, directory: Path) -> tuple[dict[str, Any], str]:
    """Run the comparison; return the result and its page."""
    if shutil.which("redis-benchmark") is None:
        raise BenchError("redis-benchmark is not installed (Debian: redis-tools)")
    plan = plan_of(options)
    chosen, skipped = factories(options, directory)
    for reason in skipped:
        say(f"skipped: {reason}")
    result: dict[str, Any] = {"machine": describe(), "plan": asdict(plan), "skipped": skipped}
    result |= {"samples": [], "failover": [], "failures": []}
    trials = min(1, options.failovers) if options.quick else options.failovers
    try:
        compare(list(chosen.values()), plan, result["samples"])
        for name in ("kraft-3", "etcd"):
            if name in chosen and trials:
                with running(chosen[name]) as system:
                    failover(system, trials, result["failover"])  # type: ignore[arg-type]
    except BenchError as error:  # earlier samples are still worth reading
        result["failures"].append(str(error))
    return result, report.comparison_page(result)


def run_restart(options: argparse.Namespace, directory: Path) -> tuple[dict[str, Any], str]:
    """Measure a restart; return the result and its page."""
    result = {"machine": describe(), "failures": [], **restart(scratch(directory, "restart"), options.keys)}
    return result, report.restart_page(result)


def run_checkpoint(options: argparse.Namespace, directory: Path) -> tuple[dict[str, Any], str]:
    """Measure checkpoints and a snapshot; return the result and its page."""
    measured = checkpoint(scratch(directory, "checkpoint"), options.keys, options.rounds, options.seconds)
    result = {"machine": describe(), "failures": [], **measured}
    return result, report.checkpoint_page(result)


COMMANDS = {"compare": run_compare, "restart": run_restart, "checkpoint": run_checkpoint}


def main(arguments: Sequence[str]) -> int:
    """Run; return exit code 1 if a system did not start, answered with an error or took too long."""
    named = bool(arguments) and (arguments[0] in COMMANDS or arguments[0] in ("-h", "--help"))
    options = parser().parse_args(arguments if named else ["compare", *arguments])
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(143))  # so that `finally` stops the processes

    run = COMMANDS[options.command]
    options.out.mkdir(parents=True, exist_ok=True)
    directory = Path(tempfile.mkdtemp(prefix="run-", dir=options.out.resolve()))
    try:
        result, page = run(options, directory)
    except BenchError as error:
        say(f"bench: {error}")
        return 1
    finally:
        shutil.rmtree(directory, ignore_errors=True)
    stamp = datetime.now(UTC).strftime("%Y%m%d-%H%M%S")
    (options.out / f"{options.command}-{stamp}.json").write_text(json.dumps(result, indent=1) + "\n")
    if options.markdown:
        options.markdown.write_text(page)
    print(page)
    for failure in result["failures"]:
        say(f"bench: {failure}")
    return 1 if result["failures"] else 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
