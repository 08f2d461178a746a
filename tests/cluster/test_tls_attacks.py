"""Attacks on ports of real nodes with TLS: nothing gets in, each kind is one line, others are served."""

import contextlib
import secrets
import socket
import ssl
import threading
import time
import warnings
from collections import Counter

import pytest

from kraft.peerwire.errors import HandshakeError, RefusedByPeer, WireError
from kraft.peerwire.frames import GREETING, FrameReader, frame
from kraft.peerwire.handshake import Handshake, HandshakeState
from kraft.peerwire.hello import Hello
from tests.cluster.certificates import Certificates, secure
from tests.cluster.conftest import _maker
from tests.cluster.harness import crowding, wait_until
from tests.cluster.wire import Client, encode

pytestmark = pytest.mark.slow

OPEN_AT_ONCE = 400
PORTS = ("client", "http", "peer")
PING = encode("PING")


@pytest.fixture(scope="module")
def certificates(tmp_path_factory):
    made = Certificates(tmp_path_factory.mktemp("certs"))
    for name in ("K1", "K2", "K3"):
        made.node(name)
    made.client("shop")
    made.client("expired", age=31)
    made.node("K3", file="K3-expired", age=31)
    made.node("K3", file="K3-elsewhere", cluster="elsewhere")
    made.revoke(made.client("revoked"), made.node("K3", file="K3-revoked"))
    return made


@pytest.fixture(scope="module")
def stranger(tmp_path_factory):
    """A CA that the nodes do not know."""
    made = Certificates(tmp_path_factory.mktemp("stranger"))
    made.client("shop")
    made.node("K3")
    return made


@pytest.fixture(scope="module")
def secured(tmp_path_factory, certificates):
    """Three nodes whose clients must show certificates."""
    for make in _maker(tmp_path_factory):
        cluster = make(3)
        asked = {"tls": "required", "certificates": "required"}
        secure(cluster, certificates, client=asked, http=asked)
        for server in cluster:
            server.security = certificates.context("shop")
        cluster.start()
        yield cluster


def trusting(certificates, own=None, name=""):
    """A context that takes what the nodes show, with a certificate of another folder."""
    context = certificates.context()
    if name:
        context.load_cert_chain(own.path(f"{name}.crt"), own.path(f"{name}.key"))
    return context


def attempt(port, context, data=PING):
    """What a connection with this context gets for `data`; an error in words."""
    try:
        with contextlib.ExitStack() as stack:
            opened = stack.enter_context(socket.create_connection(("127.0.0.1", port), 20))
            if context is not None:
                opened = stack.enter_context(context.wrap_socket(opened, server_hostname="127.0.0.1"))
            opened.sendall(data)
            return opened.recv(1000)
    except OSError as error:
        return str(error)


def old_versions(certificates, name):
    context = certificates.context(name)
    context.minimum_version = ssl.TLSVersion.MINIMUM_SUPPORTED
    context.set_ciphers("ALL:@SECLEVEL=0")
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", DeprecationWarning)  # that is the point
        context.maximum_version = ssl.TLSVersion.TLSv1_1
    return context


def weak_ciphers(certificates, name):
    context = certificates.context(name)
    context.maximum_version = ssl.TLSVersion.TLSv1_2
    context.set_ciphers("ECDHE-ECDSA-AES128-SHA256:ECDHE-ECDSA-AES256-SHA:AES128-SHA")
    return context


def refused_on(server, port):
    """The reasons in the log of a node, of one of its ports."""
    if port == "peer":
        return [each["reason"] for each in server.events("peer_refused")]
    return [each["reason"] for each in server.events("tls_refused") if each["port"] == port]


def is_refused(server, port, context, told, data=PING):
    """Attack until the reason is logged, which happens at most once in a few seconds; nothing gets in."""
    number = {"peer": server.peer_port, "client": server.client_port, "http": server.http_port}[port]
    before = len(refused_on(server, port))

    def is_told():
        answer = attempt(number, context(), data)
        assert not isinstance(answer, bytes) or b"PONG" not in answer
        assert not isinstance(answer, bytes) or b"200 OK" not in answer
        return any(told in reason for reason in refused_on(server, port)[before:])

    wait_until(is_told, f"{told} is logged by the {port} port")


CASES = {
    "no certificate": (lambda c, s, n: trusting(c), "it showed no certificate"),
    "expired": (lambda c, s, n: c.context(f"{n}expired"), "its certificate has expired"),
    "revoked": (lambda c, s, n: c.context(f"{n}revoked"), "its certificate is revoked"),
    "unknown CA": (
        lambda c, s, n: trusting(c, s, "K3" if n else "shop"),
        "its certificate was issued by a CA that is not in tls.ca",
    ),
    "old version": (lambda c, s, n: old_versions(c, "K3" if n else "shop"), "older than tls.minimum"),
    "weak cipher": (
        lambda c, s, n: weak_ciphers(c, "K3" if n else "shop"),
        "no cipher that is accepted here",
    ),
    "plain": (lambda c, s, n: None, "it does not speak TLS"),
}


@pytest.mark.parametrize("case", CASES)
@pytest.mark.parametrize("port", PORTS)
def test_nothing_gets_in(secured, certificates, stranger, port, case):
    make, told = CASES[case]
    data = b"GET /status HTTP/1.1\r\nhost: x\r\n\r\n" if port == "http" else PING
    prefix = "K3-" if port == "peer" else ""
    server = secured[
        ("K1", "K2")[list(CASES).index(case) % 2]
    ]  # each tells of a refused link once in 5 seconds
    is_refused(server, port, lambda: make(certificates, stranger, prefix), told, data)
    assert server.ask("PING") == "PONG"


def test_bytes_that_only_begin_like_tls(secured):
    """On every port."""
    for port in PORTS:
        is_refused(secured["K2"], port, lambda: None, "", b"\x16\x03\x01\x02\x00" + secrets.token_bytes(512))


def test_a_clients_certificate_and_another_clusters_open_no_link(secured, certificates):
    is_refused(secured["K1"], "peer", lambda: certificates.context("shop"), "is not that of a node")
    is_refused(secured["K2"], "peer", lambda: certificates.context("K3-elsewhere"), "is for another cluster")


def greet(port, context, hello, dialled):
    """Greet as `hello` says, over TLS, and go on as a node would. Returns how it ends, in words."""
    try:
        with (
            socket.create_connection(("127.0.0.1", port), 20) as opened,
            context.wrap_socket(opened, server_hostname="127.0.0.1") as link,
        ):
            return converse(link, hello, dialled)
    except RefusedByPeer as error:
        return f"refused: {error}"
    except (OSError, HandshakeError, WireError) as error:
        return str(error)


def converse(link, hello, dialled):
    handshake = Handshake(hello, nonce=secrets.token_bytes(32), secret=None, trusted=True, dialled=dialled)
    reader, said = FrameReader(), handshake.start()
    while True:
        if handshake.state is HandshakeState.DECISION:
            said += handshake.accept()
        link.sendall(b"".join(frame(GREETING, 0, each) for each in said))
        if handshake.state is HandshakeState.OPEN:
            return "open"
        while (message := reader.next_message()) is None:
            data = link.recv(1 << 16)
            if not data:
                return "closed"
            reader.feed(data)
        said = handshake.received(message[1])


def test_the_certificate_of_one_node_does_not_speak_for_another(secured, certificates):
    """K3's certificate, in the wrong hands, greets as K1."""
    server = secured["K2"]
    hello = Hello("K1", "0" * 32, cluster=server.status()["cluster"], peer="127.0.0.1:1")
    said = set()

    def is_told():
        said.add(greet(server.peer_port, certificates.context("K3"), hello, "K2"))
        return any("K1 has shown the certificate of K3" in reason for reason in refused_on(server, "peer"))

    wait_until(is_told, "K2 has seen through it")
    assert not any("open" in each for each in said), said
    assert any("K1 has shown the certificate of K3" in each for each in said), said


def recorded(port, context, data, spoil=lambda piece: piece):
    """All that a client sends in a connection over TLS, and what it hears to `data`, changed by `spoil`."""
    incoming, outgoing = ssl.MemoryBIO(), ssl.MemoryBIO()
    tls = context.wrap_bio(incoming, outgoing, server_hostname="127.0.0.1")
    said = []
    with socket.create_connection(("127.0.0.1", port), 20) as opened:

        def until_done(call, change=lambda piece: piece):
            found = None
            while found is None:
                with contextlib.suppress(ssl.SSLWantReadError):
                    found = call() or b""
                if piece := change(outgoing.read()):
                    said.append(piece)
                    opened.sendall(piece)
                if found is None and not incoming.write(opened.recv(1 << 16)):
                    return b""
            return found

        until_done(tls.do_handshake)
        until_done(lambda: str(tls.write(data)), spoil)
        return b"".join(said), until_done(lambda: tls.read(1000))


@pytest.mark.parametrize("port", ["client", "peer"])
def test_bytes_that_are_sent_again_or_changed_on_the_way_are_not_taken(secured, certificates, port):
    """Those of a whole connection, by somebody without the key; and one bit of one that is open."""
    server, context = secured["K2"], certificates.context("K3")
    number, data = server.client_port, PING
    if port == "peer":
        number = server.peer_port
        hello = Hello("K3", "0" * 32, cluster=server.status()["cluster"], peer="127.0.0.1:1")
        shown = Handshake(hello, nonce=secrets.token_bytes(32), secret=None, trusted=True, dialled="K2")
        data = b"".join(frame(GREETING, 0, each) for each in shown.start())
    said, heard = recorded(number, context, data)
    assert heard

    is_refused(server, port, lambda: None, "", said)
    heard = b""
    with contextlib.suppress(ssl.SSLError):  # an alert
        _, heard = recorded(number, context, data, lambda piece: piece[:-1] + bytes([piece[-1] ^ 1]))
    assert heard == b""
    assert server.ask("PING") == "PONG"


def test_who_answers_in_place_of_a_node_needs_its_certificate(secured, certificates):
    """K1 dials K3, and finds somebody with the certificate of K2 there."""
    secured["K3"].terminate()
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(certificates.path("K2.crt"), certificates.path("K2.key"))
    heard = []

    def answer(listening):
        with contextlib.suppress(OSError):
            while True:
                opened, _ = listening.accept()
                with contextlib.suppress(OSError), context.wrap_socket(opened, server_side=True) as link:
                    heard.append(link.recv(1000))

    with socket.create_server(("127.0.0.1", secured["K3"].peer_port)) as listening:
        thread = threading.Thread(target=answer, args=(listening,))
        thread.start()
        told = "its certificate is not that of K3, which was dialled: "
        wait_until(
            lambda: any(told in each["reason"] for each in secured["K1"].events("peer_unreachable")),
            "K1 has seen through it",
        )
        listening.shutdown(socket.SHUT_RDWR)
    thread.join(30)
    assert b"".join(heard) == b""  # it was told nothing
    secured["K3"].start()
    secured.wait_serving()


@pytest.mark.parametrize("count", [1500, pytest.param(5000, marks=pytest.mark.endurance)])
def test_half_handshakes_keep_nobody_away(secured, certificates, count):
    """Thousands of connections that begin TLS and stop; a client and the links go on, as fast as before.

    The log has one line in five seconds for each port and reason, however many there are. The fast ones of
    the client's commands are compared: other work on the machine takes the processor from the others.
    """
    server = secured["K2"]
    begun = hello_bytes(certificates)
    kept, lines, start = [], refusals(server), time.monotonic()

    def flood():
        for number in range(count):
            port = (server.client_port, server.peer_port, server.http_port)[number % 3]
            opened = socket.socket()
            opened.settimeout(5)
            with contextlib.suppress(OSError):
                opened.connect(("127.0.0.1", port))
                opened.sendall(begun if number % 2 else begun[:40])
            kept.append(opened)
            if len(kept) > OPEN_AT_ONCE:
                kept.pop(0).close()

    with server.client() as client:
        quiet = times(client, 200)
        thread = threading.Thread(target=flood)
        thread.start()
        busy = []
        while thread.is_alive():
            busy += times(client, 20)
        thread.join()
    for opened in kept:
        opened.close()
    added = refusals(server) - lines
    assert added
    assert max(added.values()) <= 2 + (time.monotonic() - start) / 5
    assert max(busy) < 2 * crowding()
    assert sorted(busy)[len(busy) // 10] < 2 * sorted(quiet)[len(quiet) // 10]
    assert server.ask("PING") == "PONG"
    secured.wait_serving()


def refusals(server):
    """The number of lines in the log of a node about refused connections, by port and reason."""
    return Counter((port, text.partition(":")[0]) for port in PORTS for text in refused_on(server, port))


def times(client, count):
    """Seconds of so many commands."""
    found = []
    for _ in range(count):
        began = time.monotonic()
        assert client.call("PING") == "PONG"
        found.append(time.monotonic() - began)
    return found


def hello_bytes(certificates):
    """The first bytes of a client's handshake."""
    incoming, outgoing = ssl.MemoryBIO(), ssl.MemoryBIO()
    tls = certificates.context("shop").wrap_bio(incoming, outgoing, server_hostname="127.0.0.1")
    with contextlib.suppress(ssl.SSLWantReadError):
        tls.do_handshake()
    return outgoing.read()


def test_a_client_that_reads_nothing_is_bounded(secured):
    """Its replies wait up to a limit, with TLS too; then its requests wait."""
    server = secured["K2"]
    with server.client() as writer:
        writer.call("SET", "large", b"x" * 1_000_000)
    before = server.resident_bytes()
    greedy = Client(server.client_port, 20.0, server.security)
    greedy.socket.settimeout(1.0)
    with contextlib.suppress(OSError):
        for _ in range(400):
            greedy.socket.sendall(encode("GET", "large"))
    assert server.resident_bytes() - before < 200 << 20
    assert server.ask("PING") == "PONG"
    greedy.close()
