"""What can be wrong with a peer or its bytes. Every error ends the link, and nothing but the link."""


class WireError(Exception):
    """No peer may send these bytes; the argument says what is wrong. The stream cannot be resumed."""


class HandshakeError(Exception):
    """The two nodes will not talk; the argument gives the reason to the operators of both."""


REFUSED_BY_PEER = "refused by the peer"  # begins the reason of an attempt that the peer refused


class RefusedByPeer(HandshakeError):
    """The peer refused for `reason`, so it needs no answer.

    `proved`: the peer has shown that it knows the secret, or no secret is configured.
    """

    def __init__(self, reason: str, *, proved: bool) -> None:
        super().__init__(f"{REFUSED_BY_PEER}: {reason}")
        self.reason = reason
        self.proved = proved
