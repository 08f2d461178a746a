"""Several groups for many minutes, by unchanged clients, while nodes are killed, paused and cut off.

Each fault hits one node. What clients did is recorded, and has to be explained by one order in
real time. Every failure that a client sees must be one of the network, or say what became of the request.
Three seconds after the last fault no lock is left. `KRAFT_TEST_SECONDS` is how long each test strikes.
"""

import os
import random
import sys
import time
from collections import Counter
from functools import partial

import pytest
import redis
from redis.backoff import NoBackoff
from redis.exceptions import ClusterDownError, TryAgainError
from redis.retry import Retry

from tests.cluster.faults import CALL_SECONDS, on_every_node, under_faults
from tests.cluster.harness import wait_until
from tests.cluster.load import PAUSE_SECONDS
from tests.cluster.proxy import Cuts
from tests.cluster.test_group_transactions import (
    FUNDS,
    audits,
    keys_of_each_group,
    open_transactions,
    serves,
    transfers,
)
from tests.cluster.test_groups import GROUPS, leaders
from tests.cluster.test_transactions import elements
from tests.serializability import APPEND, DONE, INFINITY, NOT_DONE, READ, UNKNOWN, Attempt, check

SECONDS = float(os.environ.get("KRAFT_TEST_SECONDS", "240"))
PATIENCE = 0.5
LOCKS_SECONDS = 3.0  # after the last fault
LISTS = [key for number in range(2) for key in keys_of_each_group(f"list{number}")]
NO_RETRY = Retry(NoBackoff(), 0)

pytestmark = [pytest.mark.endurance, pytest.mark.timeout(SECONDS + 600)]


class Faults:
    """Kills, pauses or cuts off one node after the other; `counts` says how often, by kind."""

    def __init__(self, cuts, dice):
        self.counts: Counter[str] = Counter()
        self._cuts = cuts
        self._dice = dice
        self._end = time.monotonic() + SECONDS

    def __iter__(self):
        while time.monotonic() < self._end:
            yield self._dice.choice((self.kill, self.pause, self.cut))

    def kill(self, cluster, progress):
        server = self._strike("kill", cluster)
        server.kill()
        progress()
        server.start()
        self._healed(cluster)

    def pause(self, cluster, progress):
        server = self._strike("pause", cluster)
        server.pause()
        progress()
        server.resume()
        self._healed(cluster)

    def cut(self, cluster, progress):
        server = self._strike("cut", cluster)
        self._cuts.cut(server.id)
        progress()
        self._cuts.heal(server.id)
        self._healed(cluster)

    def _strike(self, kind, cluster):
        self.counts[kind] += 1
        return self._dice.choice(list(cluster))

    def _healed(self, cluster):
        wait_until(lambda: leaders(cluster), "every group has a leader again")


def says_not_done(failure):
    """Whether a reply says that nothing was done. redis-py takes the first word off some of them."""
    return isinstance(failure, ClusterDownError | TryAgainError) or str(failure).startswith("BUSY ")


class History:
    """What clients attempted. It may be extended by several threads."""

    def __init__(self):
        self.attempts: dict[str, Attempt] = {}
        self.failures: Counter[str] = Counter()

    def begin(self, name, called, appends):
        """Recorded before it is sent: a lost connection leaves it unknown."""
        self.attempts[name] = Attempt(name, UNKNOWN, called, INFINITY, appends)

    def end(self, name, fate, operations):
        self.attempts[name] = Attempt(name, fate, self.attempts[name].called, time.monotonic(), operations)

    def refused(self, name, failure):
        """A reply that says what became of the request; any other one is a mistake of kraft."""
        self.failures[f"{type(failure).__name__} {str(failure).split()[0]}"] += 1
        if says_not_done(failure):
            self.end(name, NOT_DONE, self.attempts[name].operations)
        elif not str(failure).startswith("UNCERTAIN"):
            raise failure


def run(cluster, cuts, workers, done, seed):
    """Strike for a while; afterwards no lock is left within three seconds."""
    faults = Faults(cuts, random.Random(seed))
    under_faults(cluster, workers, done, faults)
    wait_until(
        lambda: all(open_transactions(server) == 0 for server in cluster), "all locks are gone", LOCKS_SECONDS
    )
    sys.stdout.write(f"faults {dict(faults.counts)}, {done()} requests" + "\n")
    return faults


@pytest.fixture
def started(make_cluster):
    """Makes a cluster whose links can be cut, and waits until it serves."""
    stack = []

    def start(nodes=3, **client):
        cluster = make_cluster(nodes)
        patience = {"patience": f"{PATIENCE}s"}
        cuts = Cuts(cluster, cluster={"groups": GROUPS}, transactions=patience, client=client)
        stack.append(cuts)
        for server in cluster:
            server.start()
        wait_until(lambda: leaders(cluster), "every group has a leader")
        return cluster, cuts

    yield start
    for cuts in stack:
        cuts.close()


def append_over_groups(history, server, number, stop):
    """Appends and reads of lists in several groups in one EXEC, some after a WATCH, by redis-py."""
    dice = random.Random(f"{number} {time.monotonic_ns()}")
    with redis.Redis(
        port=server.client_port, decode_responses=False, socket_timeout=CALL_SECONDS, retry=NO_RETRY
    ) as client:
        while not stop.wait(PAUSE_SECONDS):
            name = f"{number}.{time.monotonic_ns()}"
            called, before = time.monotonic(), []
            with client.pipeline() as pipeline:
                try:
                    if dice.random() < 0.4:
                        key = dice.choice(LISTS)
                        pipeline.watch(key)
                        before.append((READ, key, elements(pipeline.get(key))))
                        pipeline.multi()
                except redis.WatchError:  # the connection was lost, and nothing has been appended yet
                    continue
                except redis.ResponseError as failure:
                    if not says_not_done(failure):
                        raise
                    continue
                steps = []
                for place, key in enumerate(dice.sample(LISTS, dice.randrange(1, 5))):
                    append = dice.random() < 0.6
                    steps.append((APPEND, key, f"{name}.{place}") if append else (READ, key, None))
                    if append:
                        pipeline.append(key, f"|{name}.{place}")
                    else:
                        pipeline.get(key)
                history.begin(name, called, [step for step in steps if step[0] == APPEND])
                try:
                    replies = pipeline.execute()
                except redis.WatchError as failure:
                    if "changed" in str(failure):
                        history.end(name, NOT_DONE, history.attempts[name].operations)
                except redis.ResponseError as failure:
                    history.refused(name, failure)
                else:
                    found = [
                        step if step[0] == APPEND else (READ, step[1], elements(reply))
                        for step, reply in zip(steps, replies, strict=True)
                    ]
                    history.end(name, DONE, [*before, *found])


def checked(cluster, history, keys):
    """The number of transactions that took effect, explained by one order; the same through every node."""
    effective = set()
    for server in cluster:
        with server.client() as client:
            lists = {key: elements(client.call("GET", key)) for key in keys}
        effective.add(explained(history, lists))
    return effective.pop()


def explained(history, lists):
    """The number of transactions that took effect: those that explain `lists`, what is there at the end."""
    effective = check(history.attempts.values(), lists)
    fates = Counter(attempt.fate for attempt in history.attempts.values())
    sys.stdout.write(f"{dict(fates)}, refusals {dict(history.failures)}, {effective} took effect" + "\n")
    return effective


def test_lists_of_several_groups_in_one_exec(started):
    """One order in real time explains all transactions."""
    cluster, cuts = started()
    wait_until(partial(serves, cluster), "every group knows transactions")
    history = History()
    workers = on_every_node(cluster, partial(append_over_groups, history))
    run(cluster, cuts, workers, lambda: len(history.attempts), 1)
    assert checked(cluster, history, LISTS) > 300


def test_a_bank_over_groups(started):
    """No audit ever finds another sum."""
    cluster, cuts = started()
    wait_until(partial(serves, cluster), "every group knows transactions")
    accounts = [key for number in range(3) for key in keys_of_each_group(f"account{number}")]
    with redis.Redis(port=cluster["K1"].client_port) as client:
        client.mset(dict.fromkeys(accounts, FUNDS))
    done: list[int] = []
    lost: list[str] = []
    totals: list[int] = []
    workers = [
        *on_every_node(cluster, partial(transfers, accounts, done, lost)),
        *on_every_node(cluster, partial(audits, accounts, totals)),
    ]
    run(cluster, cuts, workers, lambda: len(done), 2)
    sys.stdout.write(
        f"{len(done)} transfers, {len(totals)} audits, refused {Counter(each.split()[0] for each in lost)}\n"
    )
    assert set(totals) == {FUNDS * len(accounts)}
    for server in cluster:
        with redis.Redis(port=server.client_port) as client:
            assert sum(map(int, client.mget(accounts))) == FUNDS * len(accounts)
