"""Certificates for tests, made by the code of `kraft certs`: good ones, and every kind of bad one."""

import ssl
from collections.abc import Iterable
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

from kraft.tls.certificate_pair import (
    CertificatePair,
    make_authority,
    make_client,
    make_node,
    make_revocation_list,
    write_public,
)
from kraft.tls.names import NodeName
from tests.cluster.harness import Cluster, Server

HOSTS = ("127.0.0.1", "localhost", "::1")


class Certificates:
    """A CA in a folder, and what it issues: files NAME.crt and NAME.key."""

    def __init__(self, folder: Path, cluster: str = "shop") -> None:
        self.folder = folder
        self.cluster = cluster
        folder.mkdir(parents=True, exist_ok=True)
        self.authority = make_authority(cluster, datetime.now(UTC), 3650)
        self.authority.write(folder / "ca.crt", folder / "ca.key")
        self.revoke()

    def path(self, name: str) -> str:
        return str(self.folder / name)

    def node(
        self, name: str, *, file: str = "", days: float = 30, age: float = 0, cluster: str = ""
    ) -> CertificatePair:
        """The certificate of a node, in files of its name, or another `file`. It was made `age` days ago."""
        now = datetime.now(UTC) - timedelta(days=age)
        named = NodeName(cluster or self.cluster, name)
        return self._write(make_node(self.authority, named, HOSTS, now, int(days)), file or name)

    def client(self, name: str, *, days: int = 30, age: float = 0) -> CertificatePair:
        now = datetime.now(UTC) - timedelta(days=age)
        return self._write(make_client(self.authority, name, now, days), name)

    def revoke(self, *pairs: CertificatePair) -> None:
        """Write ca.crl with these, and no others."""
        serials = [(pair.certificate.serial_number, datetime.now(UTC)) for pair in pairs]
        made = make_revocation_list(self.authority, serials, datetime.now(UTC))
        write_public(self.folder / "ca.crl", made)

    def _write(self, pair: CertificatePair, file: str) -> CertificatePair:
        pair.write(self.folder / f"{file}.crt", self.folder / f"{file}.key")
        return pair

    def options(self, name: str) -> dict[str, str]:
        """The section `tls` of a node."""
        return {
            "certificate": self.path(f"{name}.crt"),
            "key": self.path(f"{name}.key"),
            "ca": self.path("ca.crt"),
            "crl": self.path("ca.crl"),
        }

    def context(self, name: str = "") -> ssl.SSLContext:
        """A client's context; with the certificate `name`."""
        context = ssl.create_default_context(cafile=self.path("ca.crt"))
        if name:
            context.load_cert_chain(self.path(f"{name}.crt"), self.path(f"{name}.key"))
        return context


def sections(certificates: Certificates, server: Server, **modes: dict[str, Any]) -> dict[str, Any]:
    """The sections of one node; `modes` are those of its ports, all `required` unless given."""
    ports = {name: {"tls": "required"} for name in ("peer", "client", "http")} | modes
    return {**ports, "tls": certificates.options(server.id)}


def secure(
    cluster: Cluster, certificates: Certificates, servers: Iterable[Server] = (), **modes: dict[str, Any]
) -> None:
    """Give nodes that are not running certificates, and configure TLS on all ports, or as `modes` say."""
    for server in servers or cluster:
        if not Path(certificates.path(f"{server.id}.crt")).exists():
            certificates.node(server.id)
        server.configure(cluster.members, **sections(certificates, server, **modes))
        server.security = certificates.context()
