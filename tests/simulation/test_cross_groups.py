"""Transactions over several groups, while nodes crash and links fail."""

import pytest

from tests.serializability import DONE
from tests.simulation.cross_groups import run


@pytest.mark.parametrize("seed", range(4))
def test_one_order_explains_all_and_no_lock_stays(seed):
    counts = run(seed).counts
    assert counts[DONE] > 50
    assert counts["effective"] > 20


def test_tokens_are_used_again_in_half_of_the_runs():
    """Mostly by transactions that took effect, and by some of which nobody knows whether they did."""
    counts = run(2).counts
    assert counts["asked again"] > 20


@pytest.mark.slow
@pytest.mark.parametrize("seed", range(100, 106))
def test_more_seeds(seed):
    """`tox -e transactions` makes many."""
    run(seed)
