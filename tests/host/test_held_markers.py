"""Holds of all groups, and the markers that are logged under them: how often each is asked for."""

from itertools import count

import pytest

from kraft.host.admin.held_markers import HOLD_MS, HOLD_MS_MAX, NOT_HELD, HeldMarkers
from kraft.node.admin import HoldProposals
from kraft.node.errors import AdminRefused

GROUPS = 3


class Leaders:
    """Each round of questions takes `seconds`. A marker is refused when the first hold is over by then."""

    def __init__(self, seconds):
        self._round_seconds = seconds
        self._now = 0.0
        self._held_until = 0.0
        self.holds = []  # in milliseconds
        self.markers = 0

    def seconds(self):
        return self._now

    def ask(self, group, command, done):
        if group == 0:
            if isinstance(command, HoldProposals):
                self.holds.append(command.milliseconds)
                self._held_until = self._now + command.milliseconds / 1000
            self._now += self._round_seconds
        if isinstance(command, HoldProposals):
            done("OK")
        elif self._now <= self._held_until:
            self.markers += 1
            done([group + 1, 1])
        else:
            self.markers += 1
            done(AdminRefused(NOT_HELD))


def outcome(leaders, groups=GROUPS):
    outcomes: list[object] = []
    HeldMarkers(groups, leaders.ask, count().__next__, leaders, outcomes.append).log()
    [found] = outcomes
    return found


def test_fast_groups_hold_for_a_moment():
    leaders = Leaders(seconds=0.01)
    assert outcome(leaders) == [[1, 1], [2, 1], [3, 1]]
    assert leaders.holds == [HOLD_MS]


def test_many_groups_hold_for_longer_at_once():
    leaders = Leaders(seconds=0.11)
    assert len(outcome(leaders, 1000)) == 1000
    assert leaders.holds == [HOLD_MS + 200]


@pytest.mark.parametrize(("seconds", "hold"), [(0.03, 120), (0.11, 440), (0.3, HOLD_MS_MAX)])
def test_no_marker_is_asked_for_when_the_hold_is_too_short(seconds, hold):
    """A marker that is of no use costs all replicas of its group a checkpoint."""
    leaders = Leaders(seconds)
    assert outcome(leaders) == [[1, 1], [2, 1], [3, 1]]
    assert leaders.holds == [HOLD_MS, hold]
    assert leaders.markers == GROUPS


def test_the_longest_hold_is_tried_in_any_case():
    leaders = Leaders(seconds=0.5)
    assert NOT_HELD in str(outcome(leaders))
    assert leaders.holds == [HOLD_MS, HOLD_MS_MAX]
    assert leaders.markers == GROUPS
