"""The folder of `kraft certs`: a CA, and the certificates that it has issued.

It holds `ca.crt`, `ca.key` and `ca.crl`, and a pair of files for each node and client. The folder is the only
record, and the common name of the CA has the name of the cluster. A certificate that was renewed is valid as
before, so `earlier/NAME/` keeps it: whoever revokes NAME means all of them.
"""

import shutil
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from pathlib import Path
from typing import TYPE_CHECKING

from kraft.cli.failure import Failure

if TYPE_CHECKING:
    from kraft.tls.certificate_pair import Certificate, CertificatePair

CLUSTER_DEFAULT = "kraft"
DAYS_DEFAULT = 825
AUTHORITY_DAYS = 3650
RENEW_DAYS = 30  # certificates that end within this time are renewed
LOCAL_HOSTS = ("localhost", "127.0.0.1", "::1")  # for commands on the machine of the node
CLIENT = "client-"
_CA_NAME = "kraft CA of "


def check_libraries(command: str) -> None:
    """Raise Failure if `command` cannot make certificates here."""
    try:
        import kraft.tls.certificate_pair  # noqa: F401  the libraries may be missing
    except ImportError:
        missing = "needs libraries that are not installed"
        raise Failure(f"{command} {missing}: pip install cryptography") from None


@dataclass(frozen=True, slots=True)
class Listed:
    """One certificate: its name (that of its file), and what it is for."""

    name: str
    of: str
    expires: datetime
    hosts: tuple[str, ...]


class CertificateFolder:
    """The folder with a CA and what it has issued. `open` or `create` comes first."""

    def __init__(self, path: Path, now: datetime) -> None:
        self.path = path
        self.cluster = ""
        self._now = now
        self._held: CertificatePair | None = None

    @property
    def exists(self) -> bool:
        """Whether there is a CA."""
        return (self.path / "ca.crt").exists()

    @property
    def _authority(self) -> "CertificatePair":
        if self._held is None:
            raise Failure(f"{self.path} holds no CA: name the nodes, like K1=10.0.0.1, to make one")
        return self._held

    def open(self) -> None:
        """Read the CA. Raises Failure."""
        from kraft.tls.certificate_pair import read_pair
        from kraft.tls.names import common_name

        if not self.exists:
            raise Failure(f"there are no certificates in {self.path}: name the nodes, like K1=10.0.0.1")
        try:
            self._held = read_pair(self.path / "ca.crt", self.path / "ca.key")
        except (ValueError, TypeError) as error:
            raise Failure(f"{self.path} holds no CA of this command: {error}") from None
        self.cluster = common_name(self._held.certificate).removeprefix(_CA_NAME)

    def create(self, cluster: str) -> None:
        """Make the folder and the CA."""
        from kraft.tls.certificate_pair import make_authority, make_revocation_list

        self.path.mkdir(mode=0o700, parents=True, exist_ok=True)
        self.cluster = cluster
        self._held = make_authority(cluster, self._now, AUTHORITY_DAYS)
        self._held.write(self.path / "ca.crt", self.path / "ca.key")
        self._write_list(make_revocation_list(self._held, (), self._now))

    def make(self, nodes: dict[str, list[str]], clients: Sequence[str], days: int) -> list[str]:
        """Make certificates. Raises Failure if one is there already; then none is made."""
        from kraft.tls.certificate_pair import make_client, make_node
        from kraft.tls.names import NodeName

        for name in (*nodes, *(CLIENT + client for client in clients)):
            if self._file(name).exists():
                raise Failure(f"{self._file(name)} exists: kraft certs --renew makes it anew")
        for name, hosts in nodes.items():
            named = NodeName(self.cluster, name)
            self._write(name, make_node(self._authority, named, (*hosts, *LOCAL_HOSTS), self._now, days))
        for name in clients:
            self._write(CLIENT + name, make_client(self._authority, name, self._now, days))
        return [*nodes, *(CLIENT + client for client in clients)]

    def due(self) -> list[str]:
        """The names of those that end soon."""
        soon = self._now + timedelta(days=RENEW_DAYS)
        return [each.name for each in self.listed() if each.name != "ca" and each.expires < soon]

    def renew(self, names: Sequence[str], days: int) -> list[str]:
        """Make certificates anew, with new keys and the same names and hosts."""
        from kraft.tls.certificate_pair import hosts_of, make_client, make_node
        from kraft.tls.names import node_name

        for name in names:
            old = self._read(name)
            self._keep(name, old)
            node = node_name(old)
            if node is not None:
                pair = make_node(self._authority, node, hosts_of(old), self._now, days)
            else:
                pair = make_client(self._authority, name.removeprefix(CLIENT), self._now, days)
            self._write(name, pair)
        return list(names)

    def revoke(self, names: Sequence[str]) -> None:
        """Add all certificates of these names to the list of the CA, and remove their files."""
        from kraft.tls.certificate_pair import make_revocation_list, read_revoked

        file = self.path / "ca.crl"
        revoked = {self._read(name).serial_number for name in names}
        revoked |= {int(file.stem, 16) for name in names for file in self._earlier(name).glob("*.crt")}
        serials = read_revoked(file.read_bytes()) if file.exists() else []
        serials += [(serial, self._now) for serial in sorted(revoked)]
        self._write_list(make_revocation_list(self._authority, serials, self._now))
        for name in names:
            self._file(name).unlink()
            self._file(name).with_name(f"{name}.key").unlink(missing_ok=True)
            shutil.rmtree(self._earlier(name), ignore_errors=True)

    def listed(self) -> Iterator[Listed]:
        """All certificates, the CA first."""
        from kraft.tls.certificate_pair import hosts_of
        from kraft.tls.names import node_name

        names = sorted(path.name.removesuffix(".crt") for path in self.path.glob("*.crt"))
        for name in sorted(names, key=lambda name: name != "ca"):
            certificate = self._read(name)
            node = node_name(certificate)
            of = (
                "CA"
                if name == "ca"
                else f"node {node.node}"
                if node
                else f"client {name.removeprefix(CLIENT)}"
            )
            yield Listed(name, of, certificate.not_valid_after_utc, tuple(hosts_of(certificate)))

    def _file(self, name: str) -> Path:
        return self.path / f"{name}.crt"

    def _earlier(self, name: str) -> Path:
        """The folder of the certificates of this name that were renewed."""
        return self.path / "earlier" / name

    def _keep(self, name: str, old: "Certificate") -> None:
        from kraft.tls.certificate_pair import write_public

        self._earlier(name).mkdir(parents=True, exist_ok=True)
        kept = self._earlier(name) / f"{old.serial_number:x}.crt"
        write_public(kept, self._file(name).read_bytes())

    def _read(self, name: str) -> "Certificate":
        from kraft.tls.certificate_pair import read_certificate

        try:
            return read_certificate(self._file(name).read_bytes())
        except FileNotFoundError:
            raise Failure(f"there is no certificate {name} in {self.path}: kraft certs lists them") from None
        except ValueError:
            raise Failure(f"{self._file(name)} is no certificate") from None

    def _write(self, name: str, pair: "CertificatePair") -> None:
        pair.write(self._file(name), self.path / f"{name}.key")

    def _write_list(self, revoked: bytes) -> None:
        from kraft.tls.certificate_pair import write_public

        write_public(self.path / "ca.crl", revoked)
