"""What `kraft status` makes of the nodes' answers."""

import dataclasses

import pytest

from kraft.cli.output.plain import plain_text
from kraft.cli.status_reply import StatusReply, others
from kraft.cli.status_report import blocks
from kraft.node.status import GroupStatus, MemberStatus, Status, TransferStatus
from kraft.web import overview
from tests.web.reports import placed


def member(name, http):
    """A member as a node lists it."""
    return MemberStatus(name, "i", "p:1", "c:1", http, True, True, None, None)


def answer(name, *, leader="K1", problem="", groups=1, members=(), **changed):
    """A node's answer, made from the values that a node itself would send."""
    group = GroupStatus(
        group=0,
        role="leader" if name == leader else "follower",
        term=7,
        leader=leader,
        first_index=1,
        last_index=120,
        commit=120,
        applied=119,
        voters=("K1", "K2", "K3"),
        learners=(),
        keys=4,
        expiring_keys=0,
        expired_keys=0,
        dataset_bytes=400,
        revision=10,
        pending_proposals=0,
        replicas=(),
    )
    group = dataclasses.replace(group, **changed)
    status = Status(
        node=name,
        version="0.1.0",
        cluster="c",
        incarnation="i",
        state="serving",
        problem=problem,
        disk_full=False,
        client="h:1",
        http=f"{name}:21",
        uptime_seconds=1.0,
        members=tuple(members),
        groups=(group,) * groups,
    )
    return StatusReply(name, f"{name}:21", dataclasses.asdict(status))


def render(answers):
    """The lines of the output."""
    return plain_text(blocks(answers)).split("\n")


def test_the_table_has_a_line_for_each_node():
    """Columns are aligned; the end says that all is well."""
    lines = render([answer("K1"), answer("K2")])
    assert lines[0].split() == [
        "NODE",
        "STATE",
        "GROUP",
        "ROLE",
        "TERM",
        "LEADER",
        "COMMIT",
        "APPLIED",
        "KEYS",
        "HTTP",
    ]
    assert lines[1].split() == ["K1", "serving", "0", "leader", "7", "K1", "120", "119", "4", "K1:21"]
    assert lines[1].index("K1:21") == lines[2].index("K2:21")
    assert lines[-1] == "all well: 2 nodes answer and know a leader"


RESEED = "redis-cli -h h -p 1 kraft reseed K2"


@pytest.mark.parametrize(
    ("bad", "told"),
    [
        (StatusReply("K2", "K2:21", error="Connection refused"), "K2: Connection refused (start it again)"),
        (answer("K2", problem="the disk is full"), "K2: the disk is full"),
        (answer("K2", leader=""), "K2: no leader known"),
        (answer("K2", groups=0), "K2: no leader known"),
        (answer("K2", fenced=True), f"K2: its data differs from the others' ({RESEED})"),
        (answer("K2", fenced=True, problem="wrong data"), f"K2: wrong data ({RESEED})"),
    ],
)
def test_what_is_wrong_is_told_node_by_node(bad, told):
    """Any of these makes the whole answer unhealthy."""
    assert not bad.healthy
    assert answer("K1").healthy
    assert render([answer("K1"), bad])[-1] == told


def test_the_next_command_fits_how_the_nodes_were_started():
    """As on the page: what is down is taken to be started like the first node that answers."""
    silent = StatusReply("K2", "K2:21", error="Connection refused")
    up = answer("K1")
    assert up.status is not None
    up.status["supervisor"] = {"kind": "systemd", "name": "kraft@K1", "program": "", "config_file": ""}
    assert render([silent, up, answer("K3")])[-1] == (
        "K2: Connection refused (systemctl status kraft@K2; journalctl -u kraft@K2 -n 50, on its machine)"
    )


def test_a_full_disk_is_trouble():
    """The others serve on, but somebody has to make room."""
    full = answer("K2")
    full.status["disk_full"] = True
    assert not full.healthy
    assert render([answer("K1"), full])[-1].startswith("K2: its disk is full")


def test_what_deserves_a_look_comes_with_the_command_to_give_next():
    """The same words as on the status page; the exit status is for what does not serve."""
    little = answer("K2")
    little.status["disk_free_bytes"] = 5 << 20
    assert little.healthy
    assert render([answer("K1"), little])[-2:] == [
        "K2: its disk has only 5 MiB left (df -h, on its machine)",
        "needs attention: 2 nodes answer and know a leader",
    ]


def test_what_is_under_way_is_told_once():
    """By the leader, and for a snapshot by its receiver."""
    change = {"learners": ("K4", "K5"), "joining": ("K4",), "joint": True, "transferring": "K2"}
    sent = TransferStatus("K4", "send", 100, 1 << 20, 5 << 20, 2.0)
    received = dataclasses.replace(sent, peer="K1", direction="receive")
    nodes = [
        answer("K1", transfers=(sent,), **change),
        answer("K2", **change),
        answer("K3", **change),
        answer("K4", transfers=(received,), **change),
    ]
    lines = render(nodes)
    assert lines[lines.index("") + 1 :] == [
        "group 0: voters K1, K2, K3; learners K4 (to be a voter), K5",
        "group 0: its voters are being changed; decisions need a majority of the old and of the new ones",
        "group 0: leadership is being transferred to K2",
        "group 0: K4 is receiving a snapshot from K1: 1.0 of about 5.0 MiB",
        "all well: 4 nodes answer and know a leader",
    ]


def test_members_that_were_not_asked_yet_are_found():
    """By id and by address, once, also those whose address nobody knows."""
    members = [member("K1", "K1:21"), member("K2", "K2:21"), member("K3", ""), member("K4", "K4:21")]
    answers = [
        answer("K1", members=members),
        StatusReply("", "K4:21", error="no answer"),
        answer("K2", members=members),
    ]
    assert others(answers) == [("K3", "")]
    assert others(answers[:1]) == [("K2", "K2:21"), ("K3", ""), ("K4", "K4:21")]


def test_a_removed_node_names_no_members_that_it_cannot_tell_the_address_of():
    """It has no links to them, and what it says of them is of the past."""
    members = [member("K1", "K1:21"), member("K2", ""), member("K4", "K4:21")]
    removed = answer("K4", leader="", problem="K4 was removed from the cluster: wipe it", members=members)
    removed.status["state"] = "removed"
    assert others([removed]) == [("K1", "K1:21")]
    lines = render([removed])
    assert lines[-1] == "K4: K4 was removed from the cluster: wipe it"
    assert len(lines) == 4, lines


def test_a_removed_node_has_no_role_and_looks_for_no_leader():
    """It does, in vain; but what matters is that it was removed."""
    removed = answer("K4", leader="", role="precandidate", problem="K4 was removed from the cluster")
    removed.status["state"] = "removed"
    assert " ".join(render([removed])[1].split()) == "K4 removed 0 - 7 - 120 119 4 K4:21"
    removed.status["groups"] *= 16
    lines = render([removed])
    assert " ".join(lines[1].split()) == "K4 removed all 16 - 7 - 1920 1904 64 K4:21"
    assert lines[2] == ""


def test_a_missing_voter_is_told_with_the_losses_that_are_left():
    """In the words of the page and of `kraft demo --add`."""
    lines = render([answer("K1"), answer("K2"), StatusReply("K3", "K3:21", error="Connection refused")])
    assert "group 0: K3 is missing: the cluster must not lose another voter" in lines


def many(name, **troubled):
    """The answer of a node with sixteen groups; `troubled` are fields of group 7."""
    made = answer(name)
    [group] = made.status["groups"]
    made.status["groups"] = [group | {"group": id_} for id_ in range(16)]
    made.status["groups"][7] |= troubled
    return made


def test_a_node_with_many_groups_has_one_row():
    """Numbers of entries and keys are added up."""
    lines = render([many("K1"), many("K2")])

    assert lines[1].split() == [
        "K1",
        "serving",
        "all",
        "16",
        "leads",
        "16",
        "7",
        "all",
        "1920",
        "1904",
        "64",
        "K1:21",
    ]
    assert lines[2].split() == [
        "K2",
        "serving",
        "all",
        "16",
        "follower",
        "7",
        "all",
        "1920",
        "1904",
        "64",
        "K2:21",
    ]
    assert lines[3] == ""


def test_a_group_with_a_problem_has_a_row_of_its_own():
    lines = render([many("K1", leader="", role="precandidate")])

    assert lines[1].split()[4:9] == ["leads", "15", "7", "15", "of"]
    assert lines[2].split() == ["K1", "serving", "7", "precandidate", "7", "none", "120", "119", "4", "K1:21"]
    assert lines[3] == ""


def test_all_groups_have_rows_when_asked_for():
    text = plain_text(blocks([many("K1")], every_group=True))

    assert sum(line.startswith("K1 ") for line in text.split("\n")) == 16


def placed_replies(*down, **led):
    """Those of the nodes of `placed`."""
    return [
        StatusReply(each.id, each.address, error=each.error) if each.report is None
        else StatusReply(each.id, each.address, dataclasses.asdict(each.report.status))
        for each in placed(*down, **led).answers
    ]  # fmt: skip


def test_a_node_with_some_of_many_groups_says_how_many(monkeypatch):
    monkeypatch.setattr(overview, "GROUPS_SHOWN_MAX", 1)
    rows = [" ".join(row.split()[:6]) for row in render(placed_replies())[1:7]]
    assert rows[0] == "K1 serving 2 of 4 leads"
    assert rows[5] == "K6 serving 2 of 4 follower"


def test_a_replica_on_its_way_is_told_with_its_place():
    incoming = {"learners": ("K6",), "joining": ("K6",), "replaced": {"K6": "K3"}}
    lines = render(placed_replies(g2=incoming))
    moved = "group 2: gets a replica on K6, which votes in the place of K3 once it has caught up"
    assert lines[lines.index("") + 1 :] == [moved, "all well: 6 nodes answer and know a leader"]


def test_groups_that_lack_voters_are_told_with_the_losses_that_are_left():
    advice = "(docs/runbooks.md#kraftgroupatrisk)"
    assert render(placed_replies("K3"))[-3:] == [
        f"group 0: K3 is missing: the group survives the loss of 1 {advice}",
        f"groups 1 and 2: K3 is missing: the group must not lose another voter {advice}",
        "K3: Connection refused (start it again)",
    ]


def test_a_group_of_which_no_node_answers_is_told():
    advice = "(start K4, K5 and K6; if they are gone for good: docs/recovery.md)"
    lost = f"group 3: 0 of 3 voters answer; 2 are needed to write or read {advice}"
    assert lost in render(placed_replies("K4", "K5", "K6"))


def test_a_change_of_many_groups_is_told_once():
    made = many("K1")
    for group in made.status["groups"]:
        group["learners"] = ["K4"]

    assert "16 groups: voters K1, K2, K3; learners K4" in render([made])
