"""TLS handshakes between our objects and those of Python's `ssl`, in memory."""

import ssl
from datetime import UTC, datetime, timedelta
from functools import partial
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
from cryptography import x509
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import rsa
from cryptography.hazmat.primitives.serialization import Encoding, NoEncryption, PrivateFormat
from cryptography.x509.oid import NameOID

from kraft.tls.connections import AcceptedConnections, DialledConnections, load_credentials, of_cluster
from kraft.tls.credentials import TlsFiles, read_credentials
from kraft.tls.errors import FilesRefused
from tests.cluster.certificates import Certificates
from tests.tls.plain_socket import Client, Plain, attempt, meet


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


def outcome(accepted: AcceptedConnections, context: ssl.SSLContext) -> str:
    """'' if a handshake is complete, or the reason in the words of the log."""
    plain = Plain()
    return meet(accepted.secure(plain.as_socket), plain, Client(context))


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
    plain, client = Plain(), Client(context)
    assert meet(accepted.secure(plain.as_socket), plain, client) == ""
    assert client.tls.selected_alpn_protocol() is None


@pytest.mark.parametrize(
    ("name", "told"),
    [
        ("shop", ""),
        ("", "it showed no certificate"),
        ("expired", "its certificate has expired"),
        ("early", "its certificate is not valid yet, by the clock of this machine"),
        ("revoked", "its certificate is revoked"),
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
        here, there = Plain(), Plain()
        server, client = accepted.secure(here.as_socket), dialled.secure(there.as_socket)
        client.begin()
        for _ in range(3):
            here.received += there.take()
            attempt(server)
            there.received += here.take()
            attempt(client)
        assert client.fault.startswith(told)
        assert (client.fault == "") == (told == "")


def test_new_files_are_for_new_connections(certificates: Certificates) -> None:
    """One whose handshake has begun goes on with those that it has."""
    accepted = AcceptedConnections(credentials(certificates), "1.2", "none")
    plains = (Plain(), Plain())
    begun = accepted.secure(plains[0].as_socket)
    accepted.take(credentials(certificates, "K2"))
    shown = []
    for plain, connection in zip(plains, (begun, accepted.secure(plains[1].as_socket)), strict=True):
        client = Client(certificates.context())
        assert meet(connection, plain, client) == ""
        found: Any = client.tls.getpeercert()
        shown += [value for kind, value in found["subjectAltName"] if kind == "URI"]
    assert shown == ["kraft://shop/K1", "kraft://shop/K2"]


class Visitor:
    """A client that shows the session of its last visit. What it left is kept, as in a node."""

    def __init__(self, certificates: Certificates, version: ssl.TLSVersion) -> None:
        self.context = certificates.context("shop")
        self.context.minimum_version = self.context.maximum_version = version
        self.session: ssl.SSLSession | None = None
        self.kept: list[object] = []

    def visit(self, accepted: AcceptedConnections) -> tuple[str, bool | None]:
        """What the server says, and whether the session was resumed."""
        plain, client = Plain(), Client(self.context, self.session)
        server = accepted.secure(plain.as_socket)
        told = meet(server, plain, client)
        self.session = client.tls.session
        self.kept.append(server)
        return told, client.tls.session_reused


def test_no_session_of_the_newest_version_is_resumed(certificates: Certificates) -> None:
    visitor = Visitor(certificates, ssl.TLSVersion.TLSv1_3)
    accepted = AcceptedConnections(credentials(certificates), "1.2", "required")
    assert [visitor.visit(accepted) for _ in range(3)] == [("", False)] * 3


def test_a_resumed_session_ends_with_the_files_in_use(certificates: Certificates) -> None:
    """Else a client whose certificate was revoked meanwhile would get in."""
    visitor = Visitor(certificates, ssl.TLSVersion.TLSv1_2)
    accepted = AcceptedConnections(credentials(certificates), "1.2", "required")
    assert [visitor.visit(accepted) for _ in range(2)] == [("", False), ("", True)]
    accepted.take(credentials(certificates))
    assert visitor.visit(accepted) == ("", False)


def test_a_resumed_session_ends_with_its_certificate(
    certificates: Certificates, monkeypatch: pytest.MonkeyPatch
) -> None:
    """OpenSSL does not look at the certificate again."""
    visitor = Visitor(certificates, ssl.TLSVersion.TLSv1_2)
    accepted = AcceptedConnections(credentials(certificates), "1.2", "required")
    assert visitor.visit(accepted) == ("", False)
    later = SimpleNamespace(now=lambda zone: datetime.now(zone) + timedelta(days=9000))
    monkeypatch.setattr("kraft.tls.connections.datetime", later)
    told, _ = visitor.visit(accepted)
    assert told.startswith("its certificate has expired: ")


def test_sessions_are_bounded(certificates: Certificates, monkeypatch: pytest.MonkeyPatch) -> None:
    """A context keeps those of all its connections."""
    monkeypatch.setattr("kraft.tls.connections.CONTEXT_CONNECTIONS", 2)
    visitor = Visitor(certificates, ssl.TLSVersion.TLSv1_2)
    accepted = AcceptedConnections(credentials(certificates), "1.2", "required")
    assert [visitor.visit(accepted)[1] for _ in range(5)] == [False, True, False, True, True]


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
        plain = Plain()
        connection = accepted.secure(plain.as_socket)
        with pytest.raises(ssl.SSLError):
            connection.begin(data)
        told.add(connection.fault)
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
