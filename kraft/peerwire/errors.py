"""What can be wrong with bytes from a peer: both end the link, neither harms more than the link."""


class WireError(Exception):
    """The bytes are not what a peer may send; the argument says what is wrong. There is nothing to resume."""


class HandshakeError(Exception):
    """The two nodes will not talk; the argument is a reason for the operator of either."""


class RefusedByPeer(HandshakeError):
    """The peer said so; there is nobody left to tell.

    `proved`: it has shown that it knows the secret, or there is none.
    """

    def __init__(self, reason: str, *, proved: bool) -> None:
        super().__init__(reason)
        self.proved = proved
