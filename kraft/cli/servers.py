"""The nodes that a client may ask, as people name them: on the command line, in KRAFT_SERVERS, or not at all.

An address is one that `address` knows, ID,HOST,PORT as in the Java shell, or the path of a Unix socket.
"""

import argparse
import os
import re
from collections.abc import Callable, Iterable
from dataclasses import dataclass, replace
from functools import partial
from typing import TYPE_CHECKING

from kraft.cli import address, tls_options
from kraft.cli.connection import Address, NodeConnection
from kraft.cli.failure import Failure
from kraft.listen_address import join_address, split_address

if TYPE_CHECKING:
    import ssl

VARIABLE = "KRAFT_SERVERS"
ASK_SECONDS = 2.0  # for a node in KRAFT_SERVERS to tell its id


@dataclass(frozen=True, slots=True)
class ServerAddress:
    """A client port. `id` is the node's, or the address while it is unknown. `secure`: by a URL with TLS.

    `name` is what was typed if that may be the id of a node, '' otherwise.
    """

    id: str
    host: str
    port: int
    secure: bool = False
    name: str = ""

    @property
    def address(self) -> Address:
        """Host and port, as a socket takes them."""
        return self.host, self.port

    def __str__(self) -> str:
        address = join_address(self.host, self.port) if self.port else self.host
        return address if self.id == address else f"{self.id} {address}"


DEMO = tuple(ServerAddress(f"127.0.0.1:{port}", "127.0.0.1", port) for port in (10_011, 10_012, 10_013))


def parse(text: str) -> ServerAddress:
    """The client port that `text` names. Raises ValueError, which says what would be right."""
    if text.count(",") == 2:
        id_, host, port = text.split(",")
        return server(id_, host, port)
    path = text.removeprefix("unix:")
    if path.startswith("/"):
        return ServerAddress(path, path, 0)
    found = address.find_client(text)
    name = "" if found.given or re.search(r"[/\[\]]", text) else text.strip()
    return ServerAddress(str(found), found.host, found.port, tls_options.is_secure(text), name)


def server(id_: str, host: str, port: str) -> ServerAddress:
    """The client port of the node `id_`. Raises ValueError."""
    host, number = split_address(f"[{host}]:{port}" if ":" in host else f"{host}:{port}")
    return ServerAddress(id_, host, number)


def argument(text: str) -> ServerAddress:
    """An argparse type."""
    try:
        return parse(text)
    except ValueError as problem:
        raise argparse.ArgumentTypeError(str(problem)) from None


def declare(
    parser: argparse.ArgumentParser,
    description: str,
    examples: str,
    run: Callable[[argparse.Namespace], int],
) -> None:
    """Declare a subcommand that asks one of the servers, with `--server`, which may be repeated."""
    parser.description = description
    parser.epilog = examples
    parser.add_argument(
        "-s",
        "--server",
        type=argument,
        action="append",
        dest="servers",
        metavar="ADDRESS",
        help=f"client port of a node, may be repeated (default ${VARIABLE}, or 127.0.0.1:10011 to 10013)",
    )
    tls_options.declare(parser)
    parser.set_defaults(run=run)


def connector(given: argparse.Namespace) -> Callable[[Address, float], NodeConnection]:
    """How to connect to the nodes: with TLS, if the options or an address ask for it. Raises Failure."""
    return partial(NodeConnection.connect, security=_security(given, chosen(given)))


def chosen(given: argparse.Namespace) -> list[ServerAddress]:
    """The nodes given, or those in KRAFT_SERVERS, or those of a demo. Raises Failure.

    A node that is given by its id is looked for in KRAFT_SERVERS, once: `given` has its address then.
    """
    if given.servers:
        given.servers = [replace(_found(each, given), name="") for each in given.servers]
    return given.servers or from_environment() or list(DEMO)


def _found(named: ServerAddress, given: argparse.Namespace) -> ServerAddress:
    """The node with the id `named.name`; `named` if KRAFT_SERVERS has none. Nodes are asked for their ids."""
    if not named.name:
        return named
    known = from_environment()
    for each in known:
        if each.id == named.name:
            return each
    from kraft.cli.known_port import (
        KnownPort,
        recognise,
    )  # the codec of peers, needed only for the id of a node

    security = _security(given, known)
    for each in known:
        port = recognise(each.address, ASK_SECONDS, security) if each.port else None
        if isinstance(port, KnownPort) and port.id == named.name:
            return replace(each, id=named.name)
    return named


def _security(given: argparse.Namespace, nodes: Iterable[ServerAddress]) -> "ssl.SSLContext | None":
    return tls_options.chosen(given, by_url=any(each.secure for each in nodes))


def from_environment() -> list[ServerAddress]:
    """The nodes in KRAFT_SERVERS, none if it is not set. Raises Failure."""
    try:
        return [parse(word) for word in os.environ.get(VARIABLE, "").split()]
    except ValueError as problem:
        raise Failure(f"{VARIABLE}: {problem}") from None
