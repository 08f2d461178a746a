"""What programs read from a pipe, byte for byte as it was before there was output for terminals.

The files of `data` were written by that earlier version; `--rewrite` accepts the current output instead.
"""

import json
import signal
import subprocess
import sys
from pathlib import Path

import pytest

from kraft.cli import administration, administrator, demo, doctor, growth
from kraft.cli.checks.result import OK, PROBLEM, WARNING, CheckResult
from kraft.cli.local_cluster import lay_out
from kraft.cli.main import main
from kraft.cli.membership import ClusterMembership
from kraft.node.status import TransferStatus
from kraft.resp.values import Error
from tests.cli.test_recover import survivor  # noqa: F401  a fixture
from tests.web.reports import report

DATA = Path(__file__).parent / "data"
BAD = "node: {id: K1, data: data}\nraft: {electon_timeout: 1s}\nclient: {routing: sideways}\n"
GOOD = "node: {id: K1, data: data}\n"


@pytest.fixture
def same(request, capsys):
    """`same(name)`: what was printed is what the earlier version printed."""

    def compare(name, printed=None):
        text = capsys.readouterr().out if printed is None else printed
        file = DATA / f"{name}.txt"
        if request.config.getoption("--rewrite"):
            file.write_text(text)
        assert text == file.read_text()

    return compare


def without_ports(text, addresses):
    """`text` with addresses that are the same in every run, and as long."""
    for number, (_, address) in enumerate(addresses.items(), 1):
        port = address.rpartition(":")[2]
        text = text.replace(port, f"{number}".rjust(len(port), "0"))
    return text


def troubled(http_nodes):
    """A cluster of which everything is to be said."""
    transfer = TransferStatus("K1", "receive", 100, 1 << 20, 5 << 20, 2.0)
    change = {"learners": ("K4",), "joining": ("K4",), "joint": True, "transferring": "K2"}
    return http_nodes.start(
        K1=lambda members: report("K1", members=members, group=change),
        K2=lambda members: report("K2", members=members, disk_slow=True, group=change),
        K3=lambda members: report("K3", members=members, problem="no leader is known", state="leaderless"),
        K4=lambda members: report("K4", members=members, group={**change, "transfers": (transfer,)}),
        K5=None,
    )


def test_status_of_a_cluster_in_trouble(http_nodes, same, capsys):
    addresses = troubled(http_nodes)
    assert main(["status", addresses["K1"]]) == 1
    same("status_trouble", without_ports(capsys.readouterr().out, addresses))


def test_status_of_a_cluster_that_is_well_through_a_real_pipe(http_nodes, same):
    addresses = http_nodes.start(
        K1=lambda members: report("K1", members=members),
        K2=lambda members: report("K2", members=members),
        K3=lambda members: report("K3", members=members),
    )
    command = [sys.executable, "-m", "kraft.cli.main", "status", addresses["K2"]]
    done = subprocess.run(command, capture_output=True, text=True, check=True, timeout=60)
    same("status_well", without_ports(done.stdout, addresses))
    assert done.stderr == ""


def test_status_for_programs(http_nodes, same, capsys):
    addresses = http_nodes.start(K1=lambda members: report("K1", members=members), K2=None)
    assert main(["status", "--json", addresses["K1"]]) == 1
    facts = json.loads(without_ports(capsys.readouterr().out, addresses))
    for each in facts["nodes"]:
        each["status"] = each["status"] and sorted(each["status"])
    same("status_json", json.dumps(facts, indent=2))


def answers(kinds):
    """The reply to KRAFT MEMBERS."""
    return [
        {
            "id": id_.encode(), "address": b"127.0.0.1:%d" % (10_000 + place), "kind": kind,
            "client": b"127.0.0.1:%d" % (10_010 + place), "connected": int(id_ != "K3"),
            "joining": int(id_ == "K4"), "last_contact_ms": None if id_ == "K3" else 12 * place,
            "lag": None if id_ == "K3" else place - 2,
        }
        for place, (id_, kind) in enumerate(kinds.items(), 1)
    ]  # fmt: skip


MOVES = [
    {
        "id": 3, "slots": b"0-2047", "from": 0, "to": 2, "state": b"copying", "keys": 51_200,
        "age_ms": 61_830, "leader": b"K1", "problem": b"",
    },
    {
        "id": 4, "slots": b"9-9", "from": 1, "to": 2, "state": b"planned", "keys": 0, "age_ms": 1,
        "leader": b"", "problem": b"the slots were frozen for too long",
    },
]  # fmt: skip


@pytest.fixture
def cluster(monkeypatch):
    """`cluster(leader, moves, leaders)`: a cluster that takes every command; `leaders` of its groups.

    `held` are the votes and replicas of each member, in the order of their ids.
    """

    def put(leader, moves=MOVES, leaders=None, held=(), removed_from=(), joining=1):
        class Client:
            def __init__(self, *_, **__):
                self.leader = leader

            def call(self, words):
                kinds = {"K1": b"voter", "K2": b"voter", "K3": b"voter", "K4": b"learner"}
                groups = [{"leader": each.encode()} for each in leaders or [leader]]
                members = answers(kinds)
                for member, (votes, replicas) in zip(members, held, strict=False):
                    member |= {"votes": votes, "replicas": replicas}
                if removed_from:
                    members[1]["removed_from"] = removed_from
                members[3]["joining"] = joining
                listed = {b"MEMBERS": members, b"MOVES": moves, b"GROUPS": groups}
                return listed.get(words[1], "OK")

            def close(self):
                pass

        for module in (administration, administrator):
            monkeypatch.setattr(module, "ClusterClient", Client)

    return put


@pytest.mark.parametrize(
    ("name", "leader", "words"),
    [
        ("members", "K1", ["members"]),
        ("members_leaderless", "", ["members"]),
        ("members_json", "K1", ["members", "--json"]),
        ("moves", "K1", ["moves"]),
        ("moves_json", "K1", ["moves", "--json"]),
        ("add", "K1", ["add", "K4", "127.0.0.1:10004"]),
        ("add_learner", "K1", ["add", "K4", "127.0.0.1:10004", "--learner"]),
        ("remove", "K1", ["remove", "K5"]),
        ("replace", "K1", ["replace", "K2", "K4", "127.0.0.1", "10004"]),
        ("transfer", "K2", ["transfer", "K2"]),
        ("drain", "K1", ["drain", "K2"]),
        ("drain_off", "K1", ["drain", "K2", "--off"]),
    ],
)
def test_members_and_their_changes(name, leader, words, cluster, same):
    cluster(leader)
    assert main(words) == 0
    same(name)


@pytest.mark.parametrize(
    ("leaders", "told"),
    [
        (["K1", "K2", "K1"], "3 groups: K1 leads 2, K2 leads 1"),
        (["K1", ""], "2 groups: K1 leads 1, 1 without a known leader"),
        (["", ""], "2 groups: 2 without a known leader"),
    ],
)
def test_leaders_of_several_groups(leaders, told, cluster, capsys):
    cluster("K1", leaders=leaders)
    assert main(["members"]) == 0
    assert capsys.readouterr().out.splitlines()[-1] == told


def test_votes_and_replicas_of_several_groups(cluster, capsys):
    """An earlier release does not say."""
    cluster("K1", leaders=["K1", "K2", "K3"], held=((3, 3), (2, 3), (2, 2)))
    assert main(["members"]) == 0
    heading, *rows = map(str.split, capsys.readouterr().out.splitlines()[:5])
    assert heading[heading.index("LAG") + 1 :][:2] == ["VOTES", "REPLICAS"]
    assert [row[-4:-2] for row in rows] == [["3", "3"], ["2", "3"], ["2", "2"], ["-", "-"]]


@pytest.mark.parametrize(("joining", "end"), [(0, "To end that"), (1, "If no other node takes its place")])
def test_a_member_that_is_removed_in_part_is_named_with_the_command_that_ends_it(
    cluster, capsys, joining, end
):
    cluster("K1", leaders=["K1", "K2", "K3"], removed_from=[1, 2], joining=joining)
    assert main(["members"]) == 0
    assert capsys.readouterr().out.splitlines()[-1] == (
        f"K2 was removed from groups 1 and 2 and is still a member. {end}: kraft remove K2"
    )


@pytest.mark.parametrize(
    ("voters", "told"),
    [
        ([[b"K1", b"K2"], [b"K1", b"K2"]], ["GROUP SLOTS LEADER KEYS", "0 0-8191 K1 7", "1 - none -"]),
        (
            [[b"K1", b"K2"], [b"K3"]],
            ["GROUP SLOTS LEADER KEYS REPLICAS", "0 0-8191 K1 7 K1 K2", "1 - none - K3"],
        ),
    ],
)
def test_groups_show_their_replicas_where_these_differ(voters, told, monkeypatch, capsys):
    rows = [
        {"group": 0, "slots": b"0-8191", "leader": b"K1", "keys": 7, "voters": voters[0], "learners": []},
        {"group": 1, "slots": b"", "leader": b"", "keys": None, "voters": [], "learners": voters[1]},
    ]
    monkeypatch.setattr(administrator.Administrator, "order", lambda *_: rows)
    assert main(["groups"]) == 0
    assert [" ".join(line.split()) for line in capsys.readouterr().out.splitlines()] == told


def test_no_moves(cluster, capsys):
    cluster("K1", [])
    assert main(["moves"]) == 0
    assert capsys.readouterr().out == "no slots are about to move\n"
    assert main(["moves", "--json"]) == 0
    assert json.loads(capsys.readouterr().out) == {"moves": []}


def test_doctor(tmp_path, monkeypatch, same):
    """Of every level, with and without a command, and a check that fails."""
    monkeypatch.chdir(tmp_path)
    Path("K1.yaml").write_text(GOOD)

    def broken(_subject):
        raise ValueError("it went wrong")

    results = {
        "node": [CheckResult(OK, "K1 is not running", "systemctl start kraft@K1")],
        "disk": [CheckResult(OK, "fine"), CheckResult(WARNING, "nearly full", "df -h /var/lib/kraft")],
        "ports": [CheckResult(PROBLEM, "port 10001 is in use", "ss -ltnp 'sport = :10001'")],
    }
    checks = [(name, lambda _subject, found=found: found) for name, found in results.items()]
    monkeypatch.setattr(doctor, "CHECKS", (*checks, ("clock", broken)))
    assert main(["doctor", "K1.yaml"]) == 1
    same("doctor")
    monkeypatch.setattr(doctor, "CHECKS", checks[:1])
    assert main(["doctor", "K1.yaml"]) == 0
    same("doctor_well")
    Path("K1.yaml").write_text(BAD)
    assert main(["doctor", "K1.yaml"]) == 1
    same("doctor_config")


@pytest.mark.parametrize(("name", "text"), [("config", GOOD), ("config_bad", BAD), ("config_none", None)])
def test_check_config(name, text, tmp_path, monkeypatch, same):
    monkeypatch.chdir(tmp_path)
    if text is not None:
        Path("kraft.yaml").write_text(text)
    assert main(["check-config", "kraft.yaml"]) == (0 if text == GOOD else 1)
    same(name)


def test_recover(survivor, monkeypatch, same):  # noqa: F811  the fixture
    """Shown, and done."""
    monkeypatch.chdir(survivor)
    monkeypatch.setattr("kraft.cli.recover.secrets.token_hex", lambda count: "5" * 2 * count)
    assert main(["recover", "."]) == 0
    same("recover")
    assert main(["recover", "--yes", "."]) == 0
    same("recover_done")


def test_demo(tmp_path, monkeypatch, same):
    """What it says when it is ready, and when a node is added."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(sys, "argv", ["kraft"])
    monkeypatch.setattr(signal, "signal", lambda *_: None)
    monkeypatch.setattr(demo, "ignore_strays", lambda: None)

    class Children:
        def __init__(self, _folder, nodes, _say):
            self.nodes = nodes

        def wait_until_serving(self, _stop, _doing):
            return True

        start = watch = stop = lambda *_: None

    monkeypatch.setattr(demo, "Children", Children)
    assert main(["demo", "--dir", "my demo"]) == 0
    same("demo")
    added = lay_out(tmp_path / "my demo", 4, 10_000)[3]
    kinds = dict.fromkeys(("K1", "K2", "K3", "K4"), "voter")
    members = ClusterMembership("K1", ("127.0.0.1", 10_011), kinds, dict.fromkeys(kinds, 0))
    monkeypatch.setattr(growth, "add_node", lambda *_: (added, members))
    monkeypatch.setattr(growth, "outlook", lambda *_: ("the cluster survives the loss of 1", []))
    assert main(["demo", "--add", "--dir", "my demo"]) == 0
    same("demo_add")


@pytest.mark.parametrize("found", [True, False])
def test_the_demo_proposes_commands_as_people_type_them(tmp_path, monkeypatch, found):
    """By name where the search path leads to this program, as it does in an active environment."""
    program = tmp_path / "kraft"
    program.write_text("#!/bin/sh\n")
    program.chmod(0o755)
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("PATH", str(tmp_path) if found else "/nowhere")
    monkeypatch.setattr(sys, "argv", [str(program), "demo"])
    assert demo._this_command() == ("kraft" if found else "./kraft")


def test_a_refusal_is_on_standard_error(monkeypatch, cluster, capsys, same):
    cluster("K1")
    monkeypatch.setattr(
        "kraft.cli.administration.ClusterClient.call", lambda *_: Error("ERR K9 is no member")
    )
    assert main(["remove", "K9"]) == 1
    shown = capsys.readouterr()
    assert shown.err == "kraft: K9 is no member\n"
    same("refusal", shown.out)


def test_a_refusal_names_the_option_of_this_command(monkeypatch, cluster, capsys):
    """FORCE is what a Redis client would add."""
    cluster("K1")
    told = "ERR K2 is down: remove K2 first, or repeat with FORCE"
    monkeypatch.setattr("kraft.cli.administration.ClusterClient.call", lambda *_: Error(told))
    assert main(["remove", "K1"]) == 1
    assert capsys.readouterr().err == "kraft: K2 is down: remove K2 first, or repeat with --force\n"
