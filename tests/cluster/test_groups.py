"""Real nodes with several groups."""

from functools import partial

import pytest

from tests.cluster.harness import maps, wait_until
from tests.cluster.load import Load
from tests.cluster.wire import Refusal

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


def shown(server):
    """What `server` says of each group, also of those that it has no replica of; [] if it does not answer."""
    try:
        answer = server.ask("KRAFT", "GROUPS")
    except OSError:
        return []
    return [] if isinstance(answer, Refusal) else maps(answer)


def leaders(cluster):
    """The leader of each group, once every running node names the same one for it; also of created ones."""
    seen = [[row["leader"] for row in shown(server)] for server in cluster if server.running]
    running = {server.id for server in cluster if server.running}
    agreed = len({tuple(each) for each in seen}) == 1 and len(seen[0]) >= GROUPS and set(seen[0]) <= running
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


def load_of(servers):
    """Writers each of which has the keys of one group, because a hash tag is a part of their names."""
    load = Load(servers)
    for writer in load.writers:
        writer.name = f"{{{writer.name}}}"
    return load


def voters(server):
    """The voters of each group, as `server` sees them."""
    answer = server.order("GROUPS")
    return [] if isinstance(answer, Refusal) else [names(row["voters"]) for row in maps(answer)]


def names(reply):
    return [name.decode() for name in reply]


def insist(server, *words):
    """Give a KRAFT command again and again, as its answer allows, until it is done."""

    def done():
        answer = server.order(*words)
        repeatable = (
            answer == "OK" or answer.prefix in ("CLUSTERDOWN", "UNCERTAIN") or "not reachable" in answer
        )
        assert repeatable, answer
        return answer == "OK"

    wait_until(done, f"KRAFT {' '.join(map(str, words))} is done")


def test_all_groups_are_led_again_after_a_kill_and_spread_out_again_later(trio):
    preferred = ["K1", "K2", "K3"]
    wait_until(lambda: leaders(trio) == preferred, "each node leads one group")
    with load_of(list(trio)) as load:
        load.advance(200)
        trio["K2"].kill()
        load.advance(200)
        wait_until(lambda: leaders(trio), "the others lead all groups")
        load.advance(200)
        trio["K2"].start()
        wait_until(lambda: leaders(trio) == preferred, "K2 leads its group again", deadline=120)
        load.advance(100)
    load.check(trio["K1"])
    load.check(trio["K2"])


def test_groups_are_shown_with_their_slots_and_leaders(trio):
    wait_until(lambda: leaders(trio) == ["K1", "K2", "K3"], "each node leads one group")
    rows = maps(trio["K3"].order("GROUPS"))
    assert [(row["group"], row["slots"], row["leader"], row["preferred"]) for row in rows] == [
        (0, "0-5461", "K1", "K1"),
        (1, "5462-10922", "K2", "K2"),
        (2, "10923-16383", "K3", "K3"),
    ]
    assert [names(row["voters"]) for row in rows] == [["K1", "K2", "K3"]] * GROUPS
    [one] = maps(trio["K1"].order("GROUPS", 2))
    assert one["group"] == 2
    assert trio["K1"].order("GROUPS", 3) == "ERR there is no group 3; the groups are 0 to 2"


@pytest.mark.timeout(300)
def test_members_are_added_removed_and_replaced_under_load(trio):
    k4, k5 = trio.standby("K4", "K5")
    with load_of(list(trio)[:3]) as load:
        load.advance(100)
        wait_until(lambda: k4.status() and k5.status(), "the new nodes are up")
        insist(trio["K2"], "ADD", "K4", "127.0.0.1", k4.peer_port)
        four = ["K1", "K2", "K3", "K4"]
        wait_until(lambda: voters(trio["K2"]) == [four] * GROUPS, "K4 votes in all groups", deadline=120)
        load.servers.append(k4)

        load.servers.remove(trio["K1"])
        insist(trio["K2"], "REMOVE", "K1")
        assert voters(trio["K3"]) == [["K2", "K3", "K4"]] * GROUPS
        load.advance(100)

        load.servers.remove(trio["K3"])
        insist(k4, "REPLACE", "K3", "K5", "127.0.0.1", k5.peer_port)
        wait_until(
            lambda: voters(k4) == [["K2", "K4", "K5"]] * GROUPS, "K5 has the place of K3", deadline=120
        )
        load.servers.append(k5)
        load.advance(100)
    load.check(k4)
    load.check(k5)
    trio["K1"].kill()
    trio["K3"].kill()
    wait_until(lambda: leaders(trio), "the three that are left lead all groups")
