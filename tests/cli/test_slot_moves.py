"""`kraft split`, `merge`, `move`, `moves`, `rebalance`, `replication`: what they ask, and what they show."""

import json
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

import pytest

from kraft.cli import administrator, placement, slot_moves
from kraft.cli.main import main
from kraft.cli.output.plain import PlainDisplay
from kraft.resp.values import Error

PLANNED: list[Any] = [
    {b"id": 1, b"slots": b"5462-10922", b"from": 0, b"to": 1},
    {b"id": 2, b"slots": b"10923-16383", b"from": 0, b"to": 2},
]
GROUPS = [
    {b"group": 0, b"slots": b"0-5461", b"leader": b"K1", b"keys": 7},
    {b"group": 1, b"slots": b"5462-10922", b"leader": b"", b"keys": 5},
    {b"group": 2, b"slots": b"10923-12000,12001-16383", b"leader": b"K3", b"keys": 0},
    {b"group": 3, b"slots": b"", b"leader": b"K3", b"keys": 0},
]
KEPT = [{**GROUPS[0], b"slots": b"0-10922"}, {**GROUPS[1], b"slots": b""}, *GROUPS[2:]]
STEPS = [{b"group": 3, b"voters": [b"K1", b"K2"], b"to": [b"K2", b"K4"]}]


def moving(id_: int, state: str = "copying") -> dict[bytes, Any]:
    return {
        **PLANNED[id_ - 1], b"state": state.encode(), b"keys": 9, b"keys_total": 30, b"age_ms": 1500,
        b"leader": b"K1", b"problem": b"",
    }  # fmt: skip


def placed(settling: int = 0, steps: int = 0, **more: Any) -> dict[bytes, Any]:
    told = {
        b"replication": 3, b"settling": settling, b"leaving": [], b"steps": steps,
        b"votes": [b"K1", 4, b"K2", 2], b"replicas": {b"K1": 4, b"K2": 3},
        b"zones": {b"K1": b"a", b"K2": b""},
    }  # fmt: skip
    return {**told, **{name.encode(): value for name, value in more.items()}}


class Cluster:
    """Its replies by the words of the command: a list is used up, its last element stays."""

    def __init__(self) -> None:
        self.asked: list[str] = []
        self.replies: dict[str, list[Any]] = {}
        self.leader = "K1"

    def call(self, words: list[bytes]) -> Any:
        text = b" ".join(words[1:]).decode()
        self.asked.append(text)
        found = self.replies[text]
        return found.pop(0) if len(found) > 1 else found[0]

    def close(self) -> None:
        pass


@pytest.fixture
def cluster(monkeypatch: pytest.MonkeyPatch) -> Cluster:
    made = Cluster()
    monkeypatch.setattr(administrator, "ClusterClient", lambda *_, **__: made)
    for module in (slot_moves, placement):
        monkeypatch.setattr(module.time, "sleep", lambda _: None)
    return made


@pytest.mark.parametrize(
    ("arguments", "asked"),
    [
        (["split", "0"], "SPLIT 0 INTO 2"),
        (["split", "0", "--into", "3"], "SPLIT 0 INTO 3"),
        (["merge", "2", "0"], "MERGE 2 INTO 0"),
        (["rebalance", "slots"], "REBALANCE SLOTS"),
    ],
)
def test_moves_are_planned_and_shown(
    arguments: list[str], asked: str, cluster: Cluster, capsys: pytest.CaptureFixture[str]
) -> None:
    cluster.replies = {asked: [PLANNED]}
    assert main(arguments) == 0
    assert cluster.asked == [asked]
    assert capsys.readouterr().out == (
        "ID  SLOTS        FROM  TO\n"
        "1   5462-10922   0     1\n"
        "2   10923-16383  0     2\n"
        "\n"
        "2 moves planned: `kraft moves` shows how far\n"
    )
    assert main([*arguments, "--json"]) == 0
    assert json.loads(capsys.readouterr().out) == {
        "moves": [
            {"id": 1, "slots": "5462-10922", "from": 0, "to": 1},
            {"id": 2, "slots": "10923-16383", "from": 0, "to": 2},
        ]
    }


def test_a_dry_run_plans_nothing(cluster: Cluster, capsys: pytest.CaptureFixture[str]) -> None:
    """It waits for nothing either."""
    cluster.replies = {"REBALANCE SLOTS DRYRUN": [[{b"slots": b"0-9", b"from": 0, b"to": 1}], []]}
    assert main(["rebalance", "slots", "--dry-run", "--wait"]) == 0
    assert capsys.readouterr().out == "SLOTS  FROM  TO\n0-9    0     1\n\n1 move; nothing was planned\n"
    assert main(["rebalance", "slots", "--dry-run"]) == 0
    assert capsys.readouterr().out == "no slots have to move\n"


@pytest.mark.parametrize(("slots", "asked"), [("0-99", "0 99"), ("7", "7 7")])
def test_slots_are_moved(
    slots: str, asked: str, cluster: Cluster, capsys: pytest.CaptureFixture[str]
) -> None:
    cluster.replies = {f"MOVE SLOTS {asked} TO 1": [1], "MOVES": [[moving(2), moving(1)]]}
    assert main(["move", slots, "1"]) == 0
    assert capsys.readouterr().out.splitlines()[1] == "1   5462-10922  0     1"


def test_a_move_that_is_over_at_once_is_shown_all_the_same(
    cluster: Cluster, capsys: pytest.CaptureFixture[str]
) -> None:
    cluster.replies = {"MOVE SLOTS 0 99 TO 0": [1], "MOVES": [[]], "GROUPS": [GROUPS]}
    assert main(["move", "0-99", "0", "--wait"]) == 0
    assert capsys.readouterr().out.splitlines()[1] == "1   0-99   -     0"


def test_one_slot_is_one_number(cluster: Cluster, capsys: pytest.CaptureFixture[str]) -> None:
    cluster.replies = {"MERGE 1 INTO 0": [[{b"id": 5, b"slots": b"5461-5461", b"from": 1, b"to": 0}]]}
    assert main(["merge", "1", "0"]) == 0
    assert capsys.readouterr().out.splitlines()[1] == "5   5461   1     0"


@pytest.mark.parametrize("slots", ["", "a-b", "5-", "-5x", "1-2-3"])
def test_slots_have_a_form(slots: str, cluster: Cluster, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["move", "--", slots, "1"]) == 2
    assert "write FIRST-LAST, such as 0-2047" in capsys.readouterr().err
    assert cluster.asked == []


def test_waiting_ends_with_the_moves_and_shows_the_groups(
    cluster: Cluster, capsys: pytest.CaptureFixture[str]
) -> None:
    """Moves of others are not waited for."""
    other = {**moving(1), b"id": 9}
    looks = [[moving(1), moving(2)], [moving(2), other], [other]]
    cluster.replies = {"SPLIT 0 INTO 3": [PLANNED], "MOVES": looks, "GROUPS": [GROUPS]}
    assert main(["split", "0", "--into", "3", "--wait"]) == 0
    assert cluster.asked == ["SPLIT 0 INTO 3", "MOVES", "MOVES", "MOVES", "GROUPS"]
    assert capsys.readouterr().out.endswith(
        "done: the groups now\n"
        "\n"
        "GROUP  SLOTS                    LEADER  KEYS\n"
        "0      0-5461                   K1      7\n"
        "1      5462-10922               none    5\n"
        "2      10923-12000,12001-16383  K3      0\n"
        "3      -                        K3      0\n"
    )


def test_the_waiting_counts_keys(cluster: Cluster, monkeypatch: pytest.MonkeyPatch) -> None:
    """Those of moves that are over count too. An earlier version tells what has arrived, and no total."""
    told: list[tuple[int, int]] = []

    class Recorder(PlainDisplay):
        @contextmanager
        def work(self, label: str, unit: str) -> Iterator[Callable[[int, int], None]]:
            assert (label, unit) == ("moving slots", "keys")
            yield lambda done, total: told.append((done, total))

    monkeypatch.setattr(slot_moves, "display", Recorder)
    first = {**moving(1, "active"), b"keys": 31, b"keys_total": 31}
    second = {**moving(2, "planned"), b"keys": 0}
    cluster.replies = {
        "SPLIT 0 INTO 2": [PLANNED],
        "MOVES": [[moving(1), second], [first, second], [{**moving(2), b"keys": 20}], []],
        "GROUPS": [GROUPS],
    }
    assert main(["split", "0", "--wait"]) == 0
    assert told == [(9, 60), (31, 61), (51, 61), (61, 61)]
    told.clear()
    earlier = {name: value for name, value in moving(1).items() if name != b"keys_total"}
    cluster.replies |= {"MOVES": [[earlier], []]}
    assert main(["split", "0", "--wait"]) == 0
    assert told == [(9, 9), (9, 9)]


def test_a_move_that_is_cancelled_meanwhile_is_a_failure(
    cluster: Cluster, capsys: pytest.CaptureFixture[str]
) -> None:
    """It may be over before anybody has seen it as cancelled."""
    cluster.replies = {"SPLIT 0 INTO 2": [PLANNED], "MOVES": [[moving(1), moving(2)], []], "GROUPS": [KEPT]}
    assert main(["split", "0", "--wait", "--json"]) == 1
    told = capsys.readouterr()
    assert told.err == "kraft: cancelled, or moved again meanwhile: move 1\n"
    assert json.loads(told.out)["groups"][0] == {"group": 0, "slots": "0-10922", "leader": "K1", "keys": 7}
    assert main(["split", "0", "--wait"]) == 1
    assert "over: the groups now" in capsys.readouterr().out


@pytest.mark.parametrize(
    ("words", "asked", "shows"),
    [
        ("split 0 --wait", "SPLIT 0 INTO 2", "kraft moves"),
        ("rebalance replicas --wait", "REBALANCE REPLICAS", "kraft replication"),
    ],
)
def test_who_ends_the_waiting_is_told_that_the_rest_goes_on(
    words: str,
    asked: str,
    shows: str,
    cluster: Cluster,
    capsys: pytest.CaptureFixture[str],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    def interrupt(_: float) -> None:
        raise KeyboardInterrupt

    monkeypatch.setattr("time.sleep", interrupt)
    plan = STEPS if "REPLICAS" in asked else PLANNED
    cluster.replies = {asked: [plan], "MOVES": [[moving(1)]], "REPLICATION": [placed(1, 1)]}
    assert main(words.split()) == 130
    assert f"`{shows}` shows how far they are" in capsys.readouterr().err


def test_the_groups_are_shown(cluster: Cluster, capsys: pytest.CaptureFixture[str]) -> None:
    """A range of one slot is one number."""
    cluster.replies = {"GROUPS": [[{**GROUPS[0], b"slots": b"0-4,7-7,9-10,111-111"}, GROUPS[3]]]}
    assert main(["groups"]) == 0
    assert capsys.readouterr().out == (
        "GROUP  SLOTS           LEADER  KEYS\n"
        "0      0-4,7,9-10,111  K1      7\n"
        "3      -               K3      0\n"
    )
    assert main(["groups", "--json"]) == 0
    assert json.loads(capsys.readouterr().out)["groups"][0]["slots"] == "0-4,7-7,9-10,111-111"


def test_moves_are_watched_until_they_are_over(cluster: Cluster, capsys: pytest.CaptureFixture[str]) -> None:
    cluster.replies = {"MOVES": [[moving(1)], [moving(1, "active")], []]}
    assert main(["moves", "--watch"]) == 0
    told = capsys.readouterr().out
    assert "copying  9 of ~30  1 s" in told
    assert [word for word in ("copying", "active", "no slots are about to move") if word in told] == [
        "copying", "active", "no slots are about to move",
    ]  # fmt: skip
    assert main(["moves", "--watch", "--json"]) == 2


def test_a_move_is_cancelled(cluster: Cluster, capsys: pytest.CaptureFixture[str]) -> None:
    cluster.replies = {"MOVE CANCEL 1": ["OK"], "MOVES": [[moving(1, "cancelling")]]}
    assert main(["moves", "--cancel", "1"]) == 0
    assert "cancelling" in capsys.readouterr().out


@pytest.mark.parametrize(
    ("reply", "status", "told"),
    [
        (Error("ERR there is no group 7"), 1, "kraft: there is no group 7\n"),
        (Error("ERR FULL: wait until KRAFT MOVES"), 1, "kraft: FULL: wait until `kraft moves`\n"),
        (Error("UNCERTAIN"), 4, "kraft: UNCERTAIN. `kraft moves` shows whether the moves are planned\n"),
        ("OK", 1, "kraft: what answers is not a kraft node\n"),
    ],
)
def test_what_is_refused_or_unknown(
    reply: Any, status: int, told: str, cluster: Cluster, capsys: pytest.CaptureFixture[str]
) -> None:
    cluster.replies = {"SPLIT 7 INTO 2": [reply]}
    assert main(["split", "7"]) == status
    assert capsys.readouterr().err == told


# -- votes

MOVED = "votes are being moved:"


def test_the_placement_of_votes_is_shown(cluster: Cluster, capsys: pytest.CaptureFixture[str]) -> None:
    cluster.replies = {"REPLICATION": [placed()]}
    assert main(["replication"]) == 0
    assert capsys.readouterr().out == (
        "NODE  VOTES  REPLICAS  ZONE\nK1    4      4         a\nK2    2      3         -\n\n"
        "3 nodes vote in each group, of which there are 2\n"
    )
    assert main(["replication", "--json"]) == 0
    assert json.loads(capsys.readouterr().out) == {
        "replication": 3, "settling": 0, "leaving": [], "steps": 0,
        "votes": {"K1": 4, "K2": 2}, "replicas": {"K1": 4, "K2": 3}, "zones": {"K1": "a", "K2": ""},
    }  # fmt: skip


def test_an_earlier_node_does_not_tell_its_replicas(
    cluster: Cluster, capsys: pytest.CaptureFixture[str]
) -> None:
    earlier = placed()
    del earlier[b"replicas"]
    cluster.replies = {"REPLICATION": [earlier]}
    assert main(["replication"]) == 0
    assert "K2    2      -         -" in capsys.readouterr().out


@pytest.mark.parametrize(
    ("reply", "told"),
    [
        (placed(1, 5, replication=1), ["1 node is to vote in each group", f"{MOVED} 5 steps are left"]),
        (placed(), ["3 nodes vote in each group, of which there are 2"]),
        (
            placed(1, 0, replication=2),
            [
                "2 nodes are to vote in each group",
                f"{MOVED} what is left waits for nodes that have not caught up",
            ],
        ),
        (
            placed(1, 0, changing=1),
            [
                "3 nodes are to vote in each group, of which there are 2",
                f"{MOVED} what is left waits for nodes that have not caught up",
            ],
        ),
        (
            placed(1, 0, changing=0),
            [
                "3 nodes are to vote in each group, of which there are 2",
                "no vote has to be moved; the leader of group 0 is about to confirm that",
            ],
        ),
        (
            placed(1, 1, replication=b"all", leaving=[b"K2"], unable=[b"K2"]),
            [
                "every member is to vote in every group",
                "K2: without votes soon, as before a removal",
                f"{MOVED} 1 step is left",
            ],
        ),
        (
            placed(1, replication=b"all", unable=[b"K1", b"K2"]),
            [
                "every member is to vote in every group",
                f"{MOVED} what is left waits for K1, K2 (kraft doctor says why)",
            ],
        ),
        (placed(replication=b"all"), ["every member votes in every group"]),
        (
            placed(replication=1, leaderless=[2, 5]),
            [
                "1 node votes in each group",
                "groups 2, 5: no vote is moved without a leader (kraft doctor)",
            ],
        ),
    ],
)
def test_what_is_about_to_change_is_told(
    reply: Any, told: list[str], cluster: Cluster, capsys: pytest.CaptureFixture[str]
) -> None:
    cluster.replies = {"REPLICATION": [reply]}
    assert main(["replication"]) == 0
    assert capsys.readouterr().out.splitlines()[4:] == told


def test_the_number_of_voters_is_set(cluster: Cluster) -> None:
    cluster.replies = {"REPLICATION 3": ["OK"], "REPLICATION all FORCE": ["OK"], "REPLICATION": [placed()]}
    assert main(["replication", "3"]) == 0
    assert main(["replication", "all", "--force"]) == 0
    assert cluster.asked == ["REPLICATION 3", "REPLICATION", "REPLICATION all FORCE", "REPLICATION"]


def test_votes_are_evened_out(cluster: Cluster, capsys: pytest.CaptureFixture[str]) -> None:
    cluster.replies = {
        "REBALANCE REPLICAS": [STEPS],
        "REBALANCE REPLICAS DRYRUN": [STEPS, []],
        "REPLICATION": [placed(1, 1), placed(1, 0), placed()],
    }
    table = "GROUP  VOTERS  TO\n3      K1 K2   K2 K4\n\n1 step; "
    assert main(["rebalance", "replicas", "--wait"]) == 0
    assert capsys.readouterr().out == f"{table}`kraft replication` shows how many are left\n"
    assert cluster.asked == ["REBALANCE REPLICAS", *["REPLICATION"] * 3]
    assert main(["rebalance", "replicas", "--dry-run"]) == 0
    assert capsys.readouterr().out == f"{table}nothing was changed\n"
    assert main(["rebalance", "replicas", "--dry-run"]) == 0
    assert capsys.readouterr().out == "all nodes have about as many votes already\n"
    assert main(["rebalance", "replicas", "--json"]) == 0
    assert json.loads(capsys.readouterr().out) == {
        "steps": [{"group": 3, "voters": ["K1", "K2"], "to": ["K2", "K4"]}]
    }
