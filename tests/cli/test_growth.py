"""What `kraft demo` and `--add` make of the members that the cluster names."""

from dataclasses import replace
from typing import Any

import pytest

from kraft.cli import growth, membership
from kraft.cli.children import Departures
from kraft.cli.client import ErrorReply
from kraft.cli.failure import Failure
from kraft.cli.growth import add_node, progress
from kraft.cli.local_cluster import create_standby, find_or_create, present
from kraft.cli.membership import ClusterMembership, understood

HERE = ("127.0.0.1", 10_011)


def members(*voters, **learners):
    """A membership; learners are given with their lag."""
    kinds = dict.fromkeys(voters, "voter") | dict.fromkeys(learners, "learner")
    return ClusterMembership("K1", HERE, kinds, dict.fromkeys(voters, 0) | learners)


def test_a_membership_is_read_from_the_leader():
    """By its answers to KRAFT STATUS and KRAFT MEMBERS."""
    sent: Any = {"peer": "K2", "direction": "send", "index": 5, "done_bytes": 1, "size_bytes": 4}
    status: Any = {"node": "K1", "groups": [{"group": 0, "role": "leader", "transfers": [sent]}]}
    listed: Any = [
        {"id": "K1", "kind": "voter", "lag": None},
        {"id": "K2", "kind": "learner", "lag": 7},
    ]
    found = understood(status, listed, HERE)
    assert found.kinds == {"K1": "voter", "K2": "learner"}
    assert found.lags == {"K1": None, "K2": 7}
    assert found.snapshots == {"K2": (1, 4)}
    assert (found.leader, found.address) == ("K1", HERE)
    assert found.voters == ["K1"]


@pytest.mark.parametrize(
    ("status", "listed"),
    [
        ({"node": "K1", "groups": [{"role": "follower"}]}, []),
        ({"node": "K1", "groups": None}, []),
        ({"node": "K1"}, []),
        ("OK", []),
        ({"node": "K1", "groups": []}, [7]),
        ({"node": "K1", "groups": []}, [{"id": "K1", "kind": "voter"}]),
    ],
)
def test_anything_else_is_no_membership(status, listed):
    """A leader that is one no more, above all."""
    with pytest.raises((KeyError, TypeError, ValueError)):
        understood(status, listed, HERE)


@pytest.mark.parametrize(
    ("found", "line"),
    [
        (None, "K4: no leader is known at the moment"),
        (members("K1"), "K4: not a member yet"),
        (
            replace(members("K1", K4=120), snapshots={"K4": (1 << 20, 5 << 20)}),
            "K4: a learner, receives a snapshot: 1.0 of about 5.0 MiB",
        ),
        (members("K1", K4=None), "K4: a learner, no contact yet"),
        (members("K1", K4=120), "K4: a learner, 120 entries behind"),
        (members("K1", K4=0), "K4: a learner, caught up"),
    ],
)
def test_the_way_to_a_vote_is_told(found, line):
    """Each step in one line."""
    assert progress("K4", found) == line


def test_a_node_leaves_when_two_looks_miss_it(tmp_path):
    """One may be the error of a leader that has just been deposed."""
    nodes = find_or_create(tmp_path / "demo", 3, 30_000)
    departures = Departures()
    everybody, fewer = members("K1", "K2", "K3"), members("K1", "K2")
    assert departures.look(nodes, everybody) == []
    assert departures.look(nodes, fewer) == []
    assert departures.look(nodes, everybody) == []
    assert departures.look(nodes, fewer) == []
    assert departures.look(nodes, fewer) == [nodes[2]]


def test_a_standby_node_waits_until_it_was_a_member_once(tmp_path):
    """A founder that the cluster does not know any more has left before this demo began."""
    find_or_create(tmp_path / "demo", 2, 30_000)
    create_standby(tmp_path / "demo")
    nodes = find_or_create(tmp_path / "demo", None, None)
    departures = Departures()
    for _ in range(3):
        assert departures.look(nodes, members("K1", "K2")) == []
    assert departures.look(nodes, members("K1", "K2", K3=5)) == []
    departures.look(nodes, members("K1"))
    assert [node.id for node in departures.look(nodes, members("K1"))] == ["K2", "K3"]


class Told:
    """Stands for the client: every order gets one answer, and a node that is asked for is there."""

    def __init__(self, answer):
        self.answer = answer
        self.orders = []

    def connect(self, _address, _timeout):
        return self

    def __enter__(self):
        return self

    def __exit__(self, *_):
        pass

    def close(self):
        pass

    def call(self, *words):
        self.orders.append(words)
        raise self.answer


@pytest.fixture
def cluster_of_one(tmp_path, monkeypatch):
    """The folder of a cluster whose only node answers that it is the only member."""
    find_or_create(tmp_path / "demo", 1, 30_000)
    monkeypatch.setattr(membership, "ask", lambda _: members("K1"))
    return tmp_path / "demo"


def test_a_node_that_nobody_starts_is_told_with_the_ways_to_start_it(cluster_of_one, monkeypatch):
    """Its folder stays, and the next run goes on with it."""
    monkeypatch.setattr(growth, "START_SECONDS", 0)
    for first in ("K2: files in", "K2 is there already"):
        lines: list[str] = []
        with pytest.raises(Failure, match="a running `kraft demo` of that directory starts it"):
            add_node(cluster_of_one, None, lines.append)
        assert lines[0].startswith(first)
    assert present(cluster_of_one) == {"K1", "K2"}


def test_a_refusal_is_told_in_the_words_of_the_cluster(cluster_of_one, monkeypatch):
    """Once: asking again would not change it."""
    node = Told(ErrorReply("ERR a change is under way"))
    monkeypatch.setattr(growth, "Client", node)
    with pytest.raises(Failure, match="K2 runs, but was not added: ERR a change is under way"):
        add_node(cluster_of_one, None, lambda _: None)
    assert node.orders == [("KRAFT", "ADD", "K2", "127.0.0.1", "30002")]
