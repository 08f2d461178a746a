"""Real nodes that hold a part of the groups: their backups, and a recovery from what several of them hold."""

import time

import pytest

from tests.backup.directories import content_of
from tests.cluster.harness import wait_until
from tests.cluster.test_backup import LOG_TIME_ERROR_MS, as_text, kraft, reaches, restore
from tests.cluster.test_placement import held, is_settled, only_voters_hold

pytestmark = pytest.mark.slow

GROUPS, KEYS = 4, 60


def write(server, text):
    for number in range(KEYS):
        assert server.ask("SET", f"key:{number}", text) == "OK"


def test_scattered_groups_are_restored_to_a_moment_and_recovered(make_cluster, tmp_path):
    """The node that ships lacks groups, and is killed; then another one, with the majority of a group."""
    directory = tmp_path / "backups"
    backup = {"directory": str(directory), "interval": "1h"}
    cluster = make_cluster(5, cluster={"groups": GROUPS}, backup=backup)
    cluster.start()
    wait_until(lambda: list(directory.glob("*/*/manifest.json")), "the first image is there")
    assert cluster["K1"].order("REPLICATION", 3) == "OK"
    wait_until(lambda: is_settled(cluster["K1"]) and only_voters_hold(cluster), "only voters have a replica")

    write(cluster["K1"], "first")
    time.sleep(LOG_TIME_ERROR_MS / 1000)
    then_ms = time.time() * 1000
    time.sleep(LOG_TIME_ERROR_MS / 1000)
    [ships] = [server for server in cluster if not server.events("backup_waiting")]
    others = [server for server in cluster if server is not ships]
    group = min(held(ships) - {0})
    assert len(held(ships)) < GROUPS
    ships.kill()
    cluster.wait_serving(*others)
    write(others[0], "second")
    wait_until(lambda: reaches(directory) > then_ms, "another node has shipped writes to all groups")
    restore(directory, tmp_path / "then", "--at", as_text(then_ms))
    assert content_of(tmp_path / "then") == {b"key:%d" % number: b"first" for number in range(KEYS)}
    assert not any(server.events("backup_gap") for server in others)

    lost = next(server for server in others if group in held(server))
    cluster.kill_all()
    node, *sources = [server for server in others if server is not lost]
    assert "name with --from" in kraft("recover", node.data, status=1)
    named = [word for source in sources for word in ("--from", source.data)]
    told = kraft("recover", node.data, *named, "--json", "--yes")
    assert len({each["node"] for each in told["groups"]}) > 1
    node.start()
    node.wait_serving()
    assert held(node) == set(range(GROUPS))
    assert {node.ask("GET", f"key:{number}") for number in range(KEYS)} == {b"second"}
    assert node.ask("DBSIZE") == KEYS
    write(node, "third")
