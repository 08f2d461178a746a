"""Who may answer: no leader that was replaced unawares, no minority, no cluster formed twice."""

import shutil

import pytest

from tests.cluster.harness import ELECTION_TIMEOUT_MAX, wait_until
from tests.cluster.wire import Refusal, encode

pytestmark = pytest.mark.slow


def test_a_paused_leader_serves_no_stale_read(cluster):
    """A leader that slept through its replacement answers with the new value or an error, not the old one."""
    old = cluster.leader()
    others = [server for server in cluster if server is not old]
    assert old.ask("SET", "x", "old") == "OK"
    waiting = [old.client(timeout=20) for _ in range(5)]
    for client in waiting:
        assert client.call("GET", "x") == b"old"
    old.pause()
    cluster.wait_serving(*others)
    assert others[0].ask("SET", "x", "new") == "OK"
    for client in waiting:
        client.send(encode("GET", "x") + encode("GET", "x"))
    old.resume()
    for client in waiting:
        for answer in (client.reply(), client.reply()):
            assert answer == b"new" or (isinstance(answer, Refusal) and answer.prefix == "CLUSTERDOWN"), (
                answer
            )
        client.close()
    cluster.wait_serving(old)
    assert old.ask("GET", "x") == b"new"


def test_a_paused_leader_does_not_apply_what_it_could_not_commit(cluster):
    """A write that reached only a sleeping leader is not acknowledged, and the others' value stands."""
    old = cluster.leader()
    others = [server for server in cluster if server is not old]
    assert old.ask("SET", "x", "0") == "OK"
    with old.client(timeout=20) as client:
        old.pause()
        client.send(encode("INCR", "x"))
        cluster.wait_serving(*others)
        assert others[0].ask("INCR", "x") == 1
        old.resume()
        answer = client.reply()
    cluster.wait_serving(old)
    final = int(others[1].ask("GET", "x"))
    if isinstance(answer, Refusal):
        assert (answer.prefix, final) in {("CLUSTERDOWN", 1), ("UNCERTAIN", 1), ("UNCERTAIN", 2)}
    else:
        assert (answer, final) == (2, 2)


def test_one_node_alone_refuses_reads_and_writes_until_a_second_returns(cluster):
    """Without a majority: CLUSTERDOWN, which promises that nothing was done."""
    alone = cluster.leader()
    others = [server for server in cluster if server is not alone]
    assert alone.ask("SET", "x", "kept") == "OK"
    for server in others:
        server.kill()

    def refuses(*command):
        answer = alone.ask(*command)
        return isinstance(answer, Refusal) and answer.prefix == "CLUSTERDOWN"

    wait_until(
        lambda: alone.group().get("role") not in (None, "leader"), "it steps down", 10 * ELECTION_TIMEOUT_MAX
    )
    assert refuses("SET", "x", "lost")
    assert refuses("GET", "x")
    assert refuses("INCR", "y")
    others[0].start()
    cluster.wait_serving(alone, others[0])
    assert [server.ask("GET", "x") for server in (alone, others[0])] == [b"kept", b"kept"]
    assert alone.ask("EXISTS", "y") == 0


def test_two_wiped_nodes_never_form_a_cluster_beside_the_third(cluster):
    """Two empty directories are a majority of ids, not of members: they wait, then leave, naming the cure."""
    kept, wiped = cluster["K1"], [cluster["K2"], cluster["K3"]]
    assert kept.ask("SET", "x", "kept") == "OK"
    cluster.kill_all()
    for server in wiped:
        shutil.rmtree(server.data)
        server.start()
    wait_until(lambda: {(each.status() or {}).get("state") for each in wiped} == {"forming"}, "both are up")
    for server in wiped:
        answer = server.ask("SET", "x", "second")
        assert isinstance(answer, Refusal)
        assert answer.prefix == "CLUSTERDOWN"
    kept.start()
    for server in wiped:
        assert server.exit_status() != 0
        [line] = [line for line in server.output.splitlines() if line.startswith("kraft: ")]
        assert f"KRAFT REPLACE {server.id} {server.id} 127.0.0.1:" in line
        assert line.endswith("stop K1 and run kraft recover on it")
    wait_until(lambda: kept.group(), "K1 is up")
    way_out = (
        "K2 and K3 have lost data, so that no majority has it: restore the data directories, or stop all"
    )
    wait_until(lambda: way_out in kept.problem(), "it names the way out")
    answer = kept.ask("SET", "x", "alone")
    assert isinstance(answer, Refusal)
    assert answer.prefix == "CLUSTERDOWN"
    assert answer.endswith("nodes and run kraft recover on K1")


def test_a_wiped_node_in_standby_is_told_what_comes_before_its_command(cluster):
    """Its cluster has no leader, so KRAFT REPLACE would be refused; with a leader it is accepted."""
    kept, away, wiped = cluster
    cluster.kill_all()
    shutil.rmtree(wiped.data)
    kept.start()
    cluster.wait_for_addition(wiped)
    command = f"KRAFT REPLACE {wiped.id} {wiped.id} 127.0.0.1:{wiped.peer_port}"
    wait_until(
        lambda: f"waiting to be added with {command}; K1 knows no leader now" in wiped.problem(), "it knows"
    )
    away.start()
    wait_until(lambda: wiped.problem() == f"standby: waiting to be added with {command}", "it knows better")
    answer = kept.order("REPLACE", wiped.id, wiped.id, "127.0.0.1", wiped.peer_port)
    assert answer == "OK", answer


def test_a_learner_is_all_that_is_left(cluster):
    """The voters' disks are lost. It names itself as the survivor, and has every write."""
    [learner] = cluster.standby("K4")
    wait_until(learner.status, "it is up")
    assert cluster.order("ADD", "K4", "127.0.0.1", learner.peer_port, "LEARNER") == "OK"
    assert cluster.leader().ask("SET", "x", "kept") == "OK"
    wait_until(lambda: learner.ask("GET", "x") == b"kept", "it has the write")
    voters = [cluster[id_] for id_ in ("K1", "K2", "K3")]
    for server in voters:
        server.kill()
    wait_until(lambda: learner.problem().endswith("no link to K1, K2 and K3"), "it is alone")
    for server in voters[:2]:
        shutil.rmtree(server.data)
        server.start()
    way_out = (
        "K1 and K2 have lost data, so that no majority has it: restore the data directories, or stop all"
    )
    wait_until(lambda: way_out in learner.problem(), "it names the way out")
    assert learner.problem().endswith("run kraft recover on that of K3 and K4 which has the latest log")
    for server in voters[:2]:
        assert server.exit_status() == 1
        assert "K4 knows no leader now" in server.output


@pytest.mark.parametrize("name", ["K1", "K3"])
def test_one_wiped_node_leaves_and_the_others_go_on(cluster, name):
    """Its vote is gone with its disk; it must not vote again under its old name, dialling or dialled."""
    wiped = cluster[name]
    wiped.kill()
    shutil.rmtree(wiped.data)
    wiped.start()
    assert wiped.exit_status() != 0
    assert "KRAFT REPLACE" in wiped.output
    assert cluster.leader().ask("SET", "x", "1") == "OK"
