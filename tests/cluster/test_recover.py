"""Two of three nodes are gone for good: `kraft recover` makes a cluster of the third."""

import json
import shutil
import subprocess
import sysconfig
from pathlib import Path

import pytest

from tests.cluster.harness import Server, wait_until
from tests.cluster.load import Load

pytestmark = pytest.mark.slow

KRAFT = Path(sysconfig.get_path("scripts")) / "kraft"


def recover(server, *options):
    """`kraft recover` on its directory, as typed without a terminal."""
    return subprocess.run(
        [KRAFT, "recover", *options, server.data],
        stdin=subprocess.DEVNULL,
        capture_output=True,
        text=True,
        timeout=60,
    )


def place(server: Server) -> tuple[int, int]:
    """The term and index of its last entry, as a dry run tells."""
    (group,) = json.loads(recover(server, "--json").stdout)["groups"]
    return group["last_term"], group["last_index"]


def test_a_lost_majority_is_recovered_from_the_survivor_and_grows_again(cluster):
    """What was acknowledged before, and meanwhile, is there, on every node of the cluster that grows from it.

    The survivor is the leader, which has every write that it acknowledged.
    """
    survivor, lost = cluster.leader(), cluster.followers()
    with Load(list(cluster), writers=4) as load:
        load.advance(200)
        for server in lost:
            server.kill()
            shutil.rmtree(server.data)
        wait_until(lambda: not survivor.serves_writes(), "it refuses writes")
        refused = recover(survivor, "--yes")
        assert (refused.returncode, refused.stdout) == (1, "")
        assert "in use by process" in refused.stderr

        survivor.kill()
        told = recover(survivor)
        assert told.returncode == 0, told.stderr
        assert "2 of the 3 voters (K1, K2, K3) must be gone for good" in told.stdout
        assert "anything after index" in told.stdout
        assert told.stdout.endswith("nothing was changed\n")
        done = recover(survivor, "--yes")
        assert done.returncode == 0, done.stderr
        assert f"done: {survivor.id} is the only voter of the new cluster" in done.stdout

        survivor.start()  # with its old file, which still names all three
        cluster.wait_serving(survivor)
        assert cluster.kinds() == {survivor.id: "voter"}
        load.advance(50)
        for server in lost:
            cluster.wait_for_addition(server)
            wait_until(server.status, "it is up")
            answer = survivor.order("ADD", server.id, "127.0.0.1", server.peer_port)
            assert answer == "OK", answer
        cluster.wait_voters("K1", "K2", "K3")
        load.advance(50)
    cluster.wait_equal()
    for server in cluster:
        load.check(server)


def test_members_of_the_old_cluster_that_come_back_are_refused(cluster):
    """Of two survivors the more advanced one is recovered; the other, started as it was, is kept out."""
    assert cluster.order("TRANSFER", "K3") == "OK"
    cluster["K1"].kill()
    cluster.wait_serving(cluster["K3"])
    assert cluster["K3"].ask("SET", "x", "late") == "OK"
    cluster.kill_all()
    shutil.rmtree(cluster["K2"].data)
    assert place(cluster["K3"]) > place(cluster["K1"])

    assert recover(cluster["K3"], "--yes").returncode == 0
    cluster["K3"].start()
    cluster.wait_serving(cluster["K3"])
    cluster["K1"].start()

    told = "K1 is of the cluster that this one was recovered from: wipe its data directory and add it again"
    for server in (cluster["K3"], cluster["K1"]):
        wait_until(lambda: told in server.output, f"{server.id} says so")  # noqa: B023  called at once
    assert not cluster["K1"].serves_writes()
    assert cluster["K3"].serves_writes()
    assert cluster.kinds() == {"K3": "voter"}
    assert cluster["K3"].ask("GET", "x") == b"late"

    cluster["K1"].terminate()
    shutil.rmtree(cluster["K1"].data)
    cluster.wait_for_addition(cluster["K1"])
    wait_until(cluster["K1"].status, "it is up")
    assert cluster["K3"].order("ADD", "K1", "127.0.0.1", cluster["K1"].peer_port) == "OK"
    cluster.wait_voters("K1", "K3")
    cluster.wait_serving(cluster["K1"])
    assert cluster["K1"].ask("GET", "x") == b"late"
