"""TLS connections: versions, ciphers, and who may be at the other end.

Twisted asks a creator for the OpenSSL object of each new connection. A creator keeps the context that it
makes them with, so after a reload new connections use the new files, and those that exist go on as they are.

TLS 1.2 and 1.3 only, and with 1.2 only ciphers with forward secrecy and authenticated encryption (RFC 9325
sections 3 and 4.2). No renegotiation, compression, or resumed sessions: each connection shows its
certificate, so that a revoked one opens none.
"""

from collections.abc import Callable
from datetime import datetime
from typing import Any
from weakref import WeakKeyDictionary

from OpenSSL import SSL, crypto
from twisted.internet.interfaces import IOpenSSLClientConnectionCreator, IOpenSSLServerConnectionCreator
from twisted.internet.ssl import AcceptableCiphers, CertificateOptions, TLSVersion
from twisted.python.failure import Failure
from zope.interface import implementer

from kraft.tls.credentials import Credentials, TlsFiles, read_credentials
from kraft.tls.errors import FileProblem, FilesRefused
from kraft.tls.names import node_name, shown_name, user_names

CIPHERS = AcceptableCiphers.fromOpenSSLCipherString("ECDHE+AESGCM:ECDHE+CHACHA20")
MINIMUM = {"1.2": TLSVersion.TLSv1_2, "1.3": TLSVersion.TLSv1_3}
NONE, OPTIONAL, REQUIRED = "none", "optional", "required"  # certificates of those who connect
EXCEPT_HEALTH = "except_health"  # as optional: the pages of the HTTP port ask for it

_MODES = {
    NONE: SSL.VERIFY_NONE,
    OPTIONAL: SSL.VERIFY_PEER,
    EXCEPT_HEALTH: SSL.VERIFY_PEER,
    REQUIRED: SSL.VERIFY_PEER | SSL.VERIFY_FAIL_IF_NO_PEER_CERT,
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
    except (SSL.Error, ValueError) as error:  # such as a key that is too short
        text = f"OpenSSL does not take {files.certificate}: {_words(error)}; `kraft certs` makes a better one"
        raise FilesRefused((FileProblem("certificate", text),)) from None
    return credentials


def _words(error: BaseException | None) -> str:
    """What OpenSSL gives as the reason."""
    errors = error.args[0] if error is not None and error.args else ()
    return str(errors[-1][2]) if isinstance(errors, list) and errors else str(error) or "no reason given"


def _choose_no_protocol(connection: SSL.Connection, offered: object) -> Any:  # noqa: ARG001  OpenSSL's signature
    return SSL.NO_OVERLAPPING_PROTOCOLS


class _Creator:
    """What the two kinds of creators share: a context of the newest files, and the verdicts of checks."""

    def __init__(
        self, credentials: Credentials, minimum: str, require: RequirementMaker | None = None
    ) -> None:
        """`require` gives what the certificate of the other end must fulfil beside a signature of the CA."""
        self._minimum = MINIMUM[minimum]
        self._make_requirement = require
        self._verdicts: WeakKeyDictionary[SSL.Connection, str] = WeakKeyDictionary()
        self.take(credentials)

    def take(self, credentials: Credentials) -> None:
        """Use these files for new connections."""
        # pyOpenSSL takes the objects of cryptography; the annotations of Twisted still name its own.
        own: Any
        own, *others = credentials.chain
        key: Any = credentials.key
        chain: Any = others
        options = CertificateOptions(
            privateKey=key,
            certificate=own,
            extraCertChain=chain,
            acceptableCiphers=CIPHERS,
            raiseMinimumTo=self._minimum,
        )
        make = self._make_requirement
        self._require = None if make is None else make(credentials)
        self._context = context = options.getContext()
        # Each port speaks one protocol, so nothing is chosen by ALPN (RFC 7301). Twisted's own callback looks
        # for a protocol of Twisted that our connections do not have, and every browser offers ALPN.
        context.set_alpn_select_callback(_choose_no_protocol)
        store = context.get_cert_store()
        if store is None:
            raise RuntimeError("a new context has a store")
        for authority in credentials.authorities:
            store.add_cert(crypto.X509.from_cryptography(authority))
        for revoked in credentials.revoked:
            store.add_crl(revoked)
        if credentials.revoked:
            store.set_flags(crypto.X509StoreFlags.CRL_CHECK)

    def _connection(self, mode: int) -> SSL.Connection:
        connection = SSL.Connection(self._context, None)
        connection.set_options(SSL.OP_NO_RENEGOTIATION)
        connection.set_verify(mode, self._verified if mode else None)
        return connection

    def _verified(
        self, connection: SSL.Connection, shown: crypto.X509, error: int, depth: int, ok: int
    ) -> bool:
        """OpenSSL asks this about each certificate of a chain, and about each fault in it."""
        certificate = shown.to_cryptography()
        if not ok:
            fault = _FAULTS.get(error, f"is not accepted (OpenSSL error {error})")
        else:
            fault = self._require(certificate) if depth == 0 and self._require is not None else ""
        if fault:
            self._verdicts[connection] = f"its certificate {fault}: {shown_name(certificate)}"
        return not fault

    def explain(self, connection: SSL.Connection, failure: Failure) -> str:
        """Why the handshake of `connection` failed, in one line; '' if TLS had no part in it.

        Up to its colon it is one of few texts, whatever the other end sends.
        """
        verdict = self._verdicts.get(connection)
        if verdict:
            return verdict
        if not failure.check(SSL.Error):
            return ""
        words = _words(failure.value)
        alert = words.partition(" alert ")[2]
        return f"the other end refused with the alert {alert}" if alert else _REASONS.get(words, words)


@implementer(IOpenSSLServerConnectionCreator)
class AcceptedConnections(_Creator):
    """Makes the TLS objects of a listening port.

    `certificates` says whether those who connect must show a certificate of `tls.ca`: none, optional,
    except_health, required.
    """

    def __init__(
        self,
        credentials: Credentials,
        minimum: str,
        certificates: str,
        require: RequirementMaker | None = None,
    ) -> None:
        self._mode = _MODES[certificates]
        super().__init__(credentials, minimum, require)

    def serverConnectionForTLS(self, protocol: object) -> SSL.Connection:  # noqa: ARG002  Twisted's signature
        """The TLS object of a new connection."""
        return self._connection(self._mode)


@implementer(IOpenSSLClientConnectionCreator)
class DialledConnections(_Creator):
    """Makes the TLS objects of connections to other nodes, which must show a certificate of `tls.ca`."""

    def clientConnectionForTLS(self, protocol: object) -> SSL.Connection:  # noqa: ARG002  Twisted's signature
        """The TLS object of a new connection."""
        return self._connection(SSL.VERIFY_PEER)


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
    shown = getattr(transport, "getPeerCertificate", None)
    certificate = shown() if shown is not None else None
    return None if certificate is None else certificate.to_cryptography()
