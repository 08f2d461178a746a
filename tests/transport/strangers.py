"""Others than members at the two ends of a connection."""

from twisted.internet.protocol import Factory, Protocol


class Speaker(Protocol):
    """Says its piece to whoever connects."""

    def __init__(self, piece):
        self.piece = piece

    def connectionMade(self):
        assert self.transport is not None
        self.transport.write(self.piece)


class Stranger(Protocol):
    received = b""

    def dataReceived(self, data):
        self.received += data


def stranger(network, node, data):
    """Someone connects to a node, says `data` and stays."""
    wire = network.wire(node.address, network.ports[node.address], Factory.forProtocol(Stranger))
    wire.stranger = wire.near.protocol
    wire.near.write(data)
    network.pump()
    return wire


class Deaf(Protocol):
    """A node of an earlier release: it does not understand a Challenge, and closes the connection."""

    heard: list[bytes] = []  # noqa: RUF012  of all connections

    def dataReceived(self, data):
        self.heard.append(data)
        assert self.transport is not None
        self.transport.loseConnection()
