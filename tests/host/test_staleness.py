"""How old a replica's state may be."""

from kraft.host.requests.staleness import Staleness


def test_a_replica_that_never_heard_a_leader_is_infinitely_old() -> None:
    assert Staleness().age(5.0, 0) == float("inf")


def test_a_replica_that_has_applied_all_is_as_new_as_the_heartbeat() -> None:
    freshness = Staleness()
    freshness.heard(1.0, newest=7, applied=7)

    assert freshness.age(4.0, 7) == 3.0


def test_a_replica_behind_becomes_as_new_as_the_heartbeat_whose_index_it_reaches() -> None:
    freshness = Staleness()
    freshness.heard(1.0, newest=7, applied=7)
    freshness.heard(2.0, newest=20, applied=8)
    assert freshness.age(3.0, 19) == 2.0  # of the first

    assert freshness.age(3.0, 20) == 1.0  # of the second


def test_a_replica_that_never_catches_up_with_the_newest_still_moves_on() -> None:
    freshness = Staleness()
    ages = []
    for second in range(1, 50):  # always ten entries, and a second, behind
        freshness.heard(float(second), newest=10 * second, applied=10 * (second - 1))
        ages.append(freshness.age(float(second), 10 * (second - 1)))

    assert max(ages[5:]) <= 2.0
