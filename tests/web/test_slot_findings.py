"""What the page says of slots that move."""

from dataclasses import replace
from typing import Any

import pytest

from kraft.node.status import MoveStatus
from kraft.telemetry.recent.facts import Facts
from kraft.web.finding import BAD, NOTE, WARN
from kraft.web.findings import diagnose
from kraft.web.report import Report
from tests.web.reports import group, member, report, view, without

BEGUN_MS = 1_000_000
MOVE = MoveStatus(7, 0, 2047, 0, 1, "copying", 51_200, BEGUN_MS)


def at(seconds: float) -> Facts:
    return Facts(wall_seconds=BEGUN_MS / 1000 + seconds)


def told(node: str, *moves: MoveStatus, seconds: float = 5.0, **changed: Any) -> Report:
    """A node of a cluster with two groups: K1 leads group 0, K2 group 1."""
    frozen = changed.pop("frozen", 0.0)
    groups = (group(node, "K1", frozen_seconds=frozen), group(node, "K2", group=1))
    return report(node, facts=at(seconds), groups=groups, moves=moves, **changed)


def only(*reports: Report) -> tuple[str, str, str, str]:
    [found] = diagnose(view(*reports)).findings
    return found.severity, found.subject, found.text, found.next


def test_a_move_under_way_is_a_note() -> None:
    others = [told("K2"), told("K3", MOVE)]
    text = "moves slots 0-2047 to group 1: copying, 51\u202f200 keys so far"
    assert only(told("K1", MOVE), *others) == (NOTE, "group 0", text, "")
    one = replace(MOVE, first=5, last=5, keys=0, state="planned")
    assert only(told("K1", one), *others)[2] == "moves slot 5 to group 1: planned"
    known = replace(MOVE, keys_total=60_000)
    text = "moves slots 0-2047 to group 1: copying, 51\u202f200 of about 60\u202f000 keys"
    assert only(told("K1", known), *others)[2] == text
    assert diagnose(view(told("K1", MOVE), *others)).severity == "good"


def test_the_leader_of_the_source_knows_best() -> None:
    """The others may be late, or know nothing of a problem."""
    late = replace(MOVE, state="planned", keys=0)
    assert only(told("K3", late), told("K1", MOVE), told("K2", late))[2].endswith(
        "copying, 51\u202f200 keys so far"
    )
    assert diagnose(view(told("K3", late), told("K1"), told("K2", late))).findings == ()


def test_moves_that_wait_for_another_one_are_counted() -> None:
    later = [replace(MOVE, id=n, state="planned") for n in (8, 9)]
    assert only(told("K1", MOVE, *later), told("K2"), told("K3"))[2].endswith("; 2 more after that")


def test_a_move_that_fails_for_long_needs_attention() -> None:
    failed = replace(
        MOVE, state="cancelled", problem="a FLUSHALL over several groups has locked the receiver"
    )
    assert only(told("K1", failed), told("K2"), told("K3"))[0] == NOTE
    severity, subject, text, command = only(told("K1", failed, seconds=125.0), told("K2"), told("K3"))
    assert (severity, subject) == (WARN, "group 0")
    assert text == (
        "slots 0-2047 should move to group 1, but could not for 2 min 5 s: a FLUSHALL over several groups"
        " has locked the receiver"
    )
    assert command == "redis-cli -h K1 -p 11 kraft moves, docs/runbooks.md#kraftmovestuck"


def test_slots_that_stay_frozen() -> None:
    """The page of any node tells, with the words of the leader."""
    frozen = replace(MOVE, state="frozen")
    found = diagnose(view(told("K3", frozen), told("K1", frozen, frozen=4.2), told("K2", frozen))).findings
    assert [(each.severity, each.subject) for each in found] == [(BAD, "group 0"), (NOTE, "group 0")]
    assert found[0].text.startswith("slots have been frozen for 4 s, until the group that receives them")
    assert found[0].next == "redis-cli -h K3 -p 11 kraft moves, docs/runbooks.md#kraftslotfrozen"
    assert len(diagnose(view(told("K1", frozen, frozen=0.4), told("K2"), told("K3"))).findings) == 1


def test_nodes_that_know_an_older_map() -> None:
    new = [told("K1", map_version=4), told("K2", map_version=4)]
    assert only(*new, told("K3", map_version=3)) == (
        NOTE, "K3", "knows version 3 of the map of slots, not 4 yet", "",
    )  # fmt: skip
    assert only(new[0], told("K2"), told("K3", map_version=3))[2] == (
        "know version 0 and 3 of the map of slots, not 4 yet"
    )
    assert diagnose(view(*new, told("K3", map_version=4))).findings == ()


def test_slots_that_no_group_has() -> None:
    """Only once nothing moves, and all nodes say the same of it."""

    def having(node: str, slots: int, version: int = 4, *moves: MoveStatus) -> Report:
        groups = (group(node, "K1", slots=10_000), group(node, "K2", group=1, slots=slots))
        return report(node, facts=at(5.0), groups=groups, moves=moves, map_version=version)

    def found(slots: int, *rest: Any) -> list[str]:
        told = having("K1", slots, *rest), having("K2", slots), having("K3", slots)
        return [each.text for each in diagnose(view(*told)).findings if each.severity == BAD]

    assert found(6_384) == []
    assert found(6_284) == ["100 slots have no group: nobody can use their keys"]
    assert found(6_284, 5) == []
    assert found(6_284, 4, MOVE) == []
    assert found(0, 0) == []


def test_a_member_that_joins_knows_no_map_and_hides_nothing() -> None:
    """It is not late, and its version says nothing of the slots that the leaders count."""
    slots = [group("K1", "K1", slots=10_000), group("K2", "K2", group=1, slots=6_284)]
    members = (*[member(node) for node in ("K1", "K2", "K3")], member("K4", voter=False, joining=True))
    led = [
        report(node, facts=at(5.0), groups=(g,), members=members, map_version=4)
        for node, g in zip(("K1", "K2"), slots, strict=True)
    ]
    new = report("K4", facts=at(5.0), groups=(group("K4", "K1", slots=0),), members=members, map_version=0)
    texts = [each.text for each in diagnose(view(*led, new)).findings]
    assert "100 slots have no group: nobody can use their keys" in texts
    assert not [text for text in texts if "of the map of slots" in text]
    assert "knows version 0 of the map of slots, not 4 yet" in [
        each.text for each in diagnose(view(*led, told("K3", map_version=0))).findings
    ]


@pytest.mark.parametrize("state", ["starting", "forming", "standby", "refused", "removed", "stopping"])
def test_a_node_that_takes_no_part_is_not_late(state: str) -> None:
    new = [told("K1", map_version=4), told("K2", map_version=4)]
    texts = [each.text for each in diagnose(view(*new, told("K3", state=state))).findings]
    assert not [text for text in texts if "of the map of slots" in text]


def test_a_source_without_a_leader() -> None:
    """Then any node tells of the move, and the missing leader comes first."""
    alone = [
        report(node, "", facts=at(5.0), group={"role": "follower"}, moves=(MOVE,))
        for node in ("K1", "K2", "K3")
    ]
    found = diagnose(view(*(without("K9", each) for each in alone))).findings
    assert [each.severity for each in found] == [BAD, NOTE]
