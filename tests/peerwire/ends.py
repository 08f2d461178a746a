"""The two ends of a handshake."""

import hmac

from kraft.peerwire import hello as greetings
from kraft.peerwire.handshake import Handshake
from kraft.peerwire.hello import (
    NONCE_BYTES,
    Challenge,
    Hello,
    Proof,
)
from kraft.raft.membership.configuration import Member

SECRET = b"correct horse battery staple"
K1 = Hello("K1", "1" * 32, peer="127.0.0.1:1", client="127.0.0.1:11", http="127.0.0.1:21")
K2 = Hello("K2", "2" * 32, "c0ffee", (Member("K2", "2" * 32, "127.0.0.1:2"),))


def nonce(letter):
    return letter.encode() * NONCE_BYTES


def ends(
    secret=SECRET, other=SECRET, k1=K1, k2=K2, loopback=False, dialled="K2", nonces="ab", as_earlier=False,
    known=None,
):  # fmt: skip
    """The dialling and the accepting end."""
    return (
        Handshake(
            k1,
            nonce=nonce(nonces[0]),
            secret=secret,
            trusted=loopback,
            dialled=dialled,
            as_earlier=as_earlier,
        ),
        Handshake(k2, nonce=nonce(nonces[1]), secret=other, trusted=loopback, earlier_peers=known),
    )


def pass_on(payloads, end):
    """Give payloads to an end; what it answers."""
    return [answer for payload in payloads for answer in end.received(payload)]


def talk(dialling, accepting):
    """Everything up to the decision of the accepting side's owner: what each of the two has said."""
    words = dialling.start()
    said: tuple[list[bytes], list[bytes]] = ([], [])
    listener, speaker = accepting, dialling
    while words:
        said[speaker is accepting].extend(words)
        words = pass_on(words, listener)
        listener, speaker = speaker, listener
    return said


def shake(dialling, accepting):
    """All of a handshake where both owners accept."""
    talk(dialling, accepting)
    pass_on(accepting.accept(), dialling)
    pass_on(dialling.accept(), accepting)


def challenged(accepting, secret=SECRET):
    """Someone with nonce a and the secret gets the accepting end to greet: that greeting."""
    mine = greetings.encode(Challenge(nonce("a")))
    [theirs] = accepting.received(mine)
    _, hello = accepting.received(
        greetings.encode(Proof(mac(b"dialling, first", mine, theirs, secret=secret)))
    )
    return hello


def mac(purpose, *parts, secret=SECRET):
    """The MAC that the docstring of the handshake describes."""
    parts = (b"kraft peer link: " + purpose, *parts)
    return hmac.digest(secret, b"".join(len(p).to_bytes(4, "big") + p for p in parts), "sha256")


SHOWN = [K2.id, K2.incarnation, K2.cluster, "127.0.0.1", K1.incarnation]


def shows(words):
    """What of both nodes' greetings is in these words."""
    return [text for text in SHOWN if any(text.encode() in word for word in words)]
