"""Clients that are users by their certificates (`client.certificate_user`), as in Redis 8.6 and Valkey 9."""

from datetime import UTC, datetime
from typing import Any

import pytest
from cryptography import x509
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.serialization import Encoding
from cryptography.x509.oid import NameOID

from kraft.config.values import ClientConfig
from tests.server.fakes import Port
from tests.server.users import NO_AUTH, NO_KEY, PLAIN, Client


def certificate(*common_names, uris=()):
    """A certificate with these names; that it is valid was checked in the handshake."""
    key, now = ec.generate_private_key(ec.SECP256R1()), datetime.now(UTC)
    subject = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, name) for name in common_names])
    made = x509.CertificateBuilder(subject, subject, key.public_key(), 1, now, now)
    if uris:
        names = [x509.UniformResourceIdentifier(uri) for uri in uris]
        made = made.add_extension(x509.SubjectAlternativeName(names), critical=False)
    return made.sign(key, hashes.SHA256()).public_bytes(Encoding.DER)


class CertifiedClient(Client):
    """A client whose TLS handshake is complete; `shown` None is one without a certificate."""

    def __init__(self, port, shown):
        super().__init__(port)
        transport: Any = self.talk.transport
        transport.peer_certificate = lambda: shown
        self.talk.protocol.handshakeCompleted()


@pytest.fixture(params=["CN", "URI"])
def port(request):
    return Port(users=PLAIN, client=ClientConfig(certificate_user=request.param))


@pytest.fixture
def admin(port):
    """Has made the user app, and closed the door for others."""
    client = Client(port)
    client.run("ACL SETUSER root on >pw ~* +@all")
    client.run("ACL SETUSER app on ~app:* +@all")
    client.run("AUTH root pw")
    client.run("ACL SETUSER default off")
    return client


def of_user(port, *names):
    """A certificate with these names where `port` looks for them, and others elsewhere."""
    if port.factory.port.config.client.certificate_user == "CN":
        return certificate(*names, uris=["root"])
    return certificate("root", uris=names)


def whoami(client):
    return client.run("ACL WHOAMI").split(b"\r\n")[1]


def test_the_certificate_makes_the_client_a_user(port, admin):
    """Without a password, from the first command on, and with the rights of that user."""
    client = CertifiedClient(port, of_user(port, "app"))
    assert client.run("SET app:1 x") == b"+OK\r\n"
    assert client.run("SET other x") == NO_KEY
    assert whoami(client) == b"app"
    assert ("done", "app") in [(outcome, user) for outcome, _, user in port.observer.logins]


@pytest.mark.parametrize("change", ["DELUSER app", "SETUSER app off"])
def test_a_certificate_of_no_user_changes_nothing(port, admin, change):
    """The client may log in otherwise. ACL LOG has it."""
    admin.run(f"ACL {change}")
    client = CertifiedClient(port, of_user(port, "app"))
    assert client.run("PING") == NO_AUTH
    assert client.run("AUTH root pw") == b"+OK\r\n"
    [entry] = port.factory.port.users.log.latest(10)
    assert (entry.reason, entry.user, entry.context) == ("tls-cert", b"app", "toplevel")
    assert b"tls-cert" in admin.run("ACL LOG")


def test_the_default_user_stays_where_it_is_open(port):
    client = CertifiedClient(port, of_user(port, "nobody"))
    assert client.run("PING") == b"+PONG\r\n"
    assert whoami(client) == b"default"


@pytest.mark.parametrize("shown", [None, certificate(), certificate("app", "root")])
def test_without_one_name_there_is_no_user_and_no_refusal(port, admin, shown):
    """No certificate, one without names, one with two common names."""
    if shown is not None and port.factory.port.config.client.certificate_user == "CN":
        assert CertifiedClient(port, shown).run("PING") == NO_AUTH
    assert CertifiedClient(port, None).run("PING") == NO_AUTH
    assert port.factory.port.users.log.latest(10) == []


def test_of_several_uris_the_first_user_counts():
    port = Port(users=PLAIN, client=ClientConfig(certificate_user="URI"))
    admin = Client(port)
    admin.run("ACL SETUSER spiffe://shop/app on ~* +@all")
    admin.run("ACL SETUSER other on ~* +@all")
    shown = certificate("x", uris=["kraft://shop/K1", "spiffe://shop/app", "other"])
    assert whoami(CertifiedClient(port, shown)) == b"spiffe://shop/app"


def test_another_login_and_reset_end_it(port, admin):
    """As RESET does in Redis."""
    client = CertifiedClient(port, of_user(port, "app"))
    assert client.run("AUTH root pw") == b"+OK\r\n"
    assert whoami(client) == b"root"
    again = CertifiedClient(port, of_user(port, "app"))
    assert again.run("RESET") == b"+RESET\r\n"
    assert again.run("PING") == NO_AUTH


def test_whoever_is_deleted_is_out(port, admin):
    client = CertifiedClient(port, of_user(port, "app"))
    assert whoami(client) == b"app"
    admin.run("ACL DELUSER app")
    assert client.closed


def test_off_means_off():
    """The name in a certificate is no user where that is not configured."""
    port = Port(users=PLAIN)
    Client(port).run("ACL SETUSER app on ~* +@all")
    assert whoami(CertifiedClient(port, certificate("app"))) == b"default"
