"""Replicas that leave a group and come back to it, under drawn faults: `tests.raft.numbered`."""

import pytest

from kraft.raft.errors import InvariantViolation
from tests.raft.numbered import Mistake, Reshuffle

STEPS = 3000


def judge(seed, mistake=Mistake.NONE):
    """Run one schedule, heal everything, and compare the voters. Fails if anything is not as it should be."""
    chaos = Reshuffle(seed, mistake)
    chaos.run(STEPS)
    chaos.heal()
    cluster = chaos.cluster
    leaders = cluster.leaders()
    assert len(leaders) == 1
    leader = cluster[leaders[0]]
    index, _ = leader.propose(b"last")
    cluster.tick(10)
    configuration = leader.state.configuration
    assert not configuration.joint
    voters = [cluster[name] for name in configuration.voters]
    assert all(peer.state.applied == index for peer in voters)
    assert all(peer.applied == leader.applied for peer in voters)
    return chaos


@pytest.mark.parametrize("seed", [*range(30), 294])  # the last one has found a mistake
def test_a_replica_that_comes_back_is_never_taken_for_its_earlier_self(seed):
    judge(seed)


def test_the_schedules_reach_what_they_are_for():
    schedules = [judge(seed) for seed in range(30, 40)]  # two of them have most of it
    assert sum(chaos.cluster.destroyed for chaos in schedules) > 10
    assert sum(chaos.returned for chaos in schedules) > 10


@pytest.mark.parametrize(
    ("mistake", "seed"),  # of a schedule that finds it now; others do as well
    [(Mistake.UNCHECKED, 14), (Mistake.REUSED, 4), (Mistake.FORGOTTEN, 4), (Mistake.EARLY, 32)],
    ids=lambda each: getattr(each, "name", str(each)).lower(),
)
def test_each_mistake_is_found(mistake, seed):
    for number in range(seed, seed + 100):
        try:
            judge(number, mistake)
        except (InvariantViolation, AssertionError):
            return
    pytest.fail(f"nothing shows that {mistake.value}")


def test_no_mistake_is_left_out():
    [mark] = test_each_mistake_is_found.pytestmark
    assert {mistake for mistake, _ in mark.args[1]} == set(Mistake) - {Mistake.NONE}
