"""Who is refused a link: other clusters, strangers, and whoever does not prove the secret."""

import pytest
from twisted.internet.error import ConnectionLost
from twisted.internet.protocol import Factory
from twisted.internet.task import Clock

from kraft.peerwire import codec
from kraft.peerwire import hello as greetings
from kraft.peerwire.frames import BULK, GREETING, HEADER_BYTES, frame
from kraft.peerwire.hello import NO_AUTH, NONCE_BYTES, SECRET, Challenge, Greeting, Hello, Refusal
from kraft.transport.limits import LinkLimits
from tests.transport.strangers import Deaf, Speaker, stranger
from tests.transport.wires import BEAT, Network, Node, pair

# Refusals


def test_the_wrong_secret_is_refused_with_a_reason_on_both_sides():
    """Nobody's owner is asked, and the dialler backs off."""
    network, _, one, two = pair(first={"secret": b"a"}, second={"secret": b"b"})
    network.pump()

    assert one.owner.checked == two.owner.checked == []
    [(address, reason)] = two.watcher.named("refused")
    assert address.startswith("127.0.0.1:")
    assert "secret_file" in reason
    [(peer, told, attempts)] = one.watcher.named("unreachable")
    assert (peer, attempts) == ("K2", 1)
    assert told == f"refused by the peer: {reason}"


def test_a_link_beyond_loopback_needs_a_secret():
    """Both ends' addresses count."""
    network, _, one, two = pair(network=Network(dialling_from="10.0.0.7"))
    network.pump()
    assert one.owner.told == two.owner.told == []
    assert "cluster.secret_file" in two.watcher.named("refused")[0][1]

    network, _, one, _ = pair(secret=b"s", network=Network(dialling_from="10.0.0.7"))
    network.pump()
    assert one.owner.told == [("up", "K2")]


@pytest.mark.parametrize("who", ["first", "second"])
def test_either_owner_may_refuse(who):
    """No link comes up on either side, and the other side is told why."""
    network, _, one, two = pair(**{who: {"refuse": "not in this cluster"}})
    network.pump()

    assert one.owner.told == two.owner.told == []
    assert "not in this cluster" in two.watcher.named("refused")[0][1]
    assert "not in this cluster" in one.watcher.named("unreachable")[0][1]


def test_another_cluster_is_refused():
    """The check of the owner sees the cluster id."""
    network, _, one, two = pair(first={"cluster": "a" * 8}, second={"cluster": "b" * 8})
    network.pump()

    assert one.owner.told == two.owner.told == []
    assert "K1 belongs to another cluster" in two.watcher.named("refused")[0][1]


@pytest.mark.parametrize("secret", [None, b"swordfish"])
def test_who_is_refused_by_a_proved_peer_hears_of_it(secret):
    """The dialling side's owner gets the reason: it may be that this node was removed."""
    network, _, one, two = pair(secret=secret, second={"refuse": "you have a new data directory"})
    network.pump()

    assert two.owner.checked == ["K1"]
    assert one.owner.checked == []
    assert one.owner.refusals == [("K2", "you have a new data directory")]
    assert one.owner.told == two.owner.told == []
    [(peer, told, _)] = one.watcher.named("unreachable")
    assert (peer, told) == ("K2", "refused by the peer: you have a new data directory")


@pytest.mark.parametrize("mac", [b"", b"x" * 32])
def test_a_forged_refusal_reaches_no_owner(mac):
    """Who only listens at a member's address cannot tell a node anything that it would act on."""
    network, clock = Network(), Clock()
    node = Node(network, clock, "K1", 1, secret=b"swordfish")
    said = b"".join(
        frame(GREETING, 0, greetings.encode(part))
        for part in (Challenge(b"x" * NONCE_BYTES), Refusal("you are disowned", mac))
    )
    network.ports["127.0.0.1:2"] = Factory.forProtocol(lambda: Speaker(said))
    node.links.start({"K2": "127.0.0.1:2"})
    network.pump()

    assert node.owner.checked == node.owner.refusals == []
    [(_, told, _)] = node.watcher.named("unreachable")
    assert told == "refused by the peer: you are disowned"


@pytest.mark.parametrize(
    "data",
    [
        b"*1\r\n$4\r\nPING\r\n",
        b"GET / HTTP/1.1\r\nHost: x\r\n\r\n",
        b"\x00" * 1000,
        bytes(range(256)) * 100,
        frame(GREETING, 0, b"garbage"),
        frame(BULK, 0, codec.encode([(0, BEAT)])),
    ],
)
def test_garbage_closes_only_its_own_connection(data):
    """A stranger is told nothing and disturbs nobody."""
    network, _, one, two = pair()
    network.pump()

    wire = stranger(network, two, data)
    one.links.send("K2", [(0, BEAT)])
    network.pump()

    assert wire.near.lost is not None
    assert wire.stranger.received == b""
    assert len(two.watcher.named("refused")) == 1
    assert two.owner.messages == [("K1", 0, BEAT)]


def test_who_says_nothing_is_closed_in_time():
    """After the time for a handshake."""
    network, clock, _, two = pair(limits=LinkLimits(handshake_timeout=2.0))
    network.pump()

    wires = [stranger(network, two, b"") for _ in range(3)]
    clock.advance(2.0)
    network.pump()

    assert all(wire.near.lost is not None for wire in wires)
    reasons = [reason for _, reason in two.watcher.named("refused")]
    assert reasons == ["no handshake in time: still waiting for the peer's hello"] * 3


@pytest.mark.parametrize("secret", [None, b"swordfish"])
@pytest.mark.parametrize("sent", ["", "challenge", "hello"])
def test_strangers_who_do_not_go_on_keep_no_member_away(secret, sent):
    """However many there are, from a member's address too, a member gets its link at once."""
    hello = Hello("K9", "9" * 32, nonce=b"x" * NONCE_BYTES, auth=SECRET if secret else NO_AUTH)
    greetings_: dict[str, Greeting] = {"challenge": Challenge(b"x" * NONCE_BYTES), "hello": hello}
    greeting = greetings_.get(sent)
    data = frame(GREETING, 0, greetings.encode(greeting)) if greeting is not None else b""
    network, clock, one, two = pair(secret=secret, limits=LinkLimits(greeting_links=3))
    network.pump()
    network.wires[0].cut(ConnectionLost())
    wires = [stranger(network, two, data) for _ in range(50)]

    clock.advance(1)
    network.pump()

    assert one.links.connected() == {"K2"}
    assert sum(wire.near.lost is None for wire in wires) <= 3
    told = [reason for _, reason in two.watcher.named("refused")]
    if not (sent == "challenge" and secret is None):
        assert set(told) == {"gave way to a newer connection: too many are in handshake"}


def test_the_addresses_of_members_are_known():
    """By what they are dialled at, by what they link from, and no more once they are gone."""
    network, _, one, two = pair(network=Network(dialling_from="10.0.0.7"), secret=b"s")
    network.pump()
    assert [two.links.is_member_at(ip) for ip in ("10.0.0.7", "127.0.0.1", "10.0.0.8", "")] == [
        True, True, False, False,
    ]  # fmt: skip
    one.links.connect("K5", "[fd00::5]:1")
    one.links.connect("K6", "host.example:1")
    assert [one.links.is_member_at(ip) for ip in ("fd00::5", "host.example")] == [True, False]

    two.links.disconnect("K1")

    assert not two.links.is_member_at("10.0.0.7")


@pytest.mark.parametrize("dial", ["connect", "introduce"])
def test_a_peer_that_does_not_understand_is_greeted_like_an_earlier_release(dial):
    """At once, within the same attempt; and the next attempt begins with a Challenge again."""
    network, clock = Network(), Clock()
    node = Node(network, clock, "K1", 1, secret=b"swordfish")
    network.ports["127.0.0.1:2"] = Factory.forProtocol(Deaf)
    Deaf.heard.clear()

    for _ in range(2):
        getattr(node.links, dial)("K2", "127.0.0.1:2")
        network.pump()
        clock.advance(1)
        network.pump()

    kinds = [type(greetings.decode(data[HEADER_BYTES:])) for data in Deaf.heard[:4]]
    assert kinds == [Challenge, Hello, Challenge, Hello]
    assert [attempts for *_, attempts in node.watcher.named("unreachable")][:2] == [1, 2]
