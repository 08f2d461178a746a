"""Scripts on real processes: on every node, while leaders are killed, and after a restart."""

import random
import threading
import time
from collections import Counter
from functools import partial
from typing import Any

import pytest

from tests.cluster.conftest import MakeCluster
from tests.cluster.faults import (
    CALL_SECONDS,
    NOT_DONE_PREFIXES,
    cut_off,
    kill,
    on_every_node,
    pause,
    under_faults,
)
from tests.cluster.harness import Cluster, Server, wait_until
from tests.cluster.load import PAUSE_SECONDS
from tests.cluster.proxy import Cuts
from tests.cluster.test_transactions import ACCOUNTS, START
from tests.cluster.wire import Client, Refusal

pytestmark = pytest.mark.slow

LIMIT = """
local n = redis.call('INCR', KEYS[1])
if n == 1 then redis.call('PEXPIRE', KEYS[1], ARGV[1]) end
return {n, redis.call('PTTL', KEYS[1])}
"""
TRANSFER = """
local from, to, amount = KEYS[1], KEYS[2], tonumber(ARGV[1])
local has = tonumber(redis.call('GET', from))
redis.call('SET', KEYS[3], 'done')
redis.call('DECRBY', from, amount)
redis.call('INCRBY', to, amount)
if has < amount then error('too little') end
return has - amount
"""

SUM = "local s = 0 for _, v in ipairs(redis.call('MGET', unpack(KEYS))) do s = s + v end return s"


def first_reply(server: Server, *command: str) -> Any:
    """The reply of a node that has just been started, None while it does not listen."""
    try:
        return server.ask(*command)
    except OSError:
        return None


def test_a_script_works_on_every_node_and_after_a_restart(make_cluster: MakeCluster) -> None:
    """Loaded at one node by the first command that the cluster gets, called at the others, and called when
    all were killed.
    """
    cluster = make_cluster(3, client={"leader_wait": "25s"})
    for server in cluster:
        server.start()
    first, *others = cluster
    sha = wait_until(partial(first_reply, first, "SCRIPT", "LOAD", LIMIT), f"{first.id} listens")
    assert isinstance(sha, bytes), sha
    for number, server in enumerate([first, *others], 1):
        reply = server.ask("EVALSHA", sha, 1, "n", 600_000)
        assert isinstance(reply, list), reply
        count, left = reply
        assert count == number
        assert 0 < left <= 600_000
        assert server.ask("SCRIPT", "EXISTS", sha, "0" * 40) == [1, 0]
        assert server.ask("GET", "n") == str(number).encode()
    cluster.order("SNAPSHOT")
    first.ask("EVAL", "return 'after the checkpoint'", 0)
    cluster.kill_all()
    for server in cluster:
        server.start()
    cluster.wait_serving()
    for server in cluster:
        assert server.ask("SCRIPT", "SHOW", sha) == LIMIT.encode()
        assert server.ask("EVALSHA", sha, 1, f"of {server.id}", 1000)[0] == 1
    assert len(set(cluster.verify().values())) == 1


LIBRARY = """#!lua name=limits
redis.register_function('visit', function(keys) return redis.call('INCR', keys[1]) end)
redis.register_function{function_name = 'look', flags = {'no-writes'},
                        callback = function(keys) return redis.call('GET', keys[1]) end}
"""


def test_a_library_is_there_on_every_node_and_after_a_restart(cluster: Cluster) -> None:
    """Loaded at a follower, called everywhere, by a new leader, and when all were killed."""
    away, other = cluster.followers()
    away.kill()
    assert other.ask("FUNCTION", "LOAD", LIBRARY) == b"limits"
    leader = cluster.leader()
    leader.ask("KRAFT", "SNAPSHOT")
    leader.ask("KRAFT", "COMPACT", "KEEP", 0)
    away.start()
    cluster.wait_serving(away)
    for number, server in enumerate(cluster, 1):
        assert server.ask("FCALL", "visit", 1, "n") == number
        assert server.ask("FCALL_RO", "look", 1, "n") == str(number).encode()
        assert server.ask("KRAFT", "ONCE", "t", "FCALL", "visit", 1, "once") == 1
        with server.client(CALL_SECONDS) as client:
            assert client.call("MULTI") == "OK"
            assert client.call("FCALL", "visit", 1, "m") == "QUEUED"
            assert client.call("INCR", "m") == "QUEUED"
            assert client.call("EXEC") == [2 * number - 1, 2 * number]
    cluster.kill_all()
    for server in cluster:
        server.start()
    cluster.wait_serving()
    for number, server in enumerate(cluster, 4):
        assert server.ask("FCALL", "visit", 1, "n") == number
        assert server.ask("KRAFT", "ONCE", "t", "FCALL", "visit", 1, "once") == 1
    assert cluster.leader().ask("FUNCTION", "DELETE", "limits") == "OK"
    for server in cluster:
        assert server.ask("FUNCTION", "LIST") == []
    assert len(set(cluster.verify().values())) == 1


def test_money_stays_in_the_bank(cuts: tuple[Cluster, Cuts]) -> None:
    """Transfers by script, of which some fail halfway, at every node, while leaders fail."""
    cluster, proxies = cuts
    with cluster.leader().client() as client:
        client.call("MSET", *[word for account in ACCOUNTS for word in (account, START)])
    fates: dict[str, str] = {}

    def work(server: Server, number: int, stop: threading.Event) -> None:
        random_ = random.Random(number)
        with server.client(CALL_SECONDS) as client:
            while not stop.wait(PAUSE_SECONDS):
                name = f"transfer:{number}:{time.monotonic_ns()}"
                fates[name] = "unknown"
                payer, payee = random_.sample(ACCOUNTS, 2)
                left = client.call("EVAL", TRANSFER, 3, payer, payee, name, random_.randrange(1, 60))
                if not isinstance(left, Refusal):
                    assert left >= 0
                    fates[name] = "done"
                elif "too little" in left:
                    fates[name] = "refused"
                elif left.startswith(NOT_DONE_PREFIXES):
                    fates[name] = "not done"
                else:
                    assert left.startswith("UNCERTAIN"), left
                total = client.call("EVAL_RO", SUM, len(ACCOUNTS), *ACCOUNTS)
                if isinstance(total, Refusal):
                    assert total.startswith((*NOT_DONE_PREFIXES, "UNCERTAIN")), total
                else:
                    assert total == START * len(ACCOUNTS)

    faults = (kill, pause, cut_off(proxies))
    under_faults(cluster, on_every_node(cluster, work), lambda: len(fates), faults)
    cluster.wait_equal(*[server.id for server in cluster])
    for server in cluster:
        with server.client() as client:
            balances = list(map(int, client.call("MGET", *ACCOUNTS)))
            found = dict(zip(fates, client.call("MGET", *fates), strict=True))
        assert sum(balances) == START * len(ACCOUNTS)
        assert min(balances) >= 0
        assert all(found[name] for name, fate in fates.items() if fate == "done")
        assert not any(found[name] for name, fate in fates.items() if fate in ("refused", "not done"))
    counts = Counter(fates.values())
    assert counts["done"] > 100
    assert counts["refused"]


def test_a_script_that_stalls_stops_nobody(cluster: Cluster) -> None:
    """Endless scripts at the leader; the cluster keeps it, and serves other clients."""
    leader, follower, _ = cluster.leader(), *cluster.followers()
    stop = threading.Event()
    ended: list[Any] = []

    def stall() -> None:
        with follower.client(CALL_SECONDS) as client:
            while not stop.is_set():
                ended.append(client.call("EVAL", "redis.call('SET', 'x', 1) while true do end", 0))

    threads = [threading.Thread(target=stall) for _ in range(3)]
    for thread in threads:
        thread.start()
    try:
        with leader.client(CALL_SECONDS) as client:
            for number in range(20):
                insist(client, number, "SET", "n", number)
                assert insist(client, number, "GET", "n") == str(number).encode()
            assert insist(client, 0, "EXISTS", "x") == 0
    finally:
        stop.set()
        for thread in threads:
            thread.join(2 * CALL_SECONDS)
    assert ended
    assert all(isinstance(reply, Refusal) for reply in ended)
    assert any("scripts.time" in reply for reply in ended)


def test_a_script_that_fills_the_memory_ends_nobody(cluster: Cluster) -> None:
    """The interpreter's memory runs out while replies are handed to Lua, and while arguments are."""
    leader, follower, _ = cluster.leader(), *cluster.followers()
    pids = [server.pid for server in cluster]
    fill = "local t = {} for i = 1, 1e6 do t[i] = {redis.call('MGET', KEYS[1], KEYS[1], KEYS[1]), i} end"
    with leader.client(CALL_SECONDS) as client, follower.client(CALL_SECONDS) as other:
        assert insist(client, 0, "SET", "large", "x" * 1_000_000)
        for number in range(3):
            for each in (client, other):
                reply = insist(
                    each, number, "EVAL", f"while true do pcall(function() {fill} end) end", 1, "large"
                )
                assert isinstance(reply, Refusal)
                assert "(scripts." in reply, reply
                assert insist(each, number, "EVAL", "return #ARGV", 0, *["x" * 1_000_000] * 6) == 6
    assert [server.pid for server in cluster] == pids


def insist(client: Client, number: int, *command: str | int) -> Any:
    """The reply; on a machine with too much to do an election may come, whatever the scripts do."""
    for _ in range(20):
        reply = client.call(*command)
        if not (isinstance(reply, Refusal) and reply.startswith((*NOT_DONE_PREFIXES, "UNCERTAIN"))):
            return reply
        time.sleep(0.1)
    raise AssertionError(f"{number}: {reply}")
