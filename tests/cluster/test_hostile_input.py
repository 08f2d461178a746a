"""Bad bytes on every port: a clear error or a close, flat memory, and nobody else disturbed."""

import http.client
import random
import socket
import ssl
import subprocess
import threading
import time
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack, suppress

import pytest

from kraft.web.limits import SUBSCRIBERS_MAX
from tests.cluster.harness import Cluster, crowding, wait_until
from tests.cluster.load import PAUSE_SECONDS
from tests.cluster.wire import Client, Refusal, encode

pytestmark = pytest.mark.slow

MIB = 1 << 20
GROWTH_MAX_BYTES = 40 * MIB  # resident memory; what is sent here would be many times that, if it were kept
UNREAD_MAX_BYTES = 300 * MIB  # a node at rest, and twice the 64 MiB that one connection may leave unread
DISTURBANCE_MAX_SECONDS = 1.0
ANSWER_SECONDS_MAX = 5.0  # the deadline of a silent connection is twice as long


@pytest.fixture(scope="module")
def shared_cluster(tmp_path_factory):
    """Three nodes that keep their leader also on a busy machine, unless somebody disturbs it for long."""
    cluster = Cluster(tmp_path_factory.mktemp("cluster"), raft={"election_timeout": "3s"})
    try:
        cluster.start()
        yield cluster
    finally:
        cluster.close()


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
                stop.wait(PAUSE_SECONDS)

    before = (shared_cluster.leader().id, shared_cluster.leader().group()["term"])
    threads = [threading.Thread(target=write, args=(server,)) for server in shared_cluster]
    for thread in threads:
        thread.start()
    yield
    stop.set()
    for thread in threads:
        thread.join()
    assert wrong == []
    assert slowest[0] < DISTURBANCE_MAX_SECONDS * crowding()
    assert (shared_cluster.leader().id, shared_cluster.leader().group()["term"]) == before


@pytest.fixture
def victim(shared_cluster, undisturbed):
    """A node whose memory must not have grown by the end of the test."""
    server = shared_cluster.leader()
    before = server.resident_bytes()
    yield server
    wait_until(lambda: server.resident_bytes() - before < GROWTH_MAX_BYTES, "memory is as it was")


def flood(port, data, limit_bytes):
    """Send `data` over and over until the other side closes or the limit is reached; whether it closed."""
    with socket.create_connection(("127.0.0.1", port), 30) as connection:
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


@pytest.mark.parametrize("port", ["client_port", "http_port", "peer_port"])
def test_tls_on_a_port_without_it(victim, port):
    """Nothing gets in, whoever tries hears it at once, and the log has a line at most."""
    context = ssl.create_default_context()
    before, began = len(victim.output.splitlines()), time.monotonic()
    for _ in range(30):
        connection = socket.create_connection(("127.0.0.1", getattr(victim, port)), 30)
        with connection, pytest.raises(OSError, match=r"SSL|reset|EOF"):
            context.wrap_socket(connection, server_hostname="127.0.0.1")
    assert time.monotonic() - began < ANSWER_SECONDS_MAX * crowding()
    assert len(victim.output.splitlines()) - before <= 2
    assert victim.ask("PING") == "PONG"


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


# -- the HTTP port


def get(server, path, timeout=30.0):
    """Status and body of one request."""
    connection = http.client.HTTPConnection("127.0.0.1", server.http_port, timeout=timeout)
    try:
        connection.request("GET", path)
        answer = connection.getresponse()
        return answer.status, answer.read()
    finally:
        connection.close()


def said(server, sent, *, shut=False, timeout=30.0):
    """All that the HTTP port says to a client that sends this."""
    with socket.create_connection(("127.0.0.1", server.http_port), timeout) as connection:
        connection.sendall(sent)
        if shut:
            connection.shutdown(socket.SHUT_WR)
        answer = b""
        while data := connection.recv(MIB):
            answer += data
        return answer


def request(path, headers=b"", method=b"GET"):
    return b"%s %s HTTP/1.1\r\nHost: k\r\n%s\r\n" % (method, path, headers)


LAST = b"Connection: close\r\n"


@pytest.mark.parametrize("path", [b"/metrics", b"/", b"/status?full", b"/glossary"])
def test_a_pipeline_on_the_http_port(victim, path):
    """300 requests in one packet are all answered, while other clients are answered as ever."""
    answer = said(victim, request(path) * 299 + request(path, LAST), timeout=60)
    assert answer.count(b"HTTP/1.1 200 OK") == 300


def test_pipelines_of_clients_that_leave(victim):
    """A client that is gone costs nothing more: its 300 scrapes are not made."""
    for _ in range(20):
        with socket.create_connection(("127.0.0.1", victim.http_port), 30) as connection:
            connection.sendall(request(b"/metrics") * 300)
    started = time.monotonic()
    assert get(victim, "/livez") == (200, b"ok\n")
    assert time.monotonic() - started < DISTURBANCE_MAX_SECONDS * crowding()
    assert get(victim, "/metrics")[0] == 200  # made for them too, and then it is known that they are gone


def test_many_scrape_at_once(victim):
    """Forty clients without a pause share what is rendered."""
    stop = time.monotonic() + 3

    def scrape():
        while time.monotonic() < stop:
            assert get(victim, "/metrics")[0] == 200

    with ThreadPoolExecutor(40) as pool:
        for each in [pool.submit(scrape) for _ in range(40)]:
            each.result()


def test_silent_connections_keep_no_health_check_away(victim):
    """More of them than there are places, some in the middle of a head, and nobody waits for a deadline."""
    with ExitStack() as silent:
        for path in ("/livez", "/readyz", "/metrics", "/livez"):
            for number in range(60):
                connection = socket.create_connection(("127.0.0.1", victim.http_port), 30)
                silent.enter_context(connection)
                with suppress(ConnectionError):  # it may have given way already
                    connection.sendall(b"GET /livez HTTP/1.1\r\nHo" if number % 2 else b"")
            started = time.monotonic()
            assert get(victim, path)[0] == 200
            assert time.monotonic() - started < ANSWER_SECONDS_MAX * crowding()


def test_health_checks_within_a_burst_of_connections_are_answered(shared_cluster):
    """Of 400 connections that wait to be accepted at once, every tenth asks; the others are silent."""
    server = shared_cluster.followers()[0]
    with ExitStack() as stack:
        server.pause()
        try:
            burst = []
            for number in range(400):
                burst.append(socket.create_connection(("127.0.0.1", server.http_port), 30))
                stack.enter_context(burst[-1])
                if number % 10 == 0:
                    burst[-1].sendall(request((b"/livez", b"/readyz")[number % 20 // 10], LAST))
        finally:
            server.resume()
        for each in burst[::10]:
            each.settimeout(60)
            assert each.recv(100).startswith(b"HTTP/1.1 200 OK")


def test_pages_that_are_left_make_room_for_others(victim):
    """A browser that is gone is noticed by the next events that it does not take."""

    def subscribed():
        connection = socket.create_connection(("127.0.0.1", victim.http_port), 30)
        connection.sendall(request(b"/events"))
        return connection, connection.recv(12) == b"HTTP/1.1 200"

    for _ in range(SUBSCRIBERS_MAX):
        connection, served = subscribed()
        connection.close()
        assert served

    def room():
        connection, served = subscribed()
        connection.close()
        return served

    wait_until(room, "a page can subscribe")


def test_a_client_that_never_reads_its_answers(victim):
    """It gets no more than fits into the buffers of the two systems."""
    with socket.create_connection(("127.0.0.1", victim.http_port), 2) as connection:
        connection.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)
        try:
            for _ in range(1000):
                connection.sendall(request(b"/metrics") * 300)
        except TimeoutError:
            pass  # the node reads no more
        else:
            pytest.fail("everything was read")
        assert get(victim, "/livez") == (200, b"ok\n")


@pytest.mark.parametrize("end", [b"\r\n", b"\n"])
def test_a_client_that_closes_its_sending_side_is_answered(victim, end):
    """And one that sends a part of a head is told what is missing."""
    for version in (b"HTTP/1.0", b"HTTP/1.1"):
        answer = said(victim, b"GET /metrics %s%s%s" % (version, end, end), shut=True)
        assert answer.startswith(b"HTTP/1")
        assert b"200 OK" in answer
        assert b"kraft_raft_term" in answer
    assert b"400 Bad Request" in said(victim, b"GET /metrics HTTP/1.0" + end, shut=True)


def test_nc_gets_an_answer(victim, need):
    """The real program, with and without -N."""
    nc = need("nc")
    for options in (["-N"], []):
        told = subprocess.run(
            [nc, *options, "127.0.0.1", str(victim.http_port)],
            input=b"GET /readyz HTTP/1.0\n\n",
            capture_output=True,
            timeout=20,
        )
        assert told.stdout.endswith(b"ok\n"), (options, told)


def test_a_large_body_is_refused_with_an_answer(victim):
    """The client sees it, although it is in the middle of sending."""
    head = b"POST /status HTTP/1.1\r\nHost: k\r\nContent-Length: 900000\r\n\r\n"
    assert said(victim, head + b"x" * 900_000, shut=True).startswith(b"HTTP/1.1 413 Content Too Large")
    assert flood(victim.http_port, head + b"x" * MIB, 64 * MIB)


@pytest.mark.parametrize(
    ("sent", "code"),
    [
        (request(b"/metrics", b"Accept: text/plain;q=\xe9\r\n" + LAST), 200),
        (request(b"*", LAST, b"OPTIONS"), 405),
        (request(b"*", LAST), 404),
        (request(b"/livez", LAST, b"TRACE"), 405),
        (request(b"/%ff?\xe9", LAST), 400),
        (request(b"/metrics", b"Accept-Encoding: gzip;q=\xff\r\nCookie: \xff=\xfe\r\n" + LAST), 200),
        (b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n", 400),
        (encode("PING"), 400),
    ],
)
def test_strange_requests_get_plain_answers(victim, sent, code):
    """Of this port, in one line."""
    head, _, body = said(victim, sent, shut=True).partition(b"\r\n\r\n")
    assert int(head.split()[1]) == code
    assert b"server: kraft" in head.lower()
    assert body.count(b"\n") == 1 or code == 200


@pytest.mark.parametrize("seed", range(3))
def test_garbage_on_the_http_port(victim, seed):
    """Random bytes, alone and in the place of each part of a request."""
    dice = random.Random(seed)
    assert flood(victim.http_port, dice.randbytes(64 << 10), 8 * MIB)
    for _ in range(100):
        parts = [b"GET", b" ", b"/metrics", b" HTTP/1.1", b"\r\n", b"Accept: */*", b"\r\n", b"\r\n"]
        parts[dice.randrange(len(parts))] = dice.randbytes(dice.randrange(40))
        said(victim, b"".join(parts), shut=True)


def test_nothing_above_left_a_traceback(shared_cluster):
    """The last test of this module: no node has logged one, nor an error."""
    for server in shared_cluster:
        assert "Traceback" not in server.output
        assert [line for line in server.output.splitlines() if '"level":"error"' in line] == []
