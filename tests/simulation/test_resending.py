"""The check that leaders send no entry twice without a reason."""

from types import SimpleNamespace
from typing import Any

import pytest

from kraft.raft.messages import Append, AppendReply, Entry, EntryKind
from kraft.raft.progress import FollowerStatus
from tests.simulation.resending import Resending
from tests.simulation.violation import Violation


def entries(first, last):
    return Append(
        2, first - 1, 1, 0, tuple(Entry(i, 2, 0, EntryKind.NOOP, b"") for i in range(first, last + 1))
    )


def leader(next_index, state="replicate"):
    raft = SimpleNamespace(progress=lambda: [FollowerStatus("K2", 0, next_index, state, 1, 0)])
    process: Any = SimpleNamespace(id="K1", host=SimpleNamespace(groups={0: SimpleNamespace(raft=raft)}))
    return process


def test_entries_that_are_sent_twice_are_found():
    resending, process = Resending(), leader(next_index=5)
    resending.sent(process, "K2", 0, entries(3, 4))
    with pytest.raises(Violation, match="K1 sends entry 4 to K2 again"):
        resending.sent(process, "K2", 0, entries(4, 4))


def test_after_a_refusal_they_may_be():
    resending, process = Resending(), leader(next_index=5)
    resending.sent(process, "K2", 0, entries(3, 4))
    resending.received(process, "K2", [(0, AppendReply(2, 2, rejected=True))])
    resending.sent(process, "K2", 0, entries(3, 4))


def test_entries_that_the_leader_made_before_a_refusal_and_sends_after_it_do_not_count():
    """The follower refused index 2 and accepted index 2 at once, before the turn of the host."""
    resending = Resending()
    resending.sent(leader(next_index=3), "K2", 0, entries(5, 6))
    resending.sent(leader(next_index=5), "K2", 0, entries(3, 4))
