"""Counts the bytecode instructions of kraft that a pipeline costs the three nodes together.

The count has no noise: it compares two commits where rates on a shared machine differ by more than the
commits do. It says nothing about the C code of libraries, nor about system calls. Instructions of different
versions of Python are not comparable.
"""

import re
import sys
from types import FrameType
from typing import Any

from bench.loads import SCRIPT
from tests.server.fakes import encode
from tests.trace.nodes import Nodes
from tests.trace.recorder import KRAFT
from tests.trace.requests import COMPARED, REQUESTS, WARM_UPS

DEPTHS = (1, 16, 160)
CONNECTIONS = 50  # as in the benchmark
ROUNDS = 4


class Instructions:
    """Use it as a context; `count` is then the number of instructions that ran in it."""

    def __init__(self) -> None:
        self.count = 0
        self._inside: dict[str, bool] = {}

    def __enter__(self) -> "Instructions":
        sys.settrace(self._enter)
        return self

    def __exit__(self, *_: object) -> None:
        sys.settrace(None)

    def _enter(self, frame: FrameType, _event: str, _argument: Any) -> Any:
        file = frame.f_code.co_filename
        if file not in self._inside:
            self._inside[file] = file.startswith(f"{KRAFT}/")
        if not self._inside[file]:
            return None
        frame.f_trace_opcodes, frame.f_trace_lines = True, False
        return self._step

    def _step(self, _frame: FrameType, event: str, _argument: Any) -> Any:
        self.count += event == "opcode"
        return self._step


def instructions(nodes: Nodes, name: str, depth: int) -> int:
    """The instructions of a pipeline of `depth` requests of one kind, once all parts have warmed up."""
    set_, set_reply = REQUESTS["SET"]
    assert nodes.ask(set_) == set_reply
    nodes.rest()
    request, reply = REQUESTS[name]
    for _ in range(WARM_UPS):
        assert nodes.ask(request * depth) == reply * depth
        nodes.rest()
    with Instructions() as found:
        assert nodes.ask(request * depth) == reply * depth
        nodes.rest()
    return found.count


def leader_instructions(nodes: Nodes, name: str) -> int:
    """The instructions of the leader for one request of each connection, which arrive at once.

    The threads of the disks decide what comes together with what in a round, so it is the least of some.
    """
    assert nodes.ask(encode("SCRIPT", "LOAD", SCRIPT)).startswith(b"$40")
    nodes.rest()
    request, reply = COMPARED[name]
    counts = []
    for _ in range(WARM_UPS + ROUNDS):
        found = Instructions()
        assert all(re.fullmatch(reply, answer) for answer in nodes.ask_all(request, found))
        counts.append(found.count)
    return min(counts[WARM_UPS:])
