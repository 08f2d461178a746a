"""`python -m tests.trace [SET|GET] [--counts|--instructions]`: what one request costs."""

import argparse
import sys
import tempfile
from collections import Counter
from pathlib import Path

from tests.trace.instructions import CONNECTIONS, DEPTHS, instructions, leader_instructions
from tests.trace.nodes import Nodes
from tests.trace.recorder import Recorder
from tests.trace.requests import COMPARED, REQUESTS, traced


def say(line: str) -> None:
    sys.stdout.write(line + "\n")


def main() -> None:
    parser = argparse.ArgumentParser(prog="python -m tests.trace")
    parser.add_argument("request", nargs="*", default=[*REQUESTS], help="SET or GET; both if left out")
    parser.add_argument("--counts", action="store_true", help="print functions and files by number of calls")
    parser.add_argument(
        "--instructions", action="store_true", help="print bytecode instructions of all nodes, for pipelines"
    )
    arguments = parser.parse_args()
    with tempfile.TemporaryDirectory() as directory:
        nodes = Nodes(Path(directory))
        for name in arguments.request:
            if arguments.instructions:
                show_instructions(nodes, name.upper())
                continue
            recorder = traced(nodes, name.upper())
            if arguments.counts:
                show_counts(recorder)
            else:
                show_calls(recorder)
            say(
                f"{name}: {len(recorder.calls)} calls, {len(recorder.functions)} functions, "
                f"{len(recorder.files)} files, {recorder.turns} turns\n"
            )
        if arguments.instructions:
            show_compared(nodes)
        nodes.close()


def show_calls(recorder: Recorder) -> None:
    """Print the calls in order, indented by depth."""
    iteration = 0
    for call in recorder.calls:
        if call.iteration != iteration:
            iteration = call.iteration
            say(f"-- iteration {iteration} of the reactor")
        say(f"{'  ' * call.depth}{call.function}  {call.file}:{call.line}")


def show_counts(recorder: Recorder) -> None:
    """Print functions by number of calls, then files by number of calls."""
    for (function, file), count in Counter(
        (call.function, call.file) for call in recorder.calls
    ).most_common():
        say(f"{count:4} {function}  {file}")
    say("")
    for file, count in Counter(call.file for call in recorder.calls).most_common():
        say(f"{count:4} {file}")


def show_instructions(nodes: Nodes, name: str) -> None:
    """Print what a request costs all nodes, alone and in pipelines."""
    for depth in DEPTHS:
        count = instructions(nodes, name, depth)
        say(f"{name} x {depth}: {count} instructions, {count / depth:.0f} a request")


def show_compared(nodes: Nodes) -> None:
    """Print what a transaction and a script cost the leader, and the command beside each."""
    nodes.connect_more(CONNECTIONS - 1)
    for name in COMPARED:
        count = leader_instructions(nodes, name) / CONNECTIONS
        say(f"{name} of each of {CONNECTIONS} connections: {count:.0f} instructions of the leader")


if __name__ == "__main__":
    main()
