"""Making a CA, and certificates for nodes and clients, for people who have no CA of their own.

Keys are on the curve P-256, which every client knows and whose signatures are quick. Certificates follow RFC
5280.
"""

import os
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from ipaddress import ip_address
from pathlib import Path

from cryptography import x509
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.serialization import (
    Encoding,
    NoEncryption,
    PrivateFormat,
    load_pem_private_key,
)
from cryptography.x509.oid import ExtendedKeyUsageOID, NameOID

from kraft.tls.names import NodeName

Certificate = x509.Certificate
CLOCK_SLACK = timedelta(hours=1)  # other machines' clocks may be late
_SERVER, _CLIENT = ExtendedKeyUsageOID.SERVER_AUTH, ExtendedKeyUsageOID.CLIENT_AUTH


@dataclass(frozen=True, slots=True)
class CertificatePair:
    """A certificate and its key."""

    certificate: x509.Certificate
    key: ec.EllipticCurvePrivateKey

    def write(self, certificate: Path, key: Path) -> None:
        """Write both as PEM. Only the owner may read the key."""
        write_private(key, self.key.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption()))
        write_public(certificate, self.certificate.public_bytes(Encoding.PEM))


def read_pair(certificate: Path, key: Path) -> CertificatePair:
    """The CA in two files. Raises OSError, or ValueError if they hold something else."""
    held = load_pem_private_key(key.read_bytes(), None)
    if not isinstance(held, ec.EllipticCurvePrivateKey):
        raise ValueError(f"{key} was not made by this command")
    found = x509.load_pem_x509_certificate(certificate.read_bytes())
    if found.public_key() != held.public_key():
        raise ValueError(f"{key} does not belong to {certificate}")
    return CertificatePair(found, held)


def write_private(path: Path, data: bytes) -> None:
    """Write a file that only its owner may read, atomically."""
    new = path.with_name(f"{path.name}.new")
    new.unlink(missing_ok=True)
    with os.fdopen(os.open(new, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600), "wb") as file:
        file.write(data)
    new.replace(path)


def write_public(path: Path, data: bytes) -> None:
    """Write a file that everybody may read, atomically."""
    new = path.with_name(f"{path.name}.new")
    new.write_bytes(data)
    new.chmod(0o644)
    new.replace(path)


def make_authority(cluster: str, now: datetime, days: int) -> CertificatePair:
    """A CA for one cluster."""
    key = ec.generate_private_key(ec.SECP256R1())
    subject = _subject(f"kraft CA of {cluster}")
    builder = _builder(subject, subject, key.public_key(), now, days)
    usage = _usage(digital_signature=True, key_cert_sign=True, crl_sign=True)
    builder = builder.add_extension(x509.BasicConstraints(ca=True, path_length=0), critical=True)
    builder = builder.add_extension(usage, critical=True)
    return CertificatePair(builder.sign(key, hashes.SHA256()), key)


def make_node(
    authority: CertificatePair, name: NodeName, hosts: Iterable[str], now: datetime, days: int
) -> CertificatePair:
    """The certificate of a node, for its ports and links. `hosts`: names and addresses that clients use."""
    names: list[x509.GeneralName] = [x509.UniformResourceIdentifier(str(name))]
    names += [_host(host) for host in dict.fromkeys(hosts)]
    return _issue(authority, name.node, names, (_SERVER, _CLIENT), now, days)


def make_client(authority: CertificatePair, name: str, now: datetime, days: int) -> CertificatePair:
    """The certificate of a client. It has no name of a node, and so opens no link."""
    return _issue(authority, name, [], (_CLIENT,), now, days)


def make_revocation_list(
    authority: CertificatePair, serials: Sequence[tuple[int, datetime]], now: datetime
) -> bytes:
    """The list (PEM) of revoked certificates, by serial number and time. It is valid as long as the CA is."""
    builder = x509.CertificateRevocationListBuilder().issuer_name(authority.certificate.subject)
    builder = builder.last_update(now - CLOCK_SLACK).next_update(authority.certificate.not_valid_after_utc)
    for serial, when in serials:
        revoked = x509.RevokedCertificateBuilder().serial_number(serial).revocation_date(when)
        builder = builder.add_revoked_certificate(revoked.build())
    return builder.sign(authority.key, hashes.SHA256()).public_bytes(Encoding.PEM)


def read_revoked(data: bytes) -> list[tuple[int, datetime]]:
    """The revoked certificates in such a list. Raises ValueError."""
    return [(each.serial_number, each.revocation_date_utc) for each in x509.load_pem_x509_crl(data)]


def read_certificate(data: bytes) -> Certificate:
    """The certificate in a file. Raises ValueError."""
    return x509.load_pem_x509_certificate(data)


def hosts_of(certificate: x509.Certificate) -> list[str]:
    """The host names and addresses in the certificate of a node."""
    try:
        names = certificate.extensions.get_extension_for_class(x509.SubjectAlternativeName).value
    except x509.ExtensionNotFound:
        return []
    return [*names.get_values_for_type(x509.DNSName), *map(str, names.get_values_for_type(x509.IPAddress))]


def _issue(
    authority: CertificatePair,
    subject: str,
    names: Sequence[x509.GeneralName],
    usages: Iterable[x509.ObjectIdentifier],
    now: datetime,
    days: int,
) -> CertificatePair:
    key = ec.generate_private_key(ec.SECP256R1())
    builder = _builder(_subject(subject), authority.certificate.subject, key.public_key(), now, days)
    builder = builder.add_extension(x509.BasicConstraints(ca=False, path_length=None), critical=True)
    builder = builder.add_extension(_usage(digital_signature=True), critical=True)
    builder = builder.add_extension(x509.ExtendedKeyUsage(usages), critical=False)
    above = x509.AuthorityKeyIdentifier.from_issuer_public_key(authority.key.public_key())
    builder = builder.add_extension(above, critical=False)
    if names:
        builder = builder.add_extension(x509.SubjectAlternativeName(names), critical=False)
    return CertificatePair(builder.sign(authority.key, hashes.SHA256()), key)


def _builder(
    subject: x509.Name, issuer: x509.Name, key: ec.EllipticCurvePublicKey, now: datetime, days: int
) -> x509.CertificateBuilder:
    start, end = now - CLOCK_SLACK, now + timedelta(days=days)
    builder = x509.CertificateBuilder().subject_name(subject).issuer_name(issuer).public_key(key)
    builder = builder.serial_number(x509.random_serial_number()).not_valid_before(start).not_valid_after(end)
    return builder.add_extension(x509.SubjectKeyIdentifier.from_public_key(key), critical=False)


def _subject(name: str) -> x509.Name:
    return x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, name)])


def _host(host: str) -> x509.GeneralName:
    try:
        return x509.IPAddress(ip_address(host))
    except ValueError:
        return x509.DNSName(host)


def _usage(
    *, digital_signature: bool = False, key_cert_sign: bool = False, crl_sign: bool = False
) -> x509.KeyUsage:
    return x509.KeyUsage(
        digital_signature=digital_signature,
        content_commitment=False,
        key_encipherment=False,
        data_encipherment=False,
        key_agreement=False,
        key_cert_sign=key_cert_sign,
        crl_sign=crl_sign,
        encipher_only=False,
        decipher_only=False,
    )
