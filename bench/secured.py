"""Three nodes that speak TLS, or know users, to compare with those that do not."""

from pathlib import Path

from bench.loads import Access
from bench.processes import run_kraft
from bench.systems import Kraft

PASSWORD = "f9e2a4c81b7d6035" * 2  # of nodes that only this machine reaches; too long for a slow hash
USERS = f"""\
user default on nopass ~* &* +@all
user bench on >{PASSWORD} ~key:* ~counter:* +@read +@write +@scripting
"""


class TlsKraft(Kraft):
    """Nodes with TLS on all ports, of the certificates of `kraft certs`. The client port takes both kinds."""

    def __init__(self, directory: Path, nodes: int) -> None:
        super().__init__(directory, nodes, label="tls")
        self._certificates = directory / "certificates"
        self.access = Access(authority=str(self._certificates / "ca.crt"))

    def start(self) -> None:
        """Make certificates, then start the nodes. Raises BenchError."""
        names = [f"n{number}=127.0.0.1" for number in range(1, self._nodes + 1)]
        run_kraft("certs", "--dir", str(self._certificates), *names)
        super().start()

    def secured(self, name: str, text: str) -> str:
        """Turn TLS on for each port."""
        for port, mode in (("peer", "required"), ("client", "optional"), ("http", "optional")):
            text = text.replace(f"{port}: {{listen", f"{port}: {{tls: {mode}, listen")
        folder = self._certificates
        files = f"certificate: {folder}/{name}.crt, key: {folder}/{name}.key, ca: {folder}/ca.crt"
        return f"{text}tls: {{{files}}}\n"


class UsersKraft(Kraft):
    """Nodes whose loads log in as a user with rights on some keys and commands. Others need no password."""

    def __init__(self, directory: Path, nodes: int) -> None:
        super().__init__(directory, nodes, label="users")
        self._file = directory / "users.acl"
        self.access = Access(user="bench", password=PASSWORD)

    def start(self) -> None:
        """Write the file of users, then start the nodes. Raises BenchError."""
        self._file.write_text(USERS)
        super().start()

    def secured(self, name: str, text: str) -> str:  # noqa: ARG002 - all nodes have the same users
        """Name the file of users."""
        return f"{text}users: {{file: {self._file}}}\n"
