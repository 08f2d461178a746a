"""The handshake of two nodes: what is proved, and what is shown to whom."""

import msgspec
import pytest
from msgspec.structs import replace

from kraft.peerwire import hello as greetings
from kraft.peerwire.errors import HandshakeError
from kraft.peerwire.handshake import HandshakeState
from kraft.peerwire.hello import (
    COUNTER_MAX,
    Challenge,
    Greeting,
    Hello,
    Proof,
    Refusal,
    Welcome,
)
from kraft.raft.membership.configuration import Member
from tests.peerwire.ends import K1, K2, SECRET, challenged, ends, mac, nonce, pass_on, shake, shows, talk


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


def vouched(challenge):
    """Whether the accepting side takes the maker of a Challenge for one who knows the secret."""
    _, accepting = ends()
    accepting.received(greetings.encode(challenge))
    assert not accepting.is_peer_proved
    return accepting.is_peer_vouched


def test_the_dialling_side_shows_at_the_first_word_that_it_knows_the_secret():
    """Which proves nothing yet. The accepting side shows nothing before it has seen a proof."""
    dialling, accepting = ends()
    [word] = dialling.start()
    challenge = greetings.decode(word)
    assert isinstance(challenge, Challenge)
    assert vouched(challenge)
    assert not vouched(replace(challenge, nonce=nonce("z")))
    assert not vouched(Challenge(nonce("a")))  # of an earlier program
    assert not vouched(Challenge(nonce("a"), mac=b"x" * 32))
    [answer] = accepting.received(word)
    assert greetings.decode(answer) == Challenge(nonce("b"))
    dialling, _ = ends(b"another")
    assert not vouched(greetings.decode(dialling.start()[0]))


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
    hello = replace(hello, current=(Member("K1", "1" * 32, "h:1"),), leaderless=True, groups=3, zone="z")
    assert greetings.decode(greetings.encode(hello)) == hello
    earlier = msgspec.msgpack.encode(msgspec.msgpack.decode(greetings.encode(hello))[:-7])

    accepting.received(earlier)

    assert accepting.peer == replace(
        hello, starts=0, session=0, standby=False, current=(), leaderless=False, groups=0, zone=""
    )


@pytest.mark.parametrize(("small", "large"), [("K1", "K2"), ("K2", "K1")])
def test_anyone_may_dial_anyone(small, large):
    """Who dials by habit is a matter of those who dial, not of the handshake."""
    dialling, accepting = ends(k1=replace(K1, id=small), k2=replace(K2, id=large), dialled=large)

    shake(dialling, accepting)

    assert dialling.state is accepting.state is HandshakeState.OPEN
