"""Transactions on real processes while leaders fail: once or not at all, and in one order."""

import random
import threading
import time
from collections import Counter
from typing import Any

import pytest
import redis
from redis.backoff import NoBackoff
from redis.exceptions import ClusterDownError
from redis.retry import Retry

from tests.cluster.faults import (
    CALL_SECONDS,
    NOT_DONE_PREFIXES,
    cut_off,
    kill,
    on_every_node,
    pause,
    under_faults,
)
from tests.cluster.harness import Server
from tests.cluster.load import PAUSE_SECONDS
from tests.cluster.wire import Client, Refusal
from tests.serializability import APPEND, DONE, INFINITY, NOT_DONE, READ, UNKNOWN, Attempt, check

pytestmark = pytest.mark.slow

ACCOUNTS = [f"account:{n}" for n in range(6)]
START = 100
LISTS = [f"list:{n}" for n in range(4)]


def test_a_transaction_works_on_every_node(cluster):
    """Watched at one node, changed at another: revisions are the same everywhere."""
    for asked in cluster:
        for other in cluster:
            with asked.client() as one, other.client() as two:
                assert two.call("SET", "a", "1") == "OK"
                assert one.call("WATCH", "a", "b") == "OK"
                assert one.call("MULTI") == "OK"
                assert [one.call("INCR", "a"), one.call("GET", "a")] == ["QUEUED"] * 2
                assert one.call("EXEC") == [2, b"2"]
                assert two.call("GET", "a") == b"2"
                assert one.call("WATCH", "b") == "OK"
                assert [two.call("SET", "b", "1"), two.call("DEL", "b")] == ["OK", 1]
                assert [one.call("MULTI"), one.call("SET", "c", "1")] == ["OK", "QUEUED"]
                assert one.call("EXEC") is None
                assert two.call("EXISTS", "c") == 0


def test_a_watch_outlives_the_leader(cluster):
    """At a follower; neither a new leader nor a restart of all others changes a revision."""
    leader, (follower, third) = cluster.leader(), cluster.followers()
    with follower.client(CALL_SECONDS) as one, follower.client(CALL_SECONDS) as two:
        one.call("SET", "a", "1")
        assert [one.call("WATCH", "a", "none"), two.call("WATCH", "a")] == ["OK", "OK"]
        for client in (one, two):
            assert [client.call("MULTI"), client.call("INCR", "a")] == ["OK", "QUEUED"]
        leader.kill()
        cluster.wait_serving(follower, third)
        assert one.call("EXEC") == [2]
        assert two.call("EXEC") is None
        assert one.call("GET", "a") == b"2"


def test_money_stays_in_the_bank(cuts):
    """WATCH of redis-py, and auditors on every node: the sum is always the same.

    Each transfer also sets a key of its own, so that what became of an uncertain one is known at the end.
    """
    cluster, proxies = cuts
    with cluster.leader().client() as client:
        client.call("MSET", *[word for account in ACCOUNTS for word in (account, START)])
    fates: dict[str, str] = {}
    audits: Counter[str] = Counter()
    retries: Counter[str] = Counter()

    def work(server: Server, number: int, stop: threading.Event) -> None:
        random_ = random.Random(number)
        with redis.Redis(
            port=server.client_port, socket_timeout=CALL_SECONDS, retry=Retry(NoBackoff(), 0)
        ) as client:
            while not stop.wait(PAUSE_SECONDS):
                name = f"transfer:{number}:{time.monotonic_ns()}"
                _transfer(client, name, random_, fates, retries)
                with client.pipeline(transaction=True) as audit:
                    for account in ACCOUNTS:
                        audit.get(account)
                    try:
                        assert sum(map(int, audit.execute())) == START * len(ACCOUNTS)
                        audits[server.id] += 1
                    except redis.ResponseError as error:
                        if not was_refused(error):
                            raise

    faults = (kill, pause, cut_off(proxies))
    under_faults(cluster, on_every_node(cluster, work), lambda: len(fates), faults)
    cluster.wait_equal(*[server.id for server in cluster])
    for server in cluster:
        with server.client() as client:
            assert sum(map(int, client.call("MGET", *ACCOUNTS))) == START * len(ACCOUNTS)
            found = dict(zip(fates, client.call("MGET", *fates), strict=True))
        assert all(found[name] for name, fate in fates.items() if fate == DONE)
        assert not any(found[name] for name, fate in fates.items() if fate == NOT_DONE)
    assert min(audits[server.id] for server in cluster) > 10
    assert Counter(fates.values())[DONE] > 100
    assert retries["changed"]


def was_refused(error: redis.ResponseError) -> bool:
    """Whether nothing was done. redis-py takes CLUSTERDOWN out of the text of an error."""
    return isinstance(error, ClusterDownError) or str(error).startswith(NOT_DONE_PREFIXES)


def _transfer(
    client: Any,
    name: str,
    random_: random.Random,
    fates: dict[str, str],
    retries: Counter[str],
) -> None:
    """Move money between two accounts, if there is enough and nobody else changes them."""
    payer, payee = random_.sample(ACCOUNTS, 2)
    amount = random_.randrange(1, 30)
    with client.pipeline() as pipeline:
        try:
            pipeline.watch(payer, payee)
            old = int(pipeline.get(payer)), int(pipeline.get(payee))
            if old[0] < amount:
                pipeline.unwatch()
                return
            pipeline.multi()
            pipeline.set(payer, old[0] - amount).set(payee, old[1] + amount).set(name, "1")
            fates[name] = UNKNOWN
            pipeline.execute()
            fates[name] = DONE
            return
        except redis.WatchError as error:
            if "changed" in str(error):  # else redis-py lost the connection, and does not know either
                fates[name] = NOT_DONE
                retries["changed"] += 1
            return
        except redis.ResponseError as error:
            if was_refused(error):
                fates[name] = NOT_DONE
            elif not str(error).startswith("UNCERTAIN"):
                raise
            return


def test_transactions_on_lists_are_serializable(cuts):
    """Appends and reads in EXEC, some after a WATCH of what was read before, through every node."""
    cluster, proxies = cuts
    attempts: list[Attempt] = []

    def work(server: Server, number: int, stop: threading.Event) -> None:
        random_ = random.Random(number)
        with server.client(CALL_SECONDS) as client:
            while not stop.wait(PAUSE_SECONDS):
                _attempt(client, f"{number}.{time.monotonic_ns()}", random_, attempts)

    faults = (kill, pause, cut_off(proxies))
    under_faults(cluster, on_every_node(cluster, work), lambda: len(attempts), faults)
    cluster.wait_equal(*[server.id for server in cluster])
    for server in cluster:
        with server.client() as client:
            lists = {key: elements(client.call("GET", key)) for key in LISTS}
        assert check(attempts, lists) > 300
    fates = Counter(attempt.fate for attempt in attempts)
    assert fates[DONE] > 300
    assert fates[NOT_DONE]  # watched keys that changed


def elements(value: bytes | None) -> list[str]:
    return (value or b"").decode().split("|")[1:]


def _attempt(client: Client, name: str, random_: random.Random, attempts: list[Attempt]) -> None:
    """One transaction, recorded before it is sent: a lost connection leaves it unknown."""
    called = time.monotonic()
    before = []
    if random_.random() < 0.5:
        for key in random_.sample(LISTS, random_.randrange(1, 3)):
            if client.call("WATCH", key) != "OK":
                client.call("UNWATCH")
                return
            value = client.call("GET", key)
            if isinstance(value, Refusal):
                client.call("UNWATCH")
                return
            before.append((READ, key, elements(value)))
    steps = []
    for place in range(random_.randrange(1, 4)):
        kind = APPEND if random_.random() < 0.6 else READ
        steps.append((kind, random_.choice(LISTS), f"{name}.{place}" if kind == APPEND else None))
    appends = [step for step in steps if step[0] == APPEND]
    attempts.append(Attempt(name, UNKNOWN, called, INFINITY, appends))
    place = len(attempts) - 1
    place = next(n for n in range(place, -1, -1) if attempts[n].name == name)
    requests = [
        ("APPEND", key, f"|{element}") if kind == APPEND else ("GET", key) for kind, key, element in steps
    ]
    replies = [client.call(*words) for words in (("MULTI",), *requests, ("EXEC",))]
    returned, reply = time.monotonic(), replies[-1]
    if isinstance(reply, list):
        found = [
            step if step[0] == APPEND else (READ, step[1], elements(value))
            for step, value in zip(steps, reply, strict=True)
        ]
        attempts[place] = Attempt(name, DONE, called, returned, [*before, *found])
    elif reply is None or reply.prefix in NOT_DONE_PREFIXES:
        attempts[place] = Attempt(name, NOT_DONE, called, returned, appends)
    else:
        assert reply.prefix == "UNCERTAIN", reply
