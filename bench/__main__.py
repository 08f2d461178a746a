"""`python -m bench [compare|mixed|open-loop|idle|restart|checkpoint|scan|backup|moves|all]`; else compare."""

import argparse
import json
import shutil
import signal
import sys
import tempfile
from collections.abc import Callable, Sequence
from dataclasses import asdict
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from bench import report
from bench.backup import backups
from bench.checkpoint import checkpoint
from bench.compare import Factory, Plan, compare, running, scratch
from bench.failover import failover
from bench.idle import idle
from bench.machine import describe
from bench.moves import moves
from bench.open_loop import open_loop
from bench.options import COMPARING, QUICK_KEYS, factories, fits, interpreters, parser, plan_of, shared
from bench.processes import BenchError
from bench.progress import say
from bench.restart import KEY_BYTES, VALUE_BYTES, restart
from bench.scan import scans

Result = dict[str, Any]


def _selected(options: argparse.Namespace, directory: Path) -> tuple[Result, dict[str, Factory], Plan]:
    """The start of a result, the systems and the plan of a comparison."""
    if shutil.which("redis-benchmark") is None:
        raise BenchError("redis-benchmark is not installed (Debian: redis-tools)")
    plan = plan_of(options)
    chosen, skipped = factories(options, directory)
    for reason in skipped:
        say(f"skipped: {reason}")
    result: Result = {"machine": describe(), "interpreters": interpreters(options), "plan": asdict(plan)}
    result |= {"skipped": skipped, "peers": [name for name, _ in options.address]}
    return result | {"samples": [], "failover": [], "failures": []}, chosen, plan


def run_compare(options: argparse.Namespace, directory: Path) -> tuple[Result, str]:
    """Run the comparison; return the result and its page."""
    result, chosen, plan = _selected(options, directory)
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


def run_open_loop(options: argparse.Namespace, directory: Path) -> tuple[Result, str]:
    """Measure latency at given rates; return the result and its page."""
    result, chosen, plan = _selected(options, directory)
    shares = [share / 100 for share in options.shares]
    try:
        open_loop(list(chosen.values()), plan, shares, options.rates, result["samples"])
    except BenchError as error:  # earlier samples are still worth reading
        result["failures"].append(str(error))
    return result, report.open_loop_page(result)


def run_idle(options: argparse.Namespace, directory: Path) -> tuple[Result, str]:
    """Measure systems that nobody uses; return the result and its page."""
    result, chosen, plan = _selected(options, directory)
    keys = min(options.keys, QUICK_KEYS) if options.quick else options.keys
    keys = keys if fits(f"{keys:,} keys", keys) else 0
    result |= {"keys": keys, "key_bytes": KEY_BYTES, "value_bytes": VALUE_BYTES}
    try:
        idle(list(chosen.values()), keys, plan.seconds, plan.quiet_seconds, result["samples"])
    except BenchError as error:  # earlier samples are still worth reading
        result["failures"].append(str(error))
    return result, report.idle_page(result)


def check_room(keys: int) -> None:
    """Raise BenchError if so many keys need more memory than there is."""
    if not fits(f"{keys:,} keys", keys):
        raise BenchError("choose fewer --keys")


def run_restart(options: argparse.Namespace, directory: Path) -> tuple[Result, str]:
    """Measure a restart; return the result and its page."""
    result = {"machine": describe(), "failures": [], **restart(scratch(directory, "restart"), options.keys)}
    return result, report.restart_page(result)


def run_checkpoint(options: argparse.Namespace, directory: Path) -> tuple[Result, str]:
    """Measure checkpoints and a snapshot; return the result and its page."""
    check_room(options.keys)
    measured = checkpoint(scratch(directory, "checkpoint"), options.keys, options.rounds, options.seconds)
    result = {"machine": describe(), "failures": [], **measured}
    return result, report.checkpoint_page(result)


def run_scan(options: argparse.Namespace, directory: Path) -> tuple[Result, str]:
    """Measure scans; return the result and its page."""
    check_room(options.keys)
    measured = scans(scratch(directory, "scan"), options.keys, options.rounds, options.seconds)
    result = {"machine": describe(), "failures": [], **measured}
    return result, report.scan_page(result)


def run_backup(options: argparse.Namespace, directory: Path) -> tuple[Result, str]:
    """Measure backups; return the result and its page."""
    check_room(options.keys)
    measured = backups(scratch(directory, "backup"), options.keys, options.rounds, options.seconds)
    result = {"machine": describe(), "failures": [], **measured}
    return result, report.backup_page(result)


def run_moves(options: argparse.Namespace, directory: Path) -> tuple[Result, str]:
    """Measure moves of slots; return the result and its page."""
    check_room(options.keys)
    measured = moves(scratch(directory, "moves"), options.keys, options.seconds, options.batches)
    result = {"machine": describe(), **measured}
    return result, report.moves_page(result)


COMMANDS: dict[str, Callable[[argparse.Namespace, Path], tuple[Result, str]]] = {
    "compare": run_compare,
    "mixed": run_compare,
    "open-loop": run_open_loop,
    "idle": run_idle,
    "restart": run_restart,
    "checkpoint": run_checkpoint,
    "scan": run_scan,
    "backup": run_backup,
    "moves": run_moves,
}


def every(arguments: Sequence[str]) -> int:
    """Run all commands one after the other; those that compare systems get all arguments."""
    if any(word.startswith("--markdown") for word in arguments):
        raise SystemExit("bench all prints one page after the other: redirect its standard output")
    code = 0
    for name in COMMANDS:
        own = [name, *arguments] if name in COMPARING else [name, *shared(arguments)]
        code |= main(own)
    return code


def main(arguments: Sequence[str]) -> int:
    """Run; return exit code 1 if a system did not start, answered with an error or took too long."""
    if arguments and arguments[0] == "all":
        return every(arguments[1:])
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
    text = json.dumps(result, indent=1) + "\n"
    stamp = datetime.now(UTC).strftime("%Y%m%d-%H%M%S")
    (options.out / f"{options.command}-{stamp}.json").write_text(text)
    if options.markdown:
        options.markdown.write_text(page)
    print(text if options.json else page)
    for failure in result["failures"]:
        say(f"bench: {failure}")
    return 1 if result["failures"] else 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
