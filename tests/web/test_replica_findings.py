"""What the page says of groups that have replicas on some of the nodes."""

from collections.abc import Sequence
from dataclasses import replace

from kraft.node.status import MemberStatus, TransferStatus
from kraft.web.finding import BAD, NOTE, WARN
from kraft.web.findings import diagnose
from kraft.web.view import ClusterView, MemberReport
from tests.web.reports import member, placed, replica, silent, view

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


def test_a_removal_that_ended_half_way_is_named_with_the_command_that_ends_it() -> None:
    """Each node tells of the groups that it has."""
    whole = placed()
    groups = {"K1": (2,), "K4": (3,), "K5": (2, 3)}
    half = [
        replace(
            each,
            status=replace(
                each.status,
                members=tuple(
                    replace(m, removed_from=groups.get(each.status.node, ())) if m.id == "K6" else m
                    for m in each.status.members
                ),
            ),
        )
        for each in whole.reports
    ]
    text = "was removed from groups 2 and 3 and is still a member: KRAFT REMOVE ended half-way, repeat it"
    keep = "or keep the node: docs/runbooks.md#kraftvotesnotmoved"
    command = "redis-cli -h K1 -p 11 kraft remove K6"
    assert told(view(*half)) == [(WARN, "K6", text, f"{command}, {keep}")]


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
