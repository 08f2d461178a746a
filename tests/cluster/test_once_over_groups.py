"""KRAFT ONCE with keys of several groups on real nodes: counters of all groups stay equal, and exact."""

from collections import Counter
from contextlib import closing
from functools import partial
from typing import Any

import pytest

from tests.cluster.faults import cut_off, kill, pause, under_faults
from tests.cluster.harness import Cluster, wait_until
from tests.cluster.proxy import Cuts
from tests.cluster.test_group_transactions import keys_of_each_group, open_transactions, serves
from tests.cluster.test_groups import GROUPS
from tests.cluster.test_once import AGAIN, Worker

pytestmark = pytest.mark.slow

SNAPSHOTS = {"checkpoint_entries": 50, "keep_entries": 10}
STEP = 20  # requests, each of which waits for the locks of all others: six or seven are done in a second
COUNTERS = keys_of_each_group("counter")
SCRIPT = """
local counts = {}
for place, key in ipairs(KEYS) do counts[place] = redis.call('INCR', key) end
return counts
"""
SCRIPT_WORDS = ("EVAL", SCRIPT, len(COUNTERS), *COUNTERS)


class GroupsWorker(Worker):
    """Increments a counter of each group at once: by a script, a transaction, and a script in one."""

    again = (*AGAIN, "TRYAGAIN")

    def _attempt(self, token: str) -> Any:
        client, kind = self._connected(), len(self.replies) % 3
        if kind == 0:
            return _one(client.call("KRAFT", "ONCE", token, *SCRIPT_WORDS))
        assert client.call("MULTI") == "OK"
        for words in [SCRIPT_WORDS] if kind == 1 else [("INCR", key) for key in COUNTERS]:
            assert client.call(*words) == "QUEUED"
        reply = client.call("KRAFT", "ONCE", token, "EXEC")
        return _one(reply[0] if kind == 1 and isinstance(reply, list) else reply)


def _one(reply: Any) -> Any:
    """What all counters are now; an error as it is."""
    if not isinstance(reply, list):
        return reply
    assert len(reply) == GROUPS
    assert len(set(reply)) == 1, reply
    return reply[0]


def test_counters_of_all_groups_are_exact_while_leaders_fail(make_cluster: Any) -> None:
    """Each reply is a number of its own, the same in every group, and the last is how many there were."""
    cluster = make_cluster()
    workers = [GroupsWorker([*cluster], number) for number in range(6)]
    runs = [worker.run for worker in workers]
    sections = {"cluster": {"groups": GROUPS}, "transactions": {"patience": "0.5s"}, "snapshot": SNAPSHOTS}
    with closing(Cuts(cluster, **sections)) as cuts:
        cluster.start()
        wait_until(partial(serves, cluster), "every group has a leader, and knows transactions")
        faults = (kill, pause, cut_off(cuts))
        under_faults(cluster, runs, lambda: sum(len(worker.replies) for worker in workers), faults, STEP)
        check(cluster, workers)


def check(cluster: Cluster, workers: list[GroupsWorker]) -> None:
    """What every node has is what the workers were told, and an old token gets its old reply."""
    replies = sorted(reply for worker in workers for reply in worker.replies)
    assert replies == list(range(1, len(replies) + 1))
    lost = sum((worker.attempts for worker in workers), Counter())
    assert lost["lost"] + lost["UNCERTAIN"] > 0, "no reply was ever lost"
    wait_until(lambda: all(open_transactions(server) == 0 for server in cluster), "no lock is left")
    for server in cluster:
        assert server.ask("MGET", *COUNTERS) == [b"%d" % len(replies)] * GROUPS
        assert server.ask("KRAFT", "ONCE", "0:0", *SCRIPT_WORDS) == [workers[0].replies[0]] * GROUPS
    assert cluster["K1"].ask("MGET", *COUNTERS) == [b"%d" % len(replies)] * GROUPS
