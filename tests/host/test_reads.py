"""Reads share a round, wait for its index, and a round that came to nothing has no effect."""

import pytest

from kraft.host.requests.read_rounds import Reader, Reads, View
from kraft.kv.keyspace import Keyspace
from kraft.node.errors import NoLeader

KEYSPACE = Keyspace()


@pytest.fixture
def answers():
    return []


def local(answers, created=0.0):
    return Reader(created, answers.append)


def served(reads, applied, stamp=0):
    return len(reads.answer(applied, KEYSPACE, stamp))


def test_all_that_wait_share_a_round_and_later_ones_wait_for_the_next(answers):
    reads = Reads(0, 100)
    reads.add(local(answers))
    reads.add(local(answers))
    ctx = reads.begin(5, 0.0)
    reads.add(local(answers))
    assert not reads.wanted

    reads.confirm(ctx, 3)
    assert served(reads, 3) == 1
    assert len(answers) == 2
    assert reads.wanted


def test_a_confirmed_read_waits_until_its_index_is_applied(answers):
    reads = Reads(0, 100)
    reads.add(local(answers))
    reads.confirm(reads.begin(5, 0.0), 3)
    assert served(reads, 2) == 0
    assert answers == []
    assert served(reads, 3, stamp=4) == 1
    assert answers == [View(KEYSPACE, 5)]


def test_the_answer_to_a_round_that_was_given_up_confirms_nothing(answers):
    """Readers of the next round began after the proof that comes late."""
    reads = Reads(0, 100)
    reads.add(local(answers))
    first = reads.begin(0, 0.0, "K2")
    reads.fail(first)
    reads.add(local(answers))
    second = reads.begin(0, 1.0, "K2")
    assert second != first

    reads.confirm(first, 3)
    assert served(reads, 9) == 0
    reads.confirm(second, 4)
    assert served(reads, 9) == 1
    assert len(answers) == 2


def test_the_question_of_another_node_is_answered_with_index_and_stamp_at_once(answers):
    """It is for that node to wait until it has applied the index."""
    reads = Reads(0, 100)
    reads.add(Reader(0.0, None, ("K2", 7)))
    reads.add(local(answers))
    assert reads.confirm(reads.begin(50, 0.0), 3) == [("K2", 7, 3, 50)]
    assert answers == []


def test_the_stamp_of_the_leader_is_that_of_the_view_unless_more_was_applied(answers):
    reads = Reads(0, 100)
    for index, stamp in ((1, 60), (2, 60)):
        reads.add(local(answers))
        reads.confirm(reads.begin(0, 0.0, "K1"), index, stamp)
    served(reads, 1, stamp=40)
    served(reads, 2, stamp=70)
    assert [view.now_ms for view in answers] == [60, 70]


def test_questions_of_others_are_handed_back_when_this_replica_does_not_lead(answers):
    reads = Reads(0, 100)
    reads.add(Reader(0.0, None, ("K2", 7)))
    reads.add(local(answers))
    assert reads.take_remote() == [("K2", 7)]
    assert reads.take_remote() == []
    assert reads.wanted


@pytest.mark.parametrize(("asked", "again"), [("K2", False), ("K1", True)])
def test_a_lost_link_fails_only_what_was_asked_there(answers, asked, again):
    reads = Reads(0, 100)
    reads.add(local(answers))
    reads.begin(0, 0.0, asked)
    reads.fail_asked("K1")
    assert reads.wanted is again


@pytest.mark.parametrize(
    ("asked", "leader", "again"), [("K1", "K1", False), ("K1", "K2", True), ("", "K2", False)]
)
def test_a_leader_that_is_none_any_more_is_not_waited_for(answers, asked, leader, again):
    """It may hang without its link breaking; a round of our own ends with our leadership instead."""
    reads = Reads(0, 100)
    reads.add(local(answers))
    reads.begin(0, 0.0, asked)
    reads.fail_asked_before(leader)
    assert reads.wanted is again


def test_a_round_nobody_answers_is_repeated_and_in_the_end_refused(answers):
    reads = Reads(3, 100)
    reads.add(local(answers))
    reads.begin(0, 0.0, "K2")
    assert reads.expire(0.9, 1.0, 2.0) == 0
    assert not reads.wanted
    assert reads.expire(1.0, 1.0, 2.0) == 0
    assert reads.wanted
    assert reads.expire(2.0, 1.0, 2.0) == 1
    assert [type(a) for a in answers] == [NoLeader]
    assert not reads.wanted


def test_what_was_confirmed_but_is_never_applied_is_refused(answers):
    reads = Reads(0, 100)
    reads.add(local(answers))
    reads.confirm(reads.begin(0, 0.0), 9)
    assert reads.expire(1.9, 1.0, 2.0) == 0
    assert reads.expire(2.0, 1.0, 2.0) == 1
    assert served(reads, 9) == 0
    assert [type(a) for a in answers] == [NoLeader]


def test_when_the_group_stops_every_reader_is_told(answers):
    reads = Reads(0, 100)
    reads.add(local(answers))
    reads.confirm(reads.begin(0, 0.0), 9)
    reads.add(local(answers))
    reads.begin(0, 0.0)
    reads.add(local(answers))
    reads.abandon()
    assert [type(a) for a in answers] == [NoLeader] * 3


@pytest.mark.parametrize(("due", "now"), [(0, 70), (71, 70), (70, 69), (55, 54)])
def test_a_view_is_of_a_time_at_which_all_its_keys_live(answers, due, now):
    """A key whose write was not applied when the round began may be due already (found by simulation)."""
    reads = Reads(0, 0)
    reads.add(local(answers))
    ctx = reads.begin(70, 0.0)
    reads.confirm(ctx, 5)
    keyspace = Keyspace()
    keyspace.put(b"k", b"v", 1, due)
    reads.answer(5, keyspace, 50)
    assert [view.now_ms for view in answers] == [now]
