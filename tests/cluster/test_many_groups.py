"""Real nodes with 64 groups: at rest they cost little, and after a crash all of them are led again."""

import time
from functools import partial

import pytest

from bench.measure import cpu_seconds
from tests.cluster.harness import crowding, wait_until
from tests.cluster.test_groups import views

pytestmark = pytest.mark.slow

GROUPS = 64
IDLE_SECONDS = 3.0
CORE_SHARE = 0.06  # of a core, for a node at rest: ticks of 64 groups took 0.1
KEYS = {f"key:{number}": str(number) for number in range(200)}


def led(cluster, *, quiet=False):
    """Whether all running nodes know a running leader of each group; if `quiet`, that all of them rest."""
    running = [server for server in cluster if server.running]
    names = {server.id for server in running}
    found = [view for server in running for view in views(server).values()]
    if len(found) != GROUPS * len(running) or any(view["leader"] not in names for view in found):
        return False
    return not quiet or all(view["quiet"] for view in found)


def share(server):
    """The share of a core that the node takes for a while in which nobody asks it."""
    begun, used = time.monotonic(), cpu_seconds(server.pid)
    wait_until(lambda: time.monotonic() >= begun + IDLE_SECONDS, "some time has passed")
    return (cpu_seconds(server.pid) - used) / (time.monotonic() - begun)


def test_64_groups_rest_and_are_led_again_after_a_crash(make_cluster):
    cluster = make_cluster(3, cluster={"groups": GROUPS})
    cluster.start()
    with cluster["K1"].client() as client:
        assert client.call("MSET", *[word for pair in KEYS.items() for word in pair]) == "OK"
    wait_until(partial(led, cluster, quiet=True), "all groups rest")
    # Leaders move to their nodes one by one for some seconds more, and checkpoints are compared.
    wait_until(lambda: share(cluster["K1"]) < CORE_SHARE, "nobody ticks what rests")

    cluster["K2"].kill()
    begun = time.monotonic()
    wait_until(partial(led, cluster), "the survivors lead all groups")
    assert time.monotonic() - begun < 5 * crowding()
    with cluster["K3"].client() as client:
        assert client.call("MGET", *KEYS) == [value.encode() for value in KEYS.values()]
    cluster["K2"].start()
    wait_until(partial(led, cluster, quiet=True), "all groups rest again")
