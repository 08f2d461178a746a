"""TCP keepalive: how the end of a host that closed nothing is noticed.

A host that loses its power or its network sends nothing, so its connections would stay open for ever. The
kernel probes a silent peer (SO_KEEPALIVE), which helps as long as no data is on its way; while data is, it
repeats that, by default for a quarter of an hour (tcp(7), TCP_USER_TIMEOUT shortens it).
"""

import math
import socket

PROBES = 3  # unanswered ones, at a third of the time each, as Redis has it (anetKeepAlive)


def keep_alive(port: object, seconds: float) -> None:
    """Let accepted connections of a listening `port` end once their peer was silent for twice `seconds`.

    The first probe is sent after `seconds`, 0 for never. Data that the peer does not acknowledge, or has no
    room for, may wait as long as that. Linux gives accepted sockets the options of the listening one, so this
    costs nothing per connection. Unix sockets have no such options.
    """
    listening = getattr(port, "socket", None)  # the attribute of Twisted's ports on real sockets
    if not isinstance(listening, socket.socket) or listening.family not in (socket.AF_INET, socket.AF_INET6):
        return
    listening.setsockopt(socket.SOL_SOCKET, socket.SO_KEEPALIVE, seconds > 0)
    if seconds > 0:
        whole = math.ceil(seconds)
        _set(listening, "TCP_KEEPIDLE", whole)
        _set(listening, "TCP_KEEPINTVL", max(1, whole // PROBES))
        _set(listening, "TCP_KEEPCNT", PROBES)
        _set(listening, "TCP_USER_TIMEOUT", 2000 * whole)  # milliseconds


def _set(listening: socket.socket, option: str, value: int) -> None:
    """Set a TCP option, on a system that has it."""
    if hasattr(socket, option):
        listening.setsockopt(socket.IPPROTO_TCP, getattr(socket, option), value)
