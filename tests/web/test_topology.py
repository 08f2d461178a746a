"""The picture of the cluster, and what it says to those who do not see it."""

import re
from dataclasses import replace
from itertools import combinations

import pytest

from kraft.node.status import TransferStatus
from kraft.web.findings import LAG_ENTRIES
from kraft.web.topology import HEIGHT, MARGIN, WIDTH, _places, _size, topology
from tests.web.reports import answer, member, placed, replica, report, silent, view, without


def said(picture):
    """The text alternative."""
    found = re.search(r"<desc>(.*?)</desc>", picture)
    return found[1] if found else ""


def kinds(picture):
    """The classes of nodes and of links, in the order of the ids."""
    nodes = re.findall(r'class="node (\w+)', picture)
    drawing = picture.partition("</svg>")[0]
    return nodes, re.findall(r'class="edge (\w+ \w+)"', drawing)


def test_a_cluster_that_is_well():
    picture = topology(view(report("K1"), report("K2"), report("K3")))
    assert kinds(picture) == (
        ["leader", "follower", "follower"], ["up replication", "up replication", "up link"],
    )  # fmt: skip
    assert said(picture) == (
        "K1 leads in term 7. K2 is a follower, lag 0. K3 is a follower, lag 0. All links are up."
    )


def test_a_node_that_is_down():
    picture = topology(view(without("K3", report("K1")), without("K3", report("K2")), silent("K3")))
    nodes, links = kinds(picture)
    assert nodes == ["leader", "follower", "silent"]
    assert links == ["up replication", "silent replication", "silent link"]
    assert said(picture).endswith("K2 is a follower, lag 0. K3 does not answer.")


def test_a_link_that_one_end_alone_misses_is_broken():
    picture = topology(view(report("K1"), without("K3", report("K2")), report("K3")))
    assert kinds(picture)[1] == ["up replication", "up replication", "down link"]
    assert said(picture).endswith("No link between K2 and K3.")


def test_nobody_knows_of_the_link_of_two_nodes_that_are_down():
    own = without("K2", without("K3", report("K1", leader="")))
    assert kinds(topology(view(own, silent("K2"), silent("K3"))))[1] == ["silent link"] * 3


def test_a_node_whose_http_port_alone_is_silent_has_its_links():
    assert kinds(topology(view(report("K1"), report("K2"), silent("K3"))))[1][2] == "up link"


def test_a_lag_that_needs_attention():
    lagging = {"replicas": (replica("K2"), replica("K3", lag_entries=LAG_ENTRIES + 1))}
    picture = topology(view(report("K1", group=lagging), report("K2"), report("K3")))
    assert kinds(picture)[1] == ["up replication", "up slow", "up link"]
    assert "lag 10\N{NARROW NO-BREAK SPACE}001" in picture


def test_the_lag_of_a_follower_that_has_not_answered_its_new_leader_is_unknown():
    """It is not the whole log."""
    unheard = {"replicas": (replica("K2"), replica("K3", state="probe", match_index=0, lag_entries=20_000))}
    picture = topology(view(report("K1", group=unheard), report("K2"), report("K3")))
    assert kinds(picture)[1] == ["up replication", "up replication", "up link"]
    assert "K3 is a follower, lag unknown." in said(picture)


def test_learners_and_a_snapshot_on_its_way():
    four = {"learners": ("K4",), "replicas": tuple(replica(each) for each in ("K2", "K3", "K4"))}
    moving = TransferStatus("K1", "receive", 100, 1 << 20, 4 << 20, 2.0)
    members = tuple(member(each) for each in ("K1", "K2", "K3", "K4"))
    reports = [report("K1", group=four, members=members), report("K2"), report("K3")]
    joining = report("K4", members=members, group={"transfers": (moving,)})
    picture = topology(view(*reports, joining))
    assert kinds(picture)[0] == ["leader", "follower", "follower", "learner"]
    assert "K4 is a learner, snapshot 25 %." in said(picture)


def test_nodes_that_have_some_of_the_groups():
    """Lines of replication lead to those alone that share a group with a leader."""
    picture = topology(shown := placed())
    assert "K1 leads 2, lag unknown, has 2 of 4 groups. K2 leads 1, lag 0, has 3 of 4 groups." in said(
        picture
    )
    assert "K5 is a follower, lag 0, has 2 of 4 groups." in said(picture)
    assert re.findall(r">(leads [^<]*|has [^<]*)<", picture) == [
        "leads 2 of 2", "leads 1 of 3", "has 3 of 4", "leads 1 of 3", "has 2 of 4", "has 2 of 4",
    ]  # fmt: skip
    pairs = list(combinations([each.id for each in shown.answers], 2))
    links = dict(zip(pairs, kinds(picture)[1], strict=True))
    assert links["K2", "K3"] == links["K4", "K6"] == "up replication"
    assert links["K2", "K5"] == links["K3", "K6"] == "up link"


def test_a_snapshot_comes_before_the_number_of_groups():
    moving = TransferStatus("K1", "receive", 100, 1 << 20, 4 << 20, 2.0)
    first, second, third, *others = placed().reports
    *groups, last = third.status.groups
    receiving = (*groups, replace(last, transfers=(moving,)))
    third = replace(third, status=replace(third.status, groups=receiving))
    assert ">snapshot 25 %<" in topology(view(first, second, third, *others))


@pytest.mark.parametrize(
    ("changed", "word"),
    [
        ({"state": "leaderless", "problem": "no leader is known", "leader": ""}, "leaderless"),
        ({"disk_full": True}, "disk full"),
        ({"group": {"fenced": True}, "state": "fenced"}, "fenced"),
        ({"groups": (), "state": "forming"}, "forming"),
    ],
)
def test_a_node_that_is_not_well(changed, word):
    picture = topology(view(report("K1"), report("K2"), report("K3", **changed)))
    assert kinds(picture)[0][2] == "troubled"
    assert f"K3 is not well: {word}." in said(picture)


def test_there_is_no_picture_before_there_is_a_cluster():
    assert topology(view(report("K1", groups=(), state="forming"))) == ""


def test_a_cluster_of_one_has_no_links():
    picture = topology(view(report("K1", group={"replicas": (), "voters": ("K1",)}, members=(member("K1"),))))
    assert kinds(picture) == (["leader"], [])
    assert said(picture) == "K1 leads in term 7."


@pytest.mark.parametrize("count", range(1, 12))
def test_nodes_do_not_touch_and_stay_inside(count):
    wide, high = _size(count)
    places = _places(count)
    for (x1, y1), (x2, y2) in combinations(places, 2):
        assert abs(x1 - x2) >= WIDTH or abs(y1 - y2) >= HEIGHT, (count, places)
    for x, y in places:
        assert MARGIN + WIDTH / 2 - 1 <= x <= wide - MARGIN - WIDTH / 2 + 1
        assert MARGIN + HEIGHT / 2 - 1 <= y <= high - MARGIN - HEIGHT / 2 + 1


@pytest.mark.parametrize("count", [1, 2, 3, 5])
def test_a_single_node_is_drawn_no_larger_than_one_of_three(count):
    """The picture is as wide as its place, so what it shows has to be as wide as well."""
    names = [f"K{number}" for number in range(count)]
    picture = str(topology(view(*(report(name, names[0]) for name in names))))
    left, _, wide, _ = map(int, re.findall(r'viewBox="([^"]*)"', picture)[0].split())
    assert wide == max(_size(3)[0], _size(count)[0])
    middle = sum(x for x, _ in _places(count)) / count
    assert abs(left + wide / 2 - middle) <= 1


def test_a_long_name_is_cut_in_the_picture_only():
    name = "store-in-frankfurt-1"
    picture = topology(view(answer(report(name, leader=name, members=(member(name),)))))
    assert ">store-in-fra…<" in picture
    assert said(picture) == f"{name} leads in term 7."
