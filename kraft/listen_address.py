"""Addresses: `host:port`, which others dial, and endpoint strings, on which a node listens.

An endpoint string is written as Twisted has it: a kind, a port or path, and further values as `name=value`,
separated by colons. A backslash quotes the next character, such as a colon in an IPv6 address. It is read
here completely, so that a string that would fail at the start of a node is a problem of its configuration.
"""

import os
import re
from dataclasses import dataclass
from ipaddress import ip_address

_LABEL = r"[A-Za-z0-9_][A-Za-z0-9_-]{0,62}"
_HOST_NAME = re.compile(rf"(?=.{{1,253}}$){_LABEL}(\.{_LABEL})*\.?")
_INTEGER = re.compile(r"0|[1-9][0-9]{0,18}")
_VALUE = re.compile(r"(?:^|:)((?:[^:=\\]|\\.)*)(=?)((?:[^:\\]|\\.)*)", re.DOTALL)  # name, `=`, value
_MODE = re.compile(r"0?[0-7]{3}")

# The values of each kind, the one that needs no name first.
_VALUES = {
    "tcp": ("port", "interface", "backlog"),
    "tcp6": ("port", "interface", "backlog"),
    "unix": ("address", "mode", "backlog", "lockfile"),
    "systemd": ("domain", "name", "index"),
}
_DOMAINS = ("INET", "INET6", "UNIX")
_TLS = "write tcp:, and set the option tls of this port (docs/tls.md)"
BACKLOG = 511  # connections that wait to be accepted, as in Redis; Twisted's default is 50
_BACKLOG_MAX = 65_535
_ALL_IPV4 = "0.0.0.0"  # noqa: S104  compared, not bound
_UNIX_PATH_BYTES_MAX = 107  # sun_path of unix(7), without its final zero
_UNIX_MODE = 0o666  # as in Twisted: whoever may enter the folder may connect


@dataclass(frozen=True, slots=True)
class ListenAddress:
    """An endpoint string. Fields that its kind does not have are empty.

    kind: tcp, tcp6, unix or systemd.
    port: 0 to 65535, None for an endpoint without a port.
    interface: an IP address or localhost; '' for all interfaces.
    path, mode: of a unix socket.
    domain, name, index: of a socket that systemd passes; it has a name, or an index of at least 0.
    """

    kind: str
    port: int | None = None
    interface: str = ""
    path: str = ""
    mode: int = _UNIX_MODE
    domain: str = ""
    name: str = ""
    index: int | None = None
    backlog: int = BACKLOG

    def collides(self, other: "ListenAddress") -> bool:
        """Whether one process cannot listen on both."""
        if self.port is not None and other.port is not None:
            if self.port == 0 or self.port != other.port:
                return False
            own, its = self.bound, other.bound
            return own == its or "::" in (own, its) or (_ALL_IPV4 in (own, its) and ":" not in own + its)
        if self.kind == other.kind == "unix":
            return os.path.normpath(self.path) == os.path.normpath(other.path)
        return self.kind == other.kind == "systemd" and (self.name, self.index) == (other.name, other.index)

    @property
    def bound(self) -> str:
        """The address that is bound; `::` takes the port of IPv4 as well, as Linux has it by default."""
        if not self.interface:
            return "::" if self.kind == "tcp6" else _ALL_IPV4
        return "127.0.0.1" if self.interface == "localhost" else str(ip_address(self.interface))


def split_address(text: str) -> tuple[str, int]:
    """Host (without brackets) and port of `host:port`. Raises ValueError, which says what would be right."""
    host, colon, port = text.rpartition(":")
    if not colon:
        raise ValueError(f"{quoted(text)} has no port; write host:port such as 10.0.0.5:10001")
    if host.startswith("[") and host.endswith("]"):
        host = host[1:-1]
        if not _is_ip(host) or ":" not in host:
            raise ValueError(f"{quoted(text)} has no IPv6 in its brackets; write it like [fd00::5]:10001")
    elif ":" in host:
        raise ValueError(f"{quoted(text)} is ambiguous; write IPv6 in brackets, like [fd00::5]:10001")
    elif not _is_ip(host) and (_HOST_NAME.fullmatch(host) is None or host.replace(".", "").isdigit()):
        raise ValueError(f"{quoted(host)} is not a host; write host:port such as 10.0.0.5:10001")
    return host, _integer(port, "port", 1, 65_535)


def split_endpoint(text: str) -> ListenAddress:
    """The parts of an endpoint string. Raises ValueError, which says what would be right."""
    kind, colon, rest = text.partition(":")
    if kind in ("ssl", "tls"):
        raise ValueError(f"{quoted(text)}: {_TLS}")
    if not colon or kind not in _VALUES:
        hint = f"; write tcp:{text}:interface=127.0.0.1" if text.isdecimal() else ""
        known = ", ".join(f"{name}:" for name in _VALUES)
        raise ValueError(f"{quoted(text)} is not an endpoint{hint or f'; it starts with one of {known}'}")
    values = _values(kind, rest)
    backlog = _integer(values.get("backlog", str(BACKLOG)), "backlog", 1, _BACKLOG_MAX)
    if kind == "systemd":
        return _passed(values)
    if kind == "unix":
        return _unix(values, backlog)
    port = _integer(values.get("port", ""), "port", 0, 65_535)
    return ListenAddress(kind, port, _interface(kind, values.get("interface", "")), backlog=backlog)


def _values(kind: str, text: str) -> dict[str, str]:
    """The values of an endpoint by name."""
    known = _VALUES[kind]
    values: dict[str, str] = {}
    if re.search(r"(?<!\\)(\\\\)*\\$", text):
        raise ValueError(f"{quoted(text)} ends with a backslash, which quotes the character after it")
    for place, (word, equals, value) in enumerate(_VALUE.findall(text)):
        if not equals and place:
            raise ValueError(
                rf"{quoted(word)} has no name; write name=value with one of {', '.join(known[1:])},"
                r" and a colon inside a value as \:, like interface=\:\:1"
            )
        name, raw = (word, value) if equals else (known[0], word)
        if name not in known:
            raise ValueError(f"{quoted(name)} is not a value of {kind}:; known here: {', '.join(known)}")
        if name in values:
            raise ValueError(f"{name} is given twice; leave one out")
        values[name] = re.sub(r"\\(.)", r"\1", raw, flags=re.DOTALL)
    return values


def _interface(kind: str, text: str) -> str:
    if not text or (text == "localhost" and kind == "tcp"):
        return text
    example = r"\:\:1" if kind == "tcp6" else "127.0.0.1"
    if not _is_ip(text) or (kind == "tcp6" and ":" not in text):
        family = "an IPv6" if kind == "tcp6" else "an IP"
        raise ValueError(f"interface {quoted(text)} is not {family} address; write one, like {example}")
    return text


def _unix(values: dict[str, str], backlog: int) -> ListenAddress:
    path, mode = values.get("address", ""), values.get("mode", f"{_UNIX_MODE:o}")
    if not path or "\0" in path:
        raise ValueError("a unix endpoint needs a path, like unix:/run/kraft/client.sock")
    size = len(os.fsencode(path))
    if size > _UNIX_PATH_BYTES_MAX:
        text = f"the path of a unix socket may have {_UNIX_PATH_BYTES_MAX} bytes, and this one has {size}"
        raise ValueError(f"{text}; write a shorter one, like unix:/run/kraft/client.sock")
    if _MODE.fullmatch(mode) is None:
        raise ValueError(f"mode {quoted(mode)} is not octal; write three digits, like mode=660")
    return ListenAddress("unix", path=path, mode=int(mode, 8), backlog=backlog)


def _passed(values: dict[str, str]) -> ListenAddress:
    domain, name, index = values.get("domain", ""), values.get("name", ""), values.get("index", "")
    if bool(name) == bool(index) or not domain:
        raise ValueError("a systemd endpoint is written like systemd:domain=INET:name=client")
    if domain not in _DOMAINS:
        raise ValueError(f"domain {quoted(domain)} is not known; write one of {', '.join(_DOMAINS)}")
    number = _integer(index, "index", 0, 1023) if index else None
    return ListenAddress("systemd", domain=domain, name=name, index=number)


def is_loopback(host: str) -> bool:
    """Whether a host or interface, as written, certainly is this machine."""
    return host == "localhost" or (_is_ip(host) and ip_address(host).is_loopback)


def is_wildcard(host: str) -> bool:
    """Whether an interface means all interfaces, so that it is not an address to dial."""
    return not host or (_is_ip(host) and ip_address(host).is_unspecified)


def join_address(host: str, port: int) -> str:
    """`host:port`, with brackets around an IPv6 host."""
    return f"[{host}]:{port}" if ":" in host else f"{host}:{port}"


def quoted(text: str) -> str:
    """The text in quotes, for a message; a long one is cut."""
    return repr(text if len(text) <= 80 else text[:77] + "...")


def _is_ip(text: str) -> bool:
    try:
        ip_address(text)
    except ValueError:
        return False
    return True


def _integer(text: str, word: str, least: int, most: int) -> int:
    if _INTEGER.fullmatch(text) is None or not least <= int(text) <= most:
        raise ValueError(f"{quoted(text)} is not a {word}; write {least} to {most}")
    return int(text)
