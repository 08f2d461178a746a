"""Handshakes that end with a refusal, and what it proves."""

import pytest
from msgspec.structs import replace

from kraft.peerwire import hello as greetings
from kraft.peerwire.errors import HandshakeError, RefusedByPeer, WireError
from kraft.peerwire.handshake import HandshakeState
from kraft.peerwire.hello import (
    COUNTER_MAX,
    NONCE_BYTES,
    WIRE_MAX,
    Challenge,
    Proof,
    Refusal,
    Welcome,
)
from kraft.raft.membership.configuration import TEXT_MAX, Member
from tests.peerwire.ends import K1, K2, SECRET, challenged, ends, nonce, pass_on, shake, talk


@pytest.mark.parametrize(
    ("k1", "reason"),
    [
        (replace(K1, wire_min=WIRE_MAX + 1, wire_max=WIRE_MAX + 2), f"K2 versions 1 to {WIRE_MAX}"),
        (replace(K1, machine_min=2, machine_max=1), "impossible version range"),
        (replace(K1, magic=b"etcd"), "not a kraft node"),
        (replace(K1, id=""), "without id"),
        (replace(K1, incarnation=""), "without id or incarnation"),
        (replace(K1, client="x" * (TEXT_MAX + 1)), "too long"),
        (replace(K1, id="K0\nroot logged in"), "control characters"),
        (replace(K1, id="K2"), "own id"),
        (replace(K1, members=(K2.members[0],) * 65), "more than 64 members"),
        (replace(K1, current=(K2.members[0],) * 129), "more than 64 members"),
        (replace(K1, members=(Member("K1", "1" * 32, "h" * (TEXT_MAX + 1)),)), "too long"),
        (replace(K1, current=(Member("K1", "1" * 32, "h" * (TEXT_MAX + 1)),)), "too long"),
        (replace(K1, members=(Member("K1\n", "1" * 32, "h:1"),)), "control characters"),
        (replace(K1, starts=-1), "count of starts"),
        (replace(K1, starts=COUNTER_MAX + 1), "count of starts"),
        (replace(K1, session=-1), "session"),
        (replace(K1, session=COUNTER_MAX + 1), "session"),
    ],
)
def test_a_peer_that_does_not_fit_is_refused(k1, reason):
    """Wire versions that do not overlap, and names that cannot be."""
    dialling, accepting = ends(k1=k1)

    with pytest.raises(HandshakeError, match=reason):
        talk(dialling, accepting)


def test_overlapping_versions_are_enough():
    """A node that speaks more than we do is welcome."""
    dialling, accepting = ends(k1=replace(K1, wire_max=9, machine_max=5))

    shake(dialling, accepting)

    assert accepting.state is HandshakeState.OPEN


def test_machine_versions_are_left_to_the_owner():
    """A node that is too old must learn so from a proved Hello, so they are compared after the proof."""
    dialling, accepting = ends(k1=replace(K1, machine_min=7, machine_max=9))

    shake(dialling, accepting)

    assert accepting.peer.machine_min == 7


def test_another_node_answers():
    """A wrong address is noticed by the id that answers there."""
    dialling, accepting = ends(k2=replace(K2, id="K3"))

    with pytest.raises(HandshakeError, match="dialled K2, but K3 answered"):
        talk(dialling, accepting)


@pytest.mark.parametrize("length", [0, NONCE_BYTES - 1, NONCE_BYTES + 1])
def test_a_nonce_has_its_length(length):
    """A short nonce would make recorded proofs worth something."""
    for greeting in (Challenge(b"x" * length), replace(K1, nonce=b"x" * length, auth="secret")):
        _, accepting = ends()
        with pytest.raises(HandshakeError, match="nonce"):
            accepting.received(greetings.encode(greeting))


@pytest.mark.parametrize(("secret", "other"), [(SECRET, None), (None, SECRET)])
def test_one_secret_is_not_enough(secret, other):
    """Either both have one or none has; the reason says who has none, and names no node that has one."""
    dialling, accepting = ends(secret, other, loopback=True)
    with_it, without = ("the dialling node", "K2") if secret else ("the dialled node", "K1")

    with pytest.raises(HandshakeError, match=rf"{with_it} has a cluster\.secret_file, {without} has none"):
        talk(dialling, accepting)


def test_beyond_loopback_a_secret_is_required():
    """The reason names the key to set."""
    dialling, accepting = ends(None, None, loopback=False)

    with pytest.raises(HandshakeError, match=r"set cluster\.secret_file"):
        pass_on(dialling.start(), accepting)


def test_an_unknown_method_is_refused():
    """A later way to authenticate is not taken for one of ours."""
    _, accepting = ends()
    challenged(accepting)
    payload = greetings.encode(replace(K1, nonce=nonce("a"), auth="tls"))
    with pytest.raises(HandshakeError, match="unknown to K2"):
        accepting.received(payload)


def test_a_refusal_ends_it_with_its_reason():
    """In any state, and shortened."""
    for reason, told in [("go away", "go away"), ("go\naway", r"go\?away$")]:
        dialling, accepting = ends()
        dialling.start()
        with pytest.raises(RefusedByPeer, match=f"refused by the peer: {told}") as refused:
            pass_on(accepting.refuse(reason), dialling)
        assert not refused.value.proved
    [long] = accepting.refuse("x" * 10_000)
    assert len(long) < 1000


@pytest.mark.parametrize(("secret", "loopback"), [(SECRET, False), (None, True)])
@pytest.mark.parametrize("reason", ["go away", "go\naway", "ü" * 10_000])
def test_the_refusal_of_an_owner_is_proved(secret, loopback, reason):
    """The dialling side may rely on what the accepting side said of itself, though it gets no Proof."""
    dialling, accepting = ends(secret, secret, loopback=loopback)
    talk(dialling, accepting)

    with pytest.raises(RefusedByPeer) as refused:
        pass_on(accepting.refuse(reason), dialling)

    assert refused.value.proved
    assert dialling.peer.id == "K2"
    assert dialling.peer.cluster == "c0ffee"


def test_a_forged_refusal_proves_nothing():
    """Without the secret: made up, recorded, with another reason, or a Proof in disguise."""
    dialling, accepting = ends()
    talk(dialling, accepting)
    recorded = mac_of(accepting.refuse("go away"))
    shown = mac_of(accepting.accept())

    for reason, mac in [("go away", b""), ("go away", b"x" * 32), ("go", recorded), ("go away", shown)]:
        assert not relied_on(dialling, Refusal(reason, mac))
    again, accepting = ends(nonces="ad")
    talk(again, accepting)
    assert not relied_on(again, Refusal("go away", recorded))
    assert relied_on(dialling, Refusal("go away", recorded))


def mac_of(payloads):
    """The MAC in a Proof or a Refusal."""
    [payload] = payloads
    greeting = greetings.decode(payload)
    assert isinstance(greeting, Proof | Refusal)
    return greeting.mac


def relied_on(end, refusal):
    """Whether a refusal that arrives at `end` counts as proved."""
    with pytest.raises(RefusedByPeer) as refused:
        end.received(greetings.encode(refusal))
    return refused.value.proved


def test_a_refusal_is_no_proof():
    """What refuses cannot be turned into what accepts."""
    dialling, accepting = ends()
    talk(dialling, accepting)
    refusing = mac_of(accepting.refuse(""))

    with pytest.raises(HandshakeError, match="another secret"):
        dialling.received(greetings.encode(Proof(refusing)))


def test_a_stranger_is_refused_without_a_mac():
    """Only who has shown that it knows the secret gets anything made with it."""
    dialling, accepting = ends(b"another", SECRET)
    with pytest.raises(HandshakeError):
        talk(dialling, accepting)

    [payload] = accepting.refuse("another secret")

    assert greetings.decode(payload) == Refusal("another secret", b"")


@pytest.mark.parametrize("payload", [greetings.encode(Welcome()), greetings.encode(Proof(b""))])
def test_nothing_can_be_skipped(payload):
    """A welcome or a proof in place of a challenge or a hello opens nothing."""
    for secret, awaited in ((SECRET, "challenge"), (None, "hello")):
        for end in ends(secret, secret, loopback=True):
            with pytest.raises(HandshakeError, match=f"while waiting for the peer's {awaited}"):
                end.received(payload)
    _, accepting = ends()
    challenged(accepting)
    with pytest.raises(HandshakeError, match="while waiting for the peer's hello"):
        accepting.received(payload)


def test_a_second_hello_is_refused():
    """The first counts; it cannot be exchanged after the fact."""
    dialling, accepting = ends(None, None, loopback=True)
    hello = dialling.start()
    pass_on(hello, accepting)
    with pytest.raises(HandshakeError, match="Hello while waiting for the peer's proof"):
        pass_on(hello, accepting)
    dialling, accepting = ends()
    [challenge] = dialling.start()
    accepting.received(challenge)
    with pytest.raises(HandshakeError, match="Challenge while waiting for the peer's proof of the secret"):
        accepting.received(challenge)


def test_garbage_is_a_wire_error():
    """Not a handshake at all."""
    for end in ends():
        with pytest.raises(WireError, match="not a kraft handshake"):
            end.received(b"garbage")
