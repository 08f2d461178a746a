"""TLS handshakes between our objects and those of Python's `ssl`, in memory."""

import contextlib
import ssl
from datetime import UTC, datetime, timedelta
from functools import partial
from pathlib import Path
from typing import Any

import pytest
from cryptography import x509
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import rsa
from cryptography.hazmat.primitives.serialization import Encoding, NoEncryption, PrivateFormat
from cryptography.x509.oid import NameOID
from OpenSSL import SSL
from twisted.python.failure import Failure

from kraft.tls.connections import AcceptedConnections, DialledConnections, load_credentials, of_cluster
from kraft.tls.credentials import TlsFiles, read_credentials
from kraft.tls.errors import FilesRefused
from tests.cluster.certificates import Certificates


@pytest.fixture(scope="module")
def certificates(tmp_path_factory: pytest.TempPathFactory) -> Certificates:
    made = Certificates(tmp_path_factory.mktemp("certs"))
    for name in ("K1", "K2"):
        made.node(name)
    made.node("K2", file="elsewhere", cluster="elsewhere")
    made.client("shop")
    made.client("expired", age=31)
    made.client("early", age=-2)
    made.revoke(made.client("revoked"))
    return made


def credentials(certificates: Certificates, name: str = "K1") -> Any:
    return read_credentials(TlsFiles(**certificates.options(name)), node=None)


class Client:
    """A client of Python's `ssl`."""

    def __init__(self, context: ssl.SSLContext) -> None:
        self.received, self.sent = ssl.MemoryBIO(), ssl.MemoryBIO()
        self.tls = context.wrap_bio(self.received, self.sent, server_hostname="127.0.0.1")

    def step(self) -> bytes:
        with contextlib.suppress(ssl.SSLWantReadError):
            self.tls.do_handshake()
        return self.sent.read()


def shake(server: SSL.Connection, client: Client) -> str:
    """A handshake to its end: '' if it is complete, or what the server says about its failure."""
    server.set_accept_state()
    for _ in range(4):
        data = client.step()
        if data:
            server.bio_write(data)
        try:
            server.do_handshake()
        except SSL.WantReadError:
            pass
        else:
            return ""
        client.received.write(server.bio_read(1 << 16))
    raise AssertionError("no end")


def outcome(accepted: AcceptedConnections, context: ssl.SSLContext) -> str:
    """'' if a handshake is complete, or the reason in the words of the log."""
    connection = accepted.serverConnectionForTLS(None)
    try:
        return shake(connection, Client(context))
    except SSL.Error as error:
        return accepted.explain(connection, Failure(error))


def test_a_client_without_a_certificate_is_taken_where_none_is_asked_for(certificates: Certificates) -> None:
    for mode in ("none", "optional"):
        assert (
            outcome(AcceptedConnections(credentials(certificates), "1.2", mode), certificates.context()) == ""
        )


@pytest.mark.parametrize("protocols", [["http/1.1"], ["h2", "http/1.1"], ["redis"]])
def test_clients_that_offer_protocols_are_taken(certificates: Certificates, protocols: list[str]) -> None:
    """Browsers, curl and Prometheus do (ALPN). None is chosen."""
    context = certificates.context()
    context.set_alpn_protocols(protocols)
    accepted = AcceptedConnections(credentials(certificates), "1.2", "none")
    client = Client(context)
    assert shake(accepted.serverConnectionForTLS(None), client) == ""
    client.step()
    assert client.tls.selected_alpn_protocol() is None


@pytest.mark.parametrize(
    ("name", "told"),
    [
        ("shop", ""),
        ("", "it showed no certificate"),
        ("expired", "its certificate has expired: expired"),
        ("early", "its certificate is not valid yet, by the clock of this machine: early"),
        ("revoked", "its certificate is revoked: revoked"),
    ],
)
def test_a_certificate_that_is_asked_for_is_checked(certificates: Certificates, name: str, told: str) -> None:
    accepted = AcceptedConnections(credentials(certificates), "1.2", "required")
    context = certificates.context(name)
    context.maximum_version = ssl.TLSVersion.TLSv1_2  # the client sees the end of its handshake
    assert outcome(accepted, context) == told


@pytest.mark.parametrize(
    ("name", "told"),
    [
        ("K2", ""),
        ("shop", "its certificate is not that of a node (it has no URI kraft://CLUSTER/NODE): shop"),
        ("elsewhere", "its certificate is for another cluster than shop: kraft://elsewhere/K2"),
    ],
)
def test_a_link_needs_the_certificate_of_a_node_of_the_same_cluster(
    certificates: Certificates, name: str, told: str
) -> None:
    accepted = AcceptedConnections(credentials(certificates), "1.2", "required", of_cluster)
    assert outcome(accepted, certificates.context(name)) == told


def test_who_dials_a_node_takes_no_other(certificates: Certificates) -> None:
    """Each end by our own objects."""
    own = credentials(certificates)
    for node, told in (("K2", ""), ("K3", "its certificate is not that of K3, which was dialled: ")):
        accepted = AcceptedConnections(credentials(certificates, "K2"), "1.2", "required", of_cluster)
        dialled = DialledConnections(own, "1.2", partial(of_cluster, node=node))
        server, client = accepted.serverConnectionForTLS(None), dialled.clientConnectionForTLS(None)
        server.set_accept_state()
        client.set_connect_state()
        assert _meet(server, client, dialled).startswith(told)


def _meet(server: SSL.Connection, client: SSL.Connection, dialled: DialledConnections) -> str:
    for _ in range(3):
        for here, there in ((client, server), (server, client)):
            try:
                here.do_handshake()
            except SSL.WantReadError:
                pass
            except SSL.Error as error:
                return dialled.explain(here, Failure(error))
            with contextlib.suppress(SSL.WantReadError):
                there.bio_write(here.bio_read(1 << 16))
    return ""


def test_new_files_are_for_new_connections(certificates: Certificates) -> None:
    """One whose handshake has begun goes on with those that it has."""
    accepted = AcceptedConnections(credentials(certificates), "1.2", "none")
    begun = accepted.serverConnectionForTLS(None)
    accepted.take(credentials(certificates, "K2"))
    shown = []
    for connection in (begun, accepted.serverConnectionForTLS(None)):
        client = Client(certificates.context())
        assert shake(connection, client) == ""
        client.step()
        found: Any = client.tls.getpeercert()
        shown += [value for kind, value in found["subjectAltName"] if kind == "URI"]
    assert shown == ["kraft://shop/K1", "kraft://shop/K2"]


@pytest.mark.parametrize("version", [ssl.TLSVersion.TLSv1_2, ssl.TLSVersion.TLSv1_3])
def test_no_session_is_resumed(certificates: Certificates, version: ssl.TLSVersion) -> None:
    """A resumed one would show no certificate, and one revoked meanwhile would get in."""
    context = certificates.context("shop")
    context.minimum_version = context.maximum_version = version
    accepted = AcceptedConnections(credentials(certificates), "1.2", "required")
    first = Client(context)
    server = accepted.serverConnectionForTLS(None)
    shake(server, first)
    again = accepted.serverConnectionForTLS(None)
    second = Client(context)
    second.tls = context.wrap_bio(
        second.received, second.sent, server_hostname="127.0.0.1", session=first.tls.session
    )
    assert shake(again, second) == ""
    assert not second.tls.session_reused


def test_the_lowest_version_is_that_of_the_option(certificates: Certificates) -> None:
    context = certificates.context()
    context.maximum_version = ssl.TLSVersion.TLSv1_2
    told = outcome(AcceptedConnections(credentials(certificates), "1.3", "none"), context)
    assert told == "it speaks only versions of TLS that are older than tls.minimum"


def test_a_reason_is_one_of_few_up_to_its_colon(certificates: Certificates) -> None:
    """Bytes that are no TLS: the log is limited by the reason, so it must not vary with them."""
    accepted = AcceptedConnections(credentials(certificates), "1.2", "none")
    told = set()
    for data in (
        b"GET / HTTP/1.1\r\n\r\n",
        b"\x16\x03\x01\x00\x05hello",
        b"\x16\x03\x01\xff\xff" + bytes(99),
    ):
        connection = accepted.serverConnectionForTLS(None)
        connection.set_accept_state()
        connection.bio_write(data)
        with pytest.raises(SSL.Error) as error:
            connection.do_handshake()
        told.add(accepted.explain(connection, Failure(error.value)))
    assert "it speaks HTTP without TLS" in told
    assert all(reason and "hello" not in reason for reason in told)


def test_files_that_openssl_does_not_take_are_refused_at_the_start(
    certificates: Certificates, tmp_path: Path
) -> None:
    """A key that is too short passes all other checks."""
    assert load_credentials(TlsFiles(**certificates.options("K1")), "1.2", node="K1").name is not None
    key, name = (
        rsa.generate_private_key(65_537, 1024),
        x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, "K1")]),
    )
    now = datetime.now(UTC)
    made = x509.CertificateBuilder(name, name, key.public_key(), 1, now - timedelta(1), now + timedelta(1))
    (tmp_path / "crt").write_bytes(made.sign(key, hashes.SHA256()).public_bytes(Encoding.PEM))
    (tmp_path / "key").write_bytes(key.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption()))
    with pytest.raises(FilesRefused, match="OpenSSL does not take"):
        load_credentials(TlsFiles(str(tmp_path / "crt"), str(tmp_path / "key")), "1.2", node=None)


def test_what_ends_first_is_the_end_of_a_kind(certificates: Certificates) -> None:
    """Of the chain, of several CAs, of their lists: what the metric and the warning tell."""
    end = credentials(certificates).expiry
    soon = (datetime.now(UTC) + timedelta(days=30)).timestamp()
    assert end["certificate"] == pytest.approx(soon, abs=3600)
    assert end["ca"] > end["certificate"]
