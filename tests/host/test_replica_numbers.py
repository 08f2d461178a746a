"""Which replica a message is for: what carries numbers, what is taken, and what begins another replica."""

from typing import Any

import pytest
from msgspec.structs import replace

from kraft.host.replica_numbers import ReplicaNumbers, begins
from kraft.host.turns import Turns
from kraft.peerwire.messages import (
    Digest,
    Fence,
    Forward,
    ForwardReply,
    Numbered,
    ReadIndex,
    ReadIndexReply,
    SnapshotChunk,
    SnapshotRequest,
)
from kraft.raft.membership.configuration import Configuration, Member
from kraft.raft.membership.replica_number import UNNUMBERED, ReplicaNumber, any_replica, numbered
from kraft.raft.messages import Append, AppendReply, Heartbeat, HeartbeatReply
from kraft.raft.ready import Outgoing
from tests.host.fakes import Clock

SECOND, THIRD = ReplicaNumber(2, 7), ReplicaNumber(3, 11)
ASK, ANSWER = Heartbeat(1, 0, 0), HeartbeatReply(1, 0, 0)
OF_NODES = [Forward(1, 1, b""), ForwardReply(1, 1, b""), ReadIndex(1), ReadIndexReply(1, 1, 1)]


class State:
    """What the numbers look at of a replica's state."""

    id, incarnation = "K9", "k9" * 16

    def __init__(self, **numbers):
        self.configuration = configuration(**numbers)
        self.leads, self.term, self.committed_term, self.configuration_index, self.commit = False, 1, 1, 1, 1

    def term_at(self, index):
        assert index == self.commit
        return self.committed_term


def configuration(**numbers):
    members = (Member(id_, numbered(id_.lower() * 16, number), id_) for id_, number in numbers.items())
    return Configuration.of_voters(tuple(members))


def numbers_of(own=UNNUMBERED, **members):
    state: Any = State(**members)
    numbers = ReplicaNumbers(state, own)
    numbers.reconfigured(numbers.state.configuration)
    return numbers


@pytest.mark.parametrize("before", [UNNUMBERED, SECOND])
def test_answers_of_the_replica_before_do_not_count_from_the_entry_on_that_adds_another(before):
    """The group hears of the new configuration in its next turn; consensus counts by it at once."""
    numbers = numbers_of(K2=before)
    assert numbers.takes("K2", ANSWER, number=before)
    numbers.state.configuration = configuration(K2=THIRD)
    assert not numbers.takes("K2", ANSWER, number=before)
    assert numbers.takes("K2", ANSWER, number=THIRD)


def test_without_any_number_messages_are_as_ever():
    numbers = numbers_of(K2=UNNUMBERED, K3=UNNUMBERED)
    assert not numbers.in_use
    assert numbers.framed("K2", ASK) is ASK
    assert numbers.takes("K2", ANSWER)


def test_a_leader_with_a_number_that_is_no_member_here_yet_is_answered():
    """It was added by an entry that only it can send: whoever added it is gone."""
    numbers = numbers_of(K1=UNNUMBERED)
    assert numbers.takes("K2", ASK, UNNUMBERED, SECOND)
    assert numbers.in_use
    assert numbers.framed("K2", ANSWER) == Numbered(ANSWER, SECOND, UNNUMBERED)


def test_a_message_says_for_which_member_it_is_and_from_which_replica():
    numbers = numbers_of(K2=SECOND, K3=UNNUMBERED)
    assert numbers.in_use
    assert numbers.framed("K2", ASK) == Numbered(ASK, SECOND, UNNUMBERED)
    assert numbers.framed("K3", ASK) is ASK  # neither has a number
    assert numbers_of(THIRD, K2=UNNUMBERED).framed("K2", ASK) == Numbered(ASK, UNNUMBERED, THIRD)


@pytest.mark.parametrize("message", [ANSWER, Digest(1, bytes(16)), SnapshotRequest(1, 1, None)])
def test_a_reply_is_for_the_replica_that_asked(message):
    """The configuration here may not know it yet."""
    numbers = numbers_of(THIRD, K2=UNNUMBERED)
    assert numbers.takes("K2", ASK, THIRD, SECOND)
    assert numbers.framed("K2", message) == Numbered(message, SECOND, THIRD)
    assert numbers.framed("K2", ASK) == Numbered(ASK, UNNUMBERED, THIRD)


@pytest.mark.parametrize("message", [ASK, Fence(1, bytes(16)), SnapshotChunk(1, 1, None, b"", 0, b"", True)])
def test_a_member_that_left_is_still_told_so_by_its_number(message):
    numbers = numbers_of(K2=SECOND, K3=UNNUMBERED)
    numbers.reconfigured(configuration(K3=UNNUMBERED))
    assert numbers.framed("K2", message) == Numbered(message, SECOND, UNNUMBERED)


def test_a_replica_without_a_log_answers_whom_it_has_heard():
    numbers = numbers_of(THIRD)
    assert numbers.takes("K1", ASK, THIRD, SECOND)
    assert numbers.framed("K1", ANSWER) == Numbered(ANSWER, SECOND, THIRD)


@pytest.mark.parametrize("receiver", [UNNUMBERED, SECOND])
@pytest.mark.parametrize("message", [ASK, ANSWER])
def test_what_is_for_another_replica_is_not_taken(receiver, message):
    assert not numbers_of(THIRD, K2=UNNUMBERED).takes("K2", message, receiver, UNNUMBERED)


@pytest.mark.parametrize("message", [ANSWER, AppendReply(1, 5), Digest(1, bytes(16))])
def test_an_answer_counts_only_from_the_replica_that_is_a_member(message):
    numbers = numbers_of(K2=THIRD)
    assert numbers.takes("K2", message, UNNUMBERED, THIRD)
    assert not numbers.takes("K2", message, UNNUMBERED, SECOND)
    assert not numbers.takes("K2", message)
    assert numbers.takes("K2", ASK, UNNUMBERED, SECOND)  # it may be told that it is none


def test_no_answer_of_an_earlier_replica_counts_for_one_that_has_left():
    """A leader sends entries to a member that has left until that knows of it (seed 294 of the schedules)."""
    numbers = numbers_of(K2=THIRD, K3=UNNUMBERED)
    numbers.state.configuration = configuration(K3=UNNUMBERED)
    numbers.reconfigured(numbers.state.configuration)
    assert not numbers.takes("K2", ANSWER, UNNUMBERED, SECOND)
    assert numbers.takes("K2", ANSWER, UNNUMBERED, THIRD)


@pytest.mark.parametrize("message", OF_NODES)
def test_what_nodes_ask_each_other_has_no_number(message):
    """A node without a replica of the group asks as well, and is answered by the number of its request."""
    numbers = numbers_of(SECOND, K2=THIRD)
    assert numbers.framed("K2", message) is message
    assert numbers.takes("K2", message)


def test_a_request_for_a_later_replica_begins_it():
    assert begins(Numbered(ASK, SECOND, UNNUMBERED), UNNUMBERED)
    assert begins(Numbered(Append(1, 0, 0, 0, ()), THIRD, UNNUMBERED), SECOND)
    assert not begins(Numbered(ASK, SECOND, UNNUMBERED), SECOND)
    assert not begins(Numbered(ASK, SECOND, UNNUMBERED), THIRD)
    assert not begins(Numbered(ANSWER, THIRD, UNNUMBERED), SECOND)


def test_the_turn_sends_numbers_for_the_groups_that_have_any():
    owner: Any = None  # no turn is made
    turns = Turns(Clock(), owner)
    turns.numbers[5] = numbers_of(K2=SECOND)
    turns.post("K2", 5, ASK)
    turns.post("K2", 4, ASK)
    turns.post_all(5, [Outgoing("K2", ASK), Outgoing("K3", ASK)])
    turns.post_all(4, [Outgoing("K2", ASK)])
    told = Numbered(ASK, SECOND, UNNUMBERED)
    assert turns.outbox == {"K2": [(5, told), (4, ASK), (5, told), (4, ASK)], "K3": [(5, ASK)]}


def leading(numbers, *, term=3, index=30, commit=30):
    """The state of a leader whose last configuration is at `index`."""
    state = numbers.state
    state.leads_with_commit, state.term, state.configuration_index, state.commit = True, term, index, commit
    state.committed_term = term
    return numbers


def test_a_replica_that_catches_up_has_not_left_whatever_the_term_of_its_leader():
    """Its log has the configuration of before it was added."""
    numbers = numbers_of(SECOND, K1=UNNUMBERED)
    numbers.state.term = 9
    numbers.state.commit = SECOND.index - 1
    assert not numbers.has_left
    numbers.state.commit = SECOND.index
    assert numbers.has_left


def test_a_replica_has_left_if_the_entry_that_adds_it_was_overwritten():
    """What is committed before its place has a later term, so that the entry cannot follow."""
    numbers = numbers_of(SECOND, K1=UNNUMBERED)
    numbers.state.commit, numbers.state.committed_term = SECOND.index - 1, SECOND.term + 1
    assert numbers.has_left


def test_a_leader_dismisses_a_replica_that_a_committed_configuration_is_without():
    numbers = leading(numbers_of(K1=UNNUMBERED))
    assert numbers.is_dismissed("K2", "k2" * 16, SECOND)
    assert not leading(numbers, commit=29).is_dismissed("K2", "k2" * 16, SECOND)
    leading(numbers).state.leads_with_commit = False
    assert not numbers.is_dismissed("K2", "k2" * 16, SECOND)


def test_it_dismisses_the_earlier_replica_of_a_member_and_no_other():
    numbers = leading(numbers_of(K1=UNNUMBERED, K2=THIRD))
    assert numbers.is_dismissed("K2", "k2" * 16, SECOND)
    assert not numbers.is_dismissed("K2", "k2" * 16, THIRD)
    assert not numbers.is_dismissed("K2", "k2" * 16, ReplicaNumber(3, 12))


def test_a_leader_of_before_knows_nothing_of_replicas_that_were_added_since():
    numbers = leading(numbers_of(K1=UNNUMBERED))
    assert not numbers.is_dismissed("K2", "k2" * 16, ReplicaNumber(4, 20))


def test_a_replica_that_is_still_to_be_added_is_not_dismissed():
    """Its node was added to the cluster, and this group has not come to it."""
    numbers = leading(numbers_of(K1=UNNUMBERED))
    assert not numbers.is_dismissed("K2", "k2" * 16, UNNUMBERED)
    numbers.state.configuration = replace(numbers.state.configuration, retired=(any_replica("k2" * 16),))
    assert numbers.is_dismissed("K2", "k2" * 16, UNNUMBERED)


def test_a_removed_node_is_not_dismissed():
    numbers = leading(numbers_of(K1=UNNUMBERED))
    numbers.state.configuration = replace(numbers.state.configuration, retired=("k2" * 16,))
    assert not numbers.is_dismissed("K2", "k2" * 16, SECOND)
