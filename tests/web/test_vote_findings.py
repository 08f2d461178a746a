"""What the page says while the cluster moves votes between its nodes."""

from typing import Any

import pytest

from kraft.web.finding import NOTE, WARN
from kraft.web.findings import diagnose
from kraft.web.report import Report, decode, encode
from tests.web.reports import report, view

COMMAND = "redis-cli -h K1 -p 11 kraft replication"


def told(*nodes: dict[str, Any]) -> list[tuple[str, str, str, str]]:
    reports = [report(f"K{number}", **changed) for number, changed in enumerate(nodes, 1)]
    return [(each.severity, each.subject, each.text, each.next) for each in diagnose(view(*reports)).findings]


def test_votes_that_are_moved_are_a_note() -> None:
    moved: dict[str, Any] = {"replication": 3, "settling": True}
    text = "moves votes between the nodes, until all have about as many"
    next_ = f"{COMMAND}, shows how many steps are left"
    assert told(moved, moved, {"replication": 3}) == [(NOTE, "cluster", text, next_)]
    assert told({"replication": 3}, moved, {"replication": 3}) == []


@pytest.mark.parametrize(
    ("leaving", "subject", "verb"), [(("K2",), "K2", "hands"), (("K2", "K3"), "K2 and K3", "hand")]
)
def test_a_node_that_hands_over_its_votes_is_named(leaving: tuple[str, ...], subject: str, verb: str) -> None:
    text = f"{verb} over votes in all groups, before the removal"
    left: dict[str, Any] = {"replication": 3, "settling": True, "leaving": leaving}
    assert told(left, left, left) == [(NOTE, subject, text, COMMAND)]


def test_groups_that_cannot_get_their_voters_need_attention_once_votes_rest() -> None:
    advice = "docs/runbooks.md#kraftvotesnotmoved"
    stuck: dict[str, Any] = {"replication": 3, "misplaced_groups": 2}
    text = "2 groups cannot get the voters that they should have"
    assert told(stuck, {"replication": 3}, {"replication": 3}) == [(WARN, "cluster", text, advice)]
    moving = told(stuck | {"settling": True}, {"replication": 3}, {"replication": 3})
    assert moving == [(NOTE, "cluster", text, advice)]


def test_a_report_of_an_earlier_release_says_nothing_of_votes() -> None:
    told_once: Report = report("K1", settling=True, leaving=("K2",))
    again = decode(encode(told_once, pretty=False))
    assert (again.status.settling, again.status.leaving) == (True, ("K2",))
    body = encode(report("K1"), pretty=False)
    early = decode(body.replace(b'"settling":false,', b"").replace(b'"leaving":[],', b""))
    assert (early.status.settling, early.status.leaving) == (False, ())
