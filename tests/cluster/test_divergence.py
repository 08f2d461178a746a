"""A replica whose data was changed behind its back: refused at the start, or found and healed."""

import subprocess
import sys
from pathlib import Path

import pytest

from tests.cluster.harness import Cluster, Server, wait_until
from tests.cluster.wire import Refusal

pytestmark = pytest.mark.slow

# Checkpoints, and with them comparisons, come by command only: no forgery is found before the test looks.
SNAPSHOT = {"checkpoint_interval": "0s", "keep_entries": 0, "keep_bytes": 0}
FORGE = Path(__file__).with_name("forge.py")


@pytest.fixture
def checkpointed(make_cluster) -> Cluster:
    """Three nodes that hold `needle` in a checkpoint, and no log that goes back to it."""
    cluster: Cluster = make_cluster(snapshot=SNAPSHOT)
    cluster.start()
    assert cluster["K1"].ask("SET", "needle", "right" * 20) == "OK"
    index = cluster.order("SNAPSHOT")
    assert isinstance(index, int)
    wait_until(
        lambda: all(each.group().get("checkpoint_index", 0) >= index for each in cluster), "all have it"
    )
    wait_until(lambda: all(each.first_index() > 3 for each in cluster), "the logs are cut")
    return cluster


def state_file(server: Server) -> Path:
    """The one that counts: there is one only while no snapshot arrives."""
    [path] = server.data.glob("state-0-*.db")
    return path


def test_a_flipped_bit_in_the_data_is_refused_at_the_start(checkpointed):
    """With the way out, and without harm to the others."""
    damaged = checkpointed.followers()[0]
    damaged.terminate()
    path = state_file(damaged)
    content = bytearray(path.read_bytes())
    content[content.index(b"rightright") + 3] ^= 1
    path.write_bytes(content)
    damaged.start()
    assert damaged.exit_status() != 0
    said = damaged.output.splitlines()[-1]
    assert f"{path}: its rows are not those that it was left with" in said
    assert "move the directory aside and re-admit the node with KRAFT REPLACE" in said
    assert checkpointed.leader().ask("GET", "needle") == b"right" * 20


def stale(server: Server, key: str) -> object:
    """What this replica has of its own."""
    with server.client() as client:
        assert client.call("READONLY") == "OK"
        return client.call("GET", key)


def refuses_readers(server: Server) -> bool:
    """Whether it answers no reader, whatever he would be content with."""
    answers = [server.ask("GET", "needle"), stale(server, "needle")]
    return all(isinstance(each, Refusal) and each.prefix == "CLUSTERDOWN" for each in answers)


def restart(server: Server) -> None:
    """In order, and wait until it is back and hears a leader."""
    server.terminate()
    server.start()
    wait_until(lambda: server.group().get("leader"), f"{server.id} is back")


def test_a_consistent_forgery_is_found_fenced_and_healed(checkpointed):
    """The odd one serves no reader from then on, also after a restart, until it gets a copy."""
    forged = checkpointed.followers()[0]
    forged.terminate()
    forge(forged)
    forged.start()
    wait_until(lambda: forged.group().get("leader"), f"{forged.id} is back")

    found = {server.id: "different" if server is forged else "equal" for server in checkpointed}
    wait_until(lambda: checkpointed.verify() == found, "KRAFT VERIFY tells who it is")
    wait_until(lambda: forged.group().get("fenced"), "it is fenced")
    assert refuses_readers(forged)
    wait_until(lambda: f"KRAFT RESEED {forged.id}" in forged.problem(), "it names the way out")
    restart(forged)
    wait_until(lambda: forged.group().get("fenced"), "it is fenced still")
    assert refuses_readers(forged)
    assert checkpointed.leader().ask("GET", "needle") == b"right" * 20

    assert checkpointed.order("RESEED", forged.id) == "OK"
    wait_until(lambda: forged.group().get("fenced") is False, "it is healed")
    assert forged.ask("GET", "needle") == b"right" * 20
    checkpointed.wait_equal()
    restart(forged)
    wait_until(lambda: forged.group().get("fenced") is False, "it is healed still")
    assert forged.ask("GET", "needle") == b"right" * 20
    checkpointed.wait_equal()


def forge(server: Server) -> None:
    """Change a value in the data of a node that is stopped, so that it cannot know."""
    subprocess.run([sys.executable, FORGE, state_file(server), "needle", "wrong" * 20], check=True)


def test_a_leader_that_is_found_wrong_leads_no_longer(checkpointed):
    """Two that differ cannot tell who is right. The third one decides, and a wrong leader hands over."""
    first = checkpointed.leader()
    forged, third = checkpointed.followers()
    for server in (forged, third, first):  # the first leader too: it knows what the third one has
        server.terminate()
    forge(forged)
    forged.start()
    first.start()
    checkpointed.wait_serving(forged, first)

    def handed_over() -> bool:
        return checkpointed.leader() is forged or checkpointed.order("TRANSFER", forged.id) == "OK"

    wait_until(handed_over, "it leads")
    assert stale(forged, "needle") == b"wrong" * 20

    third.start()
    wait_until(lambda: forged.group().get("fenced"), "it is fenced")
    wait_until(lambda: checkpointed.leader() is not forged, "another one leads")
    assert refuses_readers(forged)
    assert checkpointed.leader().ask("GET", "needle") == b"right" * 20
    assert checkpointed.order("RESEED", forged.id) == "OK"
    wait_until(lambda: forged.group().get("fenced") is False, "it is healed")
    checkpointed.wait_equal()
    assert forged.ask("GET", "needle") == b"right" * 20
