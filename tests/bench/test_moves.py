"""Which slots the benchmark of moves lets move, and how it reads the histogram of freezes."""

from bench.grouped import SLOTS
from bench.moves import bound_of, parts


def test_half_of_the_slots_go_to_the_next_group_in_batches() -> None:
    for batches in (1, 4, 32):
        found = list(parts(batches))
        assert len(found) == 3 * batches
        slots = [slot for first, last, _ in found for slot in range(first, last + 1)]
        assert len(slots) == len(set(slots))
        assert abs(len(slots) - SLOTS // 2) <= 3
        assert {group for _, _, group in found} == {0, 1, 2}
    assert next(parts(1)) == (0, 2730, 1)


def test_the_bound_of_a_share_of_all_freezes() -> None:
    counts = {0.008: 5, 0.016: 98, 0.032: 99, 0.064: 100, float("inf"): 100}
    assert (bound_of(counts, 0.5), bound_of(counts, 0.99), bound_of(counts, 1.0)) == (16.0, 32.0, 64.0)
    assert bound_of({}, 1.0) == 0.0
