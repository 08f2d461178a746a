"""LCS against the table of lengths, computed cell by cell, and its limits."""

import time
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from kraft.host.requests.round import View
from kraft.kv.keyspace import Keyspace
from kraft.server.commands.lcs import BYTES_MAX, CELLS_MAX, lcs
from kraft.server.errors import Rejected

TEXTS = st.text("abcd", max_size=30).map(str.encode)


def view(one, other):
    keyspace = Keyspace()
    keyspace.put(b"a", one, 1)
    keyspace.put(b"b", other, 2)
    return View(keyspace, 0)


def plain(one, other):
    """The lengths, and the solution that Redis takes."""
    table = [[0] * (len(other) + 1) for _ in range(len(one) + 1)]
    for i, x in enumerate(one, 1):
        for j, y in enumerate(other, 1):
            table[i][j] = table[i - 1][j - 1] + 1 if x == y else max(table[i - 1][j], table[i][j - 1])
    i, j = len(one), len(other)
    found: list[tuple[int, int]] = []
    while i and j:
        if one[i - 1] == other[j - 1]:
            found.append((i - 1, j - 1))
            i, j = i - 1, j - 1
        elif table[i - 1][j] > table[i][j - 1]:
            i -= 1
        else:
            j -= 1
    return table[-1][-1], found


@given(TEXTS, TEXTS, st.integers(-1, 4))
def test_it_is_the_solution_of_the_plain_table(one, other, least):
    length, places = plain(one, other)
    asked = view(one, other)
    assert lcs(asked, [b"LCS", b"a", b"b", b"LEN"]) == length
    assert lcs(asked, [b"LCS", b"a", b"b"]) == bytes(one[i] for i, _ in reversed(places))
    words = [b"LCS", b"a", b"b", b"IDX", b"WITHMATCHLEN", b"MINMATCHLEN", b"%d" % least]
    reply: Any = lcs(asked, words)
    assert reply[b"len"] == length
    runs: list[Any] = []
    for i, j in places:
        if runs and runs[-1][0][0] == i + 1 and runs[-1][1][0] == j + 1:
            runs[-1][0][0], runs[-1][1][0] = i, j
            runs[-1][2] += 1
        else:
            runs.append([[i, i], [j, j], 1])
    assert reply[b"matches"] == [run for run in runs if run[2] >= least]


@pytest.mark.parametrize(
    ("one", "other"), [(BYTES_MAX + 1, 1), (1, BYTES_MAX + 1), (BYTES_MAX, CELLS_MAX // BYTES_MAX + 1)]
)
def test_values_that_would_take_long_are_refused(one, other):
    with pytest.raises(Rejected, match="it would hold up other clients"):
        lcs(view(b"x" * one, b"y" * other), [b"LCS", b"a", b"b", b"LEN"])


def test_the_longest_values_take_a_few_milliseconds():
    """The best of some attempts: other processes may have the core."""
    short = CELLS_MAX // BYTES_MAX
    pairs = [(bytes(range(256)) * 32, b"ab" * (short // 2)), (b"ab" * (short // 2), bytes(range(256)) * 32)]
    for one, other in pairs:
        took = []
        for _ in range(5):
            began = time.process_time()
            lcs(view(one, other), [b"LCS", b"a", b"b", b"IDX"])
            took.append(time.process_time() - began)
        assert min(took) < 0.02, "5 ms on a machine of its own"
