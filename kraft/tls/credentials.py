"""The files of the section `tls`, read and checked: what would fail at a handshake is a problem here.

All files are PEM. They are read at the start of a node and whenever they change.
"""

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import TypeVar

from cryptography import x509
from cryptography.exceptions import InvalidSignature
from cryptography.hazmat.primitives.asymmetric.types import CertificateIssuerPublicKeyTypes, PrivateKeyTypes
from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat, load_pem_private_key
from cryptography.x509.oid import ExtendedKeyUsageOID

from kraft.tls.errors import FileProblem, FilesRefused
from kraft.tls.names import NodeName, node_name, shown_name

FILE_BYTES_MAX = 1 << 20  # a bundle of some hundred CAs; a file that is longer is another one
CHAIN_MAX = 10  # certificates from that of the node to that of its CA
_Parsed = TypeVar("_Parsed")


@dataclass(frozen=True, slots=True)
class TlsFiles:
    """The paths in the section `tls`; `ca` and `crl` may be None."""

    certificate: str
    key: str
    ca: str | None = None
    crl: str | None = None

    def paths(self) -> tuple[str, ...]:
        """All that are given."""
        return tuple(filter(None, (self.certificate, self.key, self.ca, self.crl)))


@dataclass(frozen=True, slots=True)
class Credentials:
    """What the files hold. `chain` begins with the certificate of the node; `name` is whom it speaks for."""

    chain: tuple[x509.Certificate, ...]
    key: PrivateKeyTypes
    authorities: tuple[x509.Certificate, ...]
    revoked: tuple[x509.CertificateRevocationList, ...]
    name: NodeName | None

    @property
    def expiry(self) -> dict[str, float]:
        """When each kind of file is of no use any more, as Unix time. Of several CAs, the first to expire
        counts.
        """
        ends = {"certificate": [each.not_valid_after_utc for each in self.chain]}
        ends["ca"] = [each.not_valid_after_utc for each in self.authorities]
        ends["crl"] = [each.next_update_utc for each in self.revoked if each.next_update_utc is not None]
        return {use: min(times).timestamp() for use, times in ends.items() if times}


def read_credentials(files: TlsFiles, *, node: str | None, now: datetime | None = None) -> Credentials:
    """Read and check the files. Raises FilesRefused with all problems.

    `node`: the id that the certificate must speak for; None if the node opens no link by it.
    """
    reader = _Reader(files, now or datetime.now(UTC))
    chain = reader.read("certificate", x509.load_pem_x509_certificates)
    key = reader.read("key", lambda data: load_pem_private_key(data, None))
    authorities = reader.read("ca", x509.load_pem_x509_certificates)
    revoked = reader.read("crl", _revocation_lists)
    reader.raise_problems()
    if chain is None or key is None:
        raise ValueError("a certificate and a key are needed")
    found = Credentials(
        tuple(chain), key, tuple(authorities or ()), tuple(revoked or ()), node_name(chain[0])
    )
    reader.problems += _problems(found, files, reader.now, node)
    reader.raise_problems()
    return found


class _Reader:
    """Reads the files one by one, and collects what is wrong."""

    def __init__(self, files: TlsFiles, now: datetime) -> None:
        self.problems: list[FileProblem] = []
        self.now = now
        self._files = files

    def read(self, part: str, parse: Callable[[bytes], _Parsed]) -> _Parsed | None:
        path = getattr(self._files, part)
        if path is None:
            return None
        try:
            with Path(path).open("rb") as file:
                data = file.read(FILE_BYTES_MAX + 1)
        except OSError as error:
            self._add(part, f"{path} cannot be read: {error.strerror} (ls -l {path})")
            return None
        if len(data) > FILE_BYTES_MAX:
            self._add(part, f"{path} is longer than {FILE_BYTES_MAX} bytes: ls -lL {path}")
            return None
        try:
            return parse(data)
        except TypeError:
            mend = f"openssl pkey -in {path} -out NEW writes one without"
            self._add(part, f"{path} is encrypted, and a node asks for no password; {mend}")
        except ValueError:
            self._add(part, f"{path} holds no {_CONTENT[part]} in PEM; {_found(data)}")
        return None

    def _add(self, part: str, text: str) -> None:
        self.problems.append(FileProblem(part, text))

    def raise_problems(self) -> None:
        if self.problems:
            raise FilesRefused(tuple(self.problems))


_CONTENT = {"certificate": "certificate", "key": "private key", "ca": "certificate", "crl": "revocation list"}


def _found(data: bytes) -> str:
    if not data.strip():
        return "it is empty"
    for word, kind in (
        (b"PRIVATE KEY", "a private key"),
        (b"X509 CRL", "a revocation list"),
        (b"BEGIN CERT", "a certificate"),
    ):
        if word in data:
            return f"it holds {kind}: write another path, or repair the file"
    return "such a file has lines that begin with -----BEGIN"


def _revocation_lists(data: bytes) -> list[x509.CertificateRevocationList]:
    """All lists of a file; cryptography reads one at a time."""
    end = b"-----END X509 CRL-----"
    pieces = [piece for piece in data.split(end) if b"BEGIN X509 CRL" in piece]
    if not pieces:
        raise ValueError("no list")
    return [x509.load_pem_x509_crl(piece.strip() + b"\n" + end + b"\n") for piece in pieces]


# -- what would fail at a handshake -------------------------------------------------------------------


def _problems(found: Credentials, files: TlsFiles, now: datetime, node: str | None) -> Iterator[FileProblem]:
    own = found.chain[0]
    if _public(found.key.public_key()) != _public(own.public_key()):  # type: ignore[arg-type]
        yield FileProblem(
            "key", f"{files.key} does not belong to {files.certificate}: give the two of one pair"
        )
    yield from _validity("certificate", files.certificate, own, now)
    if files.ca is not None:
        yield from _authority_problems(found, files, now)
        yield from _revocation_problems(found, files, now)
    if node is not None:
        yield from _name_problems(found, files, node)
    for usage, word in (
        (ExtendedKeyUsageOID.SERVER_AUTH, "servers"),
        (ExtendedKeyUsageOID.CLIENT_AUTH, "clients"),
    ):
        if not _is_for(own, usage) and (word == "servers" or node is not None):
            text = f"{files.certificate} is not for {word} (extended key usage), and a node is one"
            yield FileProblem("certificate", f"{text}; `kraft certs` makes such certificates (docs/tls.md)")


def _name_problems(found: Credentials, files: TlsFiles, node: str) -> Iterator[FileProblem]:
    if found.name is None:
        text = f"{files.certificate} has no name of a node, like kraft://CLUSTER/{node} (a URI)"
        yield FileProblem(
            "certificate", f"{text}, which peers ask for; `kraft certs` makes one (docs/tls.md)"
        )
    elif found.name.node != node:
        text = f"{files.certificate} is the certificate of node {found.name.node}, and this is node {node}"
        yield FileProblem("certificate", f"{text}: give each node its own")


def _validity(part: str, path: str, certificate: x509.Certificate, now: datetime) -> Iterator[FileProblem]:
    if certificate.not_valid_after_utc <= now:
        when = certificate.not_valid_after_utc.strftime("%Y-%m-%d")
        yield FileProblem(
            part, f"{path} expired on {when}; `kraft certs` renews what it has made (docs/tls.md)"
        )
    if certificate.not_valid_before_utc > now:
        when = certificate.not_valid_before_utc.strftime("%Y-%m-%d %H:%M UTC")
        yield FileProblem(
            part, f"{path} is valid only from {when}; is the clock of this machine right (timedatectl)?"
        )


def _authority_problems(found: Credentials, files: TlsFiles, now: datetime) -> Iterator[FileProblem]:
    path = files.ca or ""
    for each in found.authorities:
        if not _is_authority(each):
            yield FileProblem(
                "ca", f"{path} holds {shown_name(each)}, which is no CA: give the certificate of the issuer"
            )
            return
    valid = [each for each in found.authorities if each.not_valid_after_utc > now]
    if not valid:
        yield from _validity("ca", path, found.authorities[0], now)
    elif not _is_issued(found.chain, tuple(valid)):
        text = f"{files.certificate} was issued by no CA in {path}: other nodes and clients would refuse it"
        yield FileProblem("certificate", f"{text}; give the CA that issued it, and all between them after it")


def _revocation_problems(found: Credentials, files: TlsFiles, now: datetime) -> Iterator[FileProblem]:
    for each in found.revoked:
        if not any(_signed(each, authority) for authority in found.authorities):
            yield FileProblem(
                "crl", f"{files.crl} is signed by no CA in {files.ca}: give the list of that CA"
            )
        elif each.next_update_utc is not None and each.next_update_utc <= now:
            when = each.next_update_utc.strftime("%Y-%m-%d")
            yield FileProblem(
                "crl", f"{files.crl} ended on {when}, and with it no certificate is accepted: renew it"
            )
        elif _revokes(each, found.chain[0]):
            text = f"{files.certificate} is revoked by {files.crl}: give this node another certificate"
            yield FileProblem("certificate", text)


def _revokes(revoked: x509.CertificateRevocationList, own: x509.Certificate) -> bool:
    entry = revoked.get_revoked_certificate_by_serial_number(own.serial_number)
    return revoked.issuer == own.issuer and entry is not None


def _is_authority(certificate: x509.Certificate) -> bool:
    try:
        return certificate.extensions.get_extension_for_class(x509.BasicConstraints).value.ca
    except (x509.ExtensionNotFound, ValueError):
        return False


def _is_for(certificate: x509.Certificate, usage: x509.ObjectIdentifier) -> bool:
    """Whether a certificate may be used so; one that does not say may be used for everything."""
    try:
        usages = certificate.extensions.get_extension_for_class(x509.ExtendedKeyUsage).value
    except x509.ExtensionNotFound:
        return True
    return usage in usages or ExtendedKeyUsageOID.ANY_EXTENDED_KEY_USAGE in usages


def _is_issued(chain: tuple[x509.Certificate, ...], authorities: tuple[x509.Certificate, ...]) -> bool:
    """Whether signatures lead from the first certificate to a CA, by the others of the chain."""
    current = chain[0]
    for _ in range(CHAIN_MAX):
        if any(_issued(current, each) for each in authorities):
            return True
        above = next((each for each in chain[1:] if each != current and _issued(current, each)), None)
        if above is None:
            return False
        current = above
    return False


def _issued(certificate: x509.Certificate, issuer: x509.Certificate) -> bool:
    try:
        certificate.verify_directly_issued_by(issuer)
    except (ValueError, TypeError, InvalidSignature):
        return False
    return True


def _signed(revoked: x509.CertificateRevocationList, issuer: x509.Certificate) -> bool:
    try:
        return revoked.issuer == issuer.subject and revoked.is_signature_valid(issuer.public_key())  # type: ignore[arg-type]
    except (ValueError, TypeError):
        return False


def _public(key: CertificateIssuerPublicKeyTypes) -> bytes:
    return key.public_bytes(Encoding.DER, PublicFormat.SubjectPublicKeyInfo)
