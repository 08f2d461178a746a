"""`python -m tests.trace.longest_turn [--keys N]`: how long a command on all keys holds up a node.

Three nodes hold the keys. Each command is asked at the leader, and of every turn of every reactor the
processor time is taken until all is done: that does not depend on other work on the machine.
"""

import argparse
import gc
import sys
import tempfile
import time
from pathlib import Path

from tests.server.fakes import encode
from tests.trace.nodes import ROUND_SECONDS, Nodes, ProductionNode

KEYS = 1_000_000
PIECE = 1_000  # keys of one MSET
VALUE = b"v" * 100
REST_SECONDS = 2.0  # virtual, after each command: what it leaves to be done is part of it

_PAIRS = [word for number in range(1000) for word in (f"key:{number:012}", "v")]
COMMANDS: tuple[tuple[str, ...], ...] = (
    ("MSETEX", "1000", *_PAIRS, "EX", "10000"),
    ("DBSIZE",),
    ("SCAN", "0", "COUNT", "1000000"),  # the first one builds the index
    ("SCAN", "0", "MATCH", "*9", "COUNT", "1000000"),
    ("KEYS", "*99999"),
    ("KEYS", "*"),
    ("RANDOMKEY",),
    ("KRAFT", "RANGE", "PREFIX", "key:", "LIMIT", "1000", "REV"),
    ("CLUSTER", "COUNTKEYSINSLOT", "1"),
    ("CLUSTER", "GETKEYSINSLOT", "1", "1000"),
    ("MGET", *(f"key:{number:012}" for number in range(1000))),
    ("DEL", *(f"key:{number:012}" for number in range(1000))),
    ("INFO",),
    ("KRAFT", "STATUS"),
    ("KRAFT", "VERIFY"),
    ("KRAFT", "SNAPSHOT"),
    ("FLUSHALL",),
)


class Turns:
    """Runs three nodes; `leader` and `follower` are the longest turns of each kind in seconds."""

    def __init__(self, nodes: Nodes) -> None:
        self._nodes = nodes
        self.leader = self.follower = 0.0

    def ask(self, *words: str | bytes) -> bytes:
        """The reply of the leader, when everything that follows from the command is done."""
        self.leader = self.follower = 0.0
        socket = self._nodes.client
        assert socket.other is not None
        socket.other.arrived.append(encode(*words) + encode("PING"))
        received: list[bytes] = []
        rest = REST_SECONDS
        while rest > 0:
            busy = [self._turn(node) for node in self._nodes.nodes]
            received += socket.arrived
            socket.arrived = []
            if not any(busy):
                rest -= ROUND_SECONDS if b"".join(received[-2:]).endswith(b"+PONG\r\n") else 0
                for node in self._nodes.nodes:
                    node.reactor.rightNow += ROUND_SECONDS
        return b"".join(received).removesuffix(b"+PONG\r\n")

    def close(self) -> None:
        gc.unfreeze()
        self._nodes.close()

    def _turn(self, node: ProductionNode) -> bool:
        node.reactor.began = begun = time.thread_time()
        busy = node.turn()
        took = time.thread_time() - begun
        if node is self._nodes.leader:
            self.leader = max(self.leader, took)
        else:
            self.follower = max(self.follower, took)
        return busy


def filled(directory: Path, keys: int) -> Turns:
    """Three nodes with so many keys."""
    turns = Turns(Nodes(directory))
    for first in range(0, keys, PIECE):
        names = [b"key:%012d" % number for number in range(first, min(first + PIECE, keys))]
        pairs = [word for name in names for word in (name, VALUE)]
        assert turns.ask("MSET", *pairs) == b"+OK\r\n"
    gc.collect()
    gc.freeze()  # as a node does when it has started
    return turns


def main() -> None:
    parser = argparse.ArgumentParser(prog="python -m tests.trace.longest_turn")
    parser.add_argument("--keys", type=int, default=KEYS)
    arguments = parser.parse_args()
    with tempfile.TemporaryDirectory() as directory:
        turns = filled(Path(directory), arguments.keys)
        for words in COMMANDS:
            reply = turns.ask(*words)
            name = " ".join(words[:4])
            sys.stdout.write(
                f"{name:40} leader {turns.leader * 1e3:6.2f} ms, follower {turns.follower * 1e3:6.2f} ms,"
                f" {len(reply):,} bytes {reply[:30]!r}\n"
            )
            sys.stdout.flush()
        turns.close()


if __name__ == "__main__":
    main()
