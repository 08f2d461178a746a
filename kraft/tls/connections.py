"""TLS connections: versions, ciphers, and who may be at the other end.

A creator makes the TLS sockets of one port, or of the connections to one node. It keeps the context that it
makes them with, so after a reload new connections use the new files, and those that exist go on as they are.

TLS 1.2 and 1.3 only, and with 1.2 only ciphers with forward secrecy and authenticated encryption (RFC 9325
sections 3 and 4.2). No renegotiation, compression or tickets. OpenSSL keeps sessions of TLS 1.2, and Python
has no option against that: a resumed one counts as long as the certificate that it began with, and no longer
than the files in use, so that a revoked one opens none.
"""

import os
import socket
import ssl
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager, suppress
from datetime import UTC, datetime
from typing import Any

from cryptography import x509
from cryptography.hazmat.primitives.serialization import Encoding, NoEncryption, PrivateFormat

from kraft.tls.credentials import Credentials, TlsFiles, read_credentials
from kraft.tls.errors import FileProblem, FilesRefused
from kraft.tls.names import node_name, shown_name, user_names
from kraft.tls.secure_socket import SecureSocket

CIPHERS = "ECDHE+AESGCM:ECDHE+CHACHA20"
MINIMUM = {"1.2": ssl.TLSVersion.TLSv1_2, "1.3": ssl.TLSVersion.TLSv1_3}
NONE, OPTIONAL, REQUIRED = "none", "optional", "required"  # certificates of those who connect
EXCEPT_HEALTH = "except_health"  # as optional: the pages of the HTTP port ask for it
CONTEXT_CONNECTIONS = 1000  # accepted by one context: each may leave a session of 10 kB in it, for two hours

_MODES = {
    NONE: ssl.CERT_NONE,
    OPTIONAL: ssl.CERT_OPTIONAL,
    EXCEPT_HEALTH: ssl.CERT_OPTIONAL,
    REQUIRED: ssl.CERT_REQUIRED,
}
# X509_V_ERR_ of OpenSSL (x509_vfy.h), in words that go on from the certificate.
_FAULTS = {
    7: "has a signature that is not right",
    9: "is not valid yet, by the clock of this machine",
    10: "has expired",
    12: "cannot be checked, as the revocation list (tls.crl) has expired",
    18: "was signed by itself, and not by a CA of tls.ca",
    19: "was issued by a CA that is not in tls.ca",
    20: "was issued by a CA that is not in tls.ca",
    21: "was issued by a CA that is not in tls.ca",
    23: "is revoked",
    26: "is not for this use (extended key usage)",
    3: "cannot be checked, as tls.crl has no list of its CA",
}
# Reasons of OpenSSL (openssl-errors, SSL_R_) that have a plainer form.
_REASONS = {
    "peer did not return a certificate": "it showed no certificate",
    "unsupported protocol": "it speaks only versions of TLS that are older than tls.minimum",
    "no shared cipher": "it knows no cipher that is accepted here",
    "wrong version number": "it does not speak TLS",
    "http request": "it speaks HTTP without TLS",
    "unexpected eof while reading": "it closed the connection during the TLS handshake",
}

Requirement = Callable[[Any], str]  # from a certificate to what is wrong with it, '' for nothing
RequirementMaker = Callable[[Credentials], Requirement]


def load_credentials(
    files: TlsFiles, minimum: str, *, node: str | None, now: datetime | None = None
) -> Credentials:
    """The credentials in `files`, which OpenSSL takes too. Raises FilesRefused."""
    credentials = read_credentials(files, node=node, now=now)
    try:
        AcceptedConnections(credentials, minimum, NONE)
    except (OSError, ValueError) as error:  # such as a key that is too short, or no file to be had
        words = _words(error) if isinstance(error, ssl.SSLError) else str(error)
        text = f"OpenSSL does not take {files.certificate}: {words}; `kraft certs` makes a better one"
        raise FilesRefused((FileProblem("certificate", text),)) from None
    return credentials


def _words(error: ssl.SSLError) -> str:
    """What OpenSSL gives as the reason."""
    return (error.reason or "no reason given").lower().replace("_", " ")


def explain(error: ssl.SSLError) -> str:
    """Why TLS failed, in one line, which is one of few, whatever the other end sends."""
    if isinstance(error, ssl.SSLCertVerificationError):
        code = error.verify_code
        return f"its certificate {_FAULTS.get(code, f'is not accepted (OpenSSL error {code})')}"
    words = _words(error)
    alert = words.partition(" alert ")[2]
    return f"the other end refused with the alert {alert}" if alert else _REASONS.get(words, words)


class _Creator:
    """What the two kinds of creators share: a context of the newest files, and checks after a handshake."""

    _protocol: ssl._SSLMethod
    _mode: ssl.VerifyMode

    def __init__(
        self, credentials: Credentials, minimum: str, require: RequirementMaker | None = None
    ) -> None:
        """`require` gives what the certificate of the other end must fulfil beside a signature of the CA."""
        self._minimum = MINIMUM[minimum]
        self._make_requirement = require
        self.take(credentials)

    def take(self, credentials: Credentials) -> None:
        """Use these files for new connections. Raises OSError, and goes on with those of before."""
        self._context = self._make_context(credentials)
        self._credentials = credentials
        make = self._make_requirement
        self._require = None if make is None else make(credentials)

    def _make_context(self, credentials: Credentials) -> ssl.SSLContext:
        context = ssl.SSLContext(self._protocol)
        context.check_hostname = False
        context.verify_mode = self._mode
        context.minimum_version = self._minimum
        context.set_ciphers(CIPHERS)
        context.options |= ssl.OP_NO_RENEGOTIATION | ssl.OP_NO_COMPRESSION | ssl.OP_NO_TICKET
        with _file(_pem(credentials.chain) + _private(credentials)) as path:
            context.load_cert_chain(path)
        if credentials.authorities:
            context.load_verify_locations(cadata=_pem(credentials.authorities).decode())
        if credentials.revoked:
            with _file(_pem(credentials.revoked)) as path:
                context.load_verify_locations(path)
            context.verify_flags |= ssl.VerifyFlags.VERIFY_CRL_CHECK_LEAF
        return context

    def secure(self, plain: socket.socket) -> SecureSocket:
        """The TLS socket of a new connection."""
        incoming, outgoing = ssl.MemoryBIO(), ssl.MemoryBIO()
        tls = self._context.wrap_bio(incoming, outgoing, server_side=self._is_server)
        return SecureSocket(plain, tls, incoming, outgoing, explain, self._fault)

    @property
    def _is_server(self) -> bool:
        return self._protocol is ssl.PROTOCOL_TLS_SERVER

    def _fault(self, tls: ssl.SSLObject) -> str:
        """What is wrong with the certificate that was shown, beside what OpenSSL checks in a handshake."""
        data = tls.getpeercert(binary_form=True)
        if data is None or (self._require is None and not tls.session_reused):
            return ""
        certificate = x509.load_der_x509_certificate(data)
        fault = "" if self._require is None else self._require(certificate)
        if certificate.not_valid_after_utc < datetime.now(UTC):  # OpenSSL does not look when it resumes
            fault = "has expired"
        return fault and f"its certificate {fault}: {shown_name(certificate)}"


class AcceptedConnections(_Creator):
    """Makes the TLS sockets of a listening port.

    `certificates` says whether those who connect must show a certificate of `tls.ca`: none, optional,
    except_health, required.
    """

    _protocol = ssl.PROTOCOL_TLS_SERVER

    def __init__(
        self,
        credentials: Credentials,
        minimum: str,
        certificates: str,
        require: RequirementMaker | None = None,
    ) -> None:
        self._mode = _MODES[certificates]
        self._accepted = 0  # since the context was made
        super().__init__(credentials, minimum, require)

    def secure(self, plain: socket.socket) -> SecureSocket:
        """The TLS socket of a new connection."""
        self._accepted += 1
        if self._accepted > CONTEXT_CONNECTIONS:
            self._accepted = 0
            with suppress(OSError):  # then the context of before goes on
                self.take(self._credentials)
        return super().secure(plain)

    def _make_context(self, credentials: Credentials) -> ssl.SSLContext:
        context = super()._make_context(credentials)
        context.num_tickets = 0
        return context


class DialledConnections(_Creator):
    """Makes the TLS sockets of connections to other nodes, which must show a certificate of `tls.ca`."""

    _protocol = ssl.PROTOCOL_TLS_CLIENT
    _mode = ssl.CERT_REQUIRED


@contextmanager
def _file(data: bytes) -> Iterator[str]:
    """A file in memory: `ssl` takes paths only, and what was checked has to be what is used."""
    descriptor = os.memfd_create("kraft-tls")
    with os.fdopen(descriptor, "wb") as file:
        file.write(data)
        file.flush()
        yield f"/proc/self/fd/{descriptor}"


def _pem(each: Iterable[x509.Certificate] | Iterable[x509.CertificateRevocationList]) -> bytes:
    return b"".join(one.public_bytes(Encoding.PEM) for one in each)


def _private(credentials: Credentials) -> bytes:
    return credentials.key.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption())


def of_cluster(credentials: Credentials, node: str | None = None) -> Requirement:
    """Requires the certificate of a node of the same cluster: any, or the one with the id `node`."""
    cluster = credentials.name.cluster if credentials.name is not None else ""

    def fault(certificate: Any) -> str:
        name = node_name(certificate)
        if name is None:
            return "is not that of a node (it has no URI kraft://CLUSTER/NODE)"
        if name.cluster != cluster:
            return f"is for another cluster than {cluster}"
        if node not in (None, name.node):
            return f"is not that of {node}, which was dialled"
        return ""

    return fault


def peer_node(transport: Any) -> str:
    """The id of the node whose certificate the other end of an open connection has shown; '' without one."""
    certificate = peer_certificate(transport)
    name = None if certificate is None else node_name(certificate)
    return name.node if name is not None else ""


def peer_users(transport: Any, field: str) -> list[str]:
    """The names of users in the certificate that a client has shown: see `names.user_names`."""
    certificate = peer_certificate(transport)
    return [] if certificate is None else user_names(certificate, field)


def peer_certificate(transport: Any) -> Any:
    """The certificate (of cryptography) that the other end has shown, None without one."""
    shown = getattr(transport, "peer_certificate", None)
    data = shown() if shown is not None else None
    return None if data is None else x509.load_der_x509_certificate(data)
