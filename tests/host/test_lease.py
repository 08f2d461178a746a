"""When a lease begins, in which term it holds, and that a dropped lease stays dropped."""

from kraft.host.requests.lease import Lease


def test_a_lease_counts_from_the_beginning_of_its_round() -> None:
    lease = Lease(2.0)
    assert not lease.holds(1, 0.0)
    lease.grant(1, 10.0)

    assert lease.holds(1, 11.9)
    assert not lease.holds(1, 12.0)


def test_a_lease_holds_in_its_own_term_only() -> None:
    lease = Lease(2.0)
    lease.grant(1, 10.0)

    assert not lease.holds(2, 10.5)


def test_a_dropped_lease_is_not_granted_again_before_the_next_term() -> None:
    lease = Lease(2.0)
    lease.grant(3, 10.0)
    lease.drop(3)
    assert not lease.holds(3, 10.5)
    lease.grant(3, 11.0)
    assert not lease.holds(3, 11.5)
    lease.grant(4, 12.0)

    assert lease.holds(4, 12.5)


def test_with_leases_off_none_is_granted() -> None:
    lease = Lease(0.0)
    lease.grant(1, 10.0)

    assert not lease.holds(1, 10.0)
