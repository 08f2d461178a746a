"""The administrator's commands: the values that the host gets, the replies, and their order."""

from typing import Any

import pytest

from kraft.node import admin
from kraft.node.errors import AdminRefused, NoLeader, Uncertain
from kraft.node.status import MoveStatus
from tests.server.fake_host import WALL_MS
from tests.server.fakes import Talk, encode

OK = b"+OK\r\n"


@pytest.mark.parametrize(
    ("words", "order"),
    [
        ("KRAFT ADD K4 10.0.0.4 10001", admin.Add("K4", "10.0.0.4:10001")),
        ("kraft add K4 host.example 10001 learner", admin.Add("K4", "host.example:10001", learner=True)),
        ("KRAFT ADD K4 h 1 FORCE LEARNER", admin.Add("K4", "h:1", learner=True, force=True)),
        ("KRAFT ADD K4 fd00::5 10001", admin.Add("K4", "[fd00::5]:10001")),
        ("KRAFT ADD K4 [fd00::5] 10001", admin.Add("K4", "[fd00::5]:10001")),
        ("kraft add K4 h:10001 learner", admin.Add("K4", "h:10001", learner=True)),
        ("kraft replace K3 K4 [::1]:10001 force", admin.Replace("K3", "K4", "[::1]:10001", force=True)),
        ("raft-add-node K4 h 10001", admin.Add("K4", "h:10001")),
        ("KRAFT REMOVE K4", admin.Remove("K4")),
        ("KRAFT REMOVE K4 force", admin.Remove("K4", force=True)),
        ("raft-remove-node K4", admin.Remove("K4")),
        ("KRAFT PROMOTE K4", admin.Promote("K4")),
        ("KRAFT DEMOTE K4 FORCE", admin.Demote("K4", force=True)),
        ("KRAFT ADDRESS K4 h 65535", admin.Readdress("K4", "h:65535")),
        ("KRAFT REPLACE K3 K4 h 1", admin.Replace("K3", "K4", "h:1")),
        ("KRAFT REPLACE K3 K3 h 1 FORCE", admin.Replace("K3", "K3", "h:1", force=True)),
        ("KRAFT TRANSFER", admin.TransferLeadership()),
        ("KRAFT TRANSFER K2", admin.TransferLeadership("K2")),
        ("KRAFT STEPDOWN", admin.StepDown()),
        ("KRAFT DRAIN on", admin.Drain(True)),
        ("KRAFT DRAIN OFF", admin.Drain(False)),
        ("KRAFT RESEED K2", admin.Reseed("K2")),
        ("KRAFT MOVE CANCEL 7", admin.CancelMove(7)),
        ("kraft move cancel 9223372036854775807", admin.CancelMove(2**63 - 1)),
    ],
)
def test_an_order_reaches_the_host_as_a_value(client: Talk, words: str, order: admin.AdminCommand) -> None:
    """The reply is OK once it is carried out, with any result."""
    client.port.host.result = "K2"
    assert client.run(*words.split()) == OK
    assert client.port.host.orders == [order]


@pytest.mark.parametrize(
    ("words", "order", "result", "reply"),
    [
        ("KRAFT SNAPSHOT", admin.TakeSnapshot(), 77, b":77\r\n"),
        ("KRAFT COMPACT", admin.Compact(), 0, b":0\r\n"),
        ("KRAFT MOVE SLOTS 0 16383 TO 1", admin.MoveSlots(0, 16383, 1), 3, b":3\r\n"),
        ("kraft move slots 5 5 to 2", admin.MoveSlots(5, 5, 2), 4, b":4\r\n"),
        ("KRAFT SPLIT 0", admin.SplitGroup(0), [], b"*0\r\n"),
        ("kraft split 1 into 4", admin.SplitGroup(1, 4), [], b"*0\r\n"),
        ("KRAFT MERGE 1 INTO 0", admin.MergeGroups(1, 0), [], b"*0\r\n"),
        ("KRAFT REBALANCE SLOTS", admin.RebalanceSlots(), [], b"*0\r\n"),
        (
            "kraft rebalance slots dryrun",
            admin.RebalanceSlots(dry=True),
            [{"slots": "0-9", "from": 0, "to": 1}],
            b"*1\r\n*6\r\n$5\r\nslots\r\n$3\r\n0-9\r\n$4\r\nfrom\r\n:0\r\n$2\r\nto\r\n:1\r\n",
        ),
        ("KRAFT REPLICATION 3", admin.SetReplication(3), "OK", b"+OK\r\n"),
        ("kraft replication 1 force", admin.SetReplication(1, True), "OK", b"+OK\r\n"),
        ("kraft replication all", admin.SetReplication(0), "OK", b"+OK\r\n"),
        (
            "KRAFT REPLICATION",
            admin.ShowReplication(),
            {"replication": "all", "leaving": ["K2"]},
            b"*4\r\n$11\r\nreplication\r\n$3\r\nall\r\n$7\r\nleaving\r\n*1\r\n$2\r\nK2\r\n",
        ),
        ("KRAFT REBALANCE REPLICAS", admin.RebalanceReplicas(), [], b"*0\r\n"),
        ("kraft rebalance replicas dryrun", admin.RebalanceReplicas(dry=True), [], b"*0\r\n"),
        ("KRAFT COMPACT keep 10", admin.Compact(10), 5, b":5\r\n"),
        (
            "KRAFT VERIFY",
            admin.Verify(),
            [{"node": "K1", "index": 7, "sum": None}],
            b"*1\r\n*6\r\n$4\r\nnode\r\n$2\r\nK1\r\n$5\r\nindex\r\n:7\r\n$3\r\nsum\r\n$-1\r\n",
        ),
    ],
)
def test_a_result_of_the_host_is_the_reply(
    client: Talk, words: str, order: admin.AdminCommand, result: Any, reply: bytes
) -> None:
    client.port.host.result = result
    assert client.run(*words.split()) == reply
    assert client.port.host.orders == [order]


def test_orders_come_one_at_a_time_and_replies_keep_their_place(client: Talk) -> None:
    host = client.port.host
    batch = [("PING",), ("KRAFT", "STEPDOWN"), ("KRAFT", "SNAPSHOT"), ("SET", "a", "1"), ("PING",)]
    host.result = 9
    assert client.send(b"".join(encode(*words) for words in batch)) == b"+PONG\r\n"
    assert host.orders == [admin.StepDown()]
    host.turn()
    assert client.read() == OK
    assert host.orders == [admin.StepDown(), admin.TakeSnapshot()]
    assert not host.writes
    host.turn()
    assert client.read() == b":9\r\n"
    host.turn()
    assert client.read() == OK + b"+PONG\r\n"
    assert client.port.kinds == {"local": 2, "admin": 2, "write": 1}
    assert client.port.names == {"ping": 2, "kraft|stepdown": 1, "kraft|snapshot": 1, "set": 1}


def test_a_wrong_order_is_answered_in_its_place(client: Talk) -> None:
    answer = client.ask(
        encode("KRAFT", "DRAIN", "maybe") + encode("KRAFT", "STEPDOWN") + encode("KRAFT", "REMOVE")
    )
    assert answer == (
        b"-ERR DRAIN is ON or OFF, not 'maybe'\r\n+OK\r\n"
        b"-ERR wrong number of arguments for 'kraft|remove' command\r\n"
    )
    assert client.port.host.orders == [admin.StepDown()]


@pytest.mark.parametrize(
    ("failure", "reply"),
    [
        (AdminRefused("K4 is no member"), b"-ERR K4 is no member\r\n"),
        (NoLeader(0), b"-CLUSTERDOWN No leader for group 0\r\n"),
        (Uncertain(), b"-UNCERTAIN write may or may not be applied; check before retrying\r\n"),
    ],
)
def test_what_cannot_be_done_has_its_error(client: Talk, failure: Exception, reply: bytes) -> None:
    client.port.host.failing = failure
    assert client.run("KRAFT", "REMOVE", "K4") == reply
    client.port.host.failing = None
    assert client.run("PING") == b"+PONG\r\n"


def test_who_leaves_is_not_answered(client: Talk) -> None:
    """The order stands."""
    client.send(encode("KRAFT", "STEPDOWN"))
    client.lose()
    client.port.host.settle()
    assert client.read() == b""
    assert client.port.host.orders == [admin.StepDown()]


def test_a_node_that_waits_for_an_order_is_not_idle(client: Talk) -> None:
    client.send(encode("KRAFT", "STEPDOWN"))
    assert not client.protocol.session.idle
    client.half_close()
    client.port.host.settle()
    assert client.read() == OK
    assert client.transport.disconnecting


SLOTS_ARE = b"-ERR slots are 0 to 16383, and the last one is not before the first one\r\n"
USE = b"-ERR use KRAFT MOVE SLOTS first last TO group, or KRAFT MOVE CANCEL id\r\n"


@pytest.mark.parametrize(
    ("words", "reply"),
    [
        ("SLOTS 5 4 TO 1", SLOTS_ARE),
        ("SLOTS -1 4 TO 1", SLOTS_ARE),
        ("SLOTS 0 16384 TO 1", SLOTS_ARE),
        ("SLOTS 0 4 TO -1", b"-ERR the number of a group is not negative\r\n"),
        ("SLOTS 0 x TO 1", b"-ERR value is not an integer or out of range\r\n"),
        ("CANCEL x", b"-ERR value is not an integer or out of range\r\n"),
        ("SLOTS 0 4 1", USE),
        ("SLOTS 0 4 INTO 1", USE),
        ("SLOTS 0 TO 1", USE),
        ("CANCEL 1 2", USE),
        ("REPLICA 1", USE),
    ],
)
def test_a_move_that_makes_no_sense_is_refused(client: Talk, words: str, reply: bytes) -> None:
    assert client.run("KRAFT", "MOVE", *words.split()) == reply
    assert client.port.host.orders == []


@pytest.mark.parametrize(
    ("words", "reply"),
    [
        ("SPLIT x", b"-ERR value is not an integer or out of range\r\n"),
        ("SPLIT 1 2", b"-ERR syntax error\r\n"),
        ("SPLIT 1 INTO 1", b"-ERR a group is split INTO 2 to 128 parts\r\n"),
        ("SPLIT 1 INTO 129", b"-ERR a group is split INTO 2 to 128 parts\r\n"),
        ("MERGE 1 TO 0", b"-ERR syntax error\r\n"),
        ("MERGE 1 INTO 1", b"-ERR a group is merged into another one\r\n"),
        ("MERGE -1 INTO 1", b"-ERR the number of a group is not negative\r\n"),
        (
            "REBALANCE LEADERS",
            b"-ERR use KRAFT REBALANCE SLOTS or KRAFT REBALANCE REPLICAS, or add DRYRUN to them\r\n",
        ),
        ("REBALANCE REPLICAS NOW", b"-ERR unknown option 'NOW'; known options: DRYRUN\r\n"),
        ("REPLICATION x", b"-ERR value is not an integer or out of range\r\n"),
        ("REPLICATION 0", b"-ERR a group has 1 to 64 voters, or ALL members vote\r\n"),
        ("REPLICATION 65", b"-ERR a group has 1 to 64 voters, or ALL members vote\r\n"),
        ("REPLICATION 3 4", b"-ERR unknown option '4'; known options: FORCE\r\n"),
        ("REBALANCE SLOTS NOW", b"-ERR unknown option 'NOW'; known options: DRYRUN\r\n"),
    ],
)
def test_a_division_that_makes_no_sense_is_refused(client: Talk, words: str, reply: bytes) -> None:
    assert client.run("KRAFT", *words.split()) == reply
    assert client.port.host.orders == []


def test_kraft_moves_shows_each_move_in_short(client: Talk) -> None:
    host = client.port.host
    assert client.run("KRAFT", "MOVES") == b"*0\r\n"
    host.moving = [
        MoveStatus(
            id=3, first=5, last=9, source=0, receiver=1, state="copying", keys=17, since_ms=WALL_MS - 250,
            problem="a step was not done", keys_total=40,
        )
    ]  # fmt: skip
    assert client.ask(b"kraft output plain\r\nkraft moves\r\n").decode() == (
        "OK\nid 3\nslots 5-9\nfrom 0\nto 1\nstate copying\nkeys 17\nkeys_total 40\nage_ms 250\nleader K1\n"
        "problem a step was not done\n"
    )


def test_a_move_of_slots_is_administration(client: Talk) -> None:
    """`+@kraft` gives it to nobody, as with every other change of the cluster."""
    moves = client.run("COMMAND", "INFO", "kraft|moves")
    assert b"@kraft" in moves
    assert b"admin" not in moves
    move = client.run("COMMAND", "INFO", "kraft|move")
    assert b"@kraft" not in move
    assert b"@admin" in move
