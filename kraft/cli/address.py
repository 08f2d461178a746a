"""The address of a node as people type it, for every command that asks a node.

A host, `host:port`, a URL, a port of this machine, or the id of a node. An id is looked up in the
configuration files at hand (`kraft.yaml` here, /etc/kraft, the demo in ./kraft-demo); a member that none of
them describes is looked up in the reports of the nodes that they do describe, and of others that are known.
"""

import re
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass
from ipaddress import IPv6Address
from itertools import chain
from pathlib import Path
from typing import TYPE_CHECKING

from kraft.listen_address import is_wildcard, join_address, split_endpoint

if TYPE_CHECKING:
    from kraft.config import Config

HOST_DEFAULT = "127.0.0.1"
LABEL_MAX, HOST_MAX = 63, 253  # characters of a part of a host name, and of all of it (RFC 1035)
PATTERNS = ("kraft.yaml", "kraft-demo/K[1-9]/kraft.yaml", "/etc/kraft/*.yaml")

Members = Callable[[str], Mapping[str, str]]  # the HTTP addresses by id that the node at an address reports


@dataclass(frozen=True, slots=True)
class PortKind:
    """One of a node's ports: its name, its number by default, and the schemes of its URLs."""

    name: str
    default: int
    schemes: tuple[str, ...]

    @property
    def forms(self) -> str:
        """What an address may look like."""
        url = f"{self.schemes[0]}://HOST:PORT"
        return f"write HOST, HOST:PORT, {url} or the id of a node, such as 10.0.0.1:{self.default} or K1"


HTTP = PortKind("HTTP port", 10_021, ("http", "https", "redis", "rediss", "tcp"))
CLIENT = PortKind("client port", 10_011, ("redis", "rediss", "tcp"))


@dataclass(frozen=True, slots=True)
class NodeAddress:
    """A host and a TCP port. `given`: the port was typed, so the text cannot be the id of a node."""

    host: str
    port: int
    given: bool

    def __str__(self) -> str:
        return join_address(self.host, self.port)


def parse(text: str, kind: PortKind = HTTP) -> NodeAddress:
    """The address of a port in `text`. Raises ValueError with what is wrong with it, in one line."""
    shown = _shown(text)
    if not text.isprintable() or not text.strip():
        raise ValueError(f"{shown} is not an address: {kind.forms}")
    authority = _authority(text.strip(), shown, kind)
    if authority.isdecimal():
        return NodeAddress(HOST_DEFAULT, _port(authority, shown), given=True)
    host, port = _split(authority, shown, kind)
    number = _port(port, shown) if port else kind.default
    return NodeAddress(_host(host, shown, kind), number, given=bool(port))


def _authority(text: str, shown: str, kind: PortKind) -> str:
    """The part of `text` that names host and port."""
    scheme, url, rest = text.partition("://")
    if url and scheme.lower() not in kind.schemes:
        raise ValueError(f"{shown} is not an address: {kind.forms}")
    if not url and (text.startswith(("/", ".", "~")) or text.lower().startswith("unix:")):
        raise ValueError(f"{shown} is a path, and the {kind.name} is asked by TCP: {kind.forms}")
    authority = re.split(r"[/?#]", rest if url else text, maxsplit=1)[0]
    if "@" in authority:
        raise ValueError(f"{shown}: leave out the user name; the {kind.name} of a node asks for none")
    if "," in authority or " " in authority:
        raise ValueError(f"{shown}: write several addresses as several words")
    return authority


def _split(authority: str, shown: str, kind: PortKind) -> tuple[str, str]:
    """Host and port; the port is '' if there is none."""
    if authority.startswith("["):
        host, bracket, rest = authority[1:].partition("]")
        if bracket and (not rest or (rest.startswith(":") and len(rest) > 1)):
            return f"[{host}]", rest[1:]
        raise ValueError(f"{shown} is not an address: write IPv6 as [::1]:{kind.default}")
    if authority.count(":") > 1:
        return f"[{authority}]", ""
    host, colon, port = authority.partition(":")
    if not host or (colon and not port):
        raise ValueError(f"{shown} has no {'port after the colon' if host else 'host'}: {kind.forms}")
    return host, port


def _port(port: str, shown: str) -> int:
    if not (port.isascii() and port.isdecimal() and 0 < int(port[:6]) <= 65_535):
        raise ValueError(f"{shown}: a port is a number from 1 to 65535")
    return int(port)


def _host(host: str, shown: str, kind: PortKind) -> str:
    """The host in the form in which it is resolved, IPv6 without brackets."""
    if host.startswith("["):
        try:
            return str(IPv6Address(host[1:-1]))
        except ValueError:
            hint = f"write IPv6 as [::1]:{kind.default}"
            raise ValueError(f"{shown}: {host[1:-1]!r} is not an IPv6 address: {hint}") from None
    if any(len(label) > LABEL_MAX for label in host.split(".")):
        raise ValueError(f"{shown}: a part of the host name is longer than {LABEL_MAX} characters")
    try:
        name = host.encode("idna").decode()
    except UnicodeError:
        name = ""
    if not 0 < len(name) <= HOST_MAX or re.fullmatch(r"[\w.-]+", name, re.ASCII) is None:
        raise ValueError(f"{shown}: {_shown(host)} is not a host name")
    return name


def _shown(text: str) -> str:
    """`text` for a message: quoted, on one line, not too long, and possible to print."""
    short = text if len(text) <= 80 else text[:77] + "..."
    return ascii(short) if not short.isprintable() else repr(short)


# -- nodes by their id --------------------------------------------------------------------------------


def find(text: str, members: Members, others: Callable[[], Iterable[str]] = tuple) -> str:
    """The `host:port` of the HTTP port that `text` means. Raises ValueError with the reason in one line.

    `members` asks a node for the HTTP addresses of its members; it returns none if the node does not answer.
    `others` has nodes that are asked for the id too, after those whose configurations are at hand.
    """
    address = parse(text)
    if address.given or re.search(r"[/\[\]]", text):
        return str(address)
    name = text.strip()
    configs = list(_configs())
    for config in configs:
        if config.node.id == name:
            known = http_address(config)
            if not known:
                raise ValueError(f"{name} has no HTTP port: http.listen is empty, or names no port")
            return known
    for asked in dict.fromkeys(chain(map(http_address, configs), others())):
        other = members(asked).get(name) if asked else None
        if other:
            return other
    return str(address)


def known_nodes() -> dict[str, str]:
    """The HTTP addresses by id of the nodes whose configurations are at hand."""
    found = ((config.node.id, http_address(config)) for config in _configs())
    return {id_: address for id_, address in found if address}


def find_client(text: str) -> NodeAddress:
    """The client port that `text` means. Raises ValueError with the reason in one line."""
    address = parse(text, CLIENT)
    if not address.given:
        for config in _configs():
            if config.node.id == text.strip():
                known = _reached(config.client.listen)
                if not known:
                    raise ValueError(f"{config.node.id} has no client port: client.listen names no port")
                return parse(known, CLIENT)
    return address


def _configs() -> Iterator["Config"]:
    """The configurations at hand. A file that cannot be read or is not valid describes no node."""
    from kraft.config import ConfigError, load  # YAML and all options: needed only for the id of a node

    for pattern in PATTERNS:
        root = Path(pattern).anchor
        folder = Path(root) if root else Path()
        for path in sorted(folder.glob(pattern.removeprefix(root))):
            try:
                yield load(str(path))
            except (ConfigError, OSError):
                continue


def http_address(config: "Config") -> str:
    """The `host:port` at which this machine reaches the HTTP port of a node; '' if it has none."""
    return _reached(config.http.listen)


def _reached(listen: str) -> str:
    """The `host:port` at which this machine reaches a port that listens on this endpoint; '' if none."""
    if not listen:
        return ""
    listener = split_endpoint(listen)
    if not listener.port:
        return ""
    everywhere = "::1" if listener.kind == "tcp6" else HOST_DEFAULT
    return join_address(everywhere if is_wildcard(listener.interface) else listener.interface, listener.port)
