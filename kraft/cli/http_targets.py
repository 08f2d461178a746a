"""The HTTP ports that a command asks first: of the nodes given, of KRAFT_SERVERS, or of this machine.

KRAFT_SERVERS names client ports, which tell the HTTP ports of their nodes.
"""

from collections.abc import Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor

from kraft.cli import address, servers
from kraft.cli.failure import WrongUsage
from kraft.cli.http_access import HttpAccess
from kraft.cli.known_port import KnownPort, recognise
from kraft.cli.servers import ServerAddress
from kraft.cli.status_reply import http_ports
from kraft.listen_address import join_address

DEFAULT_ADDRESS = "127.0.0.1:10021"
CONCURRENT_MAX = 16


def secure_by_default(given: Sequence[str]) -> bool:
    """Whether no node is given, and a URL in KRAFT_SERVERS asks for TLS. Raises Failure."""
    return not given and any(each.secure for each in servers.from_environment())


def find(given: Sequence[str], timeout: float, access: HttpAccess, *, only: bool = False) -> list[str]:
    """The addresses (`host:port`) to ask, of which the last resort is that of K1 of a demo.

    Of the nodes in KRAFT_SERVERS those that are down are left out, unless `only` these are asked, or all are
    down. `timeout`, in seconds, is for each node. Raises WrongUsage and Failure.
    """
    if not given:
        named = [each for each in servers.from_environment() if each.port]  # a Unix socket has none
        told = _told(named, timeout, access)
        found = [http for http in told if http]
        if only or not found:
            pairs = zip(named, told, strict=True)
            found = [http or join_address(each.host, each.port) for each, http in pairs]
        return found or [DEFAULT_ADDRESS]

    def members(at: str) -> Mapping[str, str]:
        return http_ports(at, timeout, access)

    def others() -> Iterator[str]:
        yield from filter(None, _told(servers.from_environment(), timeout, access))
        yield DEFAULT_ADDRESS

    try:
        return [address.find(text, members, others) for text in given]
    except ValueError as error:
        raise WrongUsage(str(error)) from None


def _told(named: Sequence[ServerAddress], timeout: float, access: HttpAccess) -> list[str]:
    """The HTTP address of each node, '' for one that does not answer or has none."""

    def ask(server: ServerAddress) -> str:
        port = recognise(server.address, timeout, access.security)
        return port.http if isinstance(port, KnownPort) else ""

    with ThreadPoolExecutor(CONCURRENT_MAX) as pool:
        return list(pool.map(ask, named))
