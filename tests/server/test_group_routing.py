"""Redirection, roles and slots at the client port of a cluster with several groups."""

from dataclasses import replace
from typing import Any

from kraft.config.values import ClientConfig
from kraft.kv.slot_map import MapState, static_ranges
from kraft.kv.slots import slot_of
from kraft.node.status import ElsewhereStatus
from kraft.server.commands.command import all_specs
from kraft.server.commands.table import TABLE
from kraft.server.commands.tips import TIPS
from tests.server.fakes import Port, Talk
from tests.server.groups import LIBRARY, RETURN_ONE, THREE, fill, key_in, pipeline, three
from tests.server.test_scan import all_of, array, scan


def redirecting(*leaders: str) -> tuple[Port, Talk]:
    port, client = three(client=ClientConfig(routing="redirect"))
    port.host.leaders = list(leaders)
    return port, client


def test_redirect_mode_names_the_leader_of_each_group() -> None:
    _, client = redirecting("K1", "K2", "")
    keys = [key_in(group) for group in (0, 1, 2, 0)]
    moved = b"-MOVED %d 127.0.0.1:10012\r\n" % slot_of(keys[1])
    answer = client.ask(pipeline(*(("INCR", key) for key in keys)))
    assert answer == b":1\r\n" + moved + b"-CLUSTERDOWN No leader for group 2\r\n:2\r\n"


def test_redirect_mode_answers_for_the_groups_that_the_node_leads() -> None:
    port, client = redirecting("K2", "K1", "K1")
    fill(port)
    sizes = [len(machine.keyspace) for machine in port.host.machines]
    assert client.run("DBSIZE") == b":%d\r\n" % (sizes[1] + sizes[2])
    own = {key for machine in port.host.machines[1:] for key in machine.keyspace.records}
    assert set(array(client.run("KEYS", "*"))) == own
    assert sorted(all_of(client)[0]) == sorted(own)
    assert b"db0:keys=%d," % len(own) in client.run("INFO", "keyspace")
    assert client.run("FUNCTION", "LOAD", LIBRARY) == b"$4\r\nmine\r\n"
    assert b"mine" in client.run("FUNCTION", "LIST")
    assert client.run("SCRIPT", "LOAD", RETURN_ONE).startswith(b"$40")
    assert [group for group, _ in port.host.writes] == [1, 2, 0, 1, 2]
    assert client.run("FLUSHALL") == b"+OK\r\n"
    assert [len(machine.keyspace) for machine in port.host.machines] == [sizes[0], 0, 0]


def test_a_node_that_leads_nothing_answers_for_all_groups() -> None:
    port, client = redirecting("K2", "K2", "K2")
    fill(port)
    assert client.run("DBSIZE") == b":300\r\n"
    assert b"db0:keys=300," in client.run("INFO", "keyspace")


def test_a_scan_goes_on_in_a_group_that_the_node_does_not_lead_any_more() -> None:
    port, client = redirecting("K1", "K1", "K2")
    keys = fill(port)
    cursor, found = scan(client, b"0")
    port.host.leaders = ["K2", "K1", "K2"]
    while cursor != b"0":
        cursor, more = scan(client, cursor)
        found += more
    assert sorted(found) == sorted(key for key in keys if THREE.group_of(slot_of(key)) < 2)


def test_a_leader_of_anything_is_never_listed_as_a_replica() -> None:
    port, client = redirecting("K1", "K2", "K1")
    port.host.addresses["K3"] = "127.0.0.1:10013"
    slots = client.run("CLUSTER", "SLOTS")
    ports = [
        int(line[1:])
        for line in slots.split(b"\r\n")
        if line[:1] == b":" and len(line) == 6 and line[1:3] == b"10"
    ]
    assert [each for each in ports if each in (10011, 10012, 10013)] == [
        10011,
        10013,
        10012,
        10013,
        10011,
        10013,
    ]
    shards = client.run("CLUSTER", "SHARDS")
    assert shards.startswith(b"*2\r\n")
    assert shards.count(b"$6\r\nmaster\r\n") == 2
    assert shards.count(b"$7\r\nreplica\r\n") == 2
    lines = client.run("CLUSTER", "NODES").split(b"\n")[1:4]
    assert b"myself,master" in lines[0]
    assert lines[0].endswith(b" 0-5461 10923-16383")
    assert b" master " in lines[1]
    assert lines[1].endswith(b" 5462-10922")
    assert b" slave " + lines[0].split()[0] in lines[2]
    assert b"cluster_state:ok\r\n" in client.run("CLUSTER", "INFO")
    assert b"cluster_size:2\r\n" in client.run("CLUSTER", "INFO")


def test_only_nodes_with_a_replica_are_listed_for_a_range() -> None:
    """K3 and K4 lead nothing. K3 has a replica of group 0, and K4 of group 1, which this node lacks."""
    port, client = redirecting("K1", "K2", "K2")
    port.host.addresses |= {"K3": "127.0.0.1:10013", "K4": "127.0.0.1:10014"}
    whole = port.host.status()
    lacked = ElsewhereStatus(1, "K2", 9, ("K2", "K4"), ("K2", "K4"))
    groups = tuple(replace(g, learners=("K3",) if g.group == 0 else ()) for g in whole.groups if g.group != 1)
    port.host.node_changed = {"groups": groups, "elsewhere": (lacked,)}
    slots = client.run("CLUSTER", "SLOTS")
    ports = [int(line[1:]) for line in slots.split(b"\r\n") if line.startswith(b":1001")]
    assert ports == [10011, 10013, 10012, 10014, 10012]
    shards = client.run("CLUSTER", "SHARDS")
    assert shards.count(b"$7\r\nreplica\r\n") == 1, "K4 has not all that K2 leads"
    lines = client.run("CLUSTER", "NODES").split(b"\n")[1:5]
    ids = [line.split()[0] for line in lines]
    assert b" slave " + ids[0] in lines[2]
    assert b" slave " + ids[1] in lines[3]
    assert b" 9 connected" in lines[1], "the term of a group elsewhere"


def test_groups_elsewhere_are_shown_with_what_their_members_tell() -> None:
    port, client = redirecting("K1", "K2", "K2")
    groups = tuple(group for group in port.host.status().groups if group.group != 1)
    lacked = ElsewhereStatus(1, "K2", 9, ("K2", "K4"), ("K2",))
    port.host.node_changed = {"groups": groups, "elsewhere": (lacked,)}
    one = client.run("KRAFT", "GROUPS", "1")
    for part in (b"$2\r\nK2", b"$4\r\nrole\r\n$4\r\nnone", b"$8\r\nlearners\r\n*1\r\n$2\r\nK4"):
        assert part in one
    assert one.count(b"$-1\r\n") == 3, "its keys, their bytes and the lag"
    assert client.run("KRAFT", "GROUPS").startswith(b"*3\r\n")


def test_a_node_without_a_replica_of_any_range_is_a_master_without_slots() -> None:
    port, client = redirecting("K1", "K2", "K2")
    port.host.addresses["K3"] = "127.0.0.1:10013"
    groups = tuple(replace(group, learners=()) for group in port.host.status().groups)
    port.host.node_changed = {"groups": groups}
    line = client.run("CLUSTER", "NODES").split(b"\n")[3]
    assert b" master - " in line
    assert line.rstrip().endswith(b" connected")


def test_a_group_without_a_leader_is_told() -> None:
    _, client = redirecting("K1", "", "K1")
    info = client.run("CLUSTER", "INFO")
    assert b"cluster_state:fail\r\n" in info
    assert b"cluster_slots_ok:10923\r\n" in info


def test_roles_with_several_groups() -> None:
    port, client = redirecting("K2", "K1", "K2")
    port.host.addresses["K3"] = "127.0.0.1:10013"
    assert client.run("ROLE").startswith(b"*3\r\n$6\r\nmaster\r\n:7\r\n*1\r\n")
    info = client.run("INFO", "replication")
    assert b"role:master\r\nconnected_slaves:1\r\nslave0:ip=127.0.0.1,port=10013," in info
    assert b"kraft_groups:3\r\nkraft_groups_led:1\r\n" in info
    assert b"$6\r\nmaster\r\n" in client.run("HELLO")
    port.host.leaders = ["K2", "K2", "K2"]
    assert client.run("ROLE").startswith(b"*5\r\n$5\r\nslave\r\n$9\r\n127.0.0.1\r\n:10012\r\n")
    assert b"role:slave\r\n" in client.run("INFO", "replication")


def test_shard_ids_are_those_of_groups() -> None:
    port, client = redirecting("K2", "K1", "K2")
    one = client.run("CLUSTER", "MYSHARDID")
    port.host.leaders = ["K1", "K2", "K2"]
    other = client.run("CLUSTER", "MYSHARDID")
    assert len(one) == len(other) == 47
    assert one != other


def test_the_keys_of_a_slot() -> None:
    for port in (Port(), Port(groups=3)):
        client = port.connect()
        client.ask(pipeline(*(("SET", f"{{{tag}}}{n}", "v") for tag in "ab" for n in range(5))))
        slot = str(slot_of(b"a"))
        assert client.run("CLUSTER", "COUNTKEYSINSLOT", slot) == b":5\r\n"
        assert client.run("CLUSTER", "COUNTKEYSINSLOT", "1") == b":0\r\n"
        found = array(client.run("CLUSTER", "GETKEYSINSLOT", slot, "3"))
        assert len(set(found)) == 3
        assert set(array(client.run("CLUSTER", "GETKEYSINSLOT", slot, "9"))) == {
            b"{a}%d" % n for n in range(5)
        }
        assert client.run("CLUSTER", "GETKEYSINSLOT", slot, "0") == b"*0\r\n"
        for word in ("-1", "16384", "x"):
            assert client.run("CLUSTER", "COUNTKEYSINSLOT", word) == b"-ERR Invalid slot\r\n"
        for words in (("16384", "1"), (slot, "-1"), (slot, "x")):
            refused = b"-ERR Invalid slot or number of keys\r\n"
            assert client.run("CLUSTER", "GETKEYSINSLOT", *words) == refused


def test_wait_counts_the_group_that_has_fewest() -> None:
    port, client = three()
    port.host.changed["voters"] = ("K1", "K2", "K3")
    port.host.addresses["K3"] = "127.0.0.1:10013"
    assert client.run("WAIT", "2", "0") == b":2\r\n"
    assert client.run("WAITAOF", "1", "1", "0") == b"*2\r\n:1\r\n:2\r\n"
    port.host.leaders = ["K1", "K2", "K1"]
    assert client.run("WAIT", "2", "0") == b":1\r\n"  # of group 1 only what each reply proves is known
    assert client.run("WAITAOF", "1", "1", "0") == b"*2\r\n:0\r\n:1\r\n"


def test_clients_are_told_which_commands_go_to_every_leader() -> None:
    """By the tips of COMMAND, as Redis gives them."""
    client = Port().connect()
    shown = client.run("COMMAND", "INFO", "dbsize")
    assert b"request_policy:all_shards\r\n" in shown
    assert b"response_policy:agg_sum\r\n" in shown
    assert b"request_policy" not in client.run("COMMAND", "INFO", "mset", "get")
    assert set(TIPS) <= {spec.name for spec in all_specs(TABLE)}


def test_epochs_go_up_with_elections_and_with_moves_of_slots() -> None:
    port, client = redirecting("K1", "K2", "K1")
    assert b"cluster_current_epoch:3\r\n" in client.run("CLUSTER", "INFO")
    port.host.slots.plan = MapState(version=4, last=9, ranges=static_ranges(3))
    assert b"cluster_current_epoch:7\r\n" in client.run("CLUSTER", "INFO")
    assert client.run("CLUSTER", "NODES").count(b" 7 connected") == 2


def test_nodes_are_replicas_of_the_first_that_has_slots() -> None:
    """Group 0 may have given all of its slots away."""
    port, client = redirecting("K1", "K2", "K1")
    slots: Any = port.host.slots
    slots.ranges = lambda: [(0, 16_383, 1)]
    lines = client.run("CLUSTER", "NODES").split(b"\n")[1:3]
    assert b"myself,slave " + lines[1].split()[0] in lines[0]
    assert b" master " in lines[1]
    assert client.run("CLUSTER", "SHARDS").startswith(b"*1\r\n")
