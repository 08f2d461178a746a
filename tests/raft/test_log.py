"""The log in memory, against a plain list."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from kraft.raft.errors import InvariantViolation
from kraft.raft.log.log import ENTRY_OVERHEAD_BYTES, Log
from kraft.raft.membership.configuration import Configuration, Member
from kraft.raft.messages import Entry, EntryKind, HardState
from kraft.raft.ports import Restored


def entry(index, term, data=b"", stamp=0, kind=EntryKind.COMMANDS):
    return Entry(index, term, stamp, kind, data)


def empty():
    return Log(Restored(HardState(), 0, 0, (), (), (), 0))


def log_of(*terms, stamps=None):
    log = empty()
    for i, term in enumerate(terms):
        log.append(entry(i + 1, term, b"%d" % i, stamps[i] if stamps else 0))
    return log


class PlainLog:
    """The dumb twin: everything recomputed from one list."""

    def __init__(self):
        self.all = []

    def merge(self, prev_index, entries):
        for e in entries:
            if e.index <= len(self.all) and self.all[e.index - 1].term == e.term:
                continue
            del self.all[e.index - 1 :]
            self.all.append(e)
        assert prev_index <= len(self.all)


@st.composite
def histories(draw):
    """Steps of a follower: leaders of rising terms send pieces of their logs; writes begin and finish."""
    return draw(
        st.lists(
            st.tuples(
                st.sampled_from(["new", "old", "write", "finish", "apply", "compact"]),
                st.integers(0, 30),
                st.integers(0, 6),
                st.integers(0, 50),
            ),
            max_size=40,
        )
    )


@given(histories())
def test_a_log_that_is_merged_truncated_written_trimmed_and_cut_equals_the_plain_one(history):
    log, plain, term, applied, finished, begun, moved = empty(), PlainLog(), 1, 0, 0, 0, False
    for what, position, count, size in history:
        if what == "write" and log.unwritten:
            begun, truncate_from, entries, base = log.begin_write()
            assert base == (log.base if moved else None)
            moved = False
            assert all(e == plain.all[e.index - 1] for e in entries)
            assert truncate_from is None or not entries or entries[0].index == truncate_from
        elif what == "finish" and finished < begun:
            finished += 1
            log.durability.finish(finished)
        elif what == "apply":
            applied = max(applied, min(position, log.durability.durable))
            log.trim(applied, 300)
        elif what == "compact" and log.base.index < position <= applied:
            log.compact(log.base_at(position))
            moved = True
        elif what == "old" and plain.all:  # a repeated message
            prev = min(max(position, applied), len(plain.all))
            log.merge(prev, plain.all[prev : prev + count], applied)
        elif what == "new":
            term += 1
            prev = min(max(position, applied), len(plain.all))
            entries = [entry(prev + 1 + i, term, b"d" * size, term) for i in range(count)]
            log.merge(prev, entries, applied)
            plain.merge(prev, entries)
        assert log.last_index == len(plain.all)
        first, terms = log.base.index, [0, *(e.term for e in plain.all)]
        assert [log.term(i) for i in range(first, len(terms))] == terms[first:]
        assert list(log.entries(log.tail_first, log.last_index)) == plain.all[log.tail_first - 1 :]
        assert log.tail_first > first
        assert log.last_stamp == (plain.all[-1].stamp if plain.all else 0)
        assert log.durability.durable <= log.durability.handed <= log.last_index
        rewritten = log.durability.truncate_from is not None or moved
        assert log.unwritten == (log.durability.handed < log.last_index or rewritten)
        unapplied = [len(e.data) + ENTRY_OVERHEAD_BYTES for e in plain.all[applied:]]
        assert log.bytes_after(applied) == sum(unapplied)


def test_entries_held_already_are_kept_with_everything_after_them():
    log = log_of(1, 1, 2, 2)
    log.merge(1, [entry(2, 1), entry(3, 2)], 0)
    assert log.last_index == 4
    assert log.term(4) == 2


def test_a_conflict_removes_the_entry_and_all_after_it():
    log = log_of(1, 1, 2, 2)
    log.merge(1, [entry(2, 1), entry(3, 3)], 0)
    assert [log.term(i) for i in (1, 2, 3)] == [1, 1, 3]
    assert log.last_index == 3
    assert log.last_term == 3


def test_a_committed_entry_is_never_replaced():
    log = log_of(1, 1, 1)
    with pytest.raises(InvariantViolation):
        log.merge(1, [entry(2, 2)], 2)


def test_up_to_date_compares_the_last_term_first_and_then_the_length():
    log = log_of(1, 3, 3)
    assert log.up_to_date(3, 3)
    assert log.up_to_date(1, 4)
    assert not log.up_to_date(9, 2)
    assert not log.up_to_date(2, 3)


def test_a_message_takes_as_many_entries_as_fit_but_at_least_one():
    log = log_of(1, 1, 1, 1)
    one = 1 + ENTRY_OVERHEAD_BYTES
    assert [e.index for e in log.entries_within(2, 2 * one)[0]] == [2, 3]
    assert log.entries_within(2, 2 * one)[1] == 2 * one
    assert [e.index for e in log.entries_within(2, 1)[0]] == [2]
    assert len(log.entries_within(1, 1 << 20)[0]) == 4


def test_trimming_keeps_applied_entries_within_the_bound_and_unapplied_ones_always():
    log = log_of(*[1] * 100)
    one = ENTRY_OVERHEAD_BYTES + 2
    log.trim(50, 80 * one)
    assert log.tail_first == 1
    log.trim(50, 10 * one)
    kept = 50 - log.tail_first + 1
    assert 0 < kept <= 10
    log.trim(100, 0)
    assert log.tail_first == 101
    assert log.last_stamp == 0
    assert log.tail_bytes == 0
    log.append(entry(101, 1))
    assert log.bytes_after(100) == ENTRY_OVERHEAD_BYTES


def test_the_configuration_is_the_last_one_in_the_log_and_goes_with_its_entry():
    one = Configuration.of_voters((Member("a", "0", "a:1"),))
    two = Configuration.of_voters((Member("a", "0", "a:1"), Member("b", "1", "b:1")))
    log = empty()
    assert log.configurations.current.voters == ()
    log.append(entry(1, 1, one.encode(), kind=EntryKind.CONFIGURATION))
    log.append(entry(2, 1, two.encode(), kind=EntryKind.CONFIGURATION))
    assert log.configurations.current == two
    log.merge(1, [entry(2, 2)], 1)
    assert log.configurations.current == one


def test_a_restored_tail_that_does_not_reach_the_commit_is_refused():
    with pytest.raises(InvariantViolation):
        Log(Restored(HardState(1), 3, 1, ((1, 1),), (entry(3, 1),), (), 0))
    with pytest.raises(InvariantViolation):
        Log(Restored(HardState(1), 3, 1, ((1, 1),), (entry(2, 1),), (), 0))


def test_gaps_falling_terms_and_questions_outside_the_log_are_refused():
    log = log_of(2)
    for wrong in (entry(3, 2), entry(2, 1)):
        with pytest.raises(InvariantViolation):
            log.append(wrong)
    with pytest.raises(InvariantViolation):
        log.term(2)
