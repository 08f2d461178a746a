"""The state of a node in one word, the same in every place, and the reason with it."""

import http.client
import shutil
import subprocess
import sysconfig
from pathlib import Path

import pytest

from tests.cluster.harness import wait_until
from tests.cluster.proxy import Cuts
from tests.cluster.wire import Refusal

pytestmark = pytest.mark.slow
KRAFT = Path(sysconfig.get_path("scripts")) / "kraft"


def get(server, path):
    """Status code and body of a page."""
    connection = http.client.HTTPConnection("127.0.0.1", server.http_port, timeout=30)
    try:
        connection.request("GET", path)
        response = connection.getresponse()
        return response.status, response.read().decode()
    finally:
        connection.close()


def state(server):
    return (server.status() or {}).get("state")


def kraft_status(server):
    """The output of `kraft status --only`."""
    command = [str(KRAFT), "status", "--only", f"127.0.0.1:{server.http_port}"]
    return subprocess.run(command, capture_output=True, text=True, timeout=60).stdout


def words(server):
    """The state of a node, from every place that shows it."""
    told = server.order("STATUS")
    command = dict(zip(told[::2], told[1::2], strict=True))
    row = next(line for line in kraft_status(server).splitlines() if line.startswith(server.id))
    metrics = get(server, "/metrics")[1]
    prefix = 'kraft_node_state{state="'
    gauge = [
        line for line in metrics.splitlines() if line.startswith(prefix) and line.endswith(("} 1", "} 1.0"))
    ]
    [word] = [line.removeprefix(prefix).partition('"')[0] for line in gauge]
    return {row.split()[1], command[b"state"].decode(), word, (server.status() or {})["state"]}


def test_the_last_node_of_three_has_one_word_for_its_state(cluster):
    """`serving` until the others die; then `leaderless`, with the links that it lacks."""
    last, *others = cluster
    assert words(last) == {"serving"}
    for server in others:
        server.kill()
    wait_until(lambda: state(last) == "leaderless", "it has no leader")
    reason = "no leader is known for group 0: no link to K2 and K3"
    wait_until(lambda: last.problem() == reason, "it knows that the links are gone")
    assert words(last) == {"leaderless"}
    assert get(last, "/readyz") == (503, reason + "\n")
    assert f"K1: {reason}" in kraft_status(last)
    assert "leaderless" in get(last, "/")[1]
    answer = last.ask("SET", "x", "1")
    assert isinstance(answer, Refusal)
    assert answer == "CLUSTERDOWN No leader for group 0: no link to K2 and K3"


def test_a_member_that_was_removed_while_it_was_cut_off_says_so_everywhere(make_cluster):
    """Its log lacks the change. The members that refuse its links tell it, and it tells everybody."""
    cluster = make_cluster()
    cuts = Cuts(cluster)
    try:
        cluster.start()
        removed = cluster.followers()[0]
        cuts.cut(removed.id)
        wait_until(lambda: state(removed) == "leaderless", "it is cut off")
        assert cluster.leader().order("REMOVE", removed.id) == "OK"
        assert state(removed) == "leaderless"
        cuts.heal(removed.id)
        wait_until(lambda: state(removed) == "removed", "it knows")
        reason = removed.problem()
        assert reason.startswith(f"{removed.id} was removed from the cluster: wipe its data directory")
        assert f"KRAFT ADD {removed.id} 127.0.0.1:" in reason
        assert words(removed) == {"removed"}
        assert get(removed, "/readyz") == (503, reason + "\n")
        assert f"{removed.id}: {reason}" in kraft_status(removed)
        page = get(removed, "/")[1]
        assert "was removed from the cluster" in page
        answer = removed.ask("GET", "x")
        assert isinstance(answer, Refusal)
        assert f"{removed.id} was removed from the cluster" in answer
        assert removed.running
    finally:
        cuts.close()


@pytest.mark.parametrize("name", ["K1", "K3"])
def test_a_removed_node_with_an_empty_directory_ends_with_the_command_that_adds_it(cluster, name):
    """With its old file, whether it dials the others or they dial it; and the command works."""
    removed = cluster[name]
    others = [server for server in cluster if server is not removed]
    assert cluster.order("REMOVE", name) == "OK"
    wait_until(lambda: state(removed) == "removed", "it knows")
    removed.terminate()
    shutil.rmtree(removed.data)
    removed.start()
    assert removed.exit_status() == 1
    line = removed.output.splitlines()[-1]
    assert f"{name} is not a member of the cluster of " in line
    assert f"KRAFT ADD {name} 127.0.0.1:{removed.peer_port}" in line
    assert "REPLACE" not in line

    shutil.rmtree(removed.data)
    cluster.wait_for_addition(removed)
    wait_until(removed.status, "it is up")
    assert others[0].order("ADD", name, f"127.0.0.1:{removed.peer_port}") == "OK"
    cluster.wait_voters("K1", "K2", "K3")


def test_a_node_that_was_never_a_member_ends_with_the_command_that_adds_it(cluster, make_cluster):
    """Its file lists the members and itself. It has the largest id, so that no member dials it."""
    [stranger] = make_cluster(1)
    stranger.id = "K9"
    stranger.configure({**cluster.members, "K9": f"127.0.0.1:{stranger.peer_port}"}, node={"id": "K9"})
    stranger.start()
    assert stranger.exit_status() == 1
    assert f"KRAFT ADD K9 127.0.0.1:{stranger.peer_port}" in stranger.output.splitlines()[-1]


def test_a_member_that_lost_its_directory_waits_with_the_command_that_lets_it_in(cluster):
    """In standby: not KRAFT ADD, because the cluster counts it as a member."""
    lost = cluster.followers()[0]
    lost.kill()
    shutil.rmtree(lost.data)
    cluster.wait_for_addition(lost)
    command = f"KRAFT REPLACE {lost.id} {lost.id} 127.0.0.1:{lost.peer_port}"
    wait_until(lambda: lost.problem() == f"standby: waiting to be added with {command}", "it knows")
    assert words(lost) == {"standby"}
