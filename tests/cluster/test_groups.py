"""Real nodes with several groups."""

from functools import partial

import pytest

from tests.cluster.harness import wait_until

pytestmark = pytest.mark.slow

GROUPS = 3
KEYS = {f"key:{number}": f"value {number}" for number in range(60)}  # of all groups


@pytest.fixture
def trio(make_cluster):
    cluster = make_cluster(cluster={"groups": GROUPS})
    cluster.start()
    return cluster


def views(server):
    """What `server` says of each group."""
    return {view["group"]: view for view in (server.status() or {}).get("groups", [])}


def leaders(cluster):
    """The leader of each group, once every running node names the same one for it."""
    seen = [[view["leader"] for view in views(server).values()] for server in cluster if server.running]
    running = {server.id for server in cluster if server.running}
    agreed = len({tuple(each) for each in seen}) == 1 and len(seen[0]) == GROUPS and set(seen[0]) <= running
    return seen[0] if agreed else None


def write_all(server):
    for key, value in KEYS.items():
        assert server.ask("SET", key, value) == "OK"


def read_all(server):
    return {key: server.ask("GET", key) for key in KEYS}


EXPECTED = {key: value.encode() for key, value in KEYS.items()}


def test_three_nodes_form_serve_and_restart_with_three_groups(trio):
    wait_until(lambda: leaders(trio), "every group has a leader")
    write_all(trio["K1"])
    assert all(read_all(server) == EXPECTED for server in trio)
    assert all(views(trio["K2"])[group]["keys"] > 0 for group in range(GROUPS)), "each group has its share"
    for server in trio:
        server.terminate()
    trio.start()
    wait_until(lambda: leaders(trio), "every group has a leader again")
    assert read_all(trio["K3"]) == EXPECTED


def test_founders_with_different_numbers_name_each_other(make_cluster):
    cluster = make_cluster(2, cluster={"groups": 2})
    cluster["K2"].configure(cluster.members, cluster={"groups": 4})
    for server in cluster:
        server.start()
    for server in cluster:
        wait_until(partial(told_in, server, "same cluster.groups"), f"{server.id} tells what to write")
    assert "is configured to form a cluster of " in cluster["K1"].output + cluster["K2"].output
    cluster["K2"].terminate()
    cluster["K2"].configure(cluster.members, cluster={"groups": 2})
    cluster.start()


def told_in(server, words):
    return words in server.output


def test_a_changed_number_has_no_effect_and_is_told(trio):
    for server in trio:
        server.terminate()
        server.configure(trio.members, cluster={"groups": 5})
    trio.start()
    assert list(views(trio["K1"])) == list(range(GROUPS))
    [told] = trio["K1"].events("groups_option_ignored")
    assert told["reason"] == "cluster.groups counts only when a cluster forms: this one has 3 groups"
