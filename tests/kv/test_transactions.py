"""Steps of transactions over several groups in one machine: what each does, early, twice, late or never."""

from typing import Any

import pytest

from kraft.kv.commands import (
    CompareAndSet,
    Delete,
    Evaluated,
    Exec,
    Extend,
    Flush,
    FlushScripts,
    Guarded,
    Increment,
    LoadScript,
    Lock,
    Look,
    Put,
    Watched,
)
from kraft.kv.commands.transaction import LIFE_MS
from kraft.kv.machine import Machine
from kraft.kv.replies import CommandFailure, encode_replies
from kraft.kv.scripts import script_source
from kraft.kv.transaction_index import FORGOTTEN_MIN
from kraft.kv.transaction_reply import (
    StepOutcome as Outcome,
)
from kraft.kv.transaction_reply import (
    TransactionReply,
    needs_revision,
    with_revision,
)
from tests.kv.group_states import (
    HOME,
    NOW,
    check_index,
    commit,
    decide,
    forget,
    kinds,
    one,
    prepare,
    resolve,
    restored,
    t,
    work,
)

EMPTY = (0, 0, 0, 0)


@pytest.fixture
def machine() -> Machine:
    machine = Machine()
    machine.apply(NOW, [Put(b"a", b"1"), Put(b"b", b"2")])
    return machine


def value(machine: Machine, key: bytes) -> Any:
    return machine.keyspace.get(key)


def held(machine: Machine) -> dict:
    return dict(machine.keyspace.transactions.prepared)


@pytest.fixture(params=["as it is", "after a restart"])
def between(request):
    """What happens to a machine between two steps: nothing, or a start from a checkpoint."""
    return restored if request.param == "after a restart" else lambda machine: machine


# -- step 1: Prepare


def test_what_is_prepared_does_not_show_and_keeps_its_keys(machine, between):
    reply = prepare(machine, t(), Increment(b"a", 4), Look((b"a", b"b")))
    assert reply.outcome == Outcome.PREPARED
    assert reply.replies == [NOW, [[b"5", 3, 0], [b"2", 2, 0]], [5, [2, 0, 1]]]
    assert reply.revision == 3
    machine = between(machine)
    assert (value(machine, b"a"), machine.revision) == (b"1", 2)
    assert one(machine, Put(b"a", b"x")) == CommandFailure.LOCKED  # written: exclusive
    assert one(machine, Exec((), (Look((b"a",)),))) == CommandFailure.LOCKED
    assert one(machine, Put(b"b", b"x")) == CommandFailure.LOCKED  # read: shared
    assert one(machine, Exec((), (Look((b"b",)), Put(b"c", b"1"))))[2] == [[2, 0], "OK"]
    assert machine.keyspace.transactions.locks.hides([b"c", b"a"])
    assert not machine.keyspace.transactions.locks.hides([b"b", b"c"])
    check_index(machine)


def test_a_prepare_that_comes_twice_gets_the_same_reply(machine, between):
    first = prepare(machine, t(), Increment(b"a", 4))
    digest = machine.digest()
    machine = between(machine)
    assert prepare(machine, t(), Increment(b"a", 4), stamp=NOW) == first
    assert machine.digest() == digest


def test_a_lock_that_is_taken_refuses_and_names_its_holder(machine):
    prepare(machine, t(1), Put(b"a", b"x"))
    before = machine.digest()
    reply = prepare(machine, t(2), Look((b"a",)), Put(b"b", b"y"))
    assert (reply.outcome, reply.holder, reply.home) == (Outcome.LOCKED, t(1), HOME)
    assert machine.digest() == before
    assert one(machine, Put(b"b", b"y")) == "OK"


def test_readers_share_and_writers_do_not(machine):
    assert prepare(machine, t(1), Look((b"a",))).outcome == Outcome.PREPARED
    assert prepare(machine, t(2), Look((b"a",))).outcome == Outcome.PREPARED
    assert prepare(machine, t(3), Put(b"a", b"x")).outcome == Outcome.LOCKED
    resolve(machine, t(1))
    assert prepare(machine, t(3), Put(b"a", b"x")).outcome == Outcome.LOCKED
    resolve(machine, t(2))
    assert prepare(machine, t(3), Put(b"a", b"x")).outcome == Outcome.PREPARED


def test_a_watched_key_is_compared_and_then_locked(machine):
    stale = (Watched(b"b", 1, 1),)
    assert prepare(machine, t(1), Put(b"a", b"x"), watched=stale).outcome == Outcome.CHANGED
    assert prepare(machine, t(1), Put(b"a", b"x"), read=stale).outcome == Outcome.CONFLICT
    assert held(machine) == {}
    assert prepare(machine, t(1), Put(b"a", b"x"), watched=(Watched(b"b", 2, 2),)).outcome == Outcome.PREPARED
    assert one(machine, Put(b"b", b"y")) == CommandFailure.LOCKED
    assert one(machine, Exec((), (Look((b"b",)),)))[2] == [[2, 0]]


def test_a_prepare_after_the_end_is_too_late(machine, between):
    resolve(machine, t(1), committed=False)
    machine = between(machine)
    assert prepare(machine, t(1), Put(b"a", b"x")).outcome == Outcome.FINISHED
    prepare(machine, t(2), Put(b"a", b"x"))
    resolve(machine, t(2))
    machine = between(machine)
    assert prepare(machine, t(2), Put(b"a", b"x")).outcome == Outcome.FINISHED
    assert commit(machine, t(3), Put(b"b", b"x")).outcome == Outcome.COMMITTED
    assert prepare(machine, t(3), Put(b"b", b"x")).outcome == Outcome.FINISHED
    assert held(machine) == {}


def test_a_prepare_that_is_too_old_is_refused_whatever_is_remembered(machine):
    assert prepare(machine, t(), Put(b"a", b"x"), stamp=NOW + LIFE_MS).outcome == Outcome.TOO_OLD
    assert prepare(machine, t(2, NOW + 1), Put(b"a", b"x"), stamp=NOW + LIFE_MS).outcome == Outcome.PREPARED


def test_work_that_fails_in_part_is_prepared_as_a_whole(machine):
    machine.apply(NOW, [Put(b"text", b"x")])
    reply: Any = prepare(machine, t(), Increment(b"text", 1), Put(b"a", b"x"))
    assert reply.replies[2] == [CommandFailure.NOT_AN_INTEGER, "OK"]
    resolve(machine, t())
    assert (value(machine, b"text"), value(machine, b"a")) == (b"x", b"x")


# -- step 3: Resolve


def test_what_was_prepared_takes_effect_with_one_revision_of_its_own_time(machine, between):
    prepare(machine, t(), Put(b"a", b"x"), Delete((b"b",)), Put(b"c", b"y"))
    one(machine, Put(b"d", b""))  # takes revision 3
    machine = between(machine)
    reply = resolve(machine, t())
    assert (reply.outcome, reply.revision, machine.revision) == (Outcome.RESOLVED, 4, 4)
    assert [machine.keyspace.revision(key) for key in (b"a", b"b", b"c", b"d")] == [4, 0, 4, 3]
    assert (held(machine), kinds(machine)) == ({}, (0, 0, 1, 0))
    assert one(machine, Put(b"a", b"z")) == "OK"
    machine = between(machine)
    assert resolve(machine, t()).revision == 4  # again
    assert value(machine, b"a") == b"z"
    check_index(machine)


def test_what_is_aborted_leaves_nothing(machine, between):
    prepare(machine, t(), Put(b"a", b"x"), Delete((b"b",)))
    machine = between(machine)
    assert resolve(machine, t(), committed=False) == TransactionReply(outcome=Outcome.RESOLVED)
    assert (value(machine, b"a"), value(machine, b"b"), machine.revision) == (b"1", b"2", 2)
    assert held(machine) == {}
    check_index(machine)


def test_work_that_changes_nothing_takes_no_revision(machine):
    prepare(machine, t(), Delete((b"none",)), Look((b"a",)))
    assert resolve(machine, t()).revision == 0
    assert machine.revision == 2


def test_a_missing_key_that_came_and_went_has_changed(machine):
    watched = (Watched(b"new", 0, 2),)
    prepare(machine, t(), Put(b"new", b"x"), Delete((b"new",)))
    assert resolve(machine, t()).revision == 3
    assert not machine.keyspace.unchanged(watched)


def test_an_extended_lock_keeps_its_token(machine):
    token = one(machine, Lock(b"l", 1000, b"me"))[1]
    prepare(machine, t(), Extend(b"l", token, 9000), Guarded(b"l", token, Put(b"a", b"x")))
    one(machine, Put(b"z", b""))
    resolve(machine, t())
    assert machine.keyspace.revision(b"l") == token
    assert machine.keyspace.expires(b"l") == NOW + 9000
    assert machine.keyspace.revision(b"a") == machine.revision


def test_replies_with_a_revision_are_settled_after_resolve(machine):
    """KRAFT CAS and KRAFT LOCK reply a revision that is known only when it is taken."""
    todo = (
        CompareAndSet(b"a", 1, b"x"),
        CompareAndSet(b"b", 9, b"x"),
        Guarded(b"a", 3, Lock(b"l", 50)),
        Lock(b"b", 50, b"me"),
        Look((b"a", b"b")),
    )
    prepared = prepare(machine, t(), *todo)
    replies: Any = prepared.replies
    assert replies[2][:2] == [3, None]
    one(machine, Put(b"z", b""))
    revision = resolve(machine, t()).revision
    assert revision == 4
    settled: Any = with_revision(work(*todo), prepared, revision)
    assert settled[1] == [[b"x", 4, 0], [b"2", 2, 0]]
    assert settled[2] == [4, None, [1, 4, NOW + 50, NOW], [0, 2, 0, NOW], [3, 0, 1]]
    assert needs_revision(work(*todo))
    assert not needs_revision(work(Put(b"a", b""), Look((b"a",))))
    assert needs_revision(work(Guarded(b"l", 1, CompareAndSet(b"a", 1, b""))))


def test_a_flush_is_prepared_for_the_whole_group(machine, between):
    prepare(machine, t(), Flush(), Put(b"new", b"x"))
    machine = between(machine)
    assert len(machine.keyspace) == 2
    for command in (Put(b"other", b""), Exec((), (Look((b"other",)),)), Exec((), (Look(()),)), Flush()):
        assert one(machine, command) == CommandFailure.LOCKED
    assert machine.keyspace.transactions.locks.hides([b"other"])
    assert prepare(machine, t(2), Look((b"other",))).outcome == Outcome.LOCKED
    resolve(machine, t())
    assert list(machine.keyspace.records) == [b"new"]
    assert not machine.keyspace.unchanged((Watched(b"other", 0, 2),))
    check_index(machine)


def test_a_flush_waits_for_every_lock(machine):
    prepare(machine, t(1), Look((b"a",)))
    assert prepare(machine, t(2), Flush()).holder == t(1)
    assert one(machine, Flush()) == CommandFailure.LOCKED
    resolve(machine, t(1))
    assert one(machine, Flush()) == "OK"


def test_the_number_of_keys_is_read_under_a_lock(machine):
    reply: Any = prepare(machine, t(), Look(())).replies
    assert reply[2] == [[2]]
    assert one(machine, Put(b"a", b"x")) == CommandFailure.LOCKED
    assert one(machine, Exec((), (Look((b"a",)),)))[2] == [[2, 0]]
    assert prepare(machine, t(2), Look(())).outcome == Outcome.PREPARED


def test_a_script_of_a_transaction_is_cached_when_it_takes_effect(machine, between):
    sha = b"a" * 40
    script = Evaluated((LoadScript(sha, b"return 1", 1000), Put(b"a", b"x")), encode_replies((7,)))
    reply: Any = prepare(machine, t(), script).replies
    assert reply[2] == [7]
    machine = between(machine)
    assert script_source(machine.keyspace.ledger, sha) is None
    assert one(machine, FlushScripts()) == CommandFailure.LOCKED
    resolve(machine, t())
    assert script_source(machine.keyspace.ledger, sha) == b"return 1"
    assert restored(machine).digest() == machine.digest()


# -- step 2: Commit


def test_home_executes_and_records_in_one_entry(machine, between):
    reply = commit(machine, t(), Increment(b"a", 4), Look((b"a",)))
    assert (reply.outcome, reply.replies) == (Outcome.COMMITTED, [NOW, [[b"5", 3, 0]], [5, [2, 0]]])
    assert (value(machine, b"a"), machine.revision) == (b"5", 3)
    machine = between(machine)
    assert kinds(machine) == (0, 1, 0, 0)
    [decision] = machine.keyspace.transactions.decisions.values()
    assert (decision.id, decision.waiting) == (t(), (1,))
    assert commit(machine, t(), Increment(b"a", 4), Look((b"a",))) == reply  # again: once
    assert value(machine, b"a") == b"5"
    check_index(machine)


@pytest.mark.parametrize(
    ("options", "reason"),
    [
        ({"watched": (Watched(b"b", 1, 1),)}, Outcome.CHANGED),
        ({"read": (Watched(b"b", 1, 1),)}, Outcome.CONFLICT),
    ],
)
def test_a_commit_that_cannot_be_is_an_abort_for_ever(machine, between, options, reason):
    reply = commit(machine, t(), Put(b"a", b"x"), **options)
    assert (reply.outcome, reply.reason) == (Outcome.ABORTED, reason)
    machine = between(machine)
    assert commit(machine, t(), Put(b"a", b"x")).outcome == Outcome.ABORTED
    assert decide(machine, t()).outcome == Outcome.ABORTED
    assert prepare(machine, t(), Put(b"a", b"x")).outcome == Outcome.FINISHED
    assert (value(machine, b"a"), kinds(machine)) == (b"1", (0, 0, 1, 0))


def test_a_commit_that_meets_a_lock_decides_as_well(machine):
    """If it stayed undecided, a copy of it that comes late would commit what its coordinator gave up."""
    prepare(machine, t(1), Put(b"a", b"x"))
    reply = commit(machine, t(2), Put(b"a", b"y"))
    assert (reply.outcome, reply.reason, reply.holder) == (Outcome.ABORTED, Outcome.LOCKED, t(1))
    resolve(machine, t(1))
    assert commit(machine, t(2), Put(b"a", b"y")).outcome == Outcome.ABORTED
    assert value(machine, b"a") == b"x"


def test_a_commit_that_is_too_old_is_unknown(machine):
    reply = commit(machine, t(), Put(b"a", b"x"), stamp=NOW + LIFE_MS)
    assert (reply.outcome, value(machine, b"a")) == (Outcome.TOO_OLD, b"1")
    assert kinds(machine) == EMPTY


def test_home_may_have_prepared_itself(machine, between):
    prepare(machine, t(), Increment(b"a", 1), watched=(Watched(b"b", 2, 2),))
    machine = between(machine)
    assert (
        commit(machine, t(), Increment(b"a", 1), watched=(Watched(b"b", 2, 2),)).outcome == Outcome.COMMITTED
    )
    assert (value(machine, b"a"), held(machine)) == (b"2", {})
    assert one(machine, Put(b"b", b"")) == "OK"
    assert resolve(machine, t()).outcome == Outcome.RESOLVED
    assert value(machine, b"a") == b"2"
    check_index(machine)


def test_without_participants_nothing_is_left_to_confirm(machine):
    assert commit(machine, t(), Put(b"a", b"x"), participants=()).outcome == Outcome.COMMITTED
    assert kinds(machine) == (0, 0, 1, 0)
    assert commit(machine, t(), Put(b"a", b"x")) == TransactionReply(outcome=Outcome.COMMITTED)


# -- step 4: Forget


def test_the_last_confirmation_removes_the_decision_and_keeps_the_id(machine, between):
    commit(machine, t(), Put(b"a", b"x"), participants=(3, 1))
    assert forget(machine, t(), 1).outcome == Outcome.FORGOTTEN
    assert forget(machine, t(), 1).outcome == Outcome.FORGOTTEN
    machine = between(machine)
    assert machine.keyspace.transactions.decisions[t().name].waiting == (3,)
    assert commit(machine, t(), Put(b"a", b"x")).replies == [NOW, [], ["OK"]]
    forget(machine, t(), 3)
    machine = between(machine)
    assert (kinds(machine), machine.keyspace.transactions.decisions) == ((0, 0, 1, 0), {})
    assert commit(machine, t(), Put(b"a", b"x")) == TransactionReply(outcome=Outcome.COMMITTED)
    assert decide(machine, t(), holder=False) == TransactionReply(outcome=Outcome.COMMITTED)
    check_index(machine)


def test_a_decision_outlives_every_limit_of_time(machine):
    commit(machine, t(), Put(b"a", b"x"))
    late = NOW + 10 * LIFE_MS
    machine.mark(late)
    assert decide(machine, t(), stamp=late).outcome == Outcome.COMMITTED
    forget(machine, t(), stamp=late)
    assert kinds(machine) == EMPTY
    assert decide(machine, t(), holder=False, stamp=late).outcome == Outcome.TOO_OLD


def test_a_confirmation_of_what_is_not_known_does_nothing(machine):
    assert forget(machine, t(), 1).outcome == Outcome.FORGOTTEN
    assert kinds(machine) == EMPTY


# -- recovery: Decide


def test_an_undecided_transaction_is_aborted_for_ever(machine, between):
    assert decide(machine, t()).outcome == Outcome.ABORTED
    machine = between(machine)
    assert commit(machine, t(), Put(b"a", b"x")).outcome == Outcome.ABORTED
    assert value(machine, b"a") == b"1"


def test_what_was_decided_is_told(machine, between):
    committed = commit(machine, t(), Put(b"a", b"x"))
    machine = between(machine)
    assert decide(machine, t()).outcome == Outcome.COMMITTED
    assert decide(machine, t(), holder=False) == committed


def test_too_old_is_unknown_to_the_coordinator_and_an_abort_to_a_holder(machine):
    late = NOW + LIFE_MS
    assert decide(machine, t(), holder=False, stamp=late).outcome == Outcome.TOO_OLD
    assert decide(machine, t(), holder=True, stamp=late).outcome == Outcome.ABORTED
    assert kinds(machine) == EMPTY


# -- what is remembered, and for how long


def test_log_time_forgets_what_it_refuses_from_then_on(machine):
    for number in (1, 2):
        resolve(machine, t(number, NOW + number), committed=False)
    assert kinds(machine) == (0, 0, 2, 0)
    machine.mark(NOW + 1 + LIFE_MS)
    assert kinds(machine) == (0, 0, 1, 0)
    assert prepare(machine, t(1, NOW + 1), Put(b"a", b"x"), stamp=machine.stamp).outcome == Outcome.TOO_OLD
    assert prepare(machine, t(2, NOW + 2), Put(b"a", b"x"), stamp=machine.stamp).outcome == Outcome.FINISHED


def test_a_mark_forgets_and_refuses_lower_numbers_of_its_session(machine, between):
    other = b"K2-cd-1"
    for number in (1, 2, 3):
        resolve(machine, t(number), committed=False)
    resolve(machine, t(1, session=other), committed=False)
    assert prepare(machine, t(5), Look((b"a",)), mark=3).outcome == Outcome.PREPARED
    machine = between(machine)
    assert kinds(machine) == (1, 0, 2, 1)  # number 3, and that of the other session
    for number in (1, 2):
        assert prepare(machine, t(number), Put(b"c", b"x")).outcome == Outcome.TOO_OLD
        assert commit(machine, t(number), Put(b"c", b"x")).outcome == Outcome.TOO_OLD
        assert decide(machine, t(number), holder=False).outcome == Outcome.TOO_OLD
        assert decide(machine, t(number), holder=True).outcome == Outcome.ABORTED
        assert resolve(machine, t(number)).outcome == Outcome.RESOLVED
    assert prepare(machine, t(3), Put(b"c", b"x")).outcome == Outcome.FINISHED
    assert prepare(machine, t(1, session=other), Put(b"c", b"x")).outcome == Outcome.FINISHED
    assert kinds(machine) == (1, 0, 2, 1)
    assert (
        commit(machine, t(6), Put(b"c", b""), mark=2).outcome == Outcome.COMMITTED
    )  # a mark never goes back
    assert prepare(machine, t(2), Put(b"d", b"x")).outcome == Outcome.TOO_OLD


def test_a_mark_leaves_locks_and_decisions(machine):
    prepare(machine, t(1), Put(b"a", b"x"))
    commit(machine, t(2), Put(b"b", b"x"))
    commit(machine, t(9), Put(b"c", b"x"), mark=9, participants=())
    assert prepare(machine, t(1), Put(b"a", b"x")).outcome == Outcome.PREPARED
    assert decide(machine, t(2)).outcome == Outcome.COMMITTED
    resolve(machine, t(1))
    assert value(machine, b"a") == b"x"
    forget(machine, t(2))
    assert kinds(machine) == (0, 0, 1, 1)


def test_a_mark_is_kept_as_long_as_it_refuses_more_than_age_does(machine):
    prepare(machine, t(5, NOW + 500), Look((b"a",)), mark=5)
    resolve(machine, t(5, NOW + 500))
    machine.mark(NOW + 499 + LIFE_MS)
    assert prepare(machine, t(4, NOW + 500), Put(b"a", b""), stamp=machine.stamp).outcome == Outcome.TOO_OLD
    machine.mark(NOW + 500 + LIFE_MS)
    assert kinds(machine) == EMPTY
    assert prepare(machine, t(4, NOW + 500), Put(b"a", b""), stamp=machine.stamp).outcome == Outcome.TOO_OLD


def test_memory_follows_what_is_open(machine):
    for number in range(1, 3000):
        prepare(machine, t(number), Put(b"a", b""), mark=max(1, number - 20))
        resolve(machine, t(number))
        assert kinds(machine)[2] <= 21
    index = machine.keyspace.transactions
    assert index._remembered <= 21
    for session in range(500):  # sessions that end without a mark: log time forgets them
        name = b"K%d" % session
        start = NOW + 1000 * session
        prepare(machine, t(1, start, name), Put(b"a", b""), stamp=start)
        resolve(machine, t(1, start, name), stamp=start)
    assert len(index._numbers) <= 2 * kinds(machine)[2] + FORGOTTEN_MIN < 250
    assert {number for numbers in index._numbers.values() for number in numbers} == {1}
