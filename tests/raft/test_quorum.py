"""Majorities against the plainest version that could be written."""

import msgspec
from hypothesis import given
from hypothesis import strategies as st

from kraft.raft.membership.configuration import Configuration, Member
from kraft.raft.membership.quorum import Joint, Majority, Outcome, quorum_of
from tests.raft.values import configuration

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


def test_a_joint_quorum_needs_both_majorities():
    quorum = Joint(Majority(("K1", "K2", "K3")), Majority(("K3", "K4", "K5")))
    assert quorum.attained({"K1": 9, "K2": 9, "K3": 9, "K4": 5}) == 5
    assert quorum.attained({"K1": 9, "K2": 9, "K3": 9}) == 0
    assert quorum.tally({"K1": True, "K2": True, "K3": True}) is Outcome.PENDING
    assert quorum.tally({"K1": True, "K2": True, "K3": True, "K5": True}) is Outcome.WON
    assert quorum.tally({"K1": True, "K2": True, "K4": False, "K5": False}) is Outcome.LOST


def test_nobody_speaks_for_a_newcomer_under_the_id_of_a_member():
    """Else the old one's word would be taken for a log that the new one does not have."""
    now = configuration("K1", "K2", "K3")
    again = Configuration.of_voters((Member("K1", "f" * 32, "K1:1"), *now.members[1:]))
    quorum = quorum_of(msgspec.structs.replace(now, target=again))
    assert quorum.attained({"K1": 9, "K2": 9}) == 0
    assert quorum.attained({"K2": 9, "K3": 9}) == 9
    assert quorum_of(now) == Majority(("K1", "K2", "K3"))
