"""Majorities against the plainest version that could be written."""

from hypothesis import given
from hypothesis import strategies as st

from kraft.raft.membership.quorum import Majority, Outcome

names = st.lists(st.sampled_from("abcdefghi"), unique=True, max_size=9).map(tuple)


@given(names, st.dictionaries(st.sampled_from("abcdefghixy"), st.integers(0, 9)))
def test_attained_is_the_highest_number_that_more_than_half_have_reached(voters, numbers):
    def reached(number):
        return 2 * sum(numbers.get(v, 0) >= number for v in voters) > len(voters)

    expected = max((n for n in range(10) if reached(n)), default=0)
    assert Majority(voters).attained(numbers) == expected


@given(names, st.dictionaries(st.sampled_from("abcdefghixy"), st.booleans()))
def test_tally_says_won_or_lost_as_soon_as_nothing_can_change_it(voters, votes):
    silent = [v for v in voters if v not in votes]
    granted = sum(votes.get(v, False) for v in voters)

    def wins(grants):
        return 2 * grants > len(voters)

    if wins(granted):
        expected = Outcome.WON
    elif not wins(granted + len(silent)):
        expected = Outcome.LOST
    else:
        expected = Outcome.PENDING
    assert Majority(voters).tally(votes) is expected


def test_any_two_majorities_share_a_voter():
    voters = ("a", "b", "c", "d")
    assert Majority(voters).tally({"a": True, "b": True}) is Outcome.PENDING
    assert Majority(voters).tally({"a": True, "b": True, "c": True}) is Outcome.WON
    assert Majority(voters).attained({"a": 5, "b": 5}) == 0
    assert Majority(voters).attained({"a": 5, "b": 5, "c": 3}) == 3
