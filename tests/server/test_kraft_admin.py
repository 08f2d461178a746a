"""The administrator's commands: the values that the host gets, the replies, and their order."""

from typing import Any

import pytest

from kraft.node import admin
from kraft.node.errors import AdminRefused, NoLeader, Uncertain
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
