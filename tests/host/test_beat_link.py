"""What two ends of a link agree on, whatever becomes of single beats."""

from random import Random

import pytest

from kraft.host.beat_link import AWAKE, BeatLink

PLACE = (4, 120)


class Ends:
    """A leader's end and a follower's end of one link."""

    def __init__(self):
        self.leader, self.follower = BeatLink(10), BeatLink(20)
        self.tick = 0
        for _ in range(2):
            self.exchange()

    def exchange(self, awake=()):
        """One beat in each direction."""
        self.tick += 1
        changed = self.follower.take(self.leader.beat(1, ()), self.tick, float(self.tick))
        self.leader.take(self.follower.beat(1, awake), self.tick, float(self.tick))
        return changed


@pytest.fixture
def ends():
    return Ends()


def test_a_group_is_agreed_when_the_follower_has_answered(ends):
    ends.leader.tell(7, PLACE)
    assert not ends.leader.agrees(7, PLACE)
    beat = ends.leader.beat(1, ())
    assert beat.changes == ((7, *PLACE),)
    assert ends.follower.take(beat, 9, 9.0) == {7: PLACE}
    assert not ends.leader.agrees(7, PLACE)
    ends.leader.take(ends.follower.beat(1, ()), 9, 9.0)
    assert ends.leader.agrees(7, PLACE)
    assert not ends.leader.agrees(7, (4, 121))
    assert ends.leader.beat(1, ()).changes == ()


def test_a_follower_that_does_not_have_it_quiet_refuses(ends):
    ends.leader.tell(7, PLACE)
    assert not ends.leader.refuses(7)
    ends.exchange(awake=(7,))
    assert ends.leader.refuses(7)
    assert not ends.leader.agrees(7, PLACE)
    ends.exchange()
    assert ends.leader.agrees(7, PLACE)


def test_a_group_that_wakes_is_taken_off_the_list(ends):
    ends.leader.tell(7, PLACE)
    ends.exchange()
    ends.leader.tell(7, AWAKE)
    assert ends.exchange() == {7: AWAKE}
    assert ends.follower.listed == {}
    assert ends.leader.beat(1, ()).changes == ()


def test_beats_that_are_lost_repeated_or_late_do_no_harm(ends):
    random = Random(1)
    late = []
    told = {}
    for step in range(2_000):
        group = random.randrange(6)
        told[group] = AWAKE if random.random() < 0.4 else (4, step)
        ends.leader.tell(group, told[group])
        late.append(ends.leader.beat(1, ()))
        for beat in random.sample(late, random.randrange(min(3, len(late)) + 1)):
            ends.follower.take(beat, step, 0.0)
        if random.random() < 0.5:
            ends.leader.take(ends.follower.beat(1, ()), step, 0.0)
        for known, place in told.items():  # what the leader takes for agreed, the follower has
            if place != AWAKE and ends.leader.agrees(known, place):
                assert ends.follower.listed[known] == place
        late = late[-20:]
    ends.exchange()
    assert ends.follower.listed == {g: place for g, place in told.items() if place != AWAKE}


def test_a_beat_of_an_earlier_link_means_nothing_on_a_new_one(ends):
    ends.leader.tell(7, PLACE)
    old = [ends.leader.beat(1, ()), ends.leader.beat(1, ())]
    renewed = BeatLink(21)  # the follower's end of the next link
    for beat in old:
        renewed.take(beat, 50, 50.0)
    assert renewed.listed == {}
    assert renewed.heard_tick == 0
    leader = BeatLink(11)
    for _ in range(2):
        renewed.take(leader.beat(1, ()), 51, 51.0)
        leader.take(renewed.beat(1, ()), 51, 51.0)
    assert renewed.take(old[1], 52, 52.0) is None
    assert renewed.heard_tick == 51


def test_an_end_that_begins_anew_is_told_everything_again(ends):
    ends.leader.tell(7, PLACE)
    ends.exchange()
    ends.follower = BeatLink(21)
    ends.exchange()
    assert not ends.leader.agrees(7, PLACE)
    ends.exchange()
    assert ends.follower.listed == {7: PLACE}
    assert ends.leader.agrees(7, PLACE)


def test_silence_and_answers_are_known_by_their_ticks(ends):
    ends.tick = 30
    ends.exchange()
    assert (ends.follower.heard_tick, ends.follower.heard_at) == (31, 31.0)
    assert ends.leader.answered_tick == 31
    ends.leader.take(ends.follower.beat(1, ()), 40, 40.0)
    assert ends.leader.heard_tick == 40
    assert ends.leader.answered_tick == 31, "it is no answer to another beat"
