"""The command line of the benchmark, and the systems and loads that it selects."""

import argparse
import importlib.util
from collections.abc import Callable, Sequence
from dataclasses import replace
from pathlib import Path

from bench import etcd, redis
from bench.compare import Factory, Plan, scratch
from bench.external import External, named_addresses, named_pids
from bench.grouped import Grouped
from bench.loads import LOADS, MIXED, Load
from bench.machine import python_of
from bench.measure import available_bytes
from bench.processes import ROOT, BenchError
from bench.progress import say
from bench.secured import TlsKraft, UsersKraft
from bench.systems import Bare, Kraft, OtherSketch, Sketch

RESULTS = ROOT / "bench-results"
SYSTEMS = ("bare", "sketch", "kraft-1", "kraft-3", "etcd")
CLUSTERS = ("kraft-3", "etcd")
USUAL = Plan()
QUICK = Plan(rounds=1, seconds=0.2, quiet_seconds=0.0, noise_cores=1e3, least=0.05)
OPEN_LOADS = tuple(load for load in LOADS if load.name in ("SET 50", "GET 50"))
NODE_BYTES_PER_KEY = 600  # of kraft while the keys are written, with values of 64 bytes
NODES = 3
QUICK_KEYS = 5_000
COMPARING = ("compare", "mixed", "open-loop", "idle")


def parser() -> argparse.ArgumentParser:
    """Describe the options."""
    top = argparse.ArgumentParser(
        prog="python -m bench", description="Compare kraft with its yardsticks and peers."
    )
    commands = top.add_subparsers(dest="command", required=True)
    comparison = commands.add_parser("compare", help="throughput, latency, cost and failover, in one run")
    _selection(comparison, SYSTEMS, USUAL, LOADS)
    comparison.add_argument(
        "--failovers", type=int, default=5, help="kills of the leader for each cluster; 0: none"
    )
    mixed = commands.add_parser(
        "mixed", help="the same with mixtures, keyspaces, large values and many connections"
    )
    _selection(mixed, CLUSTERS, USUAL, MIXED)
    mixed.set_defaults(failovers=0)
    paced = commands.add_parser("open-loop", help="latency at given rates, up to p99.9")
    _selection(paced, CLUSTERS, replace(USUAL, rounds=1, seconds=5.0), OPEN_LOADS)
    paced.add_argument(
        "--shares", type=_numbers, default=[50.0, 80.0], help="per cent of each system's peak; default 50,80"
    )
    paced.add_argument("--rates", type=_numbers, default=[], help="requests per second, instead of shares")
    nobody = commands.add_parser("idle", help="CPU time and memory of systems that nobody uses")
    _selection(nobody, CLUSTERS, replace(USUAL, rounds=1, seconds=10.0), ())
    nobody.add_argument("--keys", type=int, default=1_000_000)
    again = commands.add_parser("restart", help="time and memory of a restart with many keys")
    again.add_argument("--keys", type=int, default=1_000_000)
    copies = commands.add_parser("checkpoint", help="latency of writers during checkpoints and a snapshot")
    copies.add_argument("--keys", type=int, default=1_000_000)
    copies.add_argument("--rounds", type=int, default=3)
    copies.add_argument("--seconds", type=float, default=5.0, help="duration of one quiet period")
    whole = commands.add_parser("scan", help="time of a scan of many keys, and latency of writers meanwhile")
    whole.add_argument("--keys", type=int, default=1_000_000)
    whole.add_argument("--rounds", type=int, default=3)
    whole.add_argument("--seconds", type=float, default=5.0, help="duration of one quiet period")
    image = commands.add_parser("backup", help="time of backups of many keys, and latency of writers")
    image.add_argument("--keys", type=int, default=1_000_000)
    image.add_argument("--rounds", type=int, default=3)
    image.add_argument("--seconds", type=float, default=5.0, help="duration of one quiet period")
    moving = commands.add_parser("moves", help="what clients notice while half of the slots move")
    moving.add_argument("--keys", type=int, default=1_000_000)
    moving.add_argument("--seconds", type=float, default=15.0, help="duration of the quiet period")
    moving.add_argument("--batches", type=int, default=32, help="moves out of each of the three groups")
    for command in (comparison, mixed, paced, nobody, again, copies, whole, image, moving):
        _output(command)
        command.add_argument("--markdown", type=Path, help="also write the tables to this file")
    commands.add_parser("all", help="each of these in turn; the first four take the options of compare")
    return top


def _output(command: argparse.ArgumentParser) -> None:
    """Add the options of every command."""
    command.add_argument("--json", action="store_true", help="print the result as JSON, not as tables")
    command.add_argument(
        "--out", type=Path, default=RESULTS, help="directory of the JSON results and of the databases"
    )


def shared(arguments: Sequence[str]) -> list[str]:
    """The arguments for a command that compares nothing, out of those for one that does."""
    common = argparse.ArgumentParser(add_help=False, allow_abbrev=False)
    _output(common)
    common.add_argument("--quick", action="store_true")
    options, _ = common.parse_known_args(arguments)
    chosen = ["--json"] if options.json else []
    chosen += ["--keys", str(QUICK_KEYS)] if options.quick else []
    return [*chosen, "--out", str(options.out)]


def _numbers(text: str) -> list[float]:
    """Parse positive numbers."""
    numbers = [float(part) for part in text.split(",")]  # argparse reports a ValueError
    if min(numbers) <= 0:
        raise argparse.ArgumentTypeError(f"{text!r} has a number that is not positive")
    return numbers


def _selection(
    command: argparse.ArgumentParser, systems: Sequence[str], plan: Plan, loads: Sequence[Load]
) -> None:
    """Add the options that select systems, loads and durations."""
    command.set_defaults(usual=plan, usual_loads=loads)
    command.add_argument("--rounds", type=int, default=plan.rounds)
    command.add_argument(
        "--seconds", type=float, default=plan.seconds, help="approximate duration of one load"
    )
    command.add_argument(
        "--quiet-seconds", type=float, default=plan.quiet_seconds, help="longest wait for a quiet machine"
    )
    command.add_argument(
        "--quick", action="store_true", help="show that it runs: one short round, no waiting"
    )
    command.add_argument("--systems", default=",".join(systems), help="comma-separated; default %(default)s")
    command.add_argument(
        "--loads", default="", help="comma-separated names such as 'SET 50 x 16'; default all"
    )
    command.add_argument(
        "--address",
        type=named_addresses,
        action="append",
        default=[],
        metavar="NAME=HOST:PORT[,HOST:PORT]",
        help="a running cluster that speaks RESP, as one more system; it is written to. May be repeated",
    )
    command.add_argument(
        "--pids",
        type=named_pids,
        action="append",
        default=[],
        metavar="NAME=PID[,PID]",
        help="the processes of that cluster on this machine, for its CPU time and memory",
    )
    command.add_argument(
        "--other-python",
        metavar="PROGRAM",
        help="three nodes on another interpreter, with kraft's libraries, shown as other-python-3",
    )
    command.add_argument(
        "--other-sketch", type=Path, help="a script with the arguments of servers/sketch.py to compare with"
    )
    command.add_argument(
        "--earlier",
        type=Path,
        metavar="CHECKOUT",
        help="the code of another version (git worktree add CHECKOUT COMMIT), shown as earlier-3",
    )


def _words(text: str) -> list[str]:
    return [word.strip() for word in text.split(",") if word.strip()]


def factories(options: argparse.Namespace, directory: Path) -> tuple[dict[str, Factory], list[str]]:
    """Return the requested systems that can run, and the reasons why the others cannot."""
    known: dict[str, Factory] = {
        "bare": lambda: Bare(scratch(directory, "bare")),
        "sketch": lambda: Sketch(scratch(directory, "sketch")),
        "kraft-1": lambda: Kraft(scratch(directory, "kraft-1"), 1),
        "kraft-3": lambda: Kraft(scratch(directory, "kraft-3"), 3),
        "tls-3": lambda: TlsKraft(scratch(directory, "tls-3"), 3),
        "users-3": lambda: UsersKraft(scratch(directory, "users-3"), 3),
        "redis-server": lambda: redis.Redis(scratch(directory, "redis-server"), tls=False),
        "redis-server-tls": lambda: redis.Redis(scratch(directory, "redis-server-tls"), tls=True),
        "one-group-3": lambda: Grouped(scratch(directory, "one-group"), 1, label="one-group"),
        "three-groups-3": lambda: Grouped(scratch(directory, "three-groups"), 3, label="three-groups"),
        "many-groups-3": lambda: Grouped(scratch(directory, "many-groups"), 128, label="many-groups"),
        "etcd": lambda: etcd.Etcd(scratch(directory, "etcd")),
    }
    wanted = _words(options.systems)
    if unknown := set(wanted) - set(known):
        raise BenchError(f"no such system: {', '.join(sorted(unknown))}; there are {', '.join(known)}")
    missing = {"etcd": etcd.missing()} | dict.fromkeys(("redis-server", "redis-server-tls"), redis.missing())
    if importlib.util.find_spec("hiredis") is None:
        missing["bare"] = missing["sketch"] = "hiredis is not installed (the extra `test` has it)"
    skipped = [f"{name}: {missing[name]}" for name in wanted if missing.get(name)]
    chosen = {name: known[name] for name in wanted if not missing.get(name)}
    chosen |= _others(options, directory) | _external(options, directory, {*known, "other-python-3"})
    if not chosen:
        raise BenchError("there is no system to run")
    return chosen, skipped


def _others(options: argparse.Namespace, directory: Path) -> dict[str, Factory]:
    """The other sketch, version and interpreter."""
    chosen: dict[str, Factory] = {}
    if options.other_python:
        python_of(options.other_python)
        chosen["other-python-3"] = lambda: Kraft(
            scratch(directory, "other-python"), 3, label="other-python", python=options.other_python
        )
    if options.other_sketch:
        chosen["other-sketch"] = lambda: OtherSketch(
            scratch(directory, "other"), options.other_sketch.resolve()
        )
    if options.earlier:
        chosen["earlier-3"] = lambda: Kraft(
            scratch(directory, "earlier"), 3, label="earlier", checkout=options.earlier.resolve()
        )
    return chosen


def _external(options: argparse.Namespace, directory: Path, taken: set[str]) -> dict[str, Factory]:
    """The running clusters."""
    addresses, pids = dict(options.address), dict(options.pids)
    if strange := set(pids) - set(addresses):
        raise BenchError(f"--pids {', '.join(sorted(strange))}: there is no --address of that name")
    if len(addresses) < len(options.address) or set(addresses) & taken:
        raise BenchError("--address: each name must be new")

    def factory(name: str) -> Callable[[], External]:
        return lambda: External(scratch(directory, name), name, addresses[name], pids.get(name, ()))

    return {name: factory(name) for name in addresses}


def plan_of(options: argparse.Namespace) -> Plan:
    """Turn options into a plan. A load whose keys do not fit into memory is left out, with a line."""
    names = _words(options.loads)
    known = {load.name: load for load in (*LOADS, *MIXED)}
    if unknown := set(names) - set(known):
        raise BenchError(f"no such load: {', '.join(sorted(unknown))}; there are {', '.join(known)}")
    wanted = [load for load in known.values() if load.name in names] if names else options.usual_loads
    base: Plan = options.usual
    if options.quick:
        base, wanted = QUICK, [load for load in wanted if names or load.keys < 1_000_000]
    else:
        base = replace(
            base, rounds=options.rounds, seconds=options.seconds, quiet_seconds=options.quiet_seconds
        )
    return replace(base, loads=tuple(load for load in wanted if fits(load.name, load.keys)))


def fits(what: str, keys: int) -> bool:
    """Return whether three nodes can hold so many keys in memory; say so if not."""
    need, free = keys * NODE_BYTES_PER_KEY * NODES, available_bytes()
    if need > free:
        say(f"skipped: {what} needs {need / 1e9:.1f} GB of memory, and {free / 1e9:.1f} GB are free")
    return need <= free


def interpreters(options: argparse.Namespace) -> dict[str, str]:
    """How other interpreters than the benchmark's own were built, by the name of their system."""
    return {"other-python-3": python_of(options.other_python)} if options.other_python else {}
