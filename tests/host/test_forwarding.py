"""A forwarded write is done, returned as not proposed, or uncertain; only a returned one is sent again."""

from typing import Any

import msgspec
import pytest

from kraft.host.requests.forwarding import Forwarding
from kraft.host.requests.proposal import Proposal
from kraft.kv import commands as kv
from kraft.kv.replies import encode_replies
from kraft.node.errors import Uncertain
from kraft.peerwire.messages import DONE, NOT_PROPOSED, UNCERTAIN, ForwardReply


def fail(error):
    raise error


@pytest.fixture
def answers():
    return []


class Ends:
    """The observer, which hears how forwarded proposals end."""

    def __init__(self):
        self.seen = []

    def forwarded(self, outcome, count):
        self.seen.append((outcome, count))


def forwarding_to(observer: Any) -> Forwarding:
    return Forwarding(100, observer, fail)


def proposal(answers, *keys, deadline=5.0):
    return Proposal(deadline, answers.append, [kv.Put(key, b"v") for key in keys], 10, 0.0)


def test_the_proposals_of_a_turn_share_a_message_and_its_answer_is_divided(answers):
    forwarding = forwarding_to(Ends())
    message = forwarding.request("K1", [proposal(answers, b"a", b"b"), proposal(answers, b"c")], 1.0)
    assert kv.decode(message.commands) == [kv.Put(key, b"v") for key in (b"a", b"b", b"c")]
    assert message.timeout_ms == 4000

    reply = ForwardReply(message.request, DONE, encode_replies(["OK", 1, None]))
    assert forwarding.answered("K1", reply) == []
    assert answers == [["OK", 1], [None]]
    assert forwarding.pending_at("K1") == 0


def test_the_longest_deadline_counts(answers):
    forwarding = forwarding_to(Ends())
    both = [proposal(answers, b"a", deadline=2.0), proposal(answers, b"b", deadline=4.0)]
    assert forwarding.request("K1", both, 1.0).timeout_ms == 3000


def test_not_proposed_returns_the_proposals(answers):
    forwarding = forwarding_to(Ends())
    mine = proposal(answers, b"a")
    message = forwarding.request("K1", [mine], 0.0)
    assert forwarding.answered("K1", ForwardReply(message.request, NOT_PROPOSED, b"")) == [mine]
    assert answers == []


def test_uncertain_stays_uncertain(answers):
    forwarding = forwarding_to(Ends())
    message = forwarding.request("K1", [proposal(answers, b"a")], 0.0)
    assert forwarding.answered("K1", ForwardReply(message.request, UNCERTAIN, b"")) == []
    assert [type(a) for a in answers] == [Uncertain]


def test_a_second_answer_and_one_of_another_node_change_nothing(answers):
    """A repeated "not proposed" must not return proposals that were proposed since."""
    forwarding = forwarding_to(Ends())
    message = forwarding.request("K1", [proposal(answers, b"a")], 0.0)
    refusal = ForwardReply(message.request, NOT_PROPOSED, b"")
    assert forwarding.answered("K2", refusal) == []
    assert len(forwarding.answered("K1", refusal)) == 1
    assert forwarding.answered("K1", refusal) == []


def test_a_lost_link_leaves_what_was_sent_there_uncertain(answers):
    """The leader may have logged it; an answer that arrives later is dropped."""
    forwarding = forwarding_to(Ends())
    first = forwarding.request("K1", [proposal(answers, b"a")], 0.0)
    forwarding.request("K2", [proposal(answers, b"b")], 0.0)
    assert forwarding.lost("K1") == 1
    assert [type(a) for a in answers] == [Uncertain]
    assert (forwarding.pending_at("K1"), forwarding.pending_at("K2")) == (0, 1)
    assert forwarding.answered("K1", ForwardReply(first.request, NOT_PROPOSED, b"")) == []


def test_proposals_that_the_link_did_not_take_come_back(answers):
    forwarding = forwarding_to(Ends())
    mine = proposal(answers, b"a")
    message = forwarding.request("K1", [mine], 0.0)
    assert forwarding.unsent(message.request) == [mine]
    assert forwarding.pending_at("K1") == 0


def test_each_proposal_is_given_up_at_its_own_deadline(answers):
    forwarding = forwarding_to(Ends())
    message = forwarding.request("K1", [proposal(answers, b"a", deadline=2.0), proposal(answers, b"b")], 0.0)
    assert forwarding.expire(1.9) == 0
    assert forwarding.expire(2.0) == 1
    assert forwarding.pending_at("K1") == 1
    assert forwarding.expire(5.0) == 1
    assert forwarding.pending_at("K1") == 0
    assert forwarding.answered("K1", ForwardReply(message.request, DONE, encode_replies(["OK", "OK"]))) == []
    assert [type(a) for a in answers] == [Uncertain, Uncertain]


def test_an_unreadable_answer_loses_no_proposal(answers):
    forwarding = forwarding_to(Ends())
    message = forwarding.request("K1", [proposal(answers, b"a")], 0.0)
    with pytest.raises(msgspec.DecodeError):
        forwarding.answered("K1", ForwardReply(message.request, DONE, b"\xc1"))
    assert forwarding.lost("K1") == 1
    assert [type(a) for a in answers] == [Uncertain]


def test_when_the_group_stops_forwarded_writes_are_uncertain(answers):
    forwarding = forwarding_to(Ends())
    forwarding.request("K1", [proposal(answers, b"a")], 0.0)
    forwarding.abandon()
    assert [type(a) for a in answers] == [Uncertain]


def test_the_observer_hears_how_forwarded_proposals_end(answers):
    ends = Ends()
    forwarding = forwarding_to(ends)
    first = forwarding.request("K1", [proposal(answers, b"a"), proposal(answers, b"b")], 0.0)
    second = forwarding.request("K1", [proposal(answers, b"c")], 0.0)
    forwarding.request("K1", [proposal(answers, b"d", deadline=1.0), proposal(answers, b"e")], 0.0)
    forwarding.answered("K1", ForwardReply(first.request, DONE, encode_replies(["OK", "OK"])))
    forwarding.answered("K1", ForwardReply(second.request, NOT_PROPOSED, b""))
    assert forwarding.expire(1.0) == 1
    assert forwarding.lost("K1") == 1
    assert ends.seen == [("done", 2), ("not_proposed", 1), ("uncertain", 1), ("uncertain", 1)]


def test_a_link_that_goes_down_before_a_message_is_sent_has_settled_it(answers):
    """What may wait at the leader is posted between turns, and sent at the end of the next one."""
    forwarding = forwarding_to(Ends())
    message = forwarding.request("K1", [proposal(answers, b"a")], 0.0, waits=True)
    assert forwarding.lost("K1") == 1
    assert forwarding.unsent(message.request) == []
    assert [type(a) for a in answers] == [Uncertain]
