"""How old a replica's state may be."""

from kraft.host.requests.staleness import Staleness


def test_a_replica_that_never_heard_a_leader_is_infinitely_old() -> None:
    assert Staleness().age(5.0, 0) == float("inf")


def test_a_replica_that_has_applied_all_is_as_new_as_the_heartbeat() -> None:
    staleness = Staleness()
    staleness.heard(1.0, newest=7, applied=7)

    assert staleness.age(4.0, 7) == 3.0


def test_a_lagging_replica_becomes_as_new_as_the_heartbeat_whose_index_it_reaches() -> None:
    staleness = Staleness()
    staleness.heard(1.0, newest=7, applied=7)
    staleness.heard(2.0, newest=20, applied=8)
    assert staleness.age(3.0, 19) == 2.0  # of the first

    assert staleness.age(3.0, 20) == 1.0  # of the second


def test_a_replica_that_never_catches_up_still_grows_newer() -> None:
    staleness = Staleness()
    ages = []
    for second in range(1, 50):  # always ten entries, and a second, behind
        staleness.heard(float(second), newest=10 * second, applied=10 * (second - 1))
        ages.append(staleness.age(float(second), 10 * (second - 1)))

    assert max(ages[5:]) <= 2.0
