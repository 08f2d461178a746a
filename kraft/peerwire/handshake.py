"""The handshake of a link: both sides identify themselves, compare versions, prove the secret and agree.

    dialling                      accepting
    Hello          ------>
                   <------        Hello
    Proof          ------>                      the accepting side checks the proof, then asks its owner
                   <------        Proof         the dialling side checks the proof, then asks its owner
    Welcome        ------>                      open

Either side may send Refusal(reason) instead, and close. A MAC is HMAC-SHA256, keyed with the secret, over its
purpose and both Hellos exactly as they were on the wire. It therefore proves both nonces, ids and
incarnations, and everything else in the Hellos; a recorded handshake is worthless under a fresh nonce, and a
proof cannot be sent back to its maker, because the purpose differs. The dialling side proves first: a
stranger that only connects gets nothing from which to guess the secret. A side asks its owner about a peer
only after the peer's proof. The secret protects the handshake, not the bytes after it: that is TLS's task.

If the owner of the accepting side refuses, its refusal takes the place of the Proof and carries a MAC of its
own, so that the dialling side can rely on that Hello too: from it a node learns that the cluster has disowned
it, or needs a newer program.

Machine versions are the owner's business, because a node that is too old acts on a proved Hello only.
Without a secret both ends of the connection must be loopback addresses. Sans-I/O; the nonce is an argument.
"""

import hashlib
import hmac
from enum import Enum

from msgspec.structs import replace

from kraft.peerwire import hello as greetings
from kraft.peerwire.errors import HandshakeError, RefusedByPeer
from kraft.peerwire.hello import (
    NO_AUTH,
    REASON_MAX,
    SECRET,
    Greeting,
    Hello,
    Proof,
    Refusal,
    Welcome,
    share,
)

_DIAL, _ACCEPT = b"kraft peer link: dialling", b"kraft peer link: accepting"  # purposes of a MAC
_REFUSE = b"kraft peer link: refusing"


class HandshakeState(Enum):
    """What a handshake is waiting for."""

    HELLO = "the peer's hello"
    PROOF = "the peer's proof"
    DECISION = "accept or refuse by our owner"
    WELCOME = "the dialling peer's welcome"
    OPEN = "nothing"


class Handshake:
    """One side of one handshake.

    `dialled` is the id that was dialled, None on the accepting side. `start` and `received` return payloads
    to send as GREETING messages. In state DECISION `peer` is proved, and the owner calls `accept` or
    `refuse`. `peer` is proved as well after a RefusedByPeer with `proved`.
    """

    def __init__(
        self, own: Hello, *, nonce: bytes, secret: bytes | None, loopback: bool, dialled: str | None = None
    ) -> None:
        self._own = replace(own, nonce=nonce, auth=SECRET if secret is not None else NO_AUTH)
        self._own_bytes = greetings.encode(self._own)
        self._secret = secret
        self._loopback = loopback
        self._dialled = dialled
        self._peer_bytes = b""
        self.state = HandshakeState.HELLO
        self.peer: Hello | None = None

    def start(self) -> list[bytes]:
        """Begin. Returns what to send."""
        return [self._own_bytes] if self._dialled is not None else []

    def received(self, payload: bytes) -> list[bytes]:
        """Take one GREETING payload. Returns what to send next.

        Raises HandshakeError when the handshake must end (send what `refuse` returns), RefusedByPeer when the
        peer has ended it, WireError on bytes that are no greeting.
        """
        message = greetings.decode(payload)
        if isinstance(message, Refusal):
            reason = greetings.printable(message.reason)
            raise RefusedByPeer(reason, proved=self._is_proved(message))
        if isinstance(message, Hello) and self.state is HandshakeState.HELLO:
            return self._hello_received(message, payload)
        if isinstance(message, Proof) and self.state is HandshakeState.PROOF:
            return self._proof_received(message)
        if isinstance(message, Welcome) and self.state is HandshakeState.WELCOME:
            self.state = HandshakeState.OPEN
            return []
        raise HandshakeError(f"{type(message).__name__} while waiting for {self.state.value}")

    def accept(self) -> list[bytes]:
        """The owner agrees. The dialling side's link is open now, the accepting side's with the Welcome."""
        if self.state is not HandshakeState.DECISION:
            raise HandshakeError("accepted before the peer was proved")
        if self._dialled is not None:
            self.state = HandshakeState.OPEN
            return [_encode(Welcome())]
        self.state = HandshakeState.WELCOME
        return [_encode(Proof(self._mac(_ACCEPT)))]

    def refuse(self, reason: str) -> list[bytes]:
        """What tells the peer why it is refused. A peer that has not proved itself gets no MAC."""
        reason = reason[:REASON_MAX]
        proved = self._dialled is None and self.state is HandshakeState.DECISION
        return [_encode(Refusal(reason, self._mac(_REFUSE, reason.encode()) if proved else b""))]

    def _hello_received(self, peer: Hello, payload: bytes) -> list[bytes]:
        reason = greetings.faults(peer) or self._disagreement(peer)
        if reason is not None:
            raise HandshakeError(reason)
        self.peer, self._peer_bytes = peer, payload
        self.state = HandshakeState.PROOF
        return [self._own_bytes] if self._dialled is None else [_encode(Proof(self._mac(_DIAL)))]

    def _disagreement(self, peer: Hello) -> str | None:
        own = self._own
        if not share((own.wire_min, own.wire_max), (peer.wire_min, peer.wire_max)):
            return (
                f"{own.id} speaks versions {own.wire_min} to {own.wire_max} of the peer wire, "
                f"{peer.id} versions {peer.wire_min} to {peer.wire_max}"
            )
        return self._wrong_peer(peer) or self._wrong_auth(peer)

    def _wrong_peer(self, peer: Hello) -> str | None:
        own = self._own
        if peer.id == own.id:
            return f"{own.id} met a node of its own id"
        if self._dialled not in (None, peer.id):
            return f"dialled {self._dialled}, but {peer.id} answered"
        return None

    def _wrong_auth(self, peer: Hello) -> str | None:
        own = self._own
        if peer.auth not in (NO_AUTH, SECRET):
            return f"{peer.id} wants an authentication unknown to {own.id}"
        if own.auth != peer.auth:
            with_secret, without = (own.id, peer.id) if own.auth == SECRET else (peer.id, own.id)
            return f"{with_secret} has a cluster.secret_file, {without} has none: give both the same"
        if own.auth == NO_AUTH and not self._loopback:
            return "a link beyond loopback needs a secret: set cluster.secret_file on all nodes"
        return None

    def _proof_received(self, proof: Proof) -> list[bytes]:
        purpose = _DIAL if self._dialled is None else _ACCEPT
        if not hmac.compare_digest(proof.mac, self._mac(purpose)):
            raise HandshakeError("the peer's cluster.secret_file holds another secret")
        self.state = HandshakeState.DECISION
        return []

    def _is_proved(self, refusal: Refusal) -> bool:
        """Whether the owner of the accepting side refuses, which it can only do after our proof."""
        if self._dialled is None or self.state is not HandshakeState.PROOF:
            return False
        return hmac.compare_digest(refusal.mac, self._mac(_REFUSE, refusal.reason.encode()))

    def _mac(self, purpose: bytes, *said: bytes) -> bytes:
        """Proves that its maker knows the secret and saw both Hellos. Empty without a secret."""
        if self._secret is None:
            return b""
        dialler, acceptor = (
            (self._own_bytes, self._peer_bytes)
            if self._dialled is not None
            else (self._peer_bytes, self._own_bytes)
        )
        parts = (purpose, dialler, acceptor, *said)
        framed = b"".join(len(part).to_bytes(4, "big") + part for part in parts)
        return hmac.digest(self._secret, framed, hashlib.sha256)


def _encode(greeting: Greeting) -> bytes:
    return greetings.encode(greeting)
