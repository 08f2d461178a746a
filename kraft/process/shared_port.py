"""A port on which several nodes of one machine listen: the kernel gives each connection to one of them."""

import socket

from twisted.internet import tcp


class SharedPort(tcp.Port):
    """Twisted's port, on which other processes of the same user may listen, too (socket(7), SO_REUSEPORT)."""

    def createInternetSocket(self) -> socket.socket:
        """The socket to bind. Twisted before 26.4 has no parameter for the option."""
        created: socket.socket = super().createInternetSocket()  # type: ignore[no-untyped-call]
        created.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEPORT, 1)
        return created
