"""Two of three nodes are gone for good: `kraft recover` makes a cluster of the third."""

import json
import shutil
import subprocess
import sysconfig
from pathlib import Path

import pytest

from kraft.host.membership.formation import cluster_id
from kraft.kv import commands as kv
from kraft.kv.versions import MACHINE_VERSION, encode_version
from kraft.node.values import Identity, Transaction
from kraft.raft.membership.configuration import Configuration, Member
from kraft.raft.messages import Entry, EntryKind, HardState
from kraft.raft.ready import Persist
from kraft.storage.directory import RealDirectory
from kraft.storage.log.database import LogDatabase
from kraft.storage.ports import StorageSettings
from tests.cluster.harness import Server, wait_until
from tests.cluster.load import Load
from tests.kv.group_states import NOW
from tests.kv.slot_logs import KEYS, OTHER, SLOT, SOURCE, logs_of_a_move

pytestmark = pytest.mark.slow

KRAFT = Path(sysconfig.get_path("scripts")) / "kraft"


def recover(server, *options):
    """`kraft recover` on its directory, as typed without a terminal."""
    return subprocess.run(
        [KRAFT, "recover", *options, server.data],
        stdin=subprocess.DEVNULL,
        capture_output=True,
        text=True,
        timeout=60,
    )


def place(server: Server) -> tuple[int, int]:
    """The term and index of its last entry, as a dry run tells."""
    (group,) = json.loads(recover(server, "--json").stdout)["groups"]
    return group["last_term"], group["last_index"]


def test_a_lost_majority_is_recovered_from_the_survivor_and_grows_again(cluster):
    """What was acknowledged before, and meanwhile, is there, on every node of the cluster that grows from it.

    The survivor is the leader, which has every write that it acknowledged.
    """
    survivor, lost = cluster.leader(), cluster.followers()
    with Load(list(cluster), writers=4) as load:
        load.advance(200)
        for server in lost:
            server.kill()
            shutil.rmtree(server.data)
        wait_until(lambda: not survivor.serves_writes(), "it refuses writes")
        refused = recover(survivor, "--yes")
        assert (refused.returncode, refused.stdout) == (1, "")
        assert "in use by process" in refused.stderr

        survivor.kill()
        told = recover(survivor)
        assert told.returncode == 0, told.stderr
        assert "2 of the 3 voters (K1, K2, K3) must be gone for good" in told.stdout
        assert "anything after index" in told.stdout
        assert told.stdout.endswith("nothing was changed\n")
        done = recover(survivor, "--yes")
        assert done.returncode == 0, done.stderr
        assert f"done: {survivor.id} is the only voter of the new cluster" in done.stdout

        survivor.start()  # with its old file, which still names all three
        cluster.wait_serving(survivor)
        assert cluster.kinds() == {survivor.id: "voter"}
        load.advance(50)
        for server in lost:
            cluster.wait_for_addition(server)
            wait_until(server.status, "it is up")
            answer = survivor.order("ADD", server.id, "127.0.0.1", server.peer_port)
            assert answer == "OK", answer
        cluster.wait_voters("K1", "K2", "K3")
        load.advance(50)
    cluster.wait_equal()
    for server in cluster:
        load.check(server)


def test_members_of_the_old_cluster_that_come_back_are_refused(cluster):
    """Of two survivors the more advanced one is recovered; the other, started as it was, is kept out."""
    assert cluster.order("TRANSFER", "K3") == "OK"
    cluster["K1"].kill()
    cluster.wait_serving(cluster["K3"])
    assert cluster["K3"].ask("SET", "x", "late") == "OK"
    cluster.kill_all()
    shutil.rmtree(cluster["K2"].data)
    assert place(cluster["K3"]) > place(cluster["K1"])

    assert recover(cluster["K3"], "--yes").returncode == 0
    cluster["K3"].start()
    cluster.wait_serving(cluster["K3"])
    cluster["K1"].start()

    told = "K1 is of the cluster that this one was recovered from: wipe its data directory and add it again"
    for server in (cluster["K3"], cluster["K1"]):
        wait_until(lambda: told in server.output, f"{server.id} says so")  # noqa: B023  called at once
    assert not cluster["K1"].serves_writes()
    assert cluster["K3"].serves_writes()
    assert cluster.kinds() == {"K3": "voter"}
    assert cluster["K3"].ask("GET", "x") == b"late"

    cluster["K1"].terminate()
    shutil.rmtree(cluster["K1"].data)
    cluster.wait_for_addition(cluster["K1"])
    wait_until(cluster["K1"].status, "it is up")
    assert cluster["K3"].order("ADD", "K1", "127.0.0.1", cluster["K1"].peer_port) == "OK"
    cluster.wait_voters("K1", "K3")
    cluster.wait_serving(cluster["K1"])
    assert cluster["K1"].ask("GET", "x") == b"late"


def test_slots_that_moved_when_the_majority_was_lost_have_an_owner_again(make_cluster):
    """The log of the survivor has what one group did, and lacks what the other one did after that."""
    server = make_cluster(1)["K1"]
    Path(server.data).mkdir(exist_ok=True)
    address = {"K1": f"127.0.0.1:{server.peer_port}"}
    members = tuple(Member(f"K{n}", f"{n}" * 32, address.get(f"K{n}", f"127.0.0.1:{n}")) for n in (1, 2, 3))
    logs = logs_of_a_move(OTHER).logs
    del logs[SOURCE][next(n for n, step in enumerate(logs[SOURCE]) if type(step) is kv.Sweep) :]
    del logs[OTHER][next(n for n, step in enumerate(logs[OTHER]) if type(step) is kv.Activate) :]
    identity = Identity("K1", "1" * 32, cluster_id(members, 2), members, groups=2, created=1)
    first = Entry(1, 1, 0, EntryKind.CONFIGURATION, Configuration.of_voters(members).encode())
    writes = []
    for group, log in enumerate(logs):
        data = [kv.encode([step]) for step in log]
        rows = [Entry(2, 1, NOW, EntryKind.VERSION, encode_version(MACHINE_VERSION))]
        rows += [Entry(index, 1, NOW, EntryKind.COMMANDS, each) for index, each in enumerate(data, 3)]
        writes.append((group, Persist(0, HardState(1), None, (first, *rows), 1)))
    directory = RealDirectory(str(server.data))
    database = LogDatabase(directory, node_id="K1", incarnation=lambda: "1" * 32, settings=StorageSettings())
    assert database.commit([Transaction(tuple(writes), identity)])
    database.close()

    told = recover(server).stdout
    assert f"slot {SLOT}: no group has them here; group {OTHER} gets them, with 5 keys" in told
    assert recover(server, "--yes").returncode == 0
    server.start()
    wait_until(lambda: server.status() and server.serves_writes(), "it serves")
    wait_until(lambda: server.ask("GET", KEYS[0]) == b"last", "its keys are there")
    for key in KEYS[1:]:
        assert server.ask("GET", key) == b"v" + key
        assert server.ask("APPEND", key, "!") == len(key) + 2
    wait_until(lambda: server.ask("DBSIZE") == len(KEYS), "each key is counted once")
    assert server.ask("KRAFT", "MOVES") == []
    number = server.order("MOVE", "SLOTS", str(SLOT), str(SLOT), "TO", "2")
    assert isinstance(number, int), number
    wait_until(lambda: server.ask("KRAFT", "MOVES") == [], "the slot moves on")
    assert server.ask("GET", KEYS[0]) == b"last"
