"""Why the operating system does not let this process listen, in words, and what to do."""

import errno
import os
from pathlib import Path

from kraft.listen_address import ListenAddress
from kraft.storage.access import user_name

_UNPRIVILEGED = Path("/proc/sys/net/ipv4/ip_unprivileged_port_start")


def explain(address: ListenAddress, error: OSError) -> tuple[str, str]:
    """Why the operating system does not let this process listen on `address`, and the next command."""
    if address.kind == "unix":
        return _explain_path(Path(address.path), error)
    port = address.port
    if error.errno == errno.EADDRINUSE:
        return f"port {port} is in use by another process", f"ss -ltnp 'sport = :{port}'"
    if error.errno in (errno.EADDRNOTAVAIL, errno.EAFNOSUPPORT):
        return f"this machine has no address {address.interface or 'of IPv6'}", "ip -br address"
    if error.errno == errno.EACCES and port is not None and port < unprivileged_port():
        text = f"ports below {unprivileged_port()} need a capability; write a higher port, or grant it"
        return text, "AmbientCapabilities=CAP_NET_BIND_SERVICE"
    return f"port {port} cannot be opened: {error.strerror or error}", f"ss -ltnp 'sport = :{port}'"


def _explain_path(path: Path, error: OSError) -> tuple[str, str]:
    folder = path.parent
    if error.errno in (errno.ENOENT, errno.ENOTDIR):
        return f"there is no folder {folder}", f"mkdir {folder}"
    if error.errno in (errno.EACCES, errno.EPERM):
        return f"{user_name(os.geteuid())} may not create a socket in {folder}", f"ls -ld {folder}"
    return f"no socket can be created there: {error.strerror or error}", f"ls -ld {folder}"


def unprivileged_port() -> int:
    """The lowest port that every user may open."""
    try:
        return int(_UNPRIVILEGED.read_text())
    except (OSError, ValueError):
        return 1024
