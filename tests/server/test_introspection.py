"""The commands that clients and people ask about the server, the cluster and kraft itself."""

from typing import Any

import pytest

from kraft.config.values import ClientConfig
from kraft.node.status import TransferStatus
from kraft.server.commands.command import all_specs
from kraft.server.commands.spec import AllGroupsSpec
from kraft.server.commands.table import NAMES, TABLE
from tests.server.fakes import Port, Talk, encode

REDIRECT = ClientConfig(routing="redirect")
REPLICA = ClientConfig(follower_role="replica")


def body(reply: bytes) -> str:
    """The text of a bulk string."""
    header, _, rest = reply.partition(b"\r\n")
    assert header == b"$%d" % (len(rest) - 2)
    return rest[:-2].decode()


def test_info_has_what_clients_look_for(client: Talk) -> None:
    client.run("SET", "a", "1")
    text = body(client.run("INFO"))
    sections = [line[2:] for line in text.split("\r\n") if line.startswith("# ")]
    fields = dict(line.split(":", 1) for line in text.split("\r\n") if ":" in line)
    assert sections == [
        "Server", "Clients", "Memory", "Persistence", "Stats", "Replication", "CPU", "Modules", "Errorstats",
        "Cluster", "Keyspace",
    ]  # fmt: skip
    wanted = {
        "redis_version": "7.4.0", "redis_mode": "standalone", "loading": "0", "role": "master",
        "cluster_enabled": "0", "db0": "keys=1,expires=0,avg_ttl=0", "connected_clients": "1",
        "connected_slaves": "1", "tcp_port": "10011",
    }  # fmt: skip
    assert {name: fields[name] for name in wanted} == wanted


def test_info_gives_the_sections_asked_for(client: Talk) -> None:
    assert body(client.run("INFO", "cluster")) == "# Cluster\r\ncluster_enabled:0\r\n"
    assert body(client.run("INFO", "Cluster", "persistence")).count("# ") == 2
    assert body(client.run("INFO", "nosuch")) == ""
    assert body(client.run("INFO", "everything")).count("# ") == 13


def test_info_without_a_leader_still_answers() -> None:
    client = Port(client=REPLICA).connect()
    client.port.host.leaders = [""]
    text = body(client.run("INFO", "replication"))
    assert "role:slave\r\n" in text
    assert "master_link_status:down\r\n" in text
    assert client.run("ROLE") == b"*5\r\n$5\r\nslave\r\n$0\r\n\r\n:0\r\n$7\r\nconnect\r\n:7\r\n"
    assert client.run("KRAFT", "LEADER") == b"-CLUSTERDOWN No leader for group 0\r\n"
    assert "cluster_state:fail" in body(client.run("CLUSTER", "INFO"))


def test_a_replica_says_whose(client: Talk) -> None:
    """A follower with client.follower_role: replica, and every follower that redirects."""
    for config in (REPLICA, REDIRECT):
        client = Port(client=config).connect()
        client.port.host.leaders = ["K2"]
        text = body(client.run("INFO", "replication"))
        assert "role:slave\r\n" in text
        assert "master_port:10012\r\n" in text
        assert "kraft_role:follower\r\nkraft_leader:K2\r\n" in text
        role = client.run("ROLE")
        assert role.startswith(b"*5\r\n$5\r\nslave\r\n$9\r\n127.0.0.1\r\n:10012\r\n$9\r\nconnected")
        assert b"$7\r\nreplica\r\n" in client.run("HELLO")


def test_a_follower_that_forwards_is_a_master(client: Talk) -> None:
    """For clients that write to masters only. It has no replicas of its own, and names the leader."""
    client.port.host.leaders = ["K2"]
    text = body(client.run("INFO", "replication"))
    assert text.startswith("# Replication\r\nrole:master\r\nconnected_slaves:0\r\nmaster_repl_offset:7\r\n")
    assert "kraft_role:follower\r\nkraft_leader:K2\r\n" in text
    assert client.run("ROLE") == b"*3\r\n$6\r\nmaster\r\n:7\r\n*0\r\n"
    assert b"$4\r\nrole\r\n$6\r\nmaster\r\n" in client.run("HELLO")
    assert client.run("SET", "a", "1") == b"+OK\r\n"


def test_cluster_shows_one_master_whatever_the_option(client: Talk) -> None:
    """Slots have one owner; cluster clients talk to it."""
    client.port.host.leaders = ["K2"]
    assert client.run("CLUSTER", "SHARDS").count(b"$6\r\nmaster\r\n") == 1
    assert "myself,slave" in body(client.run("CLUSTER", "NODES"))


def test_an_election_does_not_turn_a_member_into_a_replica(client: Talk) -> None:
    """A client that connects now can write: its command waits for the leader."""
    client.port.host.leaders = [""]
    assert "role:master\r\n" in body(client.run("INFO", "replication"))


@pytest.mark.parametrize("state", [{"state": "forming"}, {"state": "stopping"}, {"members": ()}])
def test_a_node_that_serves_nobody_is_no_master(client: Talk, state: dict[str, Any]) -> None:
    """One that waits to be added, is about to stop, or was removed."""
    client.port.host.leaders = [""]
    client.port.host.node_changed = state
    assert "role:slave\r\n" in body(client.run("INFO", "replication"))
    assert b"$7\r\nreplica\r\n" in client.run("HELLO")


def test_the_leader_lists_its_followers(client: Talk) -> None:
    text = body(client.run("INFO", "replication"))
    assert "connected_slaves:1\r\nslave0:ip=127.0.0.1,port=10012,state=online,offset=6,lag=0\r\n" in text


def test_the_leader_comes_first_in_the_slot_map(client: Talk) -> None:
    client.port.host.leaders = ["K2"]
    slots = client.run("CLUSTER", "SLOTS")
    assert slots.startswith(b"*1\r\n*4\r\n:0\r\n:16383\r\n*4\r\n$9\r\n127.0.0.1\r\n:10012\r\n$40\r\n")
    shards = client.run("CLUSTER", "SHARDS")
    assert shards.index(b":10012") < shards.index(b":10011")
    assert shards.count(b"$6\r\nmaster\r\n") == shards.count(b"$7\r\nreplica\r\n") == 1


def test_cluster_nodes_lists_this_node_and_the_others(client: Talk) -> None:
    mine, other = body(client.run("CLUSTER", "NODES")).splitlines()
    my_id = body(client.run("CLUSTER", "MYID"))
    assert len(my_id) == 40
    assert mine == f"{my_id} 127.0.0.1:10011@10001 myself,master - 0 0 3 connected 0-16383"
    assert other.split(" ", 1)[1] == f"127.0.0.1:10012@10002 slave {my_id} 0 0 3 connected"
    assert "cluster_state:ok\r\ncluster_slots_assigned:16384\r\n" in body(client.run("CLUSTER", "INFO"))


def test_redirect_mode_sends_clients_to_the_leader() -> None:
    """READONLY lets reads stay."""
    port = Port(client=REDIRECT)
    client = port.connect()
    assert "redis_mode:cluster" in body(client.run("INFO", "server"))
    assert client.run("SET", "foo", "1") == b"+OK\r\n"
    port.host.leaders = ["K2"]
    moved = b"-MOVED 12182 127.0.0.1:10012\r\n"
    pipeline = encode("SET", "foo", "1") + encode("GET", "foo") + encode("PING")
    assert client.ask(pipeline) == moved * 2 + b"+PONG\r\n"
    client.run("READONLY")
    assert client.run("GET", "foo") == b"$1\r\n1\r\n"
    assert client.run("DEL", "foo") == moved
    port.host.leaders = [""]
    assert client.run("DEL", "foo") == b"-CLUSTERDOWN No leader for group 0\r\n"


def test_forward_mode_never_redirects(client: Talk) -> None:
    client.port.host.leaders = ["K2"]
    assert client.run("SET", "foo", "1") == b"+OK\r\n"


def test_command_lists_every_row(client: Talk) -> None:
    """Ten elements each, and KRAFT among them, because redis-py refuses what is missing."""
    answer = client.run("COMMAND")
    assert answer.startswith(b"*%d\r\n*10\r\n$3\r\nget\r\n:2\r\n" % len(TABLE))
    assert b"\r\n$5\r\nkraft\r\n:-2\r\n" in answer
    assert client.run("COMMAND", "COUNT") == b":%d\r\n" % len(TABLE)
    assert client.run("COMMAND", "DOCS").startswith(b"*%d\r\n" % (2 * len(TABLE)))
    assert client.run("COMMAND", "LIST").startswith(b"*%d\r\n" % len(all_specs(TABLE)))
    assert len(NAMES) == len(set(NAMES)) > len(TABLE)


def test_every_row_is_described() -> None:
    for row in TABLE.values():
        for each in (row, *row.subcommands.values()):
            assert each.summary.endswith("."), each.name
            assert not isinstance(each, AllGroupsSpec)
            assert each.run.__doc__, each.name


def test_administration_is_marked_as_such(client: Talk) -> None:
    """Of Redis' flags those that its own such commands have."""
    entry = client.run("COMMAND", "INFO", "raft-add-node")
    assert b"\r\n:-3\r\n*2\r\n+admin\r\n+noscript\r\n:0\r\n:0\r\n:0\r\n" in entry
    assert b"\r\n*3\r\n+@admin\r\n+@slow\r\n+@dangerous\r\n" in entry
    nested = client.run("COMMAND", "INFO", "kraft")
    assert b"$9\r\nkraft|add\r\n:-4\r\n*2\r\n+admin\r\n+noscript\r\n" in nested
    lines = client.run("KRAFT", "HELP").split(b"\r\n")
    place = lines.index(b"+ADD id host raft-port [LEARNER] [FORCE]")
    assert lines[place + 1].startswith(b"+    Makes a standby node a member")


def test_families_have_help(client: Talk) -> None:
    for family in ("CLIENT", "CLUSTER", "COMMAND", "CONFIG", "KRAFT"):
        answer = client.run(family, "help")
        assert f"+{family} <subcommand>".encode() in answer
        assert b"+HELP\r\n" in answer


def test_client_list_and_kill(port: Port) -> None:
    one, two, three = port.connect(), port.connect(), port.connect()
    two.run("CLIENT", "SETNAME", "two")
    lines = body(one.run("CLIENT", "LIST")).splitlines()
    assert [line.split()[0] for line in lines] == ["id=1", "id=2", "id=3"]
    assert "name=two" in lines[1]
    assert "cmd=client|setname" in lines[1]
    assert "user=default" in body(one.run("CLIENT", "INFO"))
    assert body(one.run("CLIENT", "LIST", "ID", "2")).count("id=") == 1
    assert body(one.run("CLIENT", "LIST", "TYPE", "pubsub")) == ""
    assert one.run("CLIENT", "LIST", "TYPE", "x") == b"-ERR Unknown client type 'x'\r\n"
    assert one.run("CLIENT", "KILL", "ID", "2") == b":1\r\n"
    assert two.transport.aborted
    two.lose()
    assert one.run("CLIENT", "KILL", "ADDR", "127.0.0.1:50000", "SKIPME", "yes") == b":1\r\n"
    assert three.transport.aborted
    assert one.run("CLIENT", "KILL", "ID", "1", "SKIPME", "no") == b":1\r\n"
    assert one.transport.disconnecting


def client_fields(client: Talk, number: int = 1) -> dict[str, str]:
    """One line of CLIENT LIST."""
    line = body(client.run("CLIENT", "LIST", "ID", str(number))).strip()
    return dict(field.split("=", 1) for field in line.split(" "))


def test_client_list_shows_the_present_command(port: Port) -> None:
    """Of itself, in a pipeline, of a connection whose command is under way, and of one that sent none."""
    one, two, three = port.connect(), port.connect(), port.connect()
    assert "cmd=client|info " in body(one.run("CLIENT", "INFO"))
    assert client_fields(one)["cmd"] == "client|list"
    assert b"cmd=client|info " in one.ask(encode("PING") + encode("CLIENT", "INFO") + encode("PING"))
    two.send(encode("SET", "a", "1"))
    assert client_fields(one, 2)["cmd"] == "set"
    assert client_fields(one, 3)["cmd"] == "NULL"
    assert three.run("PING") == b"+PONG\r\n"
    assert client_fields(one, 3)["cmd"] == "ping"


def test_client_list_shows_buffers_and_state(port: Port) -> None:
    one, two = port.connect(), port.connect()
    idle = client_fields(one, 2)
    assert (idle["qbuf"], idle["argv-mem"], idle["omem"], idle["oll"]) == ("0", "0", "0", "0")
    assert (idle["flags"], idle["multi"], idle["events"], idle["sub"]) == ("N", "-1", "r", "0")
    two.send(encode("SET", "a", "1") + encode("GET", "a") + b"*2\r\n$3\r\nGET\r\n$1000\r\n" + b"x" * 500)
    busy = client_fields(one, 2)
    assert int(busy["qbuf"]) >= 500
    assert int(busy["argv-mem"]) > 40
    assert int(busy["tot-mem"]) == int(idle["tot-mem"]) + int(busy["qbuf"]) + int(busy["argv-mem"])
    one.run("READONLY")
    one.run("MULTI")
    line = port.connect().run("CLIENT", "LIST", "ID", "1").decode()
    assert " flags=rx " in line
    assert " multi=0 " in line


@pytest.mark.parametrize(
    ("filters", "killed"),
    [
        (["TYPE", "normal"], [2, 3]),
        (["TYPE", "pubsub"], []),
        (["USER", "default"], [2, 3]),
        (["MAXAGE", "10"], [2]),
        (["MAXAGE", "10", "ID", "3"], []),
        (["type", "NORMAL", "id", "3"], [3]),
        (["LADDR", "0.0.0.0:10011", "SKIPME", "yes"], []),
        (["SKIPME", "yes"], [2, 3]),
    ],
)
def test_client_kill_takes_filters_of_every_kind(filters: list[str], killed: list[int]) -> None:
    """A connection must pass all of them; the caller is left out unless SKIPME says no."""
    port = Port()
    caller, old = port.connect(), port.connect()
    caller.run("PING")
    old.run("PING")
    port.clock.advance(20)
    young = port.connect()
    assert caller.run("CLIENT", "KILL", *filters) == b":%d\r\n" % len(killed)
    ended = [number for number, client in ((1, caller), (2, old), (3, young)) if client.transport.aborted]
    assert ended == killed


def test_the_caller_may_kill_itself_by_any_filter(client: Talk) -> None:
    assert client.run("CLIENT", "KILL", "MAXAGE", "1", "SKIPME", "no") == b":0\r\n"
    client.port.clock.advance(5)
    assert client.run("CLIENT", "KILL", "MAXAGE", "1", "SKIPME", "no") == b":1\r\n"
    assert client.transport.disconnecting


def test_kraft_shows_the_node_and_its_peers(client: Talk) -> None:
    client.run("HELLO", "3")
    status = client.run("KRAFT", "STATUS")
    assert status.startswith(b"%10\r\n$4\r\nnode\r\n$2\r\nK1\r\n")
    assert b"$4\r\nrole\r\n$6\r\nleader\r\n" in status
    members = client.run("KRAFT", "MEMBERS")
    assert members.startswith(b"*2\r\n%14\r\n$2\r\nid\r\n$2\r\nK1\r\n")
    assert b"$4\r\nkind\r\n$5\r\nvoter\r\n" in members
    assert client.run("KRAFT", "LEADER", "a", "b").startswith(b"-ERR wrong number")


def test_kraft_shows_changes_and_snapshots_under_way(client: Talk) -> None:
    """The learner that is to vote, and the progress of a snapshot."""
    host = client.port.host
    host.changed = {
        "voters": ("K1",), "learners": ("K2",), "joining": ("K2",), "joint": True, "transferring": "K2",
        "checkpoint_index": 5, "transfers": (TransferStatus("K2", "send", 5, 100, 400, 1.5),),
    }  # fmt: skip
    lines = client.ask(b"kraft output plain\r\nkraft status\r\n").decode().splitlines()
    group = " ".join(lines)
    for text in (
        "first_index 1 last_index 9 log_entries 9", "voters K1 learners K2 joining K2 joint 1",
        "transferring K2 checkpoint_index 5", "peer K2 direction send index 5 done_bytes 100 size_bytes 400",
        "fenced 0 mismatch 0",
    ):  # fmt: skip
        assert text in group
    members = client.ask(b"kraft members\r\n").decode()
    assert "id K1\n" in members
    assert "kind learner\njoining 1\n" in members


def test_plain_output_for_people(client: Talk) -> None:
    """Only on an inline connection, and only until it is switched back."""
    assert client.ask(b"kraft output plain\r\n") == b"OK\n"
    assert client.ask(b"kvstore-set a hello  world\r\nkvstore-get a\r\n") == b"OK\nhello  world\n"
    assert client.ask(b"get nothing\r\nincr a\r\nmget a b\r\n\r\n") == (
        b"null\nERR value is not an integer or out of range\nhello  world\nnull\n"
    )
    assert b"leader K1\n" in client.ask(b"kraft leader\r\n")
    assert client.ask(b"kraft output resp\r\nget a\r\n") == b"+OK\r\n$12\r\nhello  world\r\n"
    assert client.ask(b"kraft output pretty\r\n") == b"-ERR syntax error\r\n"
    assert +client.port.observer.open == {"inline": 1}
    assert client.ask(b"exit\r\n") == b"+OK\r\n"
    assert client.transport.disconnecting
