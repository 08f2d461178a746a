"""A follower that the log cannot serve any more gets a copy of the state, whatever is killed meanwhile."""

import random

import pytest

from tests.cluster.harness import Cluster, Server, wait_until
from tests.cluster.load import Load
from tests.cluster.wire import encode

pytestmark = pytest.mark.slow

# Checkpoints come all the time, nothing of the log before them is kept, and a copy takes a few seconds.
SNAPSHOT = {
    "checkpoint_entries": 100,
    "keep_entries": 0,
    "keep_bytes": 0,
    "chunk_bytes": 4096,
    "bytes_per_second": 150_000,
}
KEYS, VALUE_BYTES = 200, 1000


def fill(server: Server) -> None:
    """About 200 KB that a snapshot must carry."""
    with server.client() as client:
        client.send(b"".join(encode("SET", f"filler:{n}", b"%d" % n * VALUE_BYTES) for n in range(KEYS)))
        assert [client.reply() for _ in range(KEYS)] == ["OK"] * KEYS


def leave_behind(cluster: Cluster, victim: Server, load: Load) -> None:
    """Kill a follower, and go on until no log reaches back to where it stopped."""
    victim.kill()
    last = int(cluster.leader().group()["last_index"])  # it has nothing beyond
    others = [server for server in cluster if server is not victim]
    load.advance(100)
    wait_until(lambda: all(each.first_index() > last + 1 for each in others), "the logs are cut")


def received(server: Server) -> float:
    """Which part of a snapshot has arrived, from 0 to 1."""
    for transfer in server.group().get("transfers", []):
        if transfer["direction"] == "receive":
            return float(transfer["done_bytes"] / max(1, transfer["size_bytes"]))
    return 0.0


def wait_received(server: Server, part: float) -> None:
    """Until so much of it has arrived."""
    wait_until(lambda: received(server) >= part, f"{part:.0%} have arrived")


def has_received(server: Server) -> bool:
    """Whether a snapshot has arrived as a whole."""
    return any(event["outcome"] == "done" for event in server.events("snapshot_receive_ended"))


def kill_at_random(cluster: Cluster, victim: Server, load: Load, dice: random.Random) -> None:
    """Kill and restart both ends of the transfer in a random order, each at a random point of it."""
    ends = ["receiver", "sender", dice.choice(["receiver", "sender"])]
    dice.shuffle(ends)
    for end in ends:
        wait_received(victim, dice.uniform(0.01, 0.5))
        killed = victim if end == "receiver" else cluster.leader()
        killed.kill()
        killed.start()


def catch_up_despite_kills(cluster: Cluster, seed: int) -> None:
    dice = random.Random(seed)
    cluster.start()
    fill(cluster["K1"])
    victim = dice.choice(cluster.followers())
    with Load(list(cluster), writers=4) as load:
        leave_behind(cluster, victim, load)
        victim.start()
        kill_at_random(cluster, victim, load, dice)
        cluster.wait_serving()
        wait_until(lambda: has_received(victim), "all of it has arrived")
        load.advance(100)
    cluster.wait_equal()
    for server in cluster:
        load.check(server)
        assert server.ask("GET", f"filler:{KEYS - 1}") == b"%d" % (KEYS - 1) * VALUE_BYTES


def test_a_follower_past_compaction_catches_up_while_both_ends_are_killed(make_cluster):
    """Sender, who leads, and receiver die at random moments of the transfer; nothing acknowledged is lost."""
    catch_up_despite_kills(make_cluster(snapshot=SNAPSHOT), seed=1)


@pytest.mark.endurance
@pytest.mark.parametrize("seed", range(2, 22))
def test_kills_at_other_moments(make_cluster, seed):
    """The same with other dice."""
    catch_up_despite_kills(make_cluster(snapshot=SNAPSHOT), seed)
