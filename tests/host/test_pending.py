"""Callers that wait: one outcome each, at the latest at the deadline."""

from kraft.host.pending import Pending, overdue, settle_all


def test_only_the_first_outcome_reaches_the_caller():
    outcomes: list[str] = []
    one = Pending(1.0, outcomes.append)
    one.settle("first")
    one.settle("second")
    assert outcomes == ["first"]
    assert one.done is None


def test_a_deadline_passes_at_its_very_moment():
    waiting = [Pending(deadline, print) for deadline in (3.0, 1.0, 2.0)]
    late, left = overdue(waiting, 2.0)
    assert late == waiting[1:]
    assert left == waiting[:1]


def test_settled_callers_are_neither_late_nor_waiting():
    outcomes: list[str] = []
    late, waiting = Pending(1.0, outcomes.append), Pending(9.0, outcomes.append)
    settle_all([late, waiting], "stopped")
    assert outcomes == ["stopped", "stopped"]
    assert overdue([late, waiting], 2.0) == ([], [])
