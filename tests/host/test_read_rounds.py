"""Reads share a round, wait for its index, and a round that came to nothing has no effect."""

import pytest

from kraft.host.requests.read_rounds import ReadRounds
from kraft.host.requests.round import Reader, View
from kraft.kv.keyspace import Keyspace
from kraft.kv.machine import Machine
from kraft.node.errors import NoLeader

MACHINE = Machine.restored(Keyspace(), 0, 7, 1)


@pytest.fixture
def answers():
    return []


def read_rounds(group=0, first_ctx=100, not_taken=pytest.fail):
    return ReadRounds(group, first_ctx, round_timeout=1.0, leader_wait=2.0, not_taken=not_taken)


def local(answers):
    """A read of a client that began at 0.0."""
    return Reader(2.0, answers.append)


def served(rounds, applied, stamp=0):
    MACHINE.stamp = stamp
    return len(rounds.answer(applied, MACHINE))


def test_all_that_wait_share_a_round_and_later_ones_wait_for_the_next(answers):
    rounds = read_rounds()
    rounds.add(local(answers))
    rounds.add(local(answers))
    ctx = rounds.begin(5, 0.0)
    rounds.add(local(answers))
    assert not rounds.wanted

    rounds.confirm(ctx, 3)
    assert served(rounds, 3) == 1
    assert len(answers) == 2
    assert rounds.wanted


def test_a_confirmed_read_waits_until_its_index_is_applied(answers):
    rounds = read_rounds()
    rounds.add(local(answers))
    rounds.confirm(rounds.begin(5, 0.0), 3)
    assert served(rounds, 2) == 0
    assert answers == []
    assert served(rounds, 3, stamp=4) == 1
    assert answers == [View(MACHINE.keyspace, 5, 7)]


def test_the_answer_to_a_round_that_was_given_up_confirms_nothing(answers):
    """Readers of the next round began after the late confirmation."""
    rounds = read_rounds()
    rounds.add(local(answers))
    first = rounds.begin(0, 0.0, "K2")
    rounds.fail(first)
    rounds.add(local(answers))
    second = rounds.begin(0, 1.0, "K2")
    assert second != first

    rounds.confirm(first, 3)
    assert served(rounds, 9) == 0
    rounds.confirm(second, 4)
    assert served(rounds, 9) == 1
    assert len(answers) == 2


def test_the_question_of_another_node_is_answered_with_index_and_stamp_at_once(answers):
    """The other node waits until it has applied the index."""
    rounds = read_rounds()
    rounds.add(Reader(2.0, None, ("K2", 7)))
    rounds.add(local(answers))
    assert rounds.confirm(rounds.begin(50, 0.0), 3) == [("K2", 7, 3, 50)]
    assert answers == []


def test_the_stamp_of_the_leader_is_that_of_the_view_unless_more_was_applied(answers):
    rounds = read_rounds()
    for index, stamp in ((1, 60), (2, 60)):
        rounds.add(local(answers))
        rounds.confirm(rounds.begin(0, 0.0, "K1"), index, stamp)
    served(rounds, 1, stamp=40)
    served(rounds, 2, stamp=70)
    assert [view.now_ms for view in answers] == [60, 70]


def test_questions_of_others_are_taken_out_when_this_replica_does_not_lead(answers):
    rounds = read_rounds()
    rounds.add(Reader(2.0, None, ("K2", 7)))
    rounds.add(local(answers))
    assert rounds.take_remote() == [("K2", 7)]
    assert rounds.take_remote() == []
    assert rounds.wanted


@pytest.mark.parametrize(("asked", "again"), [("K2", False), ("K1", True)])
def test_a_lost_link_fails_only_the_round_asked_there(answers, asked, again):
    rounds = read_rounds()
    rounds.add(local(answers))
    rounds.begin(0, 0.0, asked)
    rounds.fail_asked("K1")
    assert rounds.wanted is again


@pytest.mark.parametrize(
    ("asked", "leader", "again"), [("K1", "K1", False), ("K1", "K2", True), ("", "K2", False)]
)
def test_a_round_asked_of_a_former_leader_fails(answers, asked, leader, again):
    """It may hang without losing its link. A round of this node's own ends with its leadership instead."""
    rounds = read_rounds()
    rounds.add(local(answers))
    rounds.begin(0, 0.0, asked)
    rounds.fail_asked_before(leader)
    assert rounds.wanted is again


def test_a_round_without_an_answer_is_repeated_and_in_the_end_refused(answers):
    rounds = read_rounds(3, 100)
    rounds.add(local(answers))
    rounds.begin(0, 0.0, "K2")
    assert rounds.expire(0.9) == 0
    assert not rounds.wanted
    assert rounds.expire(1.0) == 0
    assert rounds.wanted
    assert rounds.expire(2.0) == 1
    assert [type(a) for a in answers] == [NoLeader]
    assert not rounds.wanted


def test_a_confirmed_read_whose_index_is_never_applied_is_refused(answers):
    rounds = read_rounds()
    rounds.add(local(answers))
    rounds.confirm(rounds.begin(0, 0.0), 9)
    assert rounds.expire(1.9) == 0
    assert rounds.expire(2.0) == 1
    assert served(rounds, 9) == 0
    assert [type(a) for a in answers] == [NoLeader]


def test_when_the_group_stops_every_reader_is_refused(answers):
    rounds = read_rounds()
    rounds.add(local(answers))
    rounds.confirm(rounds.begin(0, 0.0), 9)
    rounds.add(local(answers))
    rounds.begin(0, 0.0)
    rounds.add(local(answers))
    rounds.abandon()
    assert [type(a) for a in answers] == [NoLeader] * 3


@pytest.mark.parametrize(("due", "now"), [(0, 70), (71, 70), (70, 69), (55, 54)])
def test_a_view_is_of_a_time_at_which_all_its_keys_live(answers, due, now):
    """A key whose write was not applied when the round began may be due already (found by simulation)."""
    rounds = read_rounds(0, 0)
    rounds.add(local(answers))
    ctx = rounds.begin(70, 0.0)
    rounds.confirm(ctx, 5)
    keyspace = Keyspace()
    keyspace.put(b"k", b"v", 1, due)
    rounds.answer(5, Machine.restored(keyspace, 50, 7, 1))
    assert [(view.now_ms, view.revision) for view in answers] == [(now, 7)]


@pytest.mark.parametrize("served_there", [True, False])
def test_a_mistake_of_a_reader_costs_the_others_of_the_round_nothing(answers, served_there):
    def wrong(_):
        raise RuntimeError("planted")

    raised: list[Exception] = []
    rounds = read_rounds(not_taken=raised.append)
    for done in (answers.append, wrong, answers.append):
        rounds.add(Reader(2.0, done))
    rounds.confirm(rounds.begin(5, 0.0), 3)
    if served_there:
        assert served(rounds, 3) == 1
    else:
        rounds.refuse_confirmed()
    assert len(answers) == 2
    assert [str(each) for each in raised] == ["planted"]
