"""The coordinator of transactions over groups: every outcome of every step, without groups or time."""

import pytest

from kraft.host.transactions.attempt import REPEAT_SECONDS
from kraft.host.transactions.coordinator import FORGET_SECONDS, FORGETS_MAX, Coordinator
from kraft.host.transactions.token_use import Remembered, TokenUse
from kraft.kv.commands import Commit, CommitOnce, Exec, Forget, Look, OnceToken, Prepare, Resolve
from kraft.kv.replies import CommandFailure, encode_replies
from kraft.kv.transaction_reply import StepOutcome, TransactionReply
from kraft.node.errors import Locked, NoLeader, ReplyTooLong, Uncertain
from tests.server.fake_host import FakeClock

WRITE_TIMEOUT, LEADER_WAIT = 5.0, 2.0
TWO = {0: Exec((), (Look((b"a",)),)), 1: Exec((), (Look((b"b",)),))}
THREE = {**TWO, 2: Exec((), (Look((b"c",)),))}


def reply(outcome, replies=None, **fields):
    return [TransactionReply(outcome=outcome, replies=replies, **fields).to_reply()]


def prepared(text="part"):
    return reply(StepOutcome.PREPARED, text)


COMMITTED = reply(StepOutcome.COMMITTED, "home")
RESOLVED = reply(StepOutcome.RESOLVED)


class Steps:
    """Records what is sent to groups; the test answers."""

    def __init__(self):
        self.clock = FakeClock()
        self.coordinator = Coordinator(b"K1", self, self.clock, WRITE_TIMEOUT, LEADER_WAIT)
        self.sent = []
        self.writes = 0
        self.done = []
        self.time = 1000

    def execute(self, parts=None, use=None):
        self.coordinator.execute(parts or TWO, 10, self.done.append, use=use)

    def write(self, group, commands, size, done, *, waits=False):
        self.sent += [(group, command, waits, done) for command in commands]
        self.writes += 1

    def read(self, group, keys, done, *, fresh=False):
        raise NotImplementedError

    def applied(self, group, keys):
        raise NotImplementedError

    def log_time(self):
        return self.time

    @property
    def open(self):
        return [(group, type(command)) for group, command, _, _ in self.sent]

    def answer(self, outcome, place=0):
        """Answer a step that was sent, and return it."""
        _, command, _, done = self.sent.pop(place)
        done(outcome)
        return command


@pytest.fixture
def steps():
    return Steps()


def test_two_rounds_answer_the_client_and_two_more_clear_up(steps):
    steps.execute()
    assert steps.open == [(0, Prepare)]
    steps.answer(prepared("first"))
    assert steps.open == [(1, Commit)]
    assert not steps.done
    steps.answer(COMMITTED)
    assert steps.done == [{0: "first", 1: "home"}]
    assert steps.open == [(0, Resolve)]
    assert steps.answer(RESOLVED).commit
    assert steps.open == []
    steps.clock.advance(FORGET_SECONDS)
    assert steps.open == [(1, Forget)]


def test_home_forgets_several_transactions_at_once(steps):
    for number in range(FORGETS_MAX + 2):
        steps.execute()
        for outcome in (prepared(), COMMITTED, RESOLVED):
            steps.answer(outcome, steps.open.count((1, Forget)))
        assert len(steps.open) == (FORGETS_MAX if number >= FORGETS_MAX - 1 else 0)
    steps.clock.advance(FORGET_SECONDS)
    assert steps.open == [(1, Forget)] * (FORGETS_MAX + 2)
    assert {command.id.number for _, command, _, _ in steps.sent} == set(range(1, FORGETS_MAX + 3))
    assert steps.writes == 3 * (FORGETS_MAX + 2) + 2
    steps.clock.advance(FORGET_SECONDS)
    assert len(steps.sent) == FORGETS_MAX + 2, "sent once"


def test_three_groups_prepare_at_once_without_waiting(steps):
    steps.execute(THREE)
    assert steps.open == [(0, Prepare), (1, Prepare)]
    assert not any(waits for _, _, waits, _ in steps.sent)
    steps.answer(prepared())
    assert (2, Commit) not in steps.open
    steps.answer(prepared())
    commit = steps.sent[-1][1]
    assert commit.participants == (0, 1)


def test_a_locked_key_makes_the_next_attempt_take_its_locks_in_order(steps):
    steps.execute(THREE)
    first = steps.answer(reply(StepOutcome.LOCKED), place=1)
    resolves = [(group, command) for group, command, _, _ in steps.sent if type(command) is Resolve]
    assert [group for group, _ in resolves] == [0, 1]
    assert not any(command.commit for _, command in resolves)
    group, again, waits, _ = steps.sent[-1]
    assert (group, type(again), waits) == (0, Prepare, True)
    assert again.id != first.id
    assert steps.open.count((1, Prepare)) == 0
    steps.sent = steps.sent[-1:]
    steps.answer(prepared())
    assert steps.open == [(1, Prepare)]
    steps.answer(prepared())
    assert steps.open == [(2, Commit)]


def test_a_changed_key_ends_it(steps):
    steps.execute()
    steps.answer(reply(StepOutcome.CHANGED))
    assert steps.done == [None]
    assert steps.open == [(0, Resolve)]


def test_a_slot_that_has_gone_ends_it_and_another_plan_may_find_it(steps):
    steps.execute()
    steps.answer(reply(StepOutcome.NOT_OWNER))
    assert steps.done == [CommandFailure.NOT_OWNER]
    assert steps.open == [(0, Resolve)]


def test_a_slot_of_home_that_has_gone_ends_it(steps):
    steps.execute()
    steps.answer(prepared())
    steps.answer(reply(StepOutcome.ABORTED, reason=StepOutcome.NOT_OWNER))
    assert steps.done == [CommandFailure.NOT_OWNER]
    assert steps.open == [(0, Resolve)]


def test_a_changed_key_at_home_ends_it(steps):
    steps.execute()
    steps.answer(prepared())
    steps.answer(reply(StepOutcome.ABORTED, reason=StepOutcome.CHANGED))
    assert steps.done == [None]
    assert not steps.answer(RESOLVED).commit
    assert steps.open == [], "an abort is not forgotten: home has no decision"


def test_a_commit_that_meets_a_lock_is_attempted_again_under_another_id(steps):
    steps.execute()
    first = steps.answer(prepared())
    steps.answer(reply(StepOutcome.ABORTED, reason=StepOutcome.LOCKED))
    assert steps.done == []
    assert steps.open == [(0, Resolve), (0, Prepare)]
    assert steps.sent[-1][1].id.number == first.id.number + 1


def test_who_waits_too_long_is_refused(steps):
    steps.execute()
    steps.clock.advance(LEADER_WAIT)
    steps.answer([CommandFailure.LOCKED])
    assert isinstance(steps.done[0], Locked)


@pytest.mark.parametrize("outcome", [StepOutcome.FINISHED, StepOutcome.TOO_OLD])
def test_a_prepare_that_comes_too_late_is_attempted_again(steps, outcome):
    steps.execute()
    steps.answer(reply(outcome))
    assert steps.open == [(0, Resolve), (0, Prepare)]


def test_an_expiry_that_log_time_reaches_too_early_is_refused(steps):
    steps.execute()
    steps.answer([CommandFailure.PREMATURE])
    assert steps.done == [CommandFailure.PREMATURE]


# -- failures


def test_a_prepare_that_was_refused_means_that_nothing_was_done(steps):
    steps.execute()
    steps.answer(NoLeader(0))
    assert isinstance(steps.done[0], NoLeader)
    assert steps.open == [(0, Resolve)]


def test_a_prepare_of_unknown_outcome_is_repeated_up_to_the_timeout(steps):
    steps.execute()
    first = steps.answer(Uncertain())
    assert steps.open == [(0, Prepare)]
    steps.clock.advance(WRITE_TIMEOUT)
    assert steps.answer(Uncertain()) == first
    assert isinstance(steps.done[0], NoLeader)


def test_a_commit_that_was_refused_aborts(steps):
    steps.execute()
    steps.answer(prepared())
    steps.answer(NoLeader(1))
    assert isinstance(steps.done[0], NoLeader)
    assert not steps.answer(RESOLVED).commit


def test_a_commit_of_unknown_outcome_is_repeated_and_never_aborted(steps):
    steps.execute()
    steps.answer(prepared())
    commit = steps.answer(Uncertain())
    assert steps.open == []
    assert steps.done == []
    for failure in (Uncertain(), NoLeader(1)):
        steps.clock.advance(REPEAT_SECONDS)
        assert steps.open == [(1, Commit)]
        assert steps.answer(failure) == commit
    steps.clock.advance(REPEAT_SECONDS)
    steps.answer(COMMITTED)
    assert steps.done == [{0: "part", 1: "home"}]


def test_a_commit_that_is_never_confirmed_is_uncertain_at_the_timeout(steps):
    steps.execute()
    steps.answer(prepared())
    steps.answer(Uncertain())
    steps.clock.advance(WRITE_TIMEOUT)
    assert isinstance(steps.done[0], Uncertain)
    while steps.sent:
        steps.answer(COMMITTED)
        assert (0, Resolve) in steps.open or not steps.open or steps.sent[0][0] == 1
        steps.sent = [each for each in steps.sent if type(each[1]) is Commit]
    assert len(steps.done) == 1


@pytest.mark.parametrize("late", [reply(StepOutcome.TOO_OLD), reply(StepOutcome.COMMITTED)])
def test_too_old_and_forgotten_mean_unknown(steps, late):
    steps.execute()
    steps.answer(prepared())
    steps.answer(Uncertain())
    steps.clock.advance(REPEAT_SECONDS)
    steps.answer(late)
    assert isinstance(steps.done[0], Uncertain)


def test_a_repeated_commit_that_waited_too_long_is_not_taken_for_refused(steps):
    steps.execute()
    steps.answer(prepared())
    steps.answer(Uncertain())
    steps.clock.advance(REPEAT_SECONDS)
    steps.answer([CommandFailure.LOCKED])
    assert isinstance(steps.done[0], Uncertain)


@pytest.mark.parametrize("late", [prepared(), Uncertain()])
def test_a_late_vote_of_an_attempt_that_has_ended_changes_nothing(steps, late):
    steps.execute(THREE)
    voted = steps.sent[1][3]
    steps.answer(reply(StepOutcome.CHANGED))
    before = steps.open
    voted(late)
    assert steps.open == before
    assert steps.done == [None]


# -- ids


def test_the_mark_is_the_lowest_number_that_is_under_way(steps):
    for _ in range(3):
        steps.execute()
    assert [command.mark for _, command, _, _ in steps.sent] == [1, 1, 1]
    steps.answer(reply(StepOutcome.CHANGED))
    steps.execute()
    assert steps.sent[-1][1].mark == 2
    steps.answer(reply(StepOutcome.CHANGED), place=1)
    steps.execute()
    assert steps.sent[-1][1].mark == 2, "the second is still under way"


def test_the_start_of_an_attempt_never_goes_back(steps):
    steps.execute()
    steps.time = 10
    steps.execute()
    assert [command.id.start for _, command, _, _ in steps.sent] == [1000, 1000]


def test_outcomes_are_counted(steps):
    for outcome in (reply(StepOutcome.CHANGED), NoLeader(0), [CommandFailure.PREMATURE]):
        steps.execute()
        steps.answer(outcome, place=len(steps.sent) - 1)
    assert steps.coordinator.outcomes == {"changed": 1, "refused": 2}


def test_who_has_locked_keys_first_waits_for_no_others(steps):
    """Those of higher groups are locked already."""
    lock = steps.coordinator.lock({1: [b"b"], 2: [b"c"]}, {}, steps.done.append)
    assert [group for group, *_ in steps.sent] == [1]
    assert steps.sent[0][2], "it waits in ascending order"
    steps.answer(prepared())
    assert [group for group, *_ in steps.sent] == [2]
    steps.answer(prepared())
    assert steps.done == [None]
    steps.coordinator.execute(THREE, 10, steps.done.append, lock)
    [(group, _, waits, _)] = steps.sent
    assert group == 0
    assert not waits


# -- tokens of KRAFT ONCE


def use(home, united=lambda replies: "+".join(replies.values()), most=100):
    return TokenUse(OnceToken(b"token", bytes(16), b"a"), home, united, most)


TOKEN_KNOWN = reply(StepOutcome.ABORTED, "first", reason=StepOutcome.TOKEN)


@pytest.mark.parametrize("home", [0, 1])
def test_with_a_token_all_groups_prepare_in_ascending_order_and_home_commits_the_reply(steps, home):
    steps.execute(use=use(home))
    assert steps.open == [(0, Prepare)]
    assert steps.answer(prepared("first")).home == home
    assert steps.open == [(1, Prepare)]
    steps.answer(prepared("second"))
    assert steps.open == [(home, CommitOnce)]
    commit = steps.answer(reply(StepOutcome.COMMITTED))
    assert commit.participants == (1 - home,)
    assert commit.reply == encode_replies(("first+second",))
    assert steps.done == [{0: "first", 1: "second"}]
    assert steps.open == [(1 - home, Resolve)]
    assert steps.answer(RESOLVED).commit
    steps.clock.advance(FORGET_SECONDS)
    assert steps.open == [(home, Forget)]


def test_a_token_in_three_groups_prepares_at_once_and_then_in_order(steps):
    steps.execute(THREE, use(1))
    assert steps.open == [(0, Prepare), (1, Prepare), (2, Prepare)]
    steps.answer([CommandFailure.LOCKED])
    steps.sent = [each for each in steps.sent if type(each[1]) is Prepare and each[2]]
    for group in (0, 1, 2):
        assert steps.open == [(group, Prepare)]
        steps.answer(prepared())
    assert steps.open == [(1, CommitOnce)]


def test_a_token_that_is_known_aborts_and_tells_its_reply(steps):
    steps.execute(use=use(0))
    steps.answer(prepared())
    steps.answer(prepared())
    steps.answer(TOKEN_KNOWN)
    assert steps.done == [Remembered("first")]
    assert steps.coordinator.outcomes["repeated"] == 1
    assert [(group, command.commit) for group, command, _, _ in steps.sent] == [(0, False), (1, False)]


def test_the_commit_of_a_token_is_repeated_and_its_replies_are_known(steps):
    """Also when home has forgotten everything but that it has committed."""
    steps.execute(use=use(0))
    steps.answer(prepared("first"))
    steps.answer(prepared("second"))
    commit = steps.answer(Uncertain())
    steps.clock.advance(REPEAT_SECONDS)
    assert steps.answer(reply(StepOutcome.COMMITTED)) == commit
    assert steps.done == [{0: "first", 1: "second"}]


def test_one_group_alone_prepares_and_commits(steps):
    steps.execute({1: TWO[1]}, use(1))
    steps.answer(prepared("look"))
    assert steps.answer(reply(StepOutcome.COMMITTED)).participants == ()
    assert steps.done == [{1: "look"}]
    assert steps.open == []


def test_a_reply_that_is_too_long_for_the_log_aborts(steps):
    steps.execute(use=use(0, most=10))
    steps.answer(prepared("a" * 5))
    steps.answer(prepared("b" * 5))
    assert isinstance(steps.done[0], ReplyTooLong)
    assert steps.open == [(0, Resolve), (1, Resolve)]


def test_a_mistake_in_the_reply_costs_its_client_alone(steps):
    def broken(_):
        raise KeyError("no reply")

    steps.execute(use=use(0, broken))
    steps.answer(prepared())
    steps.answer(prepared())
    assert isinstance(steps.done[0], KeyError)
    assert not any(command.commit for _, command, _, _ in steps.sent)
