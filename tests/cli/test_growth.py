"""What `kraft demo` and `--add` make of the members that the cluster names."""

import io
from dataclasses import replace
from pathlib import Path

import pytest

from kraft.cli import growth, membership
from kraft.cli.children import Departures
from kraft.cli.client import ErrorReply
from kraft.cli.demo import added
from kraft.cli.failure import Failure
from kraft.cli.growth import add_node, progress
from kraft.cli.local_cluster import LocalNode, create_standby, find_or_create, present
from kraft.cli.membership import ClusterMembership, understood
from kraft.cli.output.plain import PlainDisplay
from kraft.cli.status_reply import StatusReply
from kraft.node.status import Status, TransferStatus
from tests.cli.test_status import placed_replies
from tests.web.reports import group, member, report

HERE = ("127.0.0.1", 10_011)


def members(*voters, **learners):
    """A membership; learners are given with their lag."""
    kinds = dict.fromkeys(voters, "voter") | dict.fromkeys(learners, "learner")
    return ClusterMembership("K1", HERE, kinds, dict.fromkeys(voters, 0) | learners)


def test_a_membership_is_what_the_leader_reports():
    """Voters and learners with their lags, its client port, and the snapshots that it sends."""
    sent = TransferStatus("K2", "send", 5, 1, 4, 1.0)
    received = TransferStatus("K3", "receive", 5, 1, 4, 1.0)
    told = report(
        "K1",
        client="[::1]:10011",
        members=(member("K1"), member("K2", voter=False, lag_entries=7)),
        group={"transfers": (sent, received)},
    )
    found = understood(told.status)
    assert found is not None
    assert found.kinds == {"K1": "voter", "K2": "learner"}
    assert found.lags == {"K1": None, "K2": 7}
    assert found.snapshots == {"K2": (1, 4)}
    assert (found.leader, found.address) == ("K1", ("::1", 10_011))
    assert found.voters == ["K1"]


def test_the_leader_of_group_0_knows_the_members_of_several_groups():
    groups = (group("K1"), replace(group("K1", leader="K2"), group=1))
    assert understood(replace(report("K1").status, groups=groups)) is not None


def test_of_several_groups_the_one_counts_that_may_lose_the_fewest_voters(monkeypatch):
    first, *rest = placed_replies("K3")
    monkeypatch.setattr(growth, "_status", lambda _: first)
    monkeypatch.setattr(growth, "ask_all", lambda *_: rest)
    node = LocalNode("K1", Path("d"), 1, 2, 3)
    text = "K3 is missing: the group must not lose another voter"
    assert growth.outlook(node, members("K1", "K2", "K3", "K4", "K5", "K6")) == (text, ["K3"])


def test_a_node_that_is_getting_a_vote_is_no_voter_yet():
    """Until the joint configuration is left, the old voters have to agree as well."""
    changing = group("K1", leader="K1", voters=("K1", "K2"), target_voters=("K1", "K2", "K3"), joint=True)
    found = understood(replace(report("K1").status, groups=(changing,)))
    assert found is not None
    assert found.kinds["K3"] == "learner"
    assert found.voters == ["K1", "K2"]


@pytest.mark.parametrize("changed", [{"groups": ()}, {"groups": (group("K1", leader="K2"), group("K1"))}])
def test_a_node_that_does_not_lead_group_0_knows_no_membership(changed):
    """A leader that is one no more, above all."""
    assert understood(replace(report("K1").status, **changed)) is None


def test_the_leader_is_asked_that_another_node_follows(monkeypatch):
    """Over HTTP, wherever the leader is; a node that does not answer, or knows no leader, is skipped."""
    ports = {
        "a:1": None,
        "b:1": report("K2", leader="").status,
        "c:1": report("K3", leader="K1").status,
        "K1:21": report("K1").status,
    }
    asked: list[str] = []

    def status(address: str, _security: object) -> Status | None:
        asked.append(address)
        return ports[address]

    monkeypatch.setattr(membership, "_status", status)
    found = membership.ask(["a:1", "b:1", "c:1"])
    assert found is not None
    assert (found.leader, asked) == ("K1", ["a:1", "b:1", "c:1", "K1:21"])
    ports["K1:21"] = None
    assert membership.ask(["a:1", "c:1"]) is None


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
        (members("K1", K4=120), "K4: a learner, lacks 120 entries"),
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

    def connect(self, _address, _timeout, _security):
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
    monkeypatch.setattr(membership, "ask", lambda _addresses, _security: members("K1"))
    return tmp_path / "demo"


def test_without_a_leader_the_next_step_depends_on_whether_a_node_answers(cluster_of_one, monkeypatch):
    """A demo that runs, and has lost its majority, cannot be started again."""
    monkeypatch.setattr(membership, "ask", lambda _addresses, _security: None)
    for status, told in (
        (None, r"answers: start them with `kraft demo"),
        ({}, r"`kraft status 127.0.0.1:30021`"),
    ):
        monkeypatch.setattr(growth, "_status", lambda node, status=status: StatusReply(node.id, "", status))
        with pytest.raises(Failure, match=told):
            add_node(cluster_of_one, None, PlainDisplay(io.StringIO()))
    assert present(cluster_of_one) == {"K1"}


def test_a_node_that_nobody_starts_is_told_with_the_ways_to_start_it(cluster_of_one, monkeypatch):
    """Its folder stays, and the next run goes on with it."""
    monkeypatch.setattr(growth, "START_SECONDS", 0)
    for first in ("K2: files in", "K2 is there already"):
        out = io.StringIO()
        with pytest.raises(Failure, match="a running `kraft demo` of that directory starts it"):
            add_node(cluster_of_one, None, PlainDisplay(out))
        assert out.getvalue().startswith(first)
    assert present(cluster_of_one) == {"K1", "K2"}


def test_a_refusal_is_told_in_the_words_of_the_cluster(cluster_of_one, monkeypatch):
    """Once: asking again would not change it."""
    node = Told(ErrorReply("ERR a change is under way"))
    monkeypatch.setattr(growth, "Client", node)
    monkeypatch.setattr(growth, "_status", lambda node: StatusReply(node.id, "", {"cluster": ""}))
    with pytest.raises(Failure, match="K2 runs, but was not added: ERR a change is under way"):
        add_node(cluster_of_one, None, PlainDisplay(io.StringIO()))
    assert node.orders == [("KRAFT", "ADD", "K2", "127.0.0.1", "30002")]


@pytest.mark.parametrize("down", [False, True])
def test_who_adds_a_node_is_told_what_the_cluster_survives_and_whom_to_take_out(down, http_nodes, tmp_path):
    """A voter that is down counts for nothing: it should go, and not the new node."""
    nodes = find_or_create(tmp_path, 4, None)
    voters = tuple(node.id for node in nodes)

    def told(id_):
        def made(found):
            linked = tuple(replace(each, connected=not (down and each.id == "K3")) for each in found)
            return report(id_, members=linked, group={"voters": voters})

        return made

    at = http_nodes.start(K1=told("K1"), K2=told("K2"), K3=None if down else told("K3"), K4=told("K4"))
    new = replace(nodes[3], http_port=int(at["K4"].rpartition(":")[2]))
    shown = [each.text for each in added(new, members(*voters))]
    survives = "K3 is missing: the cluster must not lose another voter"
    if not down:
        survives = "the cluster survives the loss of 1; with 5 voters it would be 2"
    assert shown[0] == f"K4 votes: 4 voters (K1 K2 K3 K4); {survives}"
    assert f"'kraft remove {'K3' if down else 'K4'}\\r\\n" in shown[-1]
    assert shown[-1].endswith("# if K3 stays down for good" if down else "# takes it out again")
