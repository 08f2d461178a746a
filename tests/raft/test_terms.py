"""Runs of terms, against the list of all terms."""

from hypothesis import given
from hypothesis import strategies as st

from kraft.raft.log.terms import TermRuns


@given(st.lists(st.integers(1, 4), max_size=12).map(sorted), st.integers(0, 14), st.integers(0, 5))
def test_term_runs_answer_like_the_list_of_terms(terms, index, term):
    runs = TermRuns((i + 1, t) for i, t in enumerate(terms))
    if index <= len(terms):
        assert runs.term(index) == [0, *terms][index]
    below = [i + 1 for i, t in enumerate(terms) if i + 1 <= index and t <= term]
    assert min(runs.last_at_most(index, term), len(terms)) == max(below, default=0)


@given(st.lists(st.integers(1, 4), max_size=12).map(sorted), st.integers(1, 13))
def test_term_runs_forget_what_is_truncated(terms, index):
    runs = TermRuns((i + 1, t) for i, t in enumerate(terms))
    runs.truncate(index)
    assert runs.runs() == TermRuns((i + 1, t) for i, t in enumerate(terms[: index - 1])).runs()


@given(st.lists(st.integers(1, 4), min_size=1, max_size=12).map(sorted), st.data())
def test_term_runs_know_the_terms_from_where_they_were_cut(terms, data):
    runs = TermRuns((i + 1, t) for i, t in enumerate(terms))
    index = data.draw(st.integers(1, len(terms)))
    runs.compact(index)
    assert [runs.term(i) for i in range(index, len(terms) + 1)] == terms[index - 1 :]
    assert runs.term(index - 1) == 0
    for term in range(6):
        known = [i for i in range(index, len(terms) + 1) if terms[i - 1] <= term]
        assert runs.last_at_most(len(terms), term) == max(known, default=0)
