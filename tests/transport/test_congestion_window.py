"""How much is on its way over a link: enough to use it, and little enough for a heartbeat to pass."""

from collections import deque

import pytest

from kraft.peerwire.frames import LINK, PONG, frame, probe
from kraft.raft.messages import Heartbeat
from kraft.transport.congestion_window import CongestionWindow
from kraft.transport.limits import LinkLimits
from tests.transport.wires import append, pair

LIMITS = LinkLimits()
MBIT = 125_000  # bytes per second
BEAT = Heartbeat(term=1, commit=0, round=1)


class Path:
    """A sender that always has bulk, and a link of `rate` bytes per second after which a mark is answered."""

    def __init__(self, rate: float, round_trip: float) -> None:
        self.window = CongestionWindow(LIMITS)
        self.rate, self.round_trip = rate, round_trip
        self.now = self.sent = 0.0
        self.free_at = 0.0  # when the link has carried everything that it was given
        self.answers: deque[tuple[float, int]] = deque()
        self.longest_queue = 0.0

    def run(self, seconds: float) -> float:
        """The share of the link that was used."""
        begun, before = self.now, self.window.confirmed
        while self.now < begun + seconds:
            self.send()
            at, token = self.answers.popleft()
            self.now = max(self.now, at)
            assert self.window.answered(token, self.now)
        return (self.window.confirmed - before) / (self.now - begun) / self.rate

    def send(self) -> None:
        window = self.window
        while True:
            if window.wants_mark(int(self.sent)):
                token = window.mark(int(self.sent), self.now)
                self.answers.append((max(self.free_at, self.now) + self.round_trip, token))
            if not window.has_room(int(self.sent)):
                break
            piece = window.piece_bytes
            self.sent += piece
            self.free_at = max(self.free_at, self.now) + piece / self.rate
            self.longest_queue = max(self.longest_queue, self.free_at - self.now)


@pytest.mark.parametrize("round_trip", [0.0005, 0.02, 0.15])
@pytest.mark.parametrize("mbit", [1, 2, 20, 100, 500])
def test_a_link_is_used_and_its_queue_stays_short(mbit, round_trip):
    path = Path(mbit * MBIT, round_trip)
    path.run(5)
    path.longest_queue = 0.0
    assert path.run(5) >= 0.9
    assert path.longest_queue <= 2.5 * LIMITS.queue_delay + LIMITS.window_min / path.rate


def test_a_link_that_becomes_narrow_is_followed():
    path = Path(100 * MBIT, 0.001)
    path.run(2)
    path.rate = 2 * MBIT
    path.run(10)
    path.longest_queue = 0.0
    assert path.run(5) >= 0.9
    assert path.longest_queue <= 2.5 * LIMITS.queue_delay


def test_a_link_that_becomes_wide_is_followed():
    path = Path(2 * MBIT, 0.001)
    path.run(5)
    path.rate = 100 * MBIT
    path.run(5)
    assert path.run(5) >= 0.9


def test_a_way_that_becomes_longer_is_not_taken_for_a_queue_for_ever():
    path = Path(20 * MBIT, 0.001)
    path.run(5)
    path.round_trip = 0.4
    path.run(20)
    assert path.run(10) >= 0.5


def test_a_window_that_shrank_below_what_is_on_its_way_still_gets_a_mark():
    """Else nothing would ever say that there is room again."""
    window = CongestionWindow(LIMITS)
    first = window.mark(60_000, 0.0)
    assert not window.wants_mark(70_000)
    window.answered(first, 0.001)
    second = window.mark(70_000, 0.001)
    window.answered(second, 5.0)
    assert window.size == LIMITS.window_min
    assert not window.has_room(70_000 + LIMITS.window_min)
    assert window.wants_mark(70_000 + LIMITS.window_min)


def test_a_sender_with_little_to_send_learns_nothing_about_the_link():
    window = CongestionWindow(LIMITS)
    for second in range(10):
        window.answered(window.mark(1000 * (second + 1), float(second)), second + 0.001)
    assert window.size == LIMITS.window_first


def test_an_answer_to_no_mark_is_none_of_its_own():
    window = CongestionWindow(LIMITS)
    window.mark(1000, 1.0)
    assert not window.answered(5, 2.0)
    assert window.confirmed == 0


def test_marks_of_one_moment_are_told_apart():
    window = CongestionWindow(LIMITS)
    assert window.mark(1000, 1.0) != window.mark(2000, 1.0)


def test_bulk_waits_for_the_window_and_control_does_not():
    """The peer does not answer, as on a link that is slow: a heartbeat leaves at once all the same."""
    network, _, one, _ = pair(limits=LinkLimits(window_first=20_000))
    network.pump()
    [wire] = network.wires
    one.links.send("K2", [(0, append(5_000_000))])
    given = sum(map(len, wire.near.outgoing))
    assert 20_000 <= given <= 26_000
    one.links.send("K2", [(0, BEAT)])
    assert 0 < sum(map(len, wire.near.outgoing)) - given < 100


def test_bulk_goes_on_when_marks_are_answered():
    network, _, one, two = pair()
    network.pump()
    one.links.send("K2", [(0, append(5_000_000)), (0, BEAT)])
    network.pump()
    assert [type(message).__name__ for _, _, message in two.owner.messages] == ["Heartbeat", "Append"]
    assert one.links.windows()["K2"] > LIMITS.window_first


def test_an_answer_that_nobody_asked_for_opens_nothing():
    network, _, one, _ = pair()
    network.pump()
    [wire] = network.wires
    one.links.send("K2", [(0, append(5_000_000))])
    given = sum(map(len, wire.near.outgoing))
    wire.near.protocol.dataReceived(frame(LINK, 1, probe(PONG, 12345)))
    assert sum(map(len, wire.near.outgoing)) == given
