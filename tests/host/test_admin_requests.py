"""Administrators' commands on their way to the leader and its successor, and the ways in which they end."""

import msgspec
import pytest

from kraft.host.admin.requests import LOST_SECONDS, PENDING_MAX, AdminRequests, PendingCommand, reply
from kraft.node import admin
from kraft.node.errors import AdminRefused, CheckpointFailed, NoLeader, NotLeader, Stopping, Uncertain
from kraft.peerwire.codec import GROUPS_MAX
from kraft.raft.errors import ChangeRefused, LogFull, NotLeading, TransferRefused

EVERY = (
    admin.Add("K4", "h:1", learner=True),
    admin.Remove("K4"),
    admin.Promote("K4", force=True),
    admin.Demote("K4"),
    admin.Readdress("K4", "h:2"),
    admin.Replace("K2", "K4", "h:1"),
    admin.Rehearse(admin.Demote("K4"), everywhere=True),
    admin.TransferLeadership("K2"),
    admin.StepDown(),
    admin.TakeSnapshot(),
    admin.Verify(),
    admin.Reseed("K2"),
    admin.Drain(on=True),
    admin.Compact(),
    admin.MoveSlots(0, 99, 2),
    admin.CancelMove(7),
    admin.SplitGroup(1, 3),
    admin.MergeGroups(1, 0),
    admin.RebalanceSlots(dry=True),
    admin.SetReplication(3),
    admin.ShowReplication(),
    admin.RebalanceReplicas(dry=True),
    admin.SetVoters(4, ("K1", "K2"), ("K1", "K3")),
)


@pytest.fixture
def answers():
    return []


def asked(answers, deadline=5.0, command=EVERY[1]):
    return PendingCommand(deadline, answers.append, command)


def sent(requests, one, leader="K1", now=0.0):
    return requests.request((leader, 1), one, now)


def begun(requests, one):
    """This node, K1, leads."""
    requests.here(("K1", 1), one)
    return one


@pytest.mark.parametrize("command", EVERY)
def test_every_command_survives_the_wire(command):
    assert admin.decode(admin.encode(command)) == command


@pytest.mark.parametrize("result", ["OK", 42, [{"node": "K1", "sum": b"\x01"}], {"a": [1, None]}])
def test_plain_results_survive_the_wire(result):
    assert admin.decode_result(admin.encode_result(result)) == result


def test_a_command_of_a_newer_program_cannot_be_decoded():
    with pytest.raises(msgspec.DecodeError):
        admin.decode(msgspec.msgpack.encode([99, "K4"]))


def test_the_answer_of_the_leader_reaches_the_caller(answers):
    requests = AdminRequests(100)
    message = sent(requests, asked(answers), now=1.0)
    assert admin.decode(message.command) == EVERY[1]
    assert message.timeout_ms == 4000

    requests.answered("K1", reply(message.request, "OK"))
    assert answers == ["OK"]


@pytest.mark.parametrize("error", [AdminRefused, ChangeRefused, TransferRefused])
def test_a_refusal_arrives_with_its_text(answers, error):
    requests = AdminRequests(100)
    message = sent(requests, asked(answers))
    requests.answered("K1", reply(message.request, error("K3 is down: remove K3 first")))
    [refused] = answers
    assert isinstance(refused, AdminRefused)
    assert str(refused) == "K3 is down: remove K3 first"


def test_the_refusal_names_the_checkpoint_that_the_leader_could_not_write(answers):
    requests = AdminRequests(100)
    message = sent(requests, asked(answers))
    requests.answered("K1", reply(message.request, CheckpointFailed()))
    assert "the leader could not write a checkpoint" in str(answers[0])


@pytest.mark.parametrize("error", [NotLeader(0, "K2"), NotLeading("K2"), NoLeader(0), Stopping(), LogFull(1)])
def test_a_command_that_was_not_begun_is_offered_to_the_next_leader(answers, error):
    requests = AdminRequests(100)
    one = asked(answers)
    first = sent(requests, one)
    requests.answered("K1", reply(first.request, error))
    assert requests.take() == [one]
    assert requests.take() == []

    second = sent(requests, one, "K2", 2.0)
    requests.answered("K2", reply(second.request, "OK"))
    assert answers == ["OK"]


def test_an_uncertain_command_is_not_offered_again(answers):
    requests = AdminRequests(100)
    message = sent(requests, asked(answers))
    requests.answered("K1", reply(message.request, Uncertain()))
    assert [type(a) for a in answers] == [Uncertain]
    assert requests.take() == []


def test_commands_of_this_node_as_the_leader_end_in_the_same_ways(answers):
    requests = AdminRequests(100)
    one, other = (begun(requests, asked(answers)) for _ in range(2))
    requests.ended(one, NotLeader(0, ""))
    requests.ended(other, ChangeRefused("no"))
    assert [type(a) for a in answers] == [AdminRefused]
    assert requests.take() == [one]


def test_a_command_that_never_ends_here_is_uncertain_at_its_deadline(answers):
    """A deposed leader may wait for a checkpoint that is never taken."""
    requests = AdminRequests(100)
    one, done, again = (asked(answers, deadline=2.0) for _ in range(3))
    for each in (one, done, again):
        requests.add(each)
    for each in requests.take():
        begun(requests, each)
    requests.ended(done, "OK")
    requests.ended(again, NotLeader(0, ""))
    requests.expire(1.9)
    assert answers == ["OK"]
    assert requests.take() == [again]
    requests.expire(2.0)
    requests.ended(one, "too late")
    assert [type(a) for a in answers] == [str, Uncertain]


def test_commands_carried_out_here_count_towards_the_bound(answers):
    requests = AdminRequests(100)
    for _ in range(PENDING_MAX):
        requests.add(asked(answers))
    taken = requests.take()
    for each in taken:
        begun(requests, each)
    assert not requests.add(asked(answers))
    requests.ended(taken[0], "OK")
    assert requests.add(asked(answers))


def test_a_lost_link_makes_a_command_uncertain_and_a_late_answer_changes_nothing(answers):
    requests = AdminRequests(100)
    message = sent(requests, asked(answers))
    kept = sent(requests, asked(answers), "K2")
    requests.lost("K1")
    requests.answered("K1", reply(message.request, "OK"))
    assert [type(a) for a in answers] == [Uncertain]

    requests.answered("K1", reply(kept.request, "OK"))  # not the one that was asked
    requests.answered("K2", reply(kept.request, "OK"))
    assert answers[1:] == ["OK"]


@pytest.mark.parametrize("leads", [("K2", 2), ("", 2), ("K1", 2), ("", 1)])
@pytest.mark.parametrize("elsewhere", [True, False])
def test_a_leader_that_leads_no_more_and_does_not_answer_is_given_up(answers, leads, elsewhere):
    requests = AdminRequests(100)
    changing, looking = asked(answers, 30.0), asked(answers, 30.0, admin.Rehearse(EVERY[1]))
    for each in (changing, looking):
        sent(requests, each) if elsewhere else begun(requests, each)
    requests.follow(lambda _: ("K1", 1), 1.0)
    requests.follow(lambda _: leads, 2.0)
    requests.follow(lambda _: leads, 1.99 + LOST_SECONDS)
    assert (answers, requests.take()) == ([], [])
    requests.follow(lambda _: leads, 2.0 + LOST_SECONDS)
    assert [type(a) for a in answers] == [Uncertain]
    assert requests.take() == [looking], "it changes nothing, so the next leader gets it"
    sent(requests, looking, "K2")
    requests.ended(looking, NotLeader(0, ""))
    assert requests.take() == [], "what was given up here is asked once"


def test_a_leader_that_is_back_or_answers_in_time_was_not_lost(answers):
    requests = AdminRequests(100)
    message = sent(requests, asked(answers))
    for now in (0.0, 1.0, 2.0, 3.0):
        requests.follow(lambda _: ("", 1), now)
        requests.follow(lambda _: ("K1", 1), now + LOST_SECONDS)
    requests.follow(lambda _: ("K2", 2), 5.0)
    requests.answered("K1", reply(message.request, "K2"))
    requests.follow(lambda _: ("K2", 2), 9.0)
    assert answers == ["K2"]


def test_a_command_that_may_be_repeated_outlives_the_link(answers):
    requests = AdminRequests(100)
    one = asked(answers, command=admin.TakeSnapshot())
    sent(requests, one)
    requests.lost("K1")
    assert requests.take() == [one]
    assert answers == []


def test_a_command_that_the_link_did_not_take_waits_again(answers):
    requests = AdminRequests(100)
    one = asked(answers)
    requests.unsent(sent(requests, one).request)
    assert requests.take() == [one]
    assert answers == []


def test_at_the_deadline_only_commands_that_were_sent_are_uncertain(answers):
    requests = AdminRequests(100)
    assert requests.add(asked(answers, deadline=2.0))
    sent(requests, asked(answers, deadline=2.0))
    later = asked(answers, deadline=3.0)
    assert requests.add(later)
    requests.expire(1.9)
    assert answers == []
    requests.expire(2.0)
    assert [type(a) for a in answers] == [NoLeader, Uncertain]
    assert requests.take() == [later]


def test_an_unreadable_answer_does_not_lose_the_caller(answers):
    requests = AdminRequests(100)
    message = sent(requests, asked(answers))
    with pytest.raises(msgspec.DecodeError):
        requests.answered("K1", msgspec.structs.replace(reply(message.request, "OK"), result=b"\xc1"))
    requests.lost("K1")
    assert [type(a) for a in answers] == [Uncertain]


def test_when_the_node_stops_everybody_is_told(answers):
    requests = AdminRequests(100)
    begun(requests, asked(answers))
    requests.add(asked(answers))
    sent(requests, asked(answers))
    requests.abandon()
    assert [type(a) for a in answers] == [Stopping, Uncertain, Uncertain]


def test_all_groups_of_the_largest_cluster_can_be_asked_at_once(answers):
    """For an image, and while members change."""
    requests = AdminRequests(100)
    assert all(requests.add(asked(answers)) for _ in range(2 * GROUPS_MAX))


def test_the_number_of_waiting_commands_is_bounded(answers):
    requests = AdminRequests(100)
    sent(requests, asked(answers))
    assert all(requests.add(asked(answers)) for _ in range(PENDING_MAX - 1))
    assert not requests.add(asked(answers))
