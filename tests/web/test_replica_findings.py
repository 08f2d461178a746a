"""What the page says of groups that have replicas on some of the nodes."""

from collections.abc import Sequence
from dataclasses import replace
from typing import Any

from kraft.node.status import ElsewhereStatus, MemberStatus, TransferStatus
from kraft.web.finding import BAD, NOTE, WARN
from kraft.web.findings import diagnose
from kraft.web.view import ClusterView, MemberReport
from tests.web.reports import group, member, placed, replica, report, silent, view

RISK = "docs/runbooks.md#kraftgroupatrisk"


def told(shown: ClusterView, topic: str = "replicas") -> list[tuple[str, str, str, str]]:
    found = diagnose(shown).findings
    return [(each.severity, each.subject, each.text, each.next) for each in found if each.topic == topic]


def test_nodes_that_have_some_groups_are_well() -> None:
    verdict = diagnose(placed())
    assert (verdict.severity, verdict.text) == ("good", "All well: 6 nodes answer and know a leader")
    assert verdict.findings == ()


def test_groups_that_lack_a_voter_are_named_together() -> None:
    shown = placed("K3")
    one = "K3 is missing: the group must not lose another voter"
    assert told(shown) == [
        (WARN, "group 0", "K3 is missing: the group survives the loss of 1", RISK),
        (WARN, "groups 1 and 2", one, RISK),
    ]
    assert diagnose(shown).text == "The cluster is serving, but must not lose another node"


def test_a_group_without_a_majority_is_bad_though_most_nodes_answer() -> None:
    text = "1 of 3 voters answer; 2 are needed to write or read"
    assert (BAD, "group 3", text) in [each[:3] for each in told(placed("K4", "K5"), "cluster")]
    assert diagnose(placed("K4", "K5")).text == "1 of 4 groups does not serve"
    assert diagnose(placed("K2", "K4", "K5")).text == "3 of 4 groups do not serve"
    assert diagnose(placed("K2", "K3", "K4", "K5")).text == "The cluster is not serving"


def test_a_group_of_which_no_node_answers_is_not_forgotten() -> None:
    """No report has it: those of other nodes tell."""
    shown = placed("K4", "K5", "K6")
    start = "start K4, K5 and K6; if they are gone for good: docs/recovery.md"
    assert (BAD, "group 3", "0 of 3 voters answer; 2 are needed to write or read", start) in told(shown)
    assert diagnose(shown).text == "1 of 4 groups does not serve"
    assert told(shown, "slots") == []  # its slots have a group


def half_removed(shown: ClusterView, id_: str, groups: dict[str, tuple[int, ...]]) -> ClusterView:
    """The same, but some groups have removed a member. Each node tells of the `groups` that it has."""
    reports = []
    for each in shown.reports:
        gone = groups.get(each.status.node, ())
        members = tuple(replace(m, removed_from=gone) if m.id == id_ else m for m in each.status.members)
        reports.append(replace(each, status=replace(each.status, members=members)))
    return view(*reports)


def test_a_removal_that_ended_half_way_is_named_with_the_command_that_ends_it() -> None:
    groups = {"K1": (2,), "K4": (3,), "K5": (2, 3)}
    text = "was removed from groups 2 and 3 and is still a member: KRAFT REMOVE ended half-way, repeat it"
    keep = "or keep the node: docs/runbooks.md#kraftvotesnotmoved"
    command = "redis-cli -h K1 -p 11 kraft remove K6"
    assert told(half_removed(placed(), "K6", groups)) == [(WARN, "K6", text, f"{command}, {keep}")]


def test_a_removal_that_ended_half_way_can_only_go_on_where_all_members_vote() -> None:
    """A node that one group has removed for good cannot be taken back there while it is in the others."""
    shown = half_removed(everywhere(("K1", "K2", "K3", "K4"), ("K1", "K2", "K3")), "K4", {"K1": (1,)})
    [(_, id_, _, advice)] = [each for each in told(shown) if each[1] == "K4"]
    assert (id_, advice) == ("K4", "redis-cli -h K1 -p 11 kraft remove K4")


def test_a_replacement_under_way_is_no_removal_that_ended_half_way() -> None:
    """The node has left group 2, and the leader of group 0 says who takes its place there."""
    taking = {"learners": ("K6",), "joining": ("K6",), "replaced": {"K6": "K4"}}
    text = "has left group 2, and K6 takes its place in the others once it has caught up"
    found = told(half_removed(placed(g0=taking), "K4", {"K2": (2,)}))
    assert (NOTE, "K4", text, "") in found
    assert {severity for severity, *_ in found} == {NOTE}


def everywhere(*groups: tuple[str, ...], **changed: Any) -> ClusterView:
    """Four nodes without a placement; `groups` are the members of each group, and K1 leads all of them."""
    nodes = ("K1", "K2", "K3", "K4")
    reports = []
    for node in nodes:
        here = [
            group(node, group=number, voters=members, slots=8192)
            for number, members in enumerate(groups)
            if node in members
        ]
        elsewhere = [
            ElsewhereStatus(number, "K1", 7, members, members)
            for number, members in enumerate(groups)
            if node not in members
        ]
        known: dict[str, Any] = {"groups": tuple(here), "elsewhere": tuple(elsewhere)}
        members = tuple(map(member, nodes))
        reports.append(report(node, members=members, group_count=len(groups), **known, **changed))
    return view(*reports)


ALL = ("K1", "K2", "K3", "K4")
DIFFER = "its members are K1, K2 and K3, those of group 0 K1, K2, K3 and K4"
REPEAT = "repeat the command that changed the members: it finishes what is half done"


def test_groups_with_other_members_than_group_0_are_named_unless_the_cluster_places_votes() -> None:
    """The node that lacks a replica asks elsewhere, as where it is to have none."""
    found = [(WARN, "group 1", DIFFER, REPEAT)]
    assert told(everywhere(ALL, ALL), "cluster") == []
    assert told(everywhere(ALL, ALL[:3]), "cluster") == found
    assert told(everywhere(ALL, ALL[:3], settling=True), "cluster") == []
    assert told(everywhere(ALL, ALL[:3], replication=3), "cluster") == []


def test_a_member_that_is_removed_in_part_hides_no_other_one_that_is_missing() -> None:
    shown = half_removed(everywhere(ALL, ALL[:3]), "K4", {"K1": (1,)})
    assert [subject for _, subject, *_ in told(shown)] == ["K4"]
    assert told(shown, "cluster") == []
    both = half_removed(everywhere(ALL, ALL[:2]), "K4", {"K1": (1,)})
    text = "its members are K1 and K2, those of group 0 K1, K2, K3 and K4"
    assert told(both, "cluster") == [(WARN, "group 1", text, REPEAT)]


def test_nor_is_one_whose_members_nobody_knows() -> None:
    """The nodes that answer were started while the others were down."""
    before = placed("K4", "K5", "K6")
    told_of_none = [replace(each, status=replace(each.status, elsewhere=())) for each in before.reports]
    seen = view(*told_of_none, *(each for each in before.answers if each.report is None))
    start = "start the nodes that do not answer; if they are gone for good: docs/recovery.md"
    text = "no node that answers has a replica: nobody can use its keys"
    assert (BAD, "group 3", text, start) in told(seen)


def test_a_group_on_nodes_whose_http_ports_alone_are_silent_is_not_lost() -> None:
    answers = placed().answers
    seen = view(*answers[:3], *(silent(each.id) for each in answers[3:]))
    assert told(seen) == []
    assert "not serve" not in diagnose(seen).text
    up = [member(each.id, connected=each.id != "K4") for each in answers]
    fewer = placed("K4", "K5", "K6").answers
    assert [each for each in told(with_members(fewer, up)) if each[1] == "group 3"] == []
    up[4] = member("K5", connected=False)
    [lost] = [each for each in told(with_members(fewer, up)) if each[1] == "group 3"]
    assert lost[2:] == (
        "1 of 3 voters answer; 2 are needed to write or read",
        "start K4 and K5; if they are gone for good: docs/recovery.md",
    )


def with_members(answers: Sequence[MemberReport], members: Sequence[MemberStatus]) -> ClusterView:
    """The same, but all see the members like this."""
    told = (each.report for each in answers if each.report is not None)
    reports = [replace(each, status=replace(each.status, members=tuple(members))) for each in told]
    return view(*reports, *(each for each in answers if each.report is None))


def test_before_all_nodes_were_asked_nothing_is_missing() -> None:
    """As `kraft status --only`, or the first page of a node."""
    first, *others = placed().answers
    for unknown in ((), [silent(each.id, "") for each in others]):
        seen = view(first, *unknown)
        assert [each for each in diagnose(seen).findings if each.severity != NOTE] == []


def test_a_replica_on_its_way_says_whose_place_it_takes_and_how_far_it_is() -> None:
    lags = (replica("K3"), replica("K4"), replica("K6", lag_entries=1_200))
    incoming = {"learners": ("K6",), "joining": ("K6",), "replicas": lags}
    text = "gets a replica on K6, which votes{} once it has caught up; it lacks 1\u202f200 entries"
    assert told(placed(g2=incoming)) == [(NOTE, "group 2", text.format(""), "")]
    moved = placed(g2=incoming | {"replaced": {"K6": "K3"}})
    assert told(moved) == [(NOTE, "group 2", text.format(" in the place of K3"), "")]
    assert diagnose(moved).severity == "good"


def test_a_snapshot_names_its_group() -> None:
    sent = TransferStatus("K1", "receive", 100, 1 << 20, 4 << 20, 2.0)
    shown = placed(g2={"transfers": (sent,)})
    text = "is receiving a snapshot of group 2 from K1: 1.0 of about 4.0 MiB"
    assert told(shown, "cluster") == [(NOTE, "K2", text, "")]
