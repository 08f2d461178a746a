"""Clusters whose links are slower than their clients deliver what the links carry, and repeat nothing."""

import os
import sys
import threading
import time
import urllib.request
from collections import Counter
from collections.abc import Iterator
from itertools import pairwise
from math import sqrt
from statistics import mean, stdev

import pytest

from tests.cluster.conftest import MakeCluster
from tests.cluster.harness import Cluster, Server, crowding, wait_until
from tests.cluster.namespace import MBIT, WIDE, CannotShape, Namespace
from tests.cluster.wire import Client, Refusal, encode

pytestmark = [pytest.mark.slow, pytest.mark.timeout(300)]

# Of a router before a link. Where packets wait longer than raft.election_timeout, no heartbeat is in time.
BUFFER_BYTES, QUEUE_SECONDS_MAX = 256 << 10, 0.25
MIB = 1 << 20
LARGEST_BYTES = 8 * MIB  # the maximum of limits.value_bytes
WRITE_BYTES = 12  # of a write in an entry, in addition to its value: key, kind, lengths
ROUNDS = 8  # of a load that the machine may bound, so that other work on it counts for both
SHARE = 0.5  # of the link, that is used on a machine that has other work
SHARE_QUIET = 0.8  # with `tox -e links`


class NarrowCluster:
    """Three nodes in a namespace; K1 leads, and only it can dial others: their peer ports name its links."""

    def __init__(self, cluster: Cluster, namespace: Namespace) -> None:
        self.nodes = cluster
        self._namespace = namespace
        self.narrow(WIDE)
        namespace.refuse(cluster["K1"].peer_port)
        cluster.start()

        def leads() -> bool:
            if cluster.leader().id == "K1":
                return True
            cluster.order("TRANSFER", "K1")
            return False

        wait_until(leads, "K1 leads")

    def narrow(self, bytes_per_second: float, *names: str) -> None:
        """Let the links to these nodes, or to all but K1, carry so much from now on."""
        for name in names or ("K2", "K3"):
            buffer_bytes = min(BUFFER_BYTES, int(bytes_per_second * QUEUE_SECONDS_MAX))
            self._namespace.shape(self.nodes[name].peer_port, bytes_per_second, buffer_bytes)

    @property
    def carried(self) -> int:
        """Bytes that the links from K1 have carried."""
        return sum(self._namespace.carried(self.nodes[name].peer_port) for name in ("K2", "K3"))


class Clients:
    """Clients that SET values of one size for the length of a `with` block, up to `depth` at a time each."""

    def __init__(self, server: Server, count: int, size: int, depth: int = 1) -> None:
        self._server = server
        self._size = size
        self._depth = depth
        self.done: list[float] = []  # monotonic seconds of each acknowledged SET
        self.refusals: Counter[str] = Counter()  # by their texts
        self._stop = threading.Event()
        self._threads = [threading.Thread(target=self._run, args=(n,)) for n in range(count)]

    def _run(self, number: int) -> None:
        """Half of the pipeline is always under way, so that clients do not wait for one another's ends."""
        part = max(1, self._depth // 2)
        requests = encode("SET", f"client:{number}", b"x" * self._size) * part
        with Client(self._server.client_port, 60.0) as client:
            if self._depth > 1:
                client.send(requests)
            while not self._stop.is_set():
                client.send(requests)
                self._read(client, part)
            if self._depth > 1:
                self._read(client, part)

    def _read(self, client: Client, count: int) -> None:
        for _ in range(count):
            reply = client.reply()
            if isinstance(reply, Refusal):
                self.refusals[str(reply)] += 1
            else:
                self.done.append(time.monotonic())

    def __enter__(self) -> "Clients":
        for thread in self._threads:
            thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._stop.set()
        for thread in self._threads:
            thread.join()

    def rate(self, seconds: float) -> float:
        """Bytes of acknowledged writes per second, over `seconds` from now."""
        before, begun = len(self.done), time.monotonic()
        time.sleep(seconds)
        return (len(self.done) - before) * (self._size + WRITE_BYTES) / (time.monotonic() - begun)


@pytest.fixture
def namespace() -> Iterator[Namespace]:
    """A network in which links can be narrow; the test runs inside of it."""
    try:
        with Namespace(f"kraft-links-{os.getpid()}") as namespace:
            yield namespace
    except CannotShape as missing:
        pytest.skip(f"needs {missing}")


@pytest.fixture
def narrow_cluster(namespace: Namespace, make_cluster: MakeCluster) -> NarrowCluster:
    """Three nodes whose links are still wide; K1 leads."""
    return NarrowCluster(make_cluster(), namespace)


def metric(server: Server, name: str) -> float:
    """The sum of a counter of a node."""
    with urllib.request.urlopen(f"http://127.0.0.1:{server.http_port}/metrics", timeout=30) as page:
        lines = page.read().decode().splitlines()
    return sum(float(line.rsplit(" ", 1)[1]) for line in lines if line.startswith(name))


def test_links_of_50_mbit_deliver_what_they_carry(narrow_cluster):
    """20 clients, values of 200 kB: every second copy of a value would halve what is left for the first."""
    narrow_cluster.narrow(50 * MBIT)
    leader = narrow_cluster.nodes["K1"]
    with Clients(leader, 20, 200_000) as clients:
        clients.rate(2)
        before = narrow_cluster.carried, len(clients.done)
        rate = clients.rate(10)
        bytes_sent, writes = narrow_cluster.carried - before[0], len(clients.done) - before[1]
    assert rate >= SHARE * 50 * MBIT, (rate, clients.refusals)
    assert bytes_sent <= 1.2 * 2 * writes * 200_000 + 2 * 1_000_000
    assert clients.refusals == {}
    assert narrow_cluster.nodes.leader() is leader
    assert metric(leader, "kraft_raft_resent_bytes_total") == 0


@pytest.mark.parametrize("missed", [20, pytest.param(127, marks=pytest.mark.links)])
def test_a_slow_follower_catches_up_and_holds_up_nobody(narrow_cluster, missed):
    """K3 has missed megabytes, its link carries 2 Mbit/s; its clients and the others are served meanwhile."""
    nodes = narrow_cluster.nodes
    leader, slow = nodes["K1"], nodes["K3"]
    slow.kill()
    with leader.client() as client:
        for number in range(missed):
            assert client.call("SET", f"missed:{number}", b"x" * 100_000) == "OK"
    narrow_cluster.narrow(2 * MBIT, "K3")
    slow.start()
    begun = time.monotonic()
    slow.wait_serving()
    slowest, answered = 0.0, 0
    with leader.client() as client, slow.client(30.0) as through_slow:
        while lag(leader, "K3"):
            assert time.monotonic() < begun + 50 + 2 * missed * 100_000 / (2 * MBIT), "K3 does not catch up"
            called = time.monotonic()
            assert client.call("SET", "meanwhile", b"x") == "OK"
            slowest = max(slowest, time.monotonic() - called)
            answered += through_slow.call("SET", "through", b"x") == "OK"
    assert time.monotonic() - begun > 0.7 * missed * 100_000 / (2 * MBIT), "the link was not narrow"
    assert slowest < 2.0 * crowding()
    assert answered
    assert nodes.leader() is leader
    assert metric(leader, "kraft_raft_resent_bytes_total") <= 4096


def test_what_the_links_cannot_carry_in_time_is_refused_and_never_uncertain(narrow_cluster):
    """20 clients of 100 kB keep links of 2 Mbit/s busy for 8 s each time, and a write may take 5 s."""
    narrow_cluster.narrow(2 * MBIT)
    with Clients(narrow_cluster.nodes["K1"], 20, 100_000) as clients:
        clients.rate(6)
        rate = clients.rate(10)
    assert rate >= SHARE * 2 * MBIT, (rate, clients.refusals)
    busy = "BUSY too many pending writes, try again later: full link to K2 and K3"
    assert set(clients.refusals) == {busy}


@pytest.mark.parametrize("asked", ["K1", "K2"])
def test_the_largest_value_is_committed_at_once_and_without_an_election(make_cluster, namespace, asked):
    """Over links of 100 Mbit/s; K1 leads, K2 forwards the value to it."""
    limits = {"value_bytes": LARGEST_BYTES, "request_bytes": LARGEST_BYTES + MIB}
    narrow = NarrowCluster(make_cluster(limits=limits), namespace)
    narrow.narrow(100 * MBIT)
    leader = narrow.nodes["K1"]
    term, before = leader.group()["term"], narrow.carried
    value = os.urandom(LARGEST_BYTES)
    with narrow.nodes[asked].client(30.0) as client:
        assert client.call("SET", "large", value) == "OK"
    with narrow.nodes["K3"].client(30.0) as client:
        assert client.call("GET", "large") == value
    wait_until(lambda: lag(leader, "K2") == lag(leader, "K3") == 0, "both followers have it")
    assert narrow.carried - before <= 1.1 * 2 * LARGEST_BYTES
    assert leader.group()["term"] == term
    assert metric(leader, "kraft_raft_resent_bytes_total") == 0


def test_a_large_request_of_many_values_is_committed_like_a_large_value(narrow_cluster):
    """MSET of 7 MB in one request, which is one entry."""
    narrow_cluster.narrow(100 * MBIT)
    leader = narrow_cluster.nodes["K1"]
    term = leader.group()["term"]
    pairs = [part for number in range(70) for part in (f"many:{number}", b"x" * 100_000)]
    with leader.client(30.0) as client:
        assert client.call("MSET", *pairs) == "OK"
    assert leader.group()["term"] == term
    assert metric(leader, "kraft_raft_resent_bytes_total") == 0


@pytest.mark.links
@pytest.mark.parametrize("size", [100, 1_000, 10_000, 100_000, 1_000_000])
@pytest.mark.parametrize("mbit", [2, 20, 50, 100])
def test_every_speed_and_size(make_cluster, namespace, mbit, size):
    """Four fifths of what the link carries, or of what the same load reaches on this machine with wide links
    before and after each round. The link becomes narrow with requests under way, which costs no election.

    Where the machine bounds the load, less is a failure only beyond the noise of the rounds: two standard
    errors, which other work on the machine makes large.
    """
    cluster = make_cluster(client={"write_timeout": "30s"})
    narrow = NarrowCluster(cluster, namespace)
    rate = mbit * MBIT
    count = max(2, min(20, int(rate / size)))  # a second of work for the link, if one at a time is enough
    depth = max(1, int(rate / size / count))
    term = cluster["K1"].group()["term"]
    with Clients(cluster["K1"], count, size, depth) as clients:
        clients.rate(1)
        wide = [clients.rate(3)]
        rounds = 1 if wide[0] > 3 * rate else ROUNDS
        found, carried, writes = [], 0.0, 0
        for _ in range(rounds):
            narrow.narrow(rate)
            clients.rate(max(3 / rounds, 2 * size / rate, 1.0))  # until the windows have followed
            sent, done = narrow.carried, len(clients.done)
            found.append(clients.rate(max(12.0, 12 * size / rate, 3.0 * rounds) / rounds))
            carried, writes = carried + narrow.carried - sent, writes + len(clients.done) - done
            narrow.narrow(WIDE)
            clients.rate(max(1.0, 2 * size / rate))  # for what has left for the narrow link
            wide.append(clients.rate(3))
    expected = [min(rate, (before + after) / 2) for before, after in pairwise(wide)]
    spare = [each - SHARE_QUIET * most for each, most in zip(found, expected, strict=True)]
    noise = 2 * stdev(spare) / sqrt(rounds) if rounds > 1 else 0.0
    share, unsure = mean(found) / mean(expected), noise / mean(expected)
    shares = f"{mean(found) / rate:.2f} of the link, {share:.2f} of what is possible (+-{unsure:.2f})"
    rates = f"narrow {in_mb(found)}, wide {in_mb(wide)} MB/s"
    sys.stdout.write(f"{mbit} Mbit/s, {size} bytes: {shares}; {rates}\n")
    assert cluster["K1"].group()["term"] == term
    assert clients.refusals == {}
    assert mean(spare) + noise >= 0
    assert carried <= 1.25 * 2 * writes * (size + WRITE_BYTES) + rounds * (4 * size + 500_000)
    assert metric(cluster["K1"], "kraft_raft_resent_bytes_total") == 0


def in_mb(rates: list[float]) -> str:
    return " ".join(f"{rate / 1e6:.2f}" for rate in rates)


def lag(leader: Server, peer: str) -> int | None:
    """The entries that `peer` lacks by the word of its leader; None until it answers."""
    for replica in leader.group().get("replicas", ()):
        if replica["id"] == peer and replica["last_contact_seconds"] < 1:
            return int(replica["lag_entries"])
    return None
