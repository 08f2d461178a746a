"""Nodes of an earlier release, which begin with their hello. tests/cluster/test_upgrade.py has real ones."""

import pytest
from msgspec.structs import replace

from kraft.peerwire import hello as greetings
from kraft.peerwire.earlier_peers import EarlierPeers
from kraft.peerwire.errors import HandshakeError, RefusedByPeer
from kraft.peerwire.hello import (
    CHALLENGE_MACHINE_VERSION,
)
from kraft.raft.membership.configuration import MEMBERS_MAX
from tests.peerwire.ends import K1, K2, SECRET, ends, nonce, pass_on, shake, shows, talk

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
