"""What is wrong, in words, and what to type next."""

from dataclasses import replace
from typing import Any

import pytest

from kraft.node.status import TransferStatus
from kraft.node.supervisor import SYSTEMD, Supervisor
from kraft.telemetry.recent.facts import Facts
from kraft.web.finding import BAD, NOTE, WARN
from kraft.web.findings import CLOCK_OFFSET_MS, DISK_FREE_BYTES, LAG_ENTRIES, diagnose
from tests.web.reports import answer, member, replica, report, silent, view, without

WELL = [report("K2"), report("K3")]


def only(*answers):
    """The one finding there is."""
    [found] = diagnose(view(*answers)).findings
    return found.severity, found.subject, found.text, found.next


def test_all_is_well():
    found = diagnose(view(report("K1"), *WELL))
    assert (found.severity, found.text, found.findings) == (
        "good", "All well: 3 nodes answer and know a leader", (),
    )  # fmt: skip


def test_a_node_that_was_removed():
    """What it knows of the others is of the past. A node that answers knows better."""
    removed = report("K1", state="removed", problem="K1 was removed from the cluster: wipe it", leader="")
    found = diagnose(view(removed, silent("K2"), silent("K3", "")))
    assert (found.severity, found.text) == (BAD, "K1 was removed from its cluster")
    [finding] = found.findings
    assert (finding.subject, finding.text) == ("K1", removed.status.problem)
    answered = diagnose(view(removed, *(without("K1", report(id_, leader="K2")) for id_ in ("K2", "K3"))))
    assert answered.text.startswith("The cluster is serving")


def test_others_that_were_not_asked_yet_are_no_reason_for_praise():
    unknown = replace(answer(report("K2")), report=None, last=None)
    found = diagnose(view(report("K1"), unknown, report("K3")))
    assert (found.severity, found.text) == ("good", "K1 is healthy; waiting for the other nodes")


def test_a_node_that_is_down():
    """Two of three go on, and the reader is told that this was the last one to lose."""
    rest = [without("K3", report("K1")), without("K3", report("K2"))]
    found = diagnose(view(*rest, silent("K3")))

    assert (found.severity, found.text) == (WARN, "The cluster is serving, but must not lose another node")
    assert only(*rest, silent("K3")) == (
        WARN, "K3", "does not answer: Connection refused", "start it again",
    )  # fmt: skip
    unit = Facts(supervisor=Supervisor(SYSTEMD, "kraft@K1"))
    [finding] = diagnose(view(replace(rest[0], facts=unit), rest[1], silent("K3"))).findings
    assert finding.command == "systemctl status kraft@K3; journalctl -u kraft@K3 -n 50"
    assert finding.advice == "on its machine"


def test_a_node_whose_http_port_alone_is_silent():
    severity, subject, text, command = only(report("K1"), report("K2"), silent("K3", "no answer within 2 s"))
    assert (severity, subject, command) == (WARN, "K3", "curl http://K3:21/livez")
    assert text.endswith("its links to other nodes are up")


def test_a_lost_majority_comes_first():
    unit = Facts(supervisor=Supervisor(SYSTEMD, "kraft@K1"))
    alone = without("K2", without("K3", leaderless("K1", facts=unit)))
    found = diagnose(view(alone, silent("K2"), silent("K3")))

    assert (found.severity, found.text) == (BAD, "The cluster is not serving")
    assert [(f.severity, f.subject, f.text, f.command) for f in found.findings] == [
        (BAD, "cluster", "1 of 3 voters answer; 2 are needed to write or read", ""),
        (BAD, "K2", "does not answer: Connection refused", "systemctl start kraft@K2"),
        (BAD, "K3", "does not answer: Connection refused", "systemctl start kraft@K3"),
    ]
    assert found.findings[0].advice.endswith("kraft recover DIR")


def leaderless(node, obstacle="", **changed):
    """A node that knows no leader, and its reason."""
    problem = f"no leader is known for group 0{obstacle and ': '}{obstacle}"
    return report(
        node, leader="", state="leaderless", problem=problem, group={"role": "precandidate"}, **changed
    )


def with_groups(node, number, **changed):
    """The report of a node with so many groups, each with these fields."""
    told = report(node)
    groups = tuple(replace(told.status.groups[0], group=id_, **changed) for id_ in range(number))
    return replace(told, status=replace(told.status, groups=groups))


@pytest.mark.parametrize(
    ("number", "subject"), [(2, "groups 0 and 1"), (3, "groups 0, 1 and 2"), (4, "4 groups (0, 1, 2, ...)")]
)
def test_what_is_said_of_several_groups_is_said_once(number, subject):
    nodes = [with_groups(node, number, role="follower", leader="K1") for node in ("K1", "K2", "K3")]

    assert only(*nodes)[:3] == (BAD, subject, "has no leader; an election should end this within seconds")


def test_a_follower_that_lags_in_many_groups_is_named_once_with_its_largest_lag():
    late = (replica("K2"), replica("K3", lag_entries=LAG_ENTRIES + 1))
    led = with_groups("K1", 20, replicas=late)
    worst = replace(led.status.groups[4], replicas=(replica("K3", lag_entries=LAG_ENTRIES + 9),))
    groups = (*led.status.groups[:4], worst, *led.status.groups[5:])
    told = replace(led, status=replace(led.status, groups=groups))

    found = only(told, with_groups("K2", 20), with_groups("K3", 20))

    assert found[:3] == (WARN, "K3", f"lacks {LAG_ENTRIES + 9} entries")


def test_a_group_without_a_leader_is_told_once():
    """Each node says so, and one finding stands for all; their reason is kept."""
    told = [leaderless(node, "disk full on K2 and K3") for node in ("K1", "K2", "K3")]
    assert only(*told) == (BAD, "cluster", "has no leader: disk full on K2 and K3", "")


def test_a_node_that_is_cut_off_is_told_once():
    """Three links' ends, and a node without a leader, are one fault of one node."""
    k1, k2 = without("K3", report("K1")), without("K3", report("K2"))
    k3 = without("K1", without("K2", leaderless("K3", "no link to K1 and K2")))
    assert only(k1, k2, k3) == (
        BAD, "K3", "is not connected to K1 and K2, and knows no leader",
        "nc -z K1 1; nc -z K2 1, on its machine",
    )  # fmt: skip


def test_a_node_that_alone_knows_no_leader_says_why():
    """Nothing else explains it."""
    severity, subject, text, _ = only(report("K1"), report("K2"), leaderless("K3"))
    assert (severity, subject, text) == (BAD, "K3", "no leader is known for group 0")


def test_voters_that_wait_in_standby_are_no_majority():
    """They answer, and their data is gone: no election will ever end this."""
    told = report("K1", leader="", problem="no leader is known for group 0", group={"role": "precandidate"})
    alone = without("K2", without("K3", told))
    emptied = (report(node, state="standby", cluster="", groups=()) for node in ("K2", "K3"))
    found = diagnose(view(alone, *emptied))
    first = found.findings[0]
    assert (first.subject, first.text) == ("cluster", "1 of 3 voters answer; 2 are needed to write or read")
    assert first.advice.endswith("if they are gone for good: kraft recover DIR")


def test_no_leader_with_a_majority_is_a_matter_of_seconds():
    told = [report(node, leader="") for node in ("K1", "K2", "K3")]
    assert only(*told) == (BAD, "cluster", "has no leader; an election should end this within seconds", "")


def test_an_older_leader_that_was_not_told_yet_does_not_count():
    old = report("K1", leader="K1", group={"term": 6})
    assert diagnose(view(report("K3", leader="K3"), old, report("K2", leader="K3"))).severity == "good"


@pytest.mark.parametrize("problem", ["", "the data of group 0 differs from the others': KRAFT RESEED K3"])
def test_a_fenced_replica_is_to_be_reseeded(problem):
    bad = report("K3", problem=problem, group={"fenced": True})
    severity, subject, text, command = only(report("K1"), report("K2"), bad)
    assert (severity, subject, command) == (BAD, "K3", "redis-cli -h K1 -p 11 kraft reseed K3")
    assert text == (problem or "its data differs from the others'")


def test_a_full_disk_and_one_that_soon_will_be():
    full = replace(report("K3").status, disk_full=True)
    severity, _, text, command = only(report("K1"), report("K2"), replace(report("K3"), status=full))
    assert severity == BAD
    assert "its disk is full" in text
    assert command.startswith("df -h")

    room = Facts(disk_free_bytes=DISK_FREE_BYTES)
    assert diagnose(view(report("K1", facts=room), *WELL)).findings == ()
    little = Facts(disk_free_bytes=DISK_FREE_BYTES - 1)
    assert only(report("K1", facts=little), *WELL)[:3] == (WARN, "K1", "its disk has only 255 MiB left")


def test_data_near_its_bound():
    assert diagnose(view(report("K1", facts=Facts(dataset_bytes_max=471)), *WELL)).severity == "good"
    severity, _, text, _ = only(report("K1", facts=Facts(dataset_bytes_max=470)), *WELL)
    assert severity == WARN
    assert text == "the data uses 85 % of limits.dataset_bytes; at 100 % writes are refused"


def test_what_is_the_same_on_several_nodes_is_told_once():
    """Replicas hold the same data, and certificates of one CA end together."""
    facts = Facts(wall_seconds=100.0, dataset_bytes_max=470, tls_expiry={"ca": 99.0, "certificate": 3700.0})
    full = [report(node, facts=facts) for node in ("K1", "K2")]
    other = report("K3", facts=replace(facts, dataset_bytes_max=420))
    found = diagnose(view(*full, other)).findings
    assert [(f.severity, f.subject, f.text) for f in found] == [
        (BAD, "K1, K2 and K3", "the CA has expired: no new TLS connection succeeds"),
        (WARN, "K1, K2 and K3", "the certificate ends in 1 h 0 min; then no new TLS connection succeeds"),
        (WARN, "K1 and K2", "the data uses 85 % of limits.dataset_bytes; at 100 % writes are refused"),
        (WARN, "K3", "the data uses 95 % of limits.dataset_bytes; at 100 % writes are refused"),
    ]


def test_followers_that_are_behind_or_live_in_another_time():
    def led(**changed):
        return report("K1", group={"replicas": (replica("K2"), replica("K3", **changed))})

    assert diagnose(view(led(lag_entries=LAG_ENTRIES, clock_offset_ms=CLOCK_OFFSET_MS), *WELL)).findings == ()
    assert only(led(lag_entries=LAG_ENTRIES + 1), *WELL)[:3] == (WARN, "K3", "lacks 10001 entries")
    assert (
        only(led(clock_offset_ms=-2500), *WELL)[2]
        == "its clock differs from the median of the voters' clocks by -2.5 s"
    )


def test_a_leader_with_a_wrong_clock_is_named_and_not_its_followers():
    ahead = (replica("K2", clock_offset_ms=-86_400_000), replica("K3", clock_offset_ms=-86_399_990))
    led = report("K1", group={"replicas": ahead, "clock_offset_ms": 86_400_000})
    assert only(led, *WELL)[:3] == (
        WARN, "K1", "its clock differs from the median of the voters' clocks by +86400.0 s",
    )  # fmt: skip


def test_a_learners_clock_is_not_compared():
    """Leaders hear the clocks of voters only."""
    followers = (replica("K2", clock_offset_ms=-5000), replica("K4"))
    led = report("K1", group={"replicas": followers, "clock_offset_ms": 5000, "learners": ("K4",)})
    assert {found.subject for found in diagnose(view(led, *WELL)).findings if found.topic == "clock"} == {
        "K1"
    }


def test_a_node_that_is_too_slow_to_lead():
    """In words that say whether it leads nevertheless."""
    follower = replace(report("K2").status, disk_slow=True, log_write_seconds=3.25)
    severity, subject, text, command = only(report("K1"), replace(report("K2"), status=follower), WELL[1])
    assert (severity, subject, command) == (WARN, "K2", "iostat -x 1, on its machine")
    assert text == (
        "its disk is slow: log writes take more than two election timeouts, one for 3.2 s by now; "
        "it leaves leadership to the others"
    )
    leader = replace(report("K1").status, loop_slow=True)
    assert only(replace(report("K1"), status=leader), *WELL)[2] == (
        "its process is held up again and again, by a busy processor or its own work; "
        "it leads, as no majority of the others is faster"
    )


def test_log_time_that_is_off():
    assert "is 1 d 0 h ahead of" in only(report("K1", group={"log_time_lead_ms": 86_400_000}), *WELL)[2]
    assert "is 1 h 0 min late by" in only(report("K1", group={"log_time_lead_ms": -3_600_000}), *WELL)[2]
    assert diagnose(view(report("K1", group={"log_time_lead_ms": 900}), *WELL)).severity == "good"


def test_what_is_under_way_is_no_alarm():
    """By the leader, and for a snapshot by its receiver; the headline stays calm."""
    changing = {
        "learners": ("K4",), "joining": ("K4",), "joint": True, "transferring": "K2",
        "replicas": (replica("K4", lag_entries=50),),
    }  # fmt: skip
    moving = TransferStatus("K1", "receive", 100, 1 << 20, 5 << 20, 2.0)
    found = diagnose(
        view(report("K1", group=changing), report("K2", group={"transfers": (moving,)}), WELL[1])
    )

    assert found.severity == "good"
    assert [(f.severity, f"{f.subject}: {f.text}") for f in found.findings] == [
        (NOTE, "K4: becomes a voter once it has caught up, lacks 50 entries"),
        (
            NOTE,
            "cluster: its voters are being changed; decisions need a majority of the old and of the new ones",
        ),
        (NOTE, "cluster: leadership is being transferred to K2"),
        (NOTE, "K2: is receiving a snapshot from K1: 1.0 of about 5.0 MiB"),
    ]


def test_nodes_that_answer_but_miss_each_other():
    cut = [report("K1"), without("K3", report("K2")), without("K2", report("K3"))]
    assert only(*cut) == (WARN, "K2", "is not connected to K3", "nc -z K3 1, on its machine")


def test_a_replica_that_differs_without_a_culprit():
    assert only(report("K1", group={"mismatch": True}), *WELL)[1:] == (
        "cluster", "the data of one replica differs from the others'", "redis-cli -h K1 -p 11 kraft verify",
    )  # fmt: skip


def test_clients_that_wait_and_versions_that_differ():
    assert only(report("K1", facts=Facts(paused_connections=2)), *WELL)[0] == WARN
    severity, _, text, _ = only(report("K1", version="0.2"), *WELL)
    assert (severity, text) == (NOTE, "runs more than one version: 0.1 on K2, K3; 0.2 on K1")


def test_a_machine_version_that_members_hold_back():
    """After the last node is upgraded the leader raises it, and there is nothing to say."""
    members = (member("K1", machine_version=2), member("K2", machine_version=1), member("K3"))
    held: dict[str, Any] = {"machine_version": 1, "machine_version_supported": 2, "members": members}
    assert only(report("K1", **held), *WELL) == (
        NOTE, "cluster",
        "machine version 1 is in force, not 2: K1 supports 2, K2 supports 1, K3 is not connected", "",
    )  # fmt: skip
    raised = held | {"machine_version": 2}
    assert diagnose(view(report("K1", **raised), *WELL)).findings == ()


def test_a_node_alone_before_it_has_formed():
    problem = "waiting for a first greeting from K2"
    fields: dict[str, Any] = {"state": "forming", "cluster": "", "groups": (), "members": (member("K1"),)}
    found = diagnose(view(report("K1", problem=problem, **fields)))
    assert (found.severity, found.text) == (WARN, "K1 does not belong to a cluster yet")
    assert [f.text for f in found.findings] == [problem]


def test_a_node_that_has_moved_is_named_with_the_command_that_tells_the_others():
    """Its links are up now, and cannot come back once they break."""
    members = tuple(member(each, announced=f"{each}:1") for each in ("K1", "K2"))
    moved = report("K3", members=(*members, member("K3", announced="K3:99")))
    found = diagnose(view(report("K1"), report("K2"), moved))
    [finding] = [each for each in found.findings if each.subject == "K3"]
    assert finding.text == "announces its peer port at K3:99, but the members dial K3:1"
    assert finding.command.endswith("kraft address K3 K3:99")


@pytest.mark.parametrize(
    ("count", "seconds", "text"),
    [
        (1, 6.0, "a transaction over groups has not ended for 6 s; requests for its keys wait"),
        (
            3,
            9.0,
            "3 transactions over groups have not ended, the oldest for 9 s; requests for their keys wait",
        ),
    ],
)
def test_a_transaction_that_does_not_end(count, seconds, text):
    """The leader knows, and says so on the page, in `kraft status` and in `kraft doctor`."""
    held = {"transactions": count, "transaction_locks": 2, "transaction_lock_seconds": seconds}
    stuck = replace(report("K1"), status=all_groups(report("K1").status, **held))
    assert only(stuck, *WELL) == (
        WARN, "cluster", text,
        "redis-cli -h K1 -p 11 kraft transactions, docs/runbooks.md#krafttransactionstuck",
    )  # fmt: skip
    brief = replace(stuck, status=all_groups(stuck.status, transaction_lock_seconds=4.9))
    assert diagnose(view(brief, *WELL)).findings == ()


def all_groups(status, **changed):
    return replace(status, groups=tuple(replace(group, **changed) for group in status.groups))
