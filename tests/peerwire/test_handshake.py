"""The handshake without any connection: two ends joined by hand, and what an attacker may try."""

import hmac

import msgspec
import pytest
from msgspec.structs import replace

from kraft.peerwire import hello as greetings
from kraft.peerwire.earlier_peers import EarlierPeers
from kraft.peerwire.errors import HandshakeError, RefusedByPeer, WireError
from kraft.peerwire.handshake import Handshake, HandshakeState
from kraft.peerwire.hello import (
    CHALLENGE_MACHINE_VERSION,
    COUNTER_MAX,
    NONCE_BYTES,
    WIRE_MAX,
    Challenge,
    Greeting,
    Hello,
    Proof,
    Refusal,
    Welcome,
)
from kraft.raft.membership.configuration import MEMBERS_MAX, TEXT_MAX, Member

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
            loopback=loopback,
            dialled=dialled,
            as_earlier=as_earlier,
        ),
        Handshake(k2, nonce=nonce(nonces[1]), secret=other, loopback=loopback, earlier_peers=known),
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
    """Each side proves it four times over, never with the same bytes."""
    dialling, accepting = ends()
    words = talk(dialling, accepting)
    words[1].extend(accepting.accept())

    assert [type(greetings.decode(word)) for word in words[0]] == [Challenge, Proof, Hello, Proof]
    assert [type(greetings.decode(word)) for word in words[1]] == [Challenge, Proof, Hello, Proof]
    assert not any(SECRET in word for word in words[0] + words[1])
    proofs = [word for word in words[0] + words[1] if isinstance(greetings.decode(word), Proof)]
    assert len(set(proofs)) == 4


SHOWN = [K2.id, K2.incarnation, K2.cluster, "127.0.0.1", K1.incarnation]


def shows(words):
    """What of both nodes' greetings is in these words."""
    return [text for text in SHOWN if any(text.encode() in word for word in words)]


def test_a_stranger_is_shown_nothing_before_it_proves_the_secret():
    """Whatever it says first, and whatever it claims to know."""
    wrong = Proof(b"x" * 32)
    earlier = replace(K1, nonce=nonce("a"), auth="secret")
    attempts: list[list[Greeting]] = [
        [Challenge(nonce("a")), wrong], [Welcome()], [wrong], [Refusal("")], [earlier, wrong],
    ]  # fmt: skip
    for machine_min in (1, 2):
        for words in attempts:
            _, accepting = ends(k2=replace(K2, machine_min=machine_min, machine_max=2))
            heard = []
            with pytest.raises(HandshakeError) as refused:  # noqa: PT012  one of several words is refused
                for word in words:
                    heard += accepting.received(greetings.encode(word))
            heard += accepting.refuse(str(refused.value))
            # A node of an earlier release has to see the id.
            assert shows(heard) == ([K2.id] if words[0] is earlier and machine_min == 1 else [])


def test_an_impostor_is_shown_nothing_before_it_proves_the_secret():
    """Who listens at the address of a member gets a nonce, and a proof made with the nonce of its own."""
    dialling, _ = ends()
    heard = dialling.start()
    heard += dialling.received(greetings.encode(Challenge(nonce("z"))))
    with pytest.raises(HandshakeError, match="another secret"):
        dialling.received(greetings.encode(Proof(b"x" * 32)))
    heard += dialling.refuse("another secret")

    assert shows(heard) == []
    assert [type(greetings.decode(word)) for word in heard] == [Challenge, Proof, Refusal]


def test_an_owner_is_asked_after_the_proof():
    """Nobody can accept a peer that has not proved itself."""
    dialling, accepting = ends()
    pass_on(dialling.start(), accepting)

    with pytest.raises(HandshakeError, match="before the peer was proved"):
        accepting.accept()
    challenged(ends()[1])
    with pytest.raises(HandshakeError, match="before the peer was proved"):
        accepting.accept()


def test_the_wrong_secret_is_refused_by_the_accepting_side():
    """The reason names the file to look at."""
    dialling, accepting = ends(SECRET, b"another")

    with pytest.raises(HandshakeError, match=r"cluster\.secret_file"):
        talk(dialling, accepting)


def test_an_impostor_who_listens_is_refused_by_the_dialling_side():
    """Who answers without the secret cannot show a proof, not even by sending back the one it was shown."""
    dialling, _ = ends()
    dialling.start()
    [proof] = dialling.received(greetings.encode(Challenge(nonce("z"))))

    with pytest.raises(HandshakeError, match="another secret"):
        dialling.received(proof)


def test_a_recorded_handshake_is_worthless():
    """Every word of the dialling side, repeated to a fresh handshake of the same node."""
    dialling, accepting = ends()
    challenge, proof, *_ = talk(dialling, accepting)[0]

    _, again = ends(nonces="ac")
    again.received(challenge)
    with pytest.raises(HandshakeError, match="another secret"):
        again.received(proof)


def test_what_was_said_is_proved():
    """A hello changed on its way, in a field that no rule looks at, breaks the proof."""
    dialling, accepting = ends()
    *_, hello, proof = talk(dialling, accepting)[0]
    _, accepting = ends()
    challenged(accepting)

    accepting.received(greetings.encode(replace(greetings.decode(hello), client="evil:1")))
    with pytest.raises(HandshakeError, match="another secret"):
        accepting.received(proof)


def test_the_hello_belongs_to_the_challenge():
    """The two halves of a handshake cannot be of two handshakes."""
    _, accepting = ends()
    challenged(accepting)

    with pytest.raises(HandshakeError, match="not that of the challenge"):
        accepting.received(greetings.encode(replace(K1, nonce=nonce("z"), auth="secret")))


def test_a_hello_of_a_later_version_is_proved_as_it_was_sent():
    """Fields that we do not know are part of what the proof covers."""
    _, accepting = ends()
    answer = challenged(accepting)
    hello = replace(K1, nonce=nonce("a"), auth="secret")
    later = msgspec.msgpack.encode([*msgspec.msgpack.decode(greetings.encode(hello)), "new field"])

    accepting.received(later)
    accepting.received(greetings.encode(Proof(mac(b"dialling", later, answer))))

    assert accepting.state is HandshakeState.DECISION


def test_a_challenge_of_a_later_version_is_proved_as_it_was_sent():
    """Likewise."""
    _, accepting = ends()
    later = msgspec.msgpack.encode([*msgspec.msgpack.decode(greetings.encode(Challenge(nonce("a")))), 7])
    [answer] = accepting.received(later)

    accepting.received(greetings.encode(Proof(mac(b"dialling, first", later, answer))))

    assert accepting.is_peer_proved


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
    """A wrong address is noticed by the id behind it."""
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


# Nodes of an earlier release, which begin with their hello. tests/cluster/test_upgrade.py has real ones.


def test_an_earlier_node_dials_twice():
    """The first time it sees a veiled hello, and is refused after its proof; the second time it is linked."""
    known = EarlierPeers()
    for session in (5, 6):
        k1 = replace(K1, session=session)
        dialling, accepting = ends(k1=k1, as_earlier=True, known=known)
        with pytest.raises(
            HandshakeError, match="K1 is of an earlier release and has proved itself: dial again"
        ):
            talk(dialling, accepting)
        assert dialling.peer.id == "K2"
        assert (dialling.peer.cluster, dialling.peer.members) == ("", ())
        with pytest.raises(RefusedByPeer) as refused:
            pass_on(accepting.refuse("dial again"), dialling)
        assert not refused.value.proved

        dialling, accepting = ends(k1=k1, as_earlier=True, known=known, nonces="cd")
        shake(dialling, accepting)
        assert dialling.peer.cluster == "c0ffee"


def test_who_only_pretends_to_be_a_known_earlier_node_is_shown_nothing():
    """It does not know the session of that process, a random number of 63 bits."""
    known = EarlierPeers()
    known.proved(replace(K1, session=5))
    _, accepting = ends(known=known)
    [answer] = accepting.received(greetings.encode(replace(K1, session=4, nonce=nonce("a"), auth="secret")))

    assert shows([answer]) == [K2.id]


def test_a_wrong_secret_makes_nobody_known():
    known = EarlierPeers()
    dialling, accepting = ends(b"another", SECRET, as_earlier=True, known=known)
    with pytest.raises(HandshakeError, match="another secret"):
        talk(dialling, accepting)

    assert not known.knows(K1)


def test_earlier_nodes_are_forgotten_the_oldest_first():
    known = EarlierPeers()
    for session in range(MEMBERS_MAX + 1):
        known.proved(replace(K1, session=session))

    assert not known.knows(replace(K1, session=0))
    assert known.knows(replace(K1, session=1))


def test_once_the_version_in_force_excludes_them_earlier_nodes_are_refused():
    """On both sides: none is accepted, and none is taken for one when it closes the connection."""
    new = {"machine_min": CHALLENGE_MACHINE_VERSION, "machine_max": CHALLENGE_MACHINE_VERSION}
    dialling, accepting = ends(k1=replace(K1, **new), k2=replace(K2, **new), as_earlier=True)
    with pytest.raises(HandshakeError, match="earlier release: install a newer version of kraft"):
        talk(dialling, accepting)

    for in_force in (1, 2):
        dialling, _ = ends(k1=replace(K1, machine_min=in_force, machine_max=2))
        dialling.start()
        assert dialling.is_unanswered
        assert dialling.accepts_earlier is (in_force == 1)
    dialling, accepting = ends()
    talk(dialling, accepting)
    assert not dialling.is_unanswered
