"""Links between nodes on a network without sockets: messages, and ends of links."""

from functools import partial

import pytest
from twisted.internet.error import CannotListenError, ConnectionLost
from twisted.internet.task import Clock

from kraft.peerwire import codec
from kraft.peerwire.frames import BULK, LINK, PONG, frame, probe
from kraft.raft.messages import Heartbeat
from kraft.tcp.writer import DirectWriter
from kraft.transport.encoded_batch import PART_BYTES
from kraft.transport.limits import LinkLimits
from tests.transport.strangers import stranger
from tests.transport.wires import BEAT, Descriptor, Network, Node, append, pair


@pytest.mark.parametrize("secret", [None, b"swordfish"])
@pytest.mark.parametrize("size", [1, 100, 1 << 30])
def test_two_nodes_meet_and_talk(secret, size):
    """The smaller id dials, both learn of it, and batches go both ways, however the bytes are read."""
    network, _, one, two = pair(secret=secret)

    network.pump(size)
    assert one.links.send("K2", [(0, BEAT), (3, append(10))])
    assert two.links.send("K1", [(0, BEAT)])
    network.pump(size)

    assert network.attempts == [two.address]
    assert one.owner.told == [("up", "K2")]
    assert two.owner.told == [("up", "K1")]
    assert two.owner.messages == [("K1", 0, BEAT), ("K1", 3, append(10))]
    assert one.owner.messages == [("K2", 0, BEAT)]
    assert one.links.connected() == two.links.connected() ^ {"K1", "K2"} == {"K2"}


def test_one_batch_is_one_frame_in_the_same_turn():
    """All messages of a small batch leave at once, in one write."""
    network, _, one, two = pair()
    network.pump()
    [wire] = network.wires

    one.links.send("K2", [(0, BEAT)] * 50)

    assert len(wire.near.outgoing) == 1
    network.pump()
    assert len(two.owner.messages) == 50
    assert one.watcher.sent.number == two.watcher.received.number > 0


def test_followers_in_step_get_the_same_bytes(monkeypatch):
    """What goes to several peers is encoded once, as long as it is the same."""
    network, clock, one, two = pair()
    three = Node(network, clock, "K3", 3)
    three.links.start({"K1": one.address})
    one.links.connect("K3", three.address)
    network.pump()
    encoded, encode = [], codec.encode

    def counted(batch):
        encoded.append(batch)
        return encode(batch)

    monkeypatch.setattr(codec, "encode", counted)

    for index in (1, 2):
        for peer in ("K2", "K3"):
            assert one.links.send(peer, [(0, append(100, index))])
    own = [(0, append(100, 3))]
    assert one.links.send("K2", own)
    own.append((0, BEAT))
    assert one.links.send("K3", own)
    network.pump()

    assert len(encoded) == 4
    assert [m for _, _, m in two.owner.messages] == [append(100, 1), append(100, 2), append(100, 3)]
    assert [m for _, _, m in three.owner.messages] == [append(100, 1), append(100, 2), append(100, 3), BEAT]


def test_a_large_batch_arrives_whole_and_control_overtakes_it():
    """Bulk that waits is overtaken by a heartbeat given later; the order within each stays."""
    network, _, one, two = pair()
    network.pump()

    for index in (1, 2, 3):
        assert one.links.send("K2", [(0, append(500_000, index))])
    assert one.links.send("K2", [(0, BEAT), (0, append(10, 4))])
    network.pump()

    messages = [message for _, _, message in two.owner.messages]
    assert messages[0] == BEAT
    assert messages[1:] == [append(500_000, 1), append(500_000, 2), append(500_000, 3), append(10, 4)]


def test_large_messages_of_one_batch_arrive_one_after_the_other(monkeypatch):
    """The first is handled while the second is on its way. Followers in step get the same bytes."""
    network, _, one, two = pair()
    network.pump()
    arrived = []
    monkeypatch.setattr(two.owner, "received", lambda peer, batch: arrived.append(batch))
    batch = [(0, append(PART_BYTES, 1)), (0, BEAT), (1, append(10)), (0, append(PART_BYTES, 2)), (2, BEAT)]

    assert one.links.send("K2", batch)
    network.pump()

    assert arrived == [[(0, BEAT)], [(2, BEAT)], [batch[0]], [batch[2], batch[3]]]


def test_a_large_batch_is_taken_whole_or_refused_whole():
    """The host sends again what was refused, so nothing of it may have left."""
    limits = LinkLimits(queue_bytes=5 * PART_BYTES)
    network, _, one, two = pair(limits=limits)
    network.pump()
    [wire] = network.wires
    wire.near.clogged = True

    batches = [
        [(0, append(2 * PART_BYTES, index)) for index in places] for places in ((1, 2, 3), (4, 5), (6,))
    ]
    sent = [one.links.send("K2", batch) for batch in batches]
    wire.near.clogged = False
    network.pump()

    assert sent == [True, False, False]
    assert [message for _, _, message in two.owner.messages] == [message for _, message in batches[0]]
    assert one.links.send("K2", batches[1])
    network.pump()
    assert [message for _, _, message in two.owner.messages[3:]] == [message for _, message in batches[1]]


def test_parts_of_a_large_batch_are_told_until_it_is_whole():
    """They show that the peer is there, while a heartbeat waits after them in the buffers of the kernels."""
    network, _, one, two = pair()
    network.pump()
    assert two.owner.parts == []

    assert one.links.send("K2", [(0, append(10, 1))])
    network.pump()
    assert two.owner.parts == []

    assert one.links.send("K2", [(0, append(500_000, 2))])
    network.pump()
    assert set(two.owner.parts) == {"K1"}
    assert [message for _, _, message in two.owner.messages] == [append(10, 1), append(500_000, 2)]

    told = len(two.owner.parts)
    assert one.links.send("K2", [(0, BEAT)])
    network.pump()
    assert len(two.owner.parts) == told


def test_a_link_that_is_backed_up_drops_beyond_its_bounds():
    """Bulk and control have separate bounds; what fits arrives when the peer reads again."""
    limits = LinkLimits(queue_bytes=400_000, control_bytes=2000)
    network, _, one, two = pair(limits=limits)
    network.pump()
    [wire] = network.wires
    wire.near.clogged = True

    bulk = [one.links.send("K2", [(0, append(100_000, n))]) for n in range(1, 9)]
    control = [one.links.send("K2", [(0, BEAT)]) for _ in range(200)]
    [status] = one.links.statistics()
    wire.near.clogged = False
    network.pump()

    assert bulk == sorted(bulk, reverse=True)
    assert 4 <= sum(bulk) < 8
    assert 50 < sum(control) < 200
    assert status.waiting_bytes <= 402_000
    assert len(two.owner.messages) == sum(bulk) + sum(control)
    dropped = one.watcher.named("dropped")
    assert dropped == [("K2", "queue_full")] * (208 - sum(bulk) - sum(control))
    assert one.links.send("K2", [(0, append(100_000))])


def test_a_batch_larger_than_the_queue_goes_when_nothing_waits():
    """Otherwise the largest entry could never be sent; beyond the message bound it is refused."""
    network, _, one, two = pair(limits=LinkLimits(queue_bytes=1000, message_bytes=300_000))
    network.pump()

    assert one.links.send("K2", [(0, append(200_000))])
    network.pump()
    assert not one.links.send("K2", [(0, append(300_000))])
    network.pump()

    assert len(two.owner.messages) == 1
    assert one.watcher.named("dropped") == [("K2", "too_large")]


def test_a_fast_reader_does_not_keep_the_reactor():
    """After a burst of direct writes the rest goes through the reactor, which serves others in between."""
    network, _, one, _ = pair(limits=LinkLimits(burst_bytes=200_000, window_first=1 << 30))
    network.pump()
    link = one.links._links["K2"]
    link.transport = transport = Descriptor(room=1 << 30)
    transport.registerProducer(link, True)
    link._writer = DirectWriter(transport)

    one.links.send("K2", [(0, append(1_000_000))])
    first = len(transport.sent)
    turns = 0
    while len(transport.sent) < 1_000_000:
        transport.doWrite()
        turns += 1

    assert 200_000 <= first < 300_000
    assert turns > 1


def test_a_batch_of_very_many_messages_is_sent_in_parts():
    """The gate of the peer bounds the messages of a batch; nobody has to know that above."""
    network, _, one, two = pair()
    network.pump()

    count = codec.BATCH_MESSAGES_MAX + 1
    assert one.links.send("K2", [(0, BEAT)] * count)
    network.pump()

    assert len(two.owner.messages) == count


def test_of_very_many_messages_all_bulk_is_sent_or_none():
    """Else an entry that was dropped would be reported as sent, or the other way round."""
    network, _, one, two = pair(limits=LinkLimits(queue_bytes=3 * PART_BYTES))
    network.pump()
    [wire] = network.wires
    beats = [(0, BEAT)] * (codec.BATCH_MESSAGES_MAX // 2 + 1)
    batch = [(0, append(PART_BYTES, 2)), *beats, *beats, (0, append(PART_BYTES, 3))]

    wire.near.clogged = True
    sent = one.links.send("K2", [(0, append(2 * PART_BYTES, 1))]), one.links.send("K2", batch)
    wire.near.clogged = False
    network.pump()
    bulk = [message for _, _, message in two.owner.messages if message != BEAT]
    assert (sent, bulk) == ((True, False), [append(2 * PART_BYTES, 1)])

    assert one.links.send("K2", batch)
    network.pump()
    bulk = [message for _, _, message in two.owner.messages if message != BEAT]
    assert bulk[1:] == [append(PART_BYTES, 2), append(PART_BYTES, 3)]


def test_the_parts_of_a_large_batch_are_made_once_and_not_kept():
    """All links share them; they take the memory of the batch."""
    network, _, one, _ = pair()
    network.pump()
    encoded = one.links._links["K2"]._context.encoded
    assert one.links.send("K2", [(0, append(PART_BYTES, index)) for index in (1, 2, 3)])
    assert len(encoded.parts()) == 3
    assert encoded.parts() is encoded.parts()
    network.pump()
    assert one.links.send("K2", [(0, BEAT)])
    assert encoded.cut == ()


def test_without_a_link_nothing_is_sent():
    """False, and counted."""
    _, _, one, _ = pair()

    assert not one.links.send("K2", [(0, BEAT)])
    assert not one.links.send("K9", [(0, BEAT)])
    assert one.watcher.named("dropped") == [("K2", "no_link"), ("K9", "no_link")]


def test_bad_bytes_on_an_open_link_close_it():
    """An impossible message costs the link, which is then made anew; it is not blamed on the process."""
    network, clock, one, _ = pair()
    network.pump()
    [wire] = network.wires

    wire.far.outgoing.append(frame(BULK, 1, codec.encode([(0, Heartbeat(0, 0, 0))])))
    network.pump()
    clock.advance(1)
    network.pump()

    assert one.owner.messages == []
    assert one.owner.told == [("up", "K2"), ("down", "K2", False), ("up", "K2")]
    assert one.watcher.named("disconnected") == [("K2", "bad bytes from the peer: impossible Heartbeat")]


# The end of links, and new ones


@pytest.mark.parametrize("reason", [None, ConnectionLost()])
def test_a_process_that_dies_is_told_apart(reason):
    """Its system closes or resets the connection; the link comes back with the process."""
    network, clock, one, two = pair()
    network.pump()

    network.wires[0].cut(reason)
    network.pump()
    assert one.owner.told[-1] == ("down", "K2", True)
    assert one.links.connected() == frozenset()
    clock.advance(0.05)
    network.pump()

    assert one.owner.told[-1] == ("up", "K2")
    assert two.owner.told[-1] == ("up", "K1")


def test_a_peer_that_falls_silent_is_given_up():
    """A paused process answers no ping: the link is dropped after some, and it is not called closed."""
    network, clock, one, _ = pair(limits=LinkLimits(ping_interval=1.0, silent_pings=3))
    network.pump()
    network.wires[0].far.clogged = True

    for _ in range(3):
        clock.advance(1)
        network.pump()
    assert one.owner.told == [("up", "K2")]
    clock.advance(1)
    network.pump()

    assert one.owner.told == [("up", "K2"), ("down", "K2", False)]
    assert one.watcher.named("disconnected") == [("K2", "silent for 3 pings")]


def test_a_timeout_of_the_kernel_is_not_a_close():
    """After silence the same error means that nobody answered."""
    network, clock, one, _ = pair()
    network.pump()
    network.wires[0].far.clogged = True
    for _ in range(3):
        clock.advance(1)
        network.pump()

    network.wires[0].near.end(ConnectionLost())
    network.pump()

    assert one.owner.told[-1] == ("down", "K2", False)


def test_pings_keep_an_idle_link_and_measure_it():
    """A quiet link stays, and every interval gives a round trip on both sides."""
    network, clock, one, two = pair()
    network.pump()

    for _ in range(20):
        clock.advance(1)
        network.pump()

    assert one.owner.told == [("up", "K2")]
    assert one.watcher.named("round_trip") == [("K2", 0.0)] * 20
    assert two.watcher.named("round_trip") == [("K1", 0.0)] * 20
    assert two.links.statistics()[0].round_trip == 0.0


def test_a_pong_from_the_future_is_no_measurement():
    """A clock that was set back gives no negative round trip; an unknown probe is ignored."""
    network, _, one, _ = pair()
    network.pump()

    network.wires[0].far.outgoing += [frame(LINK, 1, probe(PONG, 10**12)), frame(LINK, 1, probe(77, 0))]
    network.pump()

    assert one.watcher.named("round_trip") == []
    assert one.links.connected() == {"K2"}


def test_the_process_at_the_other_end_answers_a_ping():
    """Once, and each ping for itself; a link that ends first leaves it unanswered, and so does no link."""
    network, _, one, two = pair()
    answers: list[str] = []
    one.links.ping("K2", partial(answers.append, "too early"))
    network.pump()
    for number in range(2):
        one.links.ping("K2", partial(answers.append, f"K2 {number}"))
        two.links.ping("K1", partial(answers.append, f"K1 {number}"))
    network.pump()
    assert sorted(answers) == ["K1 0", "K1 1", "K2 0", "K2 1"]
    one.links.ping("K2", partial(answers.append, "too late"))
    two.links.greet_again("K1")
    network.pump()
    assert len(answers) == 4


def test_stopping_closes_everything():
    """No port, no connection, no timer is left; it fires when the last connection is gone."""
    network, clock, one, two = pair()
    network.pump()
    silent = stranger(network, two, b"")
    one.links.send("K2", [(0, BEAT)])

    results: list[object] = []
    for node in (one, two):
        node.links.stop().addCallback(results.append)
    assert results == []
    network.pump()

    assert results == [None, None]
    assert two.owner.messages == []  # two closed too; it no longer listens to what arrives
    assert network.ports == {}
    assert silent.near.lost is not None
    clock.advance(0)
    assert clock.getDelayedCalls() == []


def test_what_was_handed_over_is_sent_before_a_close():
    """A node that stops says its last words."""
    network, _, one, two = pair()
    network.pump()
    one.links.send("K2", [(0, BEAT)])
    one.links.stop()
    network.pump()

    assert two.owner.messages == [("K1", 0, BEAT)]
    assert two.owner.told[-1] == ("down", "K1", True)


def test_a_peer_that_does_not_read_cannot_hold_up_a_stop():
    """After the grace the connection is aborted."""
    network, clock, one, _ = pair(limits=LinkLimits(close_grace=0.5))
    network.pump()
    network.wires[0].near.clogged = True
    one.links.send("K2", [(0, append(200_000))])

    results: list[object] = []
    one.links.stop().addCallback(results.append)
    network.pump()
    assert results == []
    clock.advance(0.5)
    network.pump()

    assert results == [None]


def test_a_taken_port_is_told_and_nothing_is_begun():
    """The error of the listening endpoint comes back."""

    network, clock = Network(), Clock()
    node = Node(network, clock, "K1", 2)
    network.ports[node.address] = "taken"

    failed = node.links.start({"K2": "127.0.0.1:3"})

    failures = []
    failed.addErrback(lambda failure: failures.append(failure.type))
    assert failures == [CannotListenError]
    assert network.attempts == []


def test_an_empty_secret_is_no_secret():
    """A file that holds nothing must not look like protection."""
    with pytest.raises(ValueError, match="empty"):
        Node(Network(), Clock(), "K1", 1, secret=b"")
