"""Strangers on the peer port of real nodes: they keep no member away, and are shown nothing."""

import collections
import contextlib
import socket
import threading
import time
from concurrent.futures import ThreadPoolExecutor

import pytest

from kraft.peerwire import hello as greetings
from kraft.peerwire.frames import GREETING, frame
from kraft.peerwire.hello import NONCE_BYTES, Challenge, Greeting, Hello, Proof, Welcome
from tests.cluster.harness import wait_until

pytestmark = pytest.mark.slow

SECRET = b"for tests only, thirty-two bytes\n"
STRANGERS_PER_SECOND = 250  # on each port, when a member had to wait for half a minute
ATTEMPTS_MAX = 4  # to dial a peer, whatever the speed of the machine: the kernel may drop a connection


@pytest.fixture
def secret(tmp_path):
    path = tmp_path / "secret"
    path.write_bytes(SECRET)
    path.chmod(0o600)
    return str(path)


@pytest.fixture
def secured(make_cluster, secret):
    """Three nodes with a secret that serve writes."""
    cluster = make_cluster(3, cluster={"secret_file": secret})
    cluster.start()
    return cluster


class Strangers:
    """Connections to `ports` that are opened all the time, say `word`, and then nothing. Most stay open."""

    def __init__(self, ports, origin, word=b""):
        self.ports, self.origin, self.word = ports, origin, word
        self.opened = 0
        self._stop = threading.Event()
        self._thread = threading.Thread(target=self._run)

    def __enter__(self):
        self._thread.start()
        wait_until(lambda: self.opened > 500, "strangers are there")
        return self

    def __exit__(self, *_):
        self._stop.set()
        self._thread.join()

    def _run(self):
        began = time.monotonic()
        kept: collections.deque[socket.socket] = collections.deque()
        while not self._stop.wait(0.01):
            due = (time.monotonic() - began) * STRANGERS_PER_SECOND * len(self.ports)
            while self.opened < due and not self._stop.is_set():
                kept.append(self._connect(self.ports[self.opened % len(self.ports)]))
                self.opened += 1
            while len(kept) > 10 * STRANGERS_PER_SECOND:
                kept.popleft().close()
        for stranger in kept:
            stranger.close()

    def _connect(self, port):
        stranger = socket.socket()
        with contextlib.suppress(OSError):
            stranger.bind((self.origin, 0))
            stranger.settimeout(1)
            stranger.connect(("127.0.0.1", port))
            stranger.sendall(self.word)
        return stranger


@pytest.mark.parametrize("origin", ["127.0.0.1", "127.0.0.77"])
@pytest.mark.parametrize("word", [b"", Challenge(b"x" * NONCE_BYTES)])
def test_a_restarted_member_has_its_links_at_once_among_strangers(secured, origin, word):
    """The strangers have the address of the members, as with NAT, or another; they are silent or greet."""
    data = frame(GREETING, 0, greetings.encode(word)) if word else b""
    returning = secured["K1"]  # has the smallest id, so it dials the others
    returning.terminate()
    secured.wait_serving(secured["K2"], secured["K3"])
    with Strangers([secured["K2"].peer_port, secured["K3"].peer_port], origin, data):
        before = len(returning.events("peer_connected"))
        returning.start()
        wait_until(lambda: len(returning.events("peer_connected")) >= before + 2, "both links are open", 60)
    failed = [event["attempts"] for event in returning.events("peer_unreachable")]
    assert max(failed, default=0) <= ATTEMPTS_MAX
    secured.wait_serving()


def heard_by_each(*strangers):
    """What nodes say to strangers who come at the same time, each given as the arguments of `heard`."""
    with ThreadPoolExecutor(len(strangers)) as pool:
        return list(pool.map(lambda each: heard(*each), strangers))


def heard(port, *words):
    """All that a node says to these greetings of a stranger, and to silence."""
    with socket.create_connection(("127.0.0.1", port), 30) as stranger:
        for word in words:
            stranger.sendall(frame(GREETING, 0, greetings.encode(word)))
        answer = b""
        with contextlib.suppress(ConnectionError):
            while data := stranger.recv(65_536):
                answer += data
        return answer


STRANGER = Hello("K9", "9" * 32, nonce=b"x" * NONCE_BYTES, auth="secret", session=1, starts=1)
WRONG = Proof(b"x" * 32)
ATTEMPTS: dict[str, list[Greeting]] = {
    "silence": [],
    "a challenge": [Challenge(b"x" * NONCE_BYTES)],
    "a challenge and a wrong proof": [Challenge(b"x" * NONCE_BYTES), WRONG],
    "a hello": [STRANGER],
    "a hello and a wrong proof": [STRANGER, WRONG],
    "a hello without a secret": [Hello("K9", "9" * 32, nonce=b"x" * NONCE_BYTES)],
    "the hello of a member": [Hello("K1", "1" * 32, nonce=b"x" * NONCE_BYTES, auth="secret")],
    "a proof": [WRONG],
    "a welcome": [Welcome()],
}


@pytest.mark.parametrize("words", ATTEMPTS.values(), ids=ATTEMPTS)
def test_a_stranger_is_shown_nothing(shared_secured, words):
    """Neither ids, nor incarnations, nor the cluster's id, nor addresses: before it proves the secret."""
    cluster, known = shared_secured
    for answer in heard_by_each(*[(server.peer_port, *words) for server in cluster]):
        assert [text for text in known if text.encode() in answer] == []
        assert len(answer) < 200


@pytest.fixture(scope="module")
def shared_secured(tmp_path_factory):
    """Three nodes with a secret, and all that only those who know it may see."""
    from tests.cluster.harness import Cluster

    path = tmp_path_factory.mktemp("secret") / "secret"
    path.write_bytes(SECRET)
    path.chmod(0o600)
    cluster = Cluster(tmp_path_factory.mktemp("cluster"), 3, cluster={"secret_file": str(path)})
    cluster.start()
    wait_until(
        lambda: all((each.status() or {}).get("machine_version", 0) >= 2 for each in cluster), "raised"
    )
    known = ["K2", "K3"]
    for each in cluster:
        status = each.status() or {}
        known += [status["cluster"], status["incarnation"], f"127.0.0.1:{each.peer_port}"]
        known += [member[name] for member in status["members"] for name in ("peer", "client", "http")]
    yield cluster, known
    cluster.close()


def test_a_node_that_waits_for_its_cluster_shows_nothing_but_its_id(make_cluster, secret):
    """It must let nodes of an earlier release prove themselves, which need its id for that."""
    cluster = make_cluster(3, cluster={"secret_file": secret})
    alone = cluster["K2"]
    alone.start()
    wait_until(lambda: alone.events("node_started"), "it waits")
    status = wait_until(alone.status, "it has a status")

    for answer in heard_by_each(*[(alone.peer_port, *words) for words in ATTEMPTS.values()]):
        for text in (status["incarnation"], f":{alone.peer_port}", f":{alone.client_port}"):
            assert text.encode() not in answer
