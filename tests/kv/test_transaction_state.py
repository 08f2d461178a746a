"""Transactions over several groups in one machine: locks and expiry, entries with other commands, state."""

from typing import Any

import pytest

from kraft.kv.commands import (
    Copy,
    Evaluated,
    Exec,
    Expire,
    Expiry,
    Flush,
    Guarded,
    Increment,
    Lock,
    Look,
    Once,
    Prepare,
    Put,
    Resolve,
    Set,
    SetMany,
    Watched,
    decode,
    encode,
    expires_within,
    needed_version,
)
from kraft.kv.commands.transaction import transaction_name
from kraft.kv.machine import STEPS, Machine
from kraft.kv.overlay import Overlay
from kraft.kv.replies import CommandFailure, decode_replies, encode_replies
from kraft.kv.transaction_reply import (
    StepOutcome as Outcome,
)
from kraft.kv.transaction_reply import (
    transaction_reply,
)
from tests.kv.group_states import (
    HOME,
    NOW,
    SESSION,
    commit,
    due,
    forget,
    one,
    prepare,
    resolve,
    restored,
    t,
    work,
)


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


# -- keys under locks and log time


def test_a_locked_key_does_not_expire_before_resolve(machine, between):
    due(machine, b"a", b"b")
    prepare(machine, t(), Look((b"a",)), Put(b"c", b"x"))
    machine = between(machine)
    machine.apply(NOW + 50, ())
    assert (value(machine, b"a"), value(machine, b"b"), machine.expired) == (b"1", None, 1)
    assert machine.keyspace.due.next() == NOW + 10  # reads come before it
    assert one(between(machine), Exec((), (Look((b"a",)),)), NOW + 60)[2] == [[1, 0]]
    machine = between(machine)
    resolve(machine, t(), stamp=NOW + 70)
    assert (value(machine, b"a"), machine.expired) == (None, 2)
    assert machine.keyspace.due.next() is None


def test_a_locked_key_that_gets_another_value_keeps_that(machine, between):
    due(machine, b"a", b"b")
    prepare(machine, t(), Put(b"a", b"x"), Set(b"b", b"y", expiry=Expiry.RELATIVE, expiry_ms=30))
    machine = between(machine)
    machine.apply(NOW + 25, ())
    resolve(machine, t(), stamp=NOW + 29)
    assert (value(machine, b"a"), value(machine, b"b")) == (b"x", b"y")
    assert machine.keyspace.due.next() == NOW + 30  # from the stamp of Prepare on
    machine.apply(NOW + 30, ())
    assert value(machine, b"b") is None


def test_what_is_due_when_it_takes_effect_expires_at_once(machine):
    prepare(machine, t(), Set(b"a", b"x", expiry=Expiry.RELATIVE, expiry_ms=30))
    assert resolve(machine, t(), stamp=NOW + 30).revision == 3
    assert (value(machine, b"a"), machine.expired) == (None, 1)


def test_one_lock_of_two_still_keeps_a_key(machine):
    due(machine, b"a")
    prepare(machine, t(1), Look((b"a",)))
    prepare(machine, t(2), Look((b"a",)))
    machine.apply(NOW + 50, ())
    resolve(machine, t(1), stamp=NOW + 51)
    assert value(machine, b"a") == b"1"
    resolve(machine, t(2), stamp=NOW + 52, committed=False)
    assert value(machine, b"a") is None


def test_no_key_expires_under_the_lock_of_a_group(machine):
    due(machine, b"a", b"b")
    prepare(machine, t(), Look(()))
    machine.apply(NOW + 50, ())
    assert len(machine.keyspace) == 2
    resolve(machine, t(), stamp=NOW + 51)
    assert (len(machine.keyspace), machine.expired) == (0, 2)


def test_home_lets_due_keys_go_with_its_own_locks(machine):
    due(machine, b"a")
    prepare(machine, t(), Look((b"a",)))
    reply: Any = commit(machine, t(), Look((b"a",)), stamp=NOW + 50)
    assert reply.replies[2] == [[1, None]]
    assert machine.expired == 1


def test_a_script_sees_a_locked_key_that_is_due(machine):
    due(machine, b"a", b"b")
    prepare(machine, t(), Look((b"a",)))
    overlay = Overlay(machine, NOW + 50)
    assert overlay.machine.keyspace.get(b"a") == b"1"
    assert overlay.machine.keyspace.get(b"b") is None
    assert len(overlay.machine.keyspace) == 1


# -- entries of several commands


def test_an_entry_that_meets_a_lock_is_done_up_to_there(machine):
    prepare(machine, t(1), Put(b"a", b"x"))
    replies = machine.apply(
        NOW,
        [
            Put(b"b", b"before"),
            SetMany((b"a", b"y", b"z", b"y")),
            Put(b"c", b"after"),
            Prepare(t(2), 0, HOME, work(Put(b"d", b"d"))),
            Resolve(t(1), True),
            Put(b"a", b"late"),
        ],
    )
    locked = CommandFailure.LOCKED
    assert [replies[place] for place in (0, 1, 2, 5)] == ["OK", locked, locked, locked]
    assert [transaction_reply(reply).outcome for reply in replies[3:5]] == [
        Outcome.PREPARED,
        Outcome.RESOLVED,
    ]
    assert [value(machine, key) for key in (b"a", b"b", b"c", b"z")] == [b"x", b"before", None, None]


def test_a_lock_holds_for_the_rest_of_the_entry_that_takes_it(machine):
    replies = machine.apply(
        NOW, [Prepare(t(), 0, HOME, work(Put(b"a", b"x"))), Put(b"a", b"y"), Put(b"b", b"y")]
    )
    assert replies[1:] == [CommandFailure.LOCKED] * 2
    assert (value(machine, b"a"), value(machine, b"b")) == (b"1", b"2")


def test_a_lock_is_free_for_the_rest_of_the_entry_that_resolves_it(machine):
    prepare(machine, t(), Put(b"a", b"x"))
    replies = machine.apply(NOW, [Resolve(t(), True), Increment(b"b", 1), Put(b"a", b"y")])
    assert replies[1:] == [3, "OK"]
    assert value(machine, b"a") == b"y"


@pytest.mark.parametrize(
    "command",
    [
        Once(b"token", bytes(16), Put(b"a", b"y"), 1000),
        Guarded(b"a", 1, Put(b"z", b"y")),
        Copy(b"a", b"z"),
        Evaluated((), b"", (Watched(b"a", 1, 1),)),
        Exec((Watched(b"a", 1, 1),), (Put(b"z", b"y"),)),
        Exec((), (Put(b"z", b"y"),), (Watched(b"a", 1, 1),)),
        Exec((), (Evaluated((Put(b"a", b"y"),)),)),
        Lock(b"a", 1000),
    ],
)
def test_every_kind_of_command_waits_for_what_it_touches(machine, command):
    prepare(machine, t(), Put(b"a", b"x"))
    before = machine.digest()
    assert one(machine, command) == CommandFailure.LOCKED
    assert machine.digest() == before


# -- state


def test_everything_is_in_the_digest_and_comes_back(machine):
    seen = {machine.digest()}
    prepare(machine, t(1), Put(b"a", b"x"))
    seen.add(machine.digest())
    commit(machine, t(2), Put(b"b", b"x"))
    seen.add(machine.digest())
    resolve(machine, t(3), committed=False)
    seen.add(machine.digest())
    assert len(seen) == 4
    again = restored(machine)
    assert again.digest() == machine.digest()
    for each in (machine, again):
        resolve(each, t(1))
        forget(each, t(2))
    assert again.digest() == machine.digest()


def test_replicas_that_get_the_bytes_agree(machine):
    follower = restored(machine)
    batch: list[Any] = [
        Prepare(t(1), 1, HOME, work(Increment(b"a", 1), Look((b"b",)), Flush())),
        Resolve(t(1), True),
        Prepare(t(2), 2, HOME, work(Put(b"q", b""), watched=(Watched(b"n", 0, 0),))),
    ]
    assert machine.apply(NOW + 1, batch) == follower.apply(NOW + 1, decode(encode(batch)))
    assert machine.digest() == follower.digest()


def test_what_the_host_asks_of_a_step():
    absolute = Expire(b"a", Expiry.ABSOLUTE, 50)
    guarded = Guarded(b"l", 1, absolute)
    for command in (guarded, Exec((), (guarded,)), Once(b"token", bytes(16), Exec((), (guarded,)))):
        assert expires_within(command, range(40, 60))
        assert not expires_within(command, range(60, 70))
    step_ = Prepare(t(), 0, HOME, work(absolute))
    assert expires_within(step_, range(40, 60))
    assert not expires_within(step_, range(60, 70))
    assert not expires_within(Resolve(t(), True), range(100))
    assert {needed_version([command]) for command in (step_, Resolve(t(), True))} == {4}
    assert len(STEPS) == 22


def test_replies_travel(machine):
    replies = machine.apply(
        NOW,
        [
            Prepare(t(1), 0, HOME, work(Look((b"a",)), Put(b"b", b"x"))),
            Prepare(t(2), 0, HOME, work(Put(b"a", b"x"))),
            Resolve(t(1), True),
        ],
    )
    for reply in replies:
        [there] = decode_replies(encode_replies([reply]))
        assert transaction_reply(there) == transaction_reply(reply)
    assert transaction_reply(CommandFailure.PREMATURE).outcome == Outcome.PREMATURE
    for wrong in ("OK", 5, None, [1, 2], CommandFailure.LOCKED):
        with pytest.raises(ValueError, match="no reply to a step"):
            transaction_reply(wrong)


def test_ids_are_the_same_by_session_and_number():
    assert t(1).name == t(1, NOW + 5).name == transaction_name(SESSION, 1)
    assert t(1).name != t(2).name
    assert t(1, session=b"x").name != t(1).name
