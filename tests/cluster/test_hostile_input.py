"""Bad bytes on both ports: a clear error or a close, flat memory, and nobody else disturbed."""

import random
import socket
import threading
import time

import pytest

from tests.cluster.harness import wait_until
from tests.cluster.wire import Client, Refusal, encode

pytestmark = pytest.mark.slow

MIB = 1 << 20
GROWTH_MAX_BYTES = 40 * MIB  # resident memory; what is sent here would be many times that, if it were kept
UNREAD_MAX_BYTES = 300 * MIB  # a node at rest, and twice the 64 MiB that one connection may leave unread
DISTURBANCE_MAX_SECONDS = 1.0


@pytest.fixture
def undisturbed(shared_cluster):
    """While the test runs, an orderly client of every node is answered in time, and no leader changes."""
    stop, slowest, wrong = threading.Event(), [0.0], []

    def write(server):
        with server.client() as client:
            while not stop.is_set():
                started = time.monotonic()
                if client.call("SET", f"orderly:{server.id}", "1") != "OK":
                    wrong.append(server.id)
                slowest[0] = max(slowest[0], time.monotonic() - started)

    before = (shared_cluster.leader().id, shared_cluster.leader().group()["term"])
    threads = [threading.Thread(target=write, args=(server,)) for server in shared_cluster]
    for thread in threads:
        thread.start()
    yield
    stop.set()
    for thread in threads:
        thread.join()
    assert wrong == []
    assert slowest[0] < DISTURBANCE_MAX_SECONDS
    assert (shared_cluster.leader().id, shared_cluster.leader().group()["term"]) == before


@pytest.fixture
def victim(shared_cluster, undisturbed):
    """A node whose memory must not have grown by the end of the test."""
    server = shared_cluster.leader()
    before = server.resident_bytes()
    yield server
    wait_until(lambda: server.resident_bytes() - before < GROWTH_MAX_BYTES, "memory is as it was", 10)


def flood(port, data, limit_bytes):
    """Send `data` over and over until the other side closes or the limit is reached; whether it closed."""
    with socket.create_connection(("127.0.0.1", port), 10) as connection:
        try:
            for _ in range(limit_bytes // len(data)):
                connection.sendall(data)
            connection.shutdown(socket.SHUT_WR)
            while connection.recv(MIB):
                pass
        except ConnectionError:
            return True
        except TimeoutError:
            return False
    return True


def test_requests_byte_by_byte(victim):
    """However a request is cut, its answer is the same."""
    with victim.client() as client:
        for byte in encode("SET", "bytes", "1\r\n2") + b"get bytes\r\n" + encode("GET", "bytes"):
            client.send(bytes([byte]))
        assert [client.reply() for _ in range(3)] == ["OK", b"1\r\n2", b"1\r\n2"]


@pytest.mark.parametrize(
    ("sent", "said"),
    [
        (b"*-5\r\n*99999999999\r\n", "invalid multibulk length"),
        (b"*1000000000\r\n", "invalid multibulk length"),
        (b"*2\r\n$3\r\nGET\r\n$2147483647\r\n", "invalid bulk length"),
        (b"*2\r\n$3\r\nGET\r\n$-1\r\n", "invalid bulk length"),
        (b"*2\r\n$3\r\nGET\r\nPING\r\n", "expected '$', got 'P'"),
        (b'set a "unbalanced\r\n', "unbalanced quotes in request"),
        (b"x" * (1 << 17), "too big inline request"),
    ],
)
def test_a_protocol_error_is_told_and_closes(victim, sent, said):
    """The error names the fault; then the connection ends."""
    with victim.client() as client:
        client.send(sent)
        answer = client.reply()
        assert isinstance(answer, Refusal)
        assert answer.startswith("ERR Protocol error: ")
        assert said in answer
        assert client.closed_by_server()


def test_a_request_over_the_limits_is_refused_and_the_connection_lives(victim):
    """Key and value limits are replies, not disconnects."""
    with victim.client() as client:
        assert "key exceeds limit" in client.call("SET", b"k" * 5000, "1")
        assert "value exceeds limit" in client.call("SET", "k", b"v" * (MIB + 1))
        assert client.call("PING") == "PONG"


def test_announced_lengths_cost_no_memory(victim):
    """A hundred connections announce the largest request and send little of it."""
    clients = [victim.client() for _ in range(100)]
    before = victim.resident_bytes()
    for client in clients:
        client.send(b"*3\r\n$3\r\nSET\r\n$1\r\nk\r\n$1048576\r\n" + b"v" * 1000)
    assert victim.ask("PING") == "PONG"
    assert victim.resident_bytes() - before < GROWTH_MAX_BYTES
    for client in clients:
        client.close()


def test_a_client_that_never_reads_is_not_kept_in_memory(victim):
    """Ten gigabytes of replies are asked for and not read: some wait, up to a bound, the rest is not made."""
    assert victim.ask("SET", "large", b"v" * 500_000) == "OK"
    with Client(victim.client_port, timeout=2) as client:
        try:
            for _ in range(1000):
                client.send(encode("GET", "large") * 20)
        except OSError:
            pass  # paused for good, or closed
        with victim.client() as other:
            highest = 0
            for _ in range(300):
                assert other.call("GET", "large") is not None
                highest = max(highest, victim.resident_bytes())
        assert highest < UNREAD_MAX_BYTES


@pytest.mark.parametrize("port", ["client_port", "peer_port"])
@pytest.mark.parametrize("seed", range(3))
def test_garbage(victim, port, seed):
    """Random bytes, megabytes of them."""
    garbage = random.Random(seed).randbytes(64 << 10)
    assert flood(getattr(victim, port), garbage, 64 * MIB)


@pytest.mark.parametrize("byte", [b"\x00", b"\xff", b"*", b"$", b"A"])
def test_one_byte_without_an_end_on_the_peer_port(victim, byte):
    """Whatever length such bytes announce, it is not believed."""
    assert flood(victim.peer_port, byte * (64 << 10), 64 * MIB)


def test_garbage_byte_by_byte_on_the_peer_port(victim):
    """A stranger that is slow is still a stranger."""
    with Client(victim.peer_port, timeout=30) as stranger:
        try:
            for byte in random.Random(1).randbytes(2000):
                stranger.send(bytes([byte]))
        except ConnectionError:
            return
        assert stranger.closed_by_server()


def test_silence_on_the_peer_port_is_not_kept(victim):
    """A connection that never says hello is closed in time."""
    with Client(victim.peer_port, timeout=30) as stranger:
        assert stranger.closed_by_server()


def test_a_client_request_on_the_peer_port_is_closed(victim):
    """Ports are easily mixed up."""
    with Client(victim.peer_port, timeout=30) as stranger:
        stranger.send(encode("PING"))
        assert stranger.closed_by_server()
