"""A redis-server, with TLS or without it: what TLS costs a server in C, and the clients of the loads.

It is no peer: one process that replicates nothing and keeps nothing on disk.
"""

import shutil
from pathlib import Path

from bench.client import stores
from bench.loads import PLAIN, Access, Load, Outcome
from bench.processes import Address, free_ports, local, run_kraft, wait_for
from bench.systems import System


def missing() -> str | None:
    """Return which required program is not installed, or None."""
    return None if shutil.which("redis-server") else "redis-server is not installed (Debian: redis-server)"


class Redis(System):
    """One redis-server. With `tls` the clients of loads use its second port, which takes TLS only."""

    def __init__(self, directory: Path, *, tls: bool) -> None:
        super().__init__(directory)
        self.name = "redis-server-tls" if tls else "redis-server"
        self._certificates = directory / "certificates"
        self.access = Access(authority=str(self._certificates / "ca.crt")) if tls else PLAIN

    def start(self) -> None:
        """Make a certificate as for a node of kraft, then start the server. Raises BenchError."""
        folder = self._certificates
        self._port, self._tls_port = free_ports(2)
        run_kraft("certs", "--dir", str(folder), "redis=127.0.0.1")
        options = {
            "port": self._port, "tls-port": self._tls_port, "tls-auth-clients": "no", "save": "",
            "tls-cert-file": folder / "redis.crt", "tls-key-file": folder / "redis.key",
            "tls-ca-cert-file": folder / "ca.crt",
        }  # fmt: skip
        words = [word for name, value in options.items() for word in (f"--{name}", str(value))]
        self._launch("redis", ["redis-server", *words])
        wait_for(lambda: stores(local(self._port)), self.name, self.processes)

    def views(self) -> dict[str, Address]:
        """Return its address without TLS."""
        return {self.name: local(self._port)}

    def run(self, load: Load, address: Address, requests: int) -> Outcome:
        """Run a load against the port for it, as fast as it replies."""
        return super().run(load, self._loaded(address), requests)

    def paced(self, load: Load, address: Address, requests: int, rate: float) -> Outcome:
        """Run a load against the port for it at `rate` requests per second."""
        return super().paced(load, self._loaded(address), requests, rate)

    def _loaded(self, address: Address) -> Address:
        return address if self.access is PLAIN else local(self._tls_port)
