"""What `kraft demo` and `--add` make of the members that the cluster names."""

from dataclasses import replace
from typing import Any

import pytest

from kraft.cli.children import Departures
from kraft.cli.growth import progress
from kraft.cli.local_cluster import create_standby, find_or_create
from kraft.cli.membership import Membership, understood

HERE = ("127.0.0.1", 10_011)


def members(*voters, **learners):
    """A membership; learners are given with their lag."""
    kinds = dict.fromkeys(voters, "voter") | dict.fromkeys(learners, "learner")
    return Membership("K1", HERE, kinds, dict.fromkeys(voters, 0) | learners)


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
        (None, "K4: no leader is known just now"),
        (members("K1"), "K4: not a member yet"),
        (
            replace(members("K1", K4=120), snapshots={"K4": (1 << 20, 5 << 20)}),
            "K4: a learner, gets a snapshot: 1.0 of about 5.0 MiB",
        ),
        (members("K1", K4=None), "K4: a learner, not heard of yet"),
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
