"""The handshake of a link: both sides prove the secret, identify themselves, compare versions, and agree.

    dialling                      accepting
    Challenge      ------>
                   <------        Challenge
    Proof          ------>                      the accepting side checks it
                   <------        Proof, Hello  the dialling side checks the proof
    Hello, Proof   ------>                      the accepting side checks the proof, then asks its owner
                   <------        Proof         the dialling side checks the proof, then asks its owner
    Welcome        ------>                      open

Either side may send Refusal(reason) instead, and close. A MAC is HMAC-SHA256, keyed with the secret, over its
purpose and what both sides have said exactly as it was on the wire. The first two Proofs cover the
Challenges. Until a side has seen the other's, it tells nothing about itself or its cluster, whether it was
dialled by a stranger or has dialled one. The last two Proofs cover the Hellos, with the nonces of the
Challenges in them; they prove both ids and incarnations and everything else in the Hellos. A recorded
handshake is worthless under a fresh nonce, and a proof cannot be sent back to its maker, because the purpose
differs. The dialling side proves first: a stranger that only connects gets nothing from which to guess the
secret. A side asks its owner about a peer only after the peer's last proof. The secret protects the
handshake, not the bytes after it: that is TLS's task.

The MAC in the Challenge of the dialling side covers only its own nonce. It can be recorded and sent again,
and so proves nothing; it lets the accepting side prefer such a peer while strangers flood it with greetings.

If the owner of the accepting side refuses, its refusal takes the place of the last Proof and carries a MAC of
its own, so that the dialling side can rely on that Hello too: from it a node learns that the cluster has
disowned it, or needs a newer program.

Without a secret the connection itself must be trusted: both its ends are loopback addresses, or have shown
certificates (docs/tls.md). Then the handshake begins with the Hellos: first that of the dialling side, then
that of the accepting side, then the last two Proofs, which are empty.

Nodes of an earlier release begin with the Hellos even with a secret. Until the machine version in force
shows that there are none in the cluster, a handshake like theirs is accepted, and a dialling side falls back
to it (see `is_unanswered`). An accepting side tells such a peer nothing but its own id until it has proved
the secret once: it answers with a veiled Hello, and asks the peer to dial again after its Proof.

Machine versions are the owner's business, because a node that is too old acts on a proved Hello only.
Sans-I/O; the nonce is an argument.
"""

import hashlib
import hmac
from enum import Enum

from msgspec.structs import replace

from kraft.peerwire import hello as greetings
from kraft.peerwire.earlier_peers import EarlierPeers
from kraft.peerwire.errors import HandshakeError, RefusedByPeer
from kraft.peerwire.hello import (
    CHALLENGE_MACHINE_VERSION,
    MAGIC,
    NO_AUTH,
    NONCE_BYTES,
    REASON_MAX,
    SECRET,
    Challenge,
    Greeting,
    Hello,
    Proof,
    Refusal,
    Welcome,
    share,
)

# Purposes of a MAC.
_DIAL_FIRST, _ACCEPT_FIRST = b"kraft peer link: dialling, first", b"kraft peer link: accepting, first"
_DIAL, _ACCEPT = b"kraft peer link: dialling", b"kraft peer link: accepting"
_REFUSE = b"kraft peer link: refusing"
_VOUCH = b"kraft peer link: dialling, at once"
_VEIL = "0" * 32  # the incarnation in a veiled Hello
_MISMATCH = "the peer's cluster.secret_file holds another secret"


class HandshakeState(Enum):
    """What a handshake is waiting for."""

    CHALLENGE = "the peer's challenge"
    FIRST_PROOF = "the peer's proof of the secret"
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

    `is_peer_proved`: the peer has proved the secret, at least once. `is_peer_vouched`: its Challenge was made
    by one who knows the secret, perhaps for another link. `accepts_earlier`: the cluster may still
    have nodes of an earlier release.
    """

    def __init__(
        self,
        own: Hello,
        *,
        nonce: bytes,
        secret: bytes | None,
        trusted: bool,
        dialled: str | None = None,
        as_earlier: bool = False,
        earlier_peers: EarlierPeers | None = None,
    ) -> None:
        """`trusted`: the connection needs no secret, because it stays on this machine, or TLS has
        authenticated both ends. `as_earlier`: dial like an earlier release. All handshakes of a node share
        `earlier_peers`.
        """
        self.own = replace(own, nonce=nonce, auth=SECRET if secret is not None else NO_AUTH)
        self._own_bytes = greetings.encode(self.own)
        self._secret = secret
        vouch = b"" if dialled is None else self._vouch(nonce)
        self._own_challenge = greetings.encode(Challenge(nonce, mac=vouch))
        self._trusted = trusted
        self._dialled = dialled
        self._earlier_peers = earlier_peers or EarlierPeers()
        self.accepts_earlier = own.machine_min < CHALLENGE_MACHINE_VERSION
        self._is_veiled = False
        self._peer_nonce = b""  # of its Challenge
        self._peer_challenge = b""
        self._peer_bytes = b""
        self.state = HandshakeState.HELLO if secret is None or as_earlier else HandshakeState.CHALLENGE
        self.peer: Hello | None = None
        self.is_peer_proved = self.is_peer_vouched = False

    @property
    def is_unanswered(self) -> bool:
        """Whether we have sent a Challenge, and the peer nothing. One of an earlier release then closes."""
        return self._dialled is not None and self.state is HandshakeState.CHALLENGE

    def start(self) -> list[bytes]:
        """Begin. Returns what to send."""
        if self._dialled is None:
            return []
        return [self._own_challenge if self.state is HandshakeState.CHALLENGE else self._own_bytes]

    def received(self, payload: bytes) -> list[bytes]:
        """Take one GREETING payload. Returns what to send next.

        Raises HandshakeError when the handshake must end (send what `refuse` returns), RefusedByPeer when the
        peer has ended it, WireError on bytes that are no greeting.
        """
        message = greetings.decode(payload)
        state = self.state
        match message:
            case Refusal():
                reason = greetings.printable(message.reason)
                raise RefusedByPeer(reason, proved=self._is_proved(message))
            case Challenge():
                if state is HandshakeState.CHALLENGE:
                    return self._challenge_received(message, payload)
                if self._secret is None and self._dialled is None and state is HandshakeState.HELLO:
                    raise HandshakeError(_one_secret("the dialling node", self.own.id))
            case Hello():
                if state is HandshakeState.HELLO:
                    return self._hello_received(message, payload)
                if state is HandshakeState.CHALLENGE and self._dialled is None:
                    return self._earlier_hello_received(message, payload)
            case Proof():
                if state is HandshakeState.FIRST_PROOF:
                    return self._first_proof_received(message)
                if state is HandshakeState.PROOF:
                    return self._proof_received(message)
            case Welcome():
                if state is HandshakeState.WELCOME:
                    self.state = HandshakeState.OPEN
                    return []
        raise HandshakeError(f"{type(message).__name__} while waiting for {state.value}")

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

    # -- the secret -----------------------------------------------------------------------------------

    def _challenge_received(self, challenge: Challenge, payload: bytes) -> list[bytes]:
        if challenge.magic != MAGIC:
            raise HandshakeError("not a kraft node")
        if len(challenge.nonce) != NONCE_BYTES:
            raise HandshakeError(f"the nonce must have {NONCE_BYTES} bytes")
        self._peer_nonce, self._peer_challenge = challenge.nonce, payload
        self.is_peer_vouched = hmac.compare_digest(challenge.mac, self._vouch(challenge.nonce))
        self.state = HandshakeState.FIRST_PROOF
        return [
            self._own_challenge if self._dialled is None else _encode(Proof(self._first_mac(_DIAL_FIRST)))
        ]

    def _first_proof_received(self, proof: Proof) -> list[bytes]:
        purpose = _DIAL_FIRST if self._dialled is None else _ACCEPT_FIRST
        if not hmac.compare_digest(proof.mac, self._first_mac(purpose)):
            raise HandshakeError(_MISMATCH)
        self.is_peer_proved = True
        self.state = HandshakeState.HELLO
        if self._dialled is not None:
            return []
        return [_encode(Proof(self._first_mac(_ACCEPT_FIRST))), self._own_bytes]

    # -- the hellos -----------------------------------------------------------------------------------

    def _hello_received(self, peer: Hello, payload: bytes) -> list[bytes]:
        reason = greetings.faults(peer) or self._disagreement(peer)
        if reason is not None:
            raise HandshakeError(reason)
        if self._peer_nonce not in (b"", peer.nonce):
            raise HandshakeError("the nonce of the hello is not that of the challenge")
        self.peer, self._peer_bytes = peer, payload
        self.state = HandshakeState.PROOF
        was_challenged = bool(self._peer_challenge)  # then the dialling side greets last
        if self._dialled is None:
            return [] if was_challenged else [self._own_bytes]
        proof = _encode(Proof(self._mac(_DIAL)))
        return [self._own_bytes, proof] if was_challenged else [proof]

    def _earlier_hello_received(self, peer: Hello, payload: bytes) -> list[bytes]:
        """A node of an earlier release greets, or a stranger that pretends to be one."""
        if not self.accepts_earlier:
            raise HandshakeError(
                "the dialling node is of an earlier release: install a newer version of kraft on it"
            )
        if not self._earlier_peers.knows(peer):
            self._is_veiled = True
            veiled = Hello(self.own.id, _VEIL, nonce=self.own.nonce, auth=SECRET)
            self._own_bytes = greetings.encode(veiled)
        return self._hello_received(peer, payload)

    def _disagreement(self, peer: Hello) -> str | None:
        own = self.own
        if not share((own.wire_min, own.wire_max), (peer.wire_min, peer.wire_max)):
            return (
                f"{self._name} speaks versions {own.wire_min} to {own.wire_max} of the peer wire, "
                f"{peer.id} versions {peer.wire_min} to {peer.wire_max}"
            )
        return self._wrong_peer(peer) or self._wrong_auth(peer)

    @property
    def _name(self) -> str:
        """This node, in a reason that the peer gets to know."""
        is_hidden = self._secret is not None and self._dialled is None and not self.is_peer_proved
        return "the dialled node" if is_hidden else self.own.id

    def _wrong_peer(self, peer: Hello) -> str | None:
        own = self.own
        if peer.id == own.id:
            return f"{own.id} met a node of its own id"
        if self._dialled not in (None, peer.id):
            return f"dialled {self._dialled}, but {peer.id} answered"
        return None

    def _wrong_auth(self, peer: Hello) -> str | None:
        own = self.own
        if peer.auth not in (NO_AUTH, SECRET):
            return f"{peer.id} wants an authentication unknown to {self._name}"
        if own.auth != peer.auth:
            return _one_secret(*((self._name, peer.id) if own.auth == SECRET else (peer.id, self._name)))
        if own.auth == NO_AUTH and not self._trusted:
            needed = "set cluster.secret_file or peer.tls on all nodes"
            return f"a link beyond loopback needs a secret or TLS: {needed}"
        return None

    def _proof_received(self, proof: Proof) -> list[bytes]:
        purpose = _DIAL if self._dialled is None else _ACCEPT
        if not hmac.compare_digest(proof.mac, self._mac(purpose)):
            raise HandshakeError(_MISMATCH)
        self.is_peer_proved = True
        if self._is_veiled and self.peer is not None:
            self._earlier_peers.proved(self.peer)
            raise HandshakeError(f"{self.peer.id} is of an earlier release and has proved itself: dial again")
        self.state = HandshakeState.DECISION
        return []

    def _is_proved(self, refusal: Refusal) -> bool:
        """Whether the owner of the accepting side refuses, which it can only do after our proof."""
        if self._dialled is None or self.state is not HandshakeState.PROOF:
            return False
        return hmac.compare_digest(refusal.mac, self._mac(_REFUSE, refusal.reason.encode()))

    # -- proofs ---------------------------------------------------------------------------------------

    def _vouch(self, nonce: bytes) -> bytes:
        """Shows that the maker of the nonce knows the secret. Empty without a secret."""
        return hmac.digest(self._secret, _VOUCH + nonce, hashlib.sha256) if self._secret is not None else b""

    def _first_mac(self, purpose: bytes) -> bytes:
        """Proves that its maker knows the secret and saw both Challenges."""
        return self._digest(purpose, self._own_challenge, self._peer_challenge)

    def _mac(self, purpose: bytes, *said: bytes) -> bytes:
        """Proves that its maker knows the secret and saw both Hellos. Empty without a secret."""
        return self._digest(purpose, self._own_bytes, self._peer_bytes, *said)

    def _digest(self, purpose: bytes, own: bytes, peer: bytes, *said: bytes) -> bytes:
        if self._secret is None:
            return b""
        dialler, acceptor = (own, peer) if self._dialled is not None else (peer, own)
        parts = (purpose, dialler, acceptor, *said)
        framed = b"".join(len(part).to_bytes(4, "big") + part for part in parts)
        return hmac.digest(self._secret, framed, hashlib.sha256)


def _one_secret(with_secret: str, without: str) -> str:
    return f"{with_secret} has a cluster.secret_file, {without} has none: give both the same"


def _encode(greeting: Greeting) -> bytes:
    return greetings.encode(greeting)
