"""What readers may see: a copy of a known age after READONLY, otherwise nothing that was overwritten."""

import random
import threading
import time
from dataclasses import replace

import pytest

from tests.cluster.harness import Cluster, Server, wait_until
from tests.cluster.wire import Client, Refusal
from tests.simulation.linearizability import INFINITY, Operation, linearizable

pytestmark = pytest.mark.slow

MAX_STALENESS = 4.0  # seconds: enough to ask for a value on a busy machine
PATIENCE = {"write_timeout": "500ms"}  # what was sent to a sleeping leader is given up soon


def test_a_follower_that_hears_no_leader_serves_its_copy_for_a_while(make_cluster):
    """READONLY: answered at once when the others sleep, until reads.max_staleness; then -MASTERDOWN."""
    cluster = make_cluster(reads={"max_staleness": f"{MAX_STALENESS:g}s"})
    cluster.start()
    follower = cluster.followers()[0]
    others = [server for server in cluster if server is not follower]
    with follower.client() as client:
        assert client.call("SET", "x", "1") == "OK"
        assert client.call("READONLY") == "OK"
        assert wait_until(lambda: client.call("GET", "x") == b"1", "the copy is up to date")
        for server in others:
            server.pause()
        paused = time.monotonic()
        assert client.call("GET", "x") == b"1"
        answer = wait_until(lambda: refused(client.call("GET", "x")), "it refuses")
        age = time.monotonic() - paused
        assert answer.prefix == "MASTERDOWN"
        assert age > MAX_STALENESS / 2, age  # the last heartbeat was at most 0.1 s old
        assert client.call("READWRITE") == "OK"
        assert client.call("GET", "x").prefix == "CLUSTERDOWN"
        assert client.call("READONLY") == "OK"
        for server in others:
            server.resume()
        wait_until(lambda: client.call("GET", "x") == b"1", "it hears a leader again")


def refused(answer: object) -> Refusal | None:
    """The refusal, None for anything else."""
    return answer if isinstance(answer, Refusal) else None


class Reader:
    """A client of one node that reads and writes a few keys, and remembers when it got which answer."""

    def __init__(self, name: str, server: Server, keys: int, seed: int) -> None:
        self.history: dict[str, list[Operation]] = {f"key:{n}": [] for n in range(keys)}
        self.done = 0
        self.errors: list[str] = []
        self._name = name
        self._server = server
        self._dice = random.Random(seed)

    def run(self, stop: threading.Event) -> None:
        """Until told to stop; nothing is sent twice."""
        with self._server.client(20) as client:
            while not stop.is_set():
                key = self._dice.choice(list(self.history))
                if self._dice.random() < 0.3:
                    self._write(client, key, b"%s-%d" % (self._name.encode(), self.done))
                else:
                    self._read(client, key)
                self.done += 1

    def _write(self, client: Client, key: str, value: bytes) -> None:
        called = time.monotonic()
        answer = client.call("SET", key, value)
        if answer == "OK":
            self.history[key].append(Operation("set", value, called, time.monotonic(), "OK"))
        elif self._prefix(answer) == "UNCERTAIN":
            self.history[key].append(Operation("set", value, called, INFINITY))

    def _read(self, client: Client, key: str) -> None:
        called = time.monotonic()
        answer = client.call("GET", key)
        if not isinstance(answer, Refusal):
            self.history[key].append(Operation("get", None, called, time.monotonic(), answer))
        else:
            self._prefix(answer)

    def _prefix(self, answer: Refusal) -> str:
        if answer.prefix not in ("UNCERTAIN", "CLUSTERDOWN", "BUSY"):
            self.errors.append(answer)
        return answer.prefix


def histories(cluster: Cluster, rounds: int, seed: int) -> list[list[Operation]]:
    """One per key, of clients on every node while leaders fall asleep and come back."""
    readers = [Reader(f"c{n}", server, 3, seed + n) for n, server in enumerate([*cluster, *cluster])]
    stop = threading.Event()
    threads = [threading.Thread(target=reader.run, args=(stop,)) for reader in readers]
    for thread in threads:
        thread.start()
    try:
        for _ in range(rounds):
            advance(readers, 150)
            put_to_sleep(cluster.leader(), cluster, readers)
        advance(readers, 150)
    finally:
        stop.set()
        for thread in threads:
            thread.join()
    assert [error for reader in readers for error in reader.errors] == []
    keys = readers[0].history
    return [[op for reader in readers for op in reader.history[key]] for key in keys]


def put_to_sleep(leader: Server, cluster: Cluster, readers: list[Reader]) -> None:
    """Pause it until another one has led the clients of the others for a while."""
    awake = [r for r, s in zip(readers, [*cluster, *cluster], strict=True) if s is not leader]
    leader.pause()
    wait_until(lambda: cluster.leader() is not leader, "another node leads")
    advance(awake, 150)
    leader.resume()


def advance(readers: list[Reader], count: int) -> None:
    """Wait until each has done so many commands more."""
    goals = [reader.done + count for reader in readers]
    wait_until(
        lambda: all(r.done >= goal for r, goal in zip(readers, goals, strict=True)), "the clients go on"
    )


def settled(history: list[Operation]) -> list[Operation]:
    """The same without writes of unknown outcome, which make the search long.

    Every write has a value of its own. One that nobody read need not have happened; one that was read had
    happened when the first of its readers got his answer.
    """
    seen: dict[bytes, float] = {}
    for operation in history:
        if operation.name == "get" and operation.result is not None:
            seen[operation.result] = min(operation.returned, seen.get(operation.result, INFINITY))
    known = []
    for operation in history:
        if not operation.unknown:
            known.append(operation)
        elif operation.argument in seen:
            known.append(replace(operation, returned=seen[operation.argument], result="OK"))
    return known


def test_lease_reads_are_linearizable_while_leaders_fall_asleep(make_cluster):
    """A leader that wakes up has lost its lease before it answers the next reader."""
    cluster = make_cluster(raft={"lease_reads": True}, client=PATIENCE)
    cluster.start()
    for history in histories(cluster, rounds=2, seed=1):
        assert len(history) > 300
        assert linearizable(settled(history))


@pytest.mark.endurance
@pytest.mark.timeout(900)
@pytest.mark.parametrize("lease_reads", [True, False])
def test_many_leaders_fall_asleep(make_cluster, lease_reads):
    """The same for longer, and with rounds instead of leases."""
    cluster = make_cluster(raft={"lease_reads": lease_reads}, client=PATIENCE)
    cluster.start()
    for seed in range(6):
        for history in histories(cluster, rounds=5, seed=100 * seed):
            assert linearizable(settled(history))
        for server in cluster:
            assert server.ask("DEL", "key:0", "key:1", "key:2") in (0, 3)
