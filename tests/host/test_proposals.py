"""A write is done, certainly not done, or unknown, and none of these is reported as another."""

import pytest

from kraft.host.backpressure import Backpressure
from kraft.host.requests.proposal import Batch, Proposal
from kraft.host.requests.proposals import Proposals, settle_each
from kraft.kv.commands import Put
from kraft.node.errors import Busy, NoLeader, Uncertain


@pytest.fixture
def answers():
    return []


def proposal(answers, *, size=10, created=0.0, deadline=5.0, remote=False):
    return Proposal(deadline, answers.append, [Put(b"k", b"v")], size, created, remote)


def logged(proposals, index, term, waiting):
    for one in waiting:
        proposals.add(one)
    proposals.log(Batch(index, term, proposals.take(1 << 20), [], 0.0))


def test_a_batch_takes_what_fits_and_at_least_one(answers):
    proposals = Proposals(Backpressure(100))
    for size in (100, 30, 30, 50):
        proposals.add(proposal(answers, size=size))
    assert [len(proposals.take(60)) for _ in range(4)] == [1, 2, 1, 0]


def test_the_entry_of_the_same_index_and_term_is_ours(answers):
    proposals = Proposals(Backpressure(100))
    logged(proposals, 7, 3, [proposal(answers)])
    assert proposals.applied(6, 3) is None
    batch = proposals.applied(7, 3)
    assert batch is not None
    assert len(batch.proposals) == 1


def test_another_entry_at_its_index_means_that_it_may_be_proposed_again(answers):
    proposals = Proposals(Backpressure(100))
    logged(proposals, 7, 3, [proposal(answers)])
    assert proposals.applied(7, 4) is None
    assert len(proposals.waiting) == 1
    assert answers == []


def test_a_new_batch_at_an_older_ones_index_does_not_free_the_older_one(answers):
    """A follower may still hold the older one and commit it as the next leader (found by simulation)."""
    proposals = Proposals(Backpressure(100))
    logged(proposals, 7, 3, [proposal(answers)])
    logged(proposals, 8, 3, [proposal(answers)])
    logged(proposals, 7, 5, [proposal(answers)])
    assert len(proposals.waiting) == 0
    batch = proposals.applied(7, 3)
    assert batch is not None
    assert (batch.index, batch.term) == (7, 3)
    assert len(proposals.waiting) == 1  # that of term 5, which lost
    assert proposals.applied(8, 6) is None
    assert len(proposals.waiting) == 2


def test_at_the_deadline_a_waiting_write_is_refused_and_a_logged_one_uncertain(answers):
    proposals = Proposals(Backpressure(100))
    logged(proposals, 7, 3, [proposal(answers, deadline=2.0)])
    proposals.add(proposal(answers, deadline=2.0))
    assert proposals.expire(1.9) == (0, 0)
    assert proposals.expire(2.0) == (1, 1)
    assert [type(a) for a in answers] == [Busy, Uncertain]


def test_a_write_that_was_given_up_is_not_proposed_again_and_not_answered_twice(answers):
    proposals = Proposals(Backpressure(100))
    logged(proposals, 7, 3, [proposal(answers, deadline=2.0)])
    proposals.expire(2.0)
    proposals.applied(7, 4)
    assert len(proposals.waiting) == 0
    assert len(answers) == 1


def test_only_old_enough_waiting_writes_are_refused_for_want_of_a_leader(answers):
    proposals = Proposals(Backpressure(100))
    proposals.add(proposal(answers, created=0.0))
    proposals.add(proposal(answers, created=1.5))
    assert proposals.refuse_older(1.0, NoLeader(0)) == 1
    assert len(proposals.waiting) == 1


def test_writes_of_other_nodes_are_taken_separately(answers):
    proposals = Proposals(Backpressure(100))
    mine, other = proposal(answers), proposal(answers, remote=True)
    proposals.add(mine)
    proposals.add(other)
    assert proposals.take_remote() == [other]
    assert proposals.take(100) == [mine]


def test_when_the_group_stops_every_write_gets_the_right_answer(answers):
    proposals = Proposals(Backpressure(100))
    logged(proposals, 7, 3, [proposal(answers)])
    proposals.add(proposal(answers))
    proposals.abandon()
    assert sorted(type(a).__name__ for a in answers) == ["Stopping", "Uncertain"]


def test_an_undecided_batch_of_an_earlier_term_does_not_hold_back_a_later_one(answers):
    """Its index may lie beyond the log of today, where only further entries decide about it."""
    proposals = Proposals(Backpressure(100))
    logged(proposals, 9, 3, [proposal(answers)])
    assert (proposals.in_flight(3), proposals.in_flight(5)) == (1, 0)
    logged(proposals, 7, 5, [proposal(answers)])
    assert proposals.in_flight(5) == 1
    assert proposals.applied(7, 5) is not None
    assert proposals.in_flight(5) == 0
    assert proposals.applied(9, 5) is None
    assert len(proposals.waiting) == 1


def test_a_requeued_write_keeps_its_deadline(answers):
    proposals = Proposals(Backpressure(100))
    proposals.add(proposal(answers, deadline=2.0))
    sent = proposals.take(100)
    proposals.expire(2.0)
    proposals.requeue([proposal(answers, deadline=3.0), *sent])
    assert proposals.expire(2.5) == (1, 0)
    assert proposals.expire(3.0) == (1, 0)


def test_the_bytes_that_wait_are_counted_through_every_change(answers):
    proposals = Proposals(Backpressure(100))

    def counted():
        assert proposals.waiting_bytes == sum(each.size for each in proposals.waiting)
        return proposals.waiting_bytes

    for size, remote in ((100, False), (30, True), (50, False), (70, False)):
        proposals.add(
            proposal(answers, size=size, remote=remote, created=size / 100, deadline=5 + size / 100)
        )
    assert counted() == 250
    taken = proposals.take(100)
    assert counted() == 150
    proposals.requeue(taken)
    assert counted() == 250
    proposals.take_remote()
    assert counted() == 220
    assert proposals.expire(5.6) == (1, 0)
    assert counted() == 170
    assert proposals.refuse_older(0.9, Busy()) == 0
    assert proposals.refuse_older(1.0, Busy()) == 2
    assert counted() == 0
    proposals.add(proposal(answers, size=40))
    proposals.abandon()
    assert counted() == 0


def test_whether_many_commands_wait_is_found_without_counting_all_of_them(answers):
    proposals = Proposals(Backpressure(100))
    for commands in (1, 3, 0):  # the last one was left without commands
        one = proposal(answers)
        one.commands = [Put(b"k", b"v")] * commands
        proposals.add(one)
    assert proposals.has_waiting(4)
    assert not proposals.has_waiting(5)
    for one in proposals.waiting:
        one.commands = ()  # nobody looks: there are three proposals
    assert proposals.has_waiting(3)


def test_a_mistake_in_an_answer_costs_the_others_of_the_batch_nothing(answers):
    raised: list[Exception] = []
    batch = [proposal(answers) for _ in range(3)]

    def wrong(_):
        raise RuntimeError("planted")

    batch[1].done = wrong
    settle_each(batch, ["a", "b", "c"], raised.append)
    assert answers == [["a"], ["c"]]
    assert [str(each) for each in raised] == ["planted"]
