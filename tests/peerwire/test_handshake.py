"""The handshake without any connection: two ends joined by hand, and what an attacker may try."""

import hmac

import msgspec
import pytest
from msgspec.structs import replace

from kraft.peerwire import hello as greetings
from kraft.peerwire.errors import HandshakeError, RefusedByPeer, WireError
from kraft.peerwire.handshake import Handshake, HandshakeState
from kraft.peerwire.hello import COUNTER_MAX, NONCE_BYTES, WIRE_MAX, Hello, Proof, Refusal, Welcome
from kraft.raft.membership.configuration import TEXT_MAX, Member

SECRET = b"correct horse battery staple"
K1 = Hello("K1", "1" * 32, peer="127.0.0.1:1", client="127.0.0.1:11", http="127.0.0.1:21")
K2 = Hello("K2", "2" * 32, "cluster", (Member("K2", "2" * 32, "127.0.0.1:2"),))


def nonce(letter):
    return letter.encode() * NONCE_BYTES


def ends(secret=SECRET, other=SECRET, k1=K1, k2=K2, loopback=False, dialled="K2", nonces="ab"):
    """The dialling and the accepting end."""
    return (
        Handshake(k1, nonce=nonce(nonces[0]), secret=secret, loopback=loopback, dialled=dialled),
        Handshake(k2, nonce=nonce(nonces[1]), secret=other, loopback=loopback),
    )


def pass_on(payloads, end):
    """Give payloads to an end; what it answers."""
    return [answer for payload in payloads for answer in end.received(payload)]


def shake(dialling, accepting):
    """All of a handshake where both owners accept."""
    proof = pass_on(pass_on(dialling.start(), accepting), dialling)
    pass_on(proof, accepting)
    pass_on(accepting.accept(), dialling)
    pass_on(dialling.accept(), accepting)


@pytest.mark.parametrize(("secret", "loopback"), [(SECRET, False), (SECRET, True), (None, True)])
def test_two_nodes_agree(secret, loopback):
    """Both are open, and each knows all that the other said."""
    dialling, accepting = ends(secret, secret, loopback=loopback)
    assert accepting.start() == []

    shake(dialling, accepting)

    assert dialling.state is accepting.state is HandshakeState.OPEN
    auth = "none" if secret is None else "secret"
    assert accepting.peer == replace(K1, nonce=nonce("a"), auth=auth)
    assert dialling.peer == replace(K2, nonce=nonce("b"), auth=auth)


def test_the_secret_is_not_on_the_wire():
    """Nor is anything shown to a stranger who only says hello."""
    dialling, accepting = ends()
    hello = dialling.start()
    answer = pass_on(hello, accepting)
    proof = pass_on(answer, dialling)
    pass_on(proof, accepting)
    last = accepting.accept()

    assert not any(SECRET in payload for payload in [*hello, *answer, *proof, *last])
    assert [type(greetings.decode(payload)) for payload in answer] == [Hello]
    assert proof != last


def test_an_owner_is_asked_after_the_proof():
    """Nobody can accept a peer that has not proved itself."""
    dialling, accepting = ends()
    pass_on(dialling.start(), accepting)

    with pytest.raises(HandshakeError, match="before the peer was proved"):
        accepting.accept()


def test_the_wrong_secret_is_refused_by_the_accepting_side():
    """The reason names the file to look at."""
    dialling, accepting = ends(SECRET, b"another")
    proof = pass_on(pass_on(dialling.start(), accepting), dialling)

    with pytest.raises(HandshakeError, match=r"cluster\.secret_file"):
        pass_on(proof, accepting)


def test_an_impostor_who_listens_is_refused_by_the_dialling_side():
    """Who answers without the secret cannot show a proof, not even by sending back the one it was shown."""
    dialling, _ = ends()
    dialling.start()
    impostor = greetings.encode(replace(K2, nonce=nonce("z"), auth="secret"))
    [proof] = dialling.received(impostor)

    with pytest.raises(HandshakeError, match="another secret"):
        dialling.received(proof)


def test_a_recorded_handshake_is_worthless():
    """Every word of the dialling side, repeated to a fresh handshake of the same node."""
    dialling, accepting = ends()
    hello = dialling.start()
    proof = pass_on(pass_on(hello, accepting), dialling)
    pass_on(proof, accepting)

    _, again = ends(nonces="ac")
    pass_on(hello, again)
    with pytest.raises(HandshakeError, match="another secret"):
        pass_on(proof, again)


def test_what_was_said_is_proved():
    """A hello changed on its way, in a field that no rule looks at, breaks the proof."""
    dialling, accepting = ends()
    [hello] = dialling.start()
    forged = greetings.encode(replace(greetings.decode(hello), client="evil:1"))
    proof = pass_on(pass_on([forged], accepting), dialling)

    with pytest.raises(HandshakeError, match="another secret"):
        pass_on(proof, accepting)


def test_a_hello_of_a_later_version_is_proved_as_it_was_sent():
    """Fields that we do not know are part of what the proof covers."""
    _, accepting = ends()
    hello = replace(K1, nonce=nonce("a"), auth="secret")
    later = msgspec.msgpack.encode([*msgspec.msgpack.decode(greetings.encode(hello)), "new field"])
    [answer] = accepting.received(later)
    parts = (b"kraft peer link: dialling", later, answer)
    mac = hmac.digest(SECRET, b"".join(len(p).to_bytes(4, "big") + p for p in parts), "sha256")

    accepting.received(greetings.encode(Proof(mac)))

    assert accepting.state is HandshakeState.DECISION


def test_a_hello_of_an_earlier_version_is_understood():
    """Without the fields that were appended since, it is a node that does not wait to be added."""
    _, accepting = ends()
    hello = replace(K1, nonce=nonce("a"), auth="secret", starts=7, session=COUNTER_MAX, standby=True)
    hello = replace(hello, current=(Member("K1", "1" * 32, "h:1"),))
    assert greetings.decode(greetings.encode(hello)) == hello
    earlier = msgspec.msgpack.encode(msgspec.msgpack.decode(greetings.encode(hello))[:-4])

    accepting.received(earlier)

    assert accepting.peer == replace(hello, starts=0, session=0, standby=False, current=())


@pytest.mark.parametrize(("small", "large"), [("K1", "K2"), ("K2", "K1")])
def test_anyone_may_dial_anyone(small, large):
    """Who dials by habit is a matter of those who dial, not of the handshake."""
    dialling, accepting = ends(k1=replace(K1, id=small), k2=replace(K2, id=large), dialled=large)

    shake(dialling, accepting)

    assert dialling.state is accepting.state is HandshakeState.OPEN


@pytest.mark.parametrize(
    ("k1", "reason"),
    [
        (replace(K1, wire_min=WIRE_MAX + 1, wire_max=WIRE_MAX + 2), f"K2 speaks versions 1 to {WIRE_MAX} of"),
        (replace(K1, wire_min=3, wire_max=1), "impossible version range"),
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
        pass_on(dialling.start(), accepting)


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
    """A wrong address is noticed by the id behind it."""
    dialling, accepting = ends(k2=replace(K2, id="K3"))

    with pytest.raises(HandshakeError, match="dialled K2, but K3 answered"):
        pass_on(pass_on(dialling.start(), accepting), dialling)


@pytest.mark.parametrize("length", [0, NONCE_BYTES - 1, NONCE_BYTES + 1])
def test_a_nonce_has_its_length(length):
    """A short nonce would make recorded proofs worth something."""
    _, accepting = ends()
    with pytest.raises(HandshakeError, match="nonce"):
        accepting.received(greetings.encode(replace(K1, nonce=b"x" * length, auth="secret")))


@pytest.mark.parametrize(("secret", "other"), [(SECRET, None), (None, SECRET)])
def test_one_secret_is_not_enough(secret, other):
    """Either both have one or none has; the reason says who has none."""
    dialling, accepting = ends(secret, other, loopback=True)
    with_it, without = ("K1", "K2") if secret else ("K2", "K1")

    with pytest.raises(HandshakeError, match=rf"{with_it} has a cluster\.secret_file, {without} has none"):
        pass_on(dialling.start(), accepting)


def test_beyond_loopback_a_secret_is_required():
    """The reason names the key to set."""
    dialling, accepting = ends(None, None, loopback=False)

    with pytest.raises(HandshakeError, match=r"set cluster\.secret_file"):
        pass_on(dialling.start(), accepting)


def test_an_unknown_method_is_refused():
    """A later way to authenticate is not taken for one of ours."""
    _, accepting = ends()
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
    proof = pass_on(pass_on(dialling.start(), accepting), dialling)
    pass_on(proof, accepting)

    with pytest.raises(RefusedByPeer) as refused:
        pass_on(accepting.refuse(reason), dialling)

    assert refused.value.proved
    assert dialling.peer.id == "K2"
    assert dialling.peer.cluster == "cluster"


def test_a_forged_refusal_proves_nothing():
    """Without the secret: made up, recorded, with another reason, or a Proof in disguise."""
    dialling, accepting = ends()
    proof = pass_on(pass_on(dialling.start(), accepting), dialling)
    pass_on(proof, accepting)
    recorded = mac_of(accepting.refuse("go away"))
    shown = mac_of(accepting.accept())

    for reason, mac in [("go away", b""), ("go away", b"x" * 32), ("go", recorded), ("go away", shown)]:
        assert not relied_on(dialling, Refusal(reason, mac))
    again, accepting = ends(nonces="ad")
    pass_on(pass_on(again.start(), accepting), again)
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
    pass_on(pass_on(pass_on(dialling.start(), accepting), dialling), accepting)
    mac = mac_of(accepting.refuse(""))

    with pytest.raises(HandshakeError, match="another secret"):
        dialling.received(greetings.encode(Proof(mac)))


def test_a_stranger_is_refused_without_a_mac():
    """Only who has shown that it knows the secret gets anything made with it."""
    dialling, accepting = ends(b"another", SECRET)
    hello = dialling.start()
    proof = pass_on(pass_on(hello, accepting), dialling)
    with pytest.raises(HandshakeError):
        pass_on(proof, accepting)

    [payload] = accepting.refuse("another secret")

    assert greetings.decode(payload) == Refusal("another secret", b"")


@pytest.mark.parametrize("payload", [greetings.encode(Welcome()), greetings.encode(Proof(b""))])
def test_nothing_can_be_skipped(payload):
    """A welcome or a proof in place of a hello opens nothing."""
    for end in ends():
        with pytest.raises(HandshakeError, match="while waiting for the peer's hello"):
            end.received(payload)


def test_a_second_hello_is_refused():
    """The first counts; it cannot be exchanged after the fact."""
    dialling, accepting = ends()
    hello = dialling.start()
    pass_on(hello, accepting)
    with pytest.raises(HandshakeError, match="Hello while waiting for the peer's proof"):
        pass_on(hello, accepting)


def test_garbage_is_a_wire_error():
    """Not a handshake at all."""
    for end in ends():
        with pytest.raises(WireError, match="not a kraft handshake"):
            end.received(b"garbage")
