"""Locks on real nodes: a client that was paused writes nothing late, and one that waits is woken at once."""

import random
import re
import signal
import subprocess
import sys
import threading
import time
from collections import Counter
from concurrent.futures import Future, ThreadPoolExecutor
from pathlib import Path
from typing import Any

import pytest

from tests.cluster.faults import (
    CALL_SECONDS,
    NOT_DONE_PREFIXES,
    cut_off,
    kill,
    on_every_node,
    pause,
    under_faults,
)
from tests.cluster.harness import Cluster, Server, crowding, wait_until
from tests.cluster.proxy import Cuts
from tests.cluster.wire import Client, Refusal, encode
from tests.serializability import DONE, NOT_DONE, UNKNOWN

pytestmark = pytest.mark.slow

PAGE = Path(__file__).parents[2] / "docs/locks.md"
WAIT = 20_000  # milliseconds
TERM = 100  # milliseconds of a lock that is often held for longer
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


def test_no_two_holders_write_while_leaders_fail(cuts: tuple[Cluster, Cuts]) -> None:
    """Holders that often stay too long, at every node: no write comes after one with a later token."""
    cluster, proxies = cuts
    owners: dict[int, int] = {}
    fates: dict[str, str] = {}

    def work(server: Server, number: int, stop: threading.Event) -> None:
        random_ = random.Random(number)
        with server.client(CALL_SECONDS) as client:
            while not stop.is_set():
                token = client.call("KRAFT", "LOCK", "lock", TERM, "WAIT", WAIT)
                if isinstance(token, int):
                    assert owners.setdefault(token, number) == number
                    _hold(client, token, random_, fates, stop)
                else:
                    assert token is None or token.prefix in (*NOT_DONE_PREFIXES, "UNCERTAIN"), token

    faults = (kill, pause, cut_off(proxies))
    under_faults(cluster, on_every_node(cluster, work), lambda: len(fates), faults)
    cluster.wait_equal(*[server.id for server in cluster])
    for server in cluster:
        written = server.ask("GET", "work").decode().split("|")[1:]
        tokens = [int(name.partition(".")[0]) for name in written]
        assert tokens == sorted(tokens)
        assert len(set(written)) == len(written)
        assert {name for name, fate in fates.items() if fate == DONE} <= set(written)
        assert not {name for name, fate in fates.items() if fate == NOT_DONE} & set(written)
    assert Counter(fates.values())[DONE] > 100
    assert Counter(fates.values())[NOT_DONE], "nobody ever came too late"


def _hold(
    client: Client, token: int, random_: random.Random, fates: dict[str, str], stop: threading.Event
) -> None:
    """Write with the token until it is refused, or the lock is freed; sometimes wait until it is lost."""
    for place in range(random_.randrange(2, 7)):
        name = f"{token}.{place}"
        fates[name] = UNKNOWN
        reply = client.call("KRAFT", "GUARD", "lock", token, "APPEND", "work", f"|{name}")
        if isinstance(reply, int):
            fates[name] = DONE
        elif reply.prefix in ("LOCKLOST", *NOT_DONE_PREFIXES):
            fates[name] = NOT_DONE
            return
        else:
            assert reply.prefix == "UNCERTAIN", reply
        if random_.random() < 0.05:
            stop.wait(2 * TERM / 1000)
    if random_.random() < 0.9:
        client.call("KRAFT", "UNLOCK", "lock", token)


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
