"""Locks on real nodes: a client that was paused writes nothing late, and one that waits is woken at once."""

import re
import signal
import subprocess
import sys
import time
from concurrent.futures import Future, ThreadPoolExecutor
from pathlib import Path
from typing import Any

import pytest

from tests.cluster.harness import Cluster, Server, crowding, wait_until
from tests.cluster.wire import Refusal, encode

pytestmark = pytest.mark.slow

PAGE = Path(__file__).parents[2] / "docs/locks.md"
WAIT = 20_000  # milliseconds
WOKEN_SECONDS = 0.5  # the next entry that would expire a lock without being asked for comes after a second

# Holds the lock and writes again and again, until it is told that the lock is lost.
HOLDER = """
import sys
sys.path.insert(0, {root!r})
from tests.cluster.wire import Client, Refusal
client = Client({port}, 30.0)
token = client.call("KRAFT", "LOCK", "lock", 1000)
print(token, flush=True)
written = 0
while True:
    written += 1
    answer = client.call("KRAFT", "GUARD", "lock", token, "SET", "work", f"first {{written}}")
    if isinstance(answer, Refusal) and answer.prefix == "LOCKLOST":
        print(answer, flush=True)
        break
    client.call("KRAFT", "EXTEND", "lock", token, 1000)
"""


def start_holder(server: Server) -> tuple["subprocess.Popen[str]", int]:
    """A client process that holds the lock through `server`, and its token."""
    program = HOLDER.format(root=str(Path(__file__).parents[2]), port=server.client_port)
    process = subprocess.Popen([sys.executable, "-c", program], stdout=subprocess.PIPE, text=True)
    assert process.stdout is not None
    return process, int(process.stdout.readline())


def lock_in_background(
    pool: ThreadPoolExecutor, server: Server, ttl: int = 30_000
) -> Future[tuple[Any, float]]:
    """Wait for the lock through `server`; the reply, and when it came."""

    def wait() -> tuple[Any, float]:
        with server.client(60.0) as client:
            client.call("CLIENT", "SETNAME", "waiter")
            return client.call("KRAFT", "LOCK", "lock", ttl, "WAIT", WAIT), time.monotonic()

    return pool.submit(wait)


def wait_queued(server: Server) -> None:
    """Until a client of `server` waits for the lock."""

    def queued() -> bool:
        with server.client() as client:
            lines = client.call("CLIENT", "LIST").decode().splitlines()
            return any("name=waiter" in line and "cmd=kraft|lock" in line for line in lines)

    wait_until(queued, f"a client of {server.id} waits")
    assert server.ask("SET", "after", "it has asked") == "OK"


@pytest.mark.parametrize("kill_leader", [False, True])
def test_a_holder_that_was_paused_writes_nothing_late(cluster: Cluster, kill_leader: bool) -> None:
    """Another client has the lock when it goes on: its next write is refused, from every node."""
    leader, (near, far) = cluster.leader(), cluster.followers()
    process, old = start_holder(near)
    try:
        wait_until(lambda: near.ask("GET", "work"), "the first holder writes")
        process.send_signal(signal.SIGSTOP)
        if kill_leader:
            leader.kill()
        with far.client(60.0) as client:
            new = client.call("KRAFT", "LOCK", "lock", 60_000, "WAIT", WAIT)
            assert isinstance(new, int), new
            assert new > old
            assert client.call("KRAFT", "GUARD", "lock", new, "SET", "work", "second") == "OK"
        process.send_signal(signal.SIGCONT)
        output, _ = process.communicate(timeout=60)
        assert output.startswith("LOCKLOST"), output
    finally:
        process.kill()
        process.wait()
    for server in (each for each in cluster if each.running):
        assert server.ask("GET", "work") == b"second"
        answer = server.ask("KRAFT", "GUARD", "lock", old, "SET", "work", "late")
        assert isinstance(answer, Refusal)
        assert str(answer).startswith("LOCKLOST")
        assert server.ask("GET", "work") == b"second"
    if kill_leader:
        leader.start()
        cluster.wait_serving(leader)
    assert cluster.leader().ask("KRAFT", "UNLOCK", "lock", new) == 1


def test_who_waits_is_woken_at_once_on_every_node(cluster: Cluster) -> None:
    """When the lock is freed, and when it expires while nobody writes anything."""
    for server in cluster:
        holder = cluster.leader()
        with ThreadPoolExecutor() as pool:
            token = holder.ask("KRAFT", "LOCK", "lock", 60_000)
            waiting = lock_in_background(pool, server)
            wait_queued(server)
            assert holder.ask("KRAFT", "UNLOCK", "lock", token) == 1
            freed = time.monotonic()
            given, at = waiting.result(30)
            assert given > token
            assert at - freed < WOKEN_SECONDS * crowding(), server.id

            extended = time.monotonic()
            assert holder.ask("KRAFT", "EXTEND", "lock", given, 600) == 1
            ends = time.monotonic() + 0.6
            next_, at = lock_in_background(pool, server).result(30)
            assert next_ > given
            assert at > extended + 0.5, server.id
            assert at - ends < WOKEN_SECONDS * crowding(), server.id
            assert holder.ask("KRAFT", "UNLOCK", "lock", next_) == 1


def test_who_waits_goes_on_when_the_leader_dies(cluster: Cluster) -> None:
    leader, (first, second) = cluster.leader(), cluster.followers()
    token = first.ask("KRAFT", "LOCK", "lock", 60_000)
    with ThreadPoolExecutor() as pool:
        waiting = lock_in_background(pool, second)
        wait_queued(second)
        leader.kill()
        cluster.wait_serving(first)
        assert first.ask("KRAFT", "UNLOCK", "lock", token) == 1
        given, _ = waiting.result(60)
    assert given > token
    assert first.ask("KRAFT", "UNLOCK", "lock", given) == 1
    leader.start()
    cluster.wait_serving(leader)


def test_a_client_that_is_gone_is_left_without_the_lock(cluster: Cluster) -> None:
    follower = cluster.followers()[0]
    token = follower.ask("KRAFT", "LOCK", "lock", 60_000)
    with follower.client() as client:
        client.call("CLIENT", "SETNAME", "waiter")
        client.send(encode("KRAFT", "LOCK", "lock", 60_000, "WAIT", WAIT))
        wait_queued(follower)
    assert follower.ask("KRAFT", "UNLOCK", "lock", token) == 1
    for _ in range(20):  # a client that still waits would get it within milliseconds
        assert follower.ask("EXISTS", "lock") == 0
        assert follower.ask("SET", "after", "it was freed") == "OK"


def test_a_node_that_stops_keeps_nobody_waiting(cluster: Cluster) -> None:
    follower = cluster.followers()[0]
    token = follower.ask("KRAFT", "LOCK", "lock", 60_000)
    with ThreadPoolExecutor() as pool:
        waiting = lock_in_background(pool, follower)
        wait_queued(follower)
        follower.terminate()
        answer, _ = waiting.result(30)
    assert str(answer).startswith("CLUSTERDOWN")
    follower.start()
    cluster.wait_serving(follower)
    assert follower.ask("KRAFT", "UNLOCK", "lock", token) == 1


def test_a_token_grows_over_restarts_and_flushes(cluster: Cluster) -> None:
    tokens = []
    for _ in range(2):
        leader = cluster.leader()
        tokens.append(leader.ask("KRAFT", "LOCK", "lock", 60_000))
        assert leader.ask("FLUSHALL") == "OK"
        for server in cluster:
            server.kill()
        cluster.start()
    tokens.append(cluster.leader().ask("KRAFT", "LOCK", "lock", 60_000))
    assert tokens == sorted(set(tokens))


def test_the_code_of_the_page_runs(cluster: Cluster) -> None:
    """docs/locks.md: it transfers, and a second client is told that it is not alone."""
    (code,) = re.findall(r"```python\n(.*?)```", PAGE.read_text(), re.DOTALL)
    server = cluster.followers()[0]
    program: dict[str, Any] = {}
    exec(code.replace("10011", str(server.client_port)), program)  # our own page
    assert program["transfer"](40) == "done"
    assert program["transfer"](2) == "done"
    assert server.ask("GET", "balance") == b"42"
    server.ask("KRAFT", "LOCK", "lock:balance", 60_000)
    assert program["transfer"](1) == "another client is at work"

    server.ask("DEL", "lock:balance")
    get = program["client"].get
    program["client"].get = lambda key: (server.ask("DEL", "lock:balance"), get(key))[1]
    assert program["transfer"](1) == "the lock was lost, and nothing was written"
    assert server.ask("GET", "balance") == b"42"
