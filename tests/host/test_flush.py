"""A flush on every replica, in its checkpoints, and for a replica that was away."""

from kraft.kv.commands import Flush, Put
from tests.host.test_version_raise import Mixed


def keyspaces(cluster):
    hosts = [process.host for process in cluster.processes()]
    return [host.groups[0].state.machine.keyspace for host in hosts if host.groups]


def test_a_flush_reaches_replicas_checkpoints_restarts_and_snapshots():
    """The log is cut after every few entries: a node that was away gets a copy of a checkpoint."""
    cluster = Mixed()
    assert cluster.run(10, cluster.raised)
    away = next(id_ for id_ in cluster.nodes if id_ != cluster.leader)
    for number in range(30):
        cluster.ask(cluster.leader, Put(b"before %d" % number, b"value"))
    cluster.nodes[away].crash()
    assert cluster.ask(cluster.leader, Flush()) == ["OK"]
    for number in range(30):
        cluster.ask(cluster.leader, Put(b"after %d" % (number % 7), b"value"))
    cluster.nodes[away].start()
    assert cluster.run(20, lambda: [len(keyspace) for keyspace in keyspaces(cluster)] == [7, 7, 7])
    for id_ in cluster.nodes:
        cluster.nodes[id_].crash()
    for id_ in cluster.nodes:
        cluster.nodes[id_].start()

    assert cluster.run(20, lambda: [len(keyspace) for keyspace in keyspaces(cluster)] == [7, 7, 7])
    cluster.run(1)
    assert not any(keyspace.garbage for keyspace in keyspaces(cluster))
    assert cluster.ask(cluster.leader, Flush(), Flush(), Put(b"a", b"1")) == ["OK", "OK", "OK"]
