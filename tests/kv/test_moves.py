"""What each step of a move of slots does to one group: what it refuses, and what is there afterwards."""

from typing import Any

import pytest

from kraft.kv import commands as kv
from kraft.kv.checkpoint import moved_sum, record_hash
from kraft.kv.ledger import LedgerKind
from kraft.kv.machine import Machine
from kraft.kv.move_reply import MoveOutcome, MoveReply, move_reply
from kraft.kv.once import SLOTS_MAX, token_slots
from kraft.kv.replies import CommandFailure
from kraft.kv.slots import SLOTS, SlotRange, SlotState, SlotTable, slot_of
from kraft.kv.transaction_reply import StepOutcome
from tests.kv.group_states import NOW, commit, due, one, prepare, resolve, restored, t

KEY, OTHER = b"{k}1", b"{k}2"
SLOT = slot_of(KEY)
STAYS = b"{x}"  # a key of another slot of the source
ALL, NOTHING = (0, SLOTS - 1), (0, -1)
SOURCE, RECEIVER = 1, 2


def do(machine: Machine, command: Any, stamp: int = 0) -> MoveReply:
    return move_reply(one(machine, command, max(stamp, machine.stamp, NOW)))


def freeze(machine: Machine, number: int = 1, receiver: int = RECEIVER) -> MoveReply:
    return do(machine, kv.Freeze(number, SLOT, SLOT, receiver, ALL))


def open_(machine: Machine, number: int = 1) -> MoveOutcome:
    return do(machine, kv.Open(number, SLOT, SLOT, NOTHING)).outcome


def cancel(machine: Machine, number: int = 1) -> MoveOutcome:
    return do(machine, kv.Cancel(number, SLOT, SLOT, NOTHING)).outcome


def unfreeze(machine: Machine, number: int = 1) -> MoveOutcome:
    return do(machine, kv.Unfreeze(number, SLOT, SLOT)).outcome


def release(machine: Machine, number: int = 1, keys: int = 2) -> MoveOutcome:
    return do(machine, kv.Release(number, SLOT, SLOT, keys)).outcome


def rows(machine: Machine) -> tuple[kv.Row, ...]:
    records = machine.keyspace.records.values()
    return tuple(kv.Row(r.key, r.value, r.expires, r.revision) for r in records if slot_of(r.key) == SLOT)


def tokens(machine: Machine) -> tuple[kv.Row, ...]:
    found = machine.keyspace.ledger.rows.items()
    return tuple(kv.Row(k[1:], r.value, r.expires) for k, r in found if k[0] == LedgerKind.TOKEN)


def activate(source: Machine, number: int = 1, chunk: int = 0, **changes: Any) -> kv.Activate:
    """An Activate that brings all keys of the source, as if none had come before."""
    found = rows(source)
    sums = [record_hash(row.key, row.value or b"", row.revision, row.expires) for row in found]
    total = moved_sum(bytes(16), sum([int.from_bytes(each, "big") for each in sums]), 0)
    given: dict[str, Any] = {
        "rows": found,
        "tokens": tokens(source),
        "keys": len(found),
        "sum": total,
    } | changes
    return kv.Activate(number, chunk, revision=source.revision, stamp=source.stamp, **given)


def moved(source: Machine, receiver: Machine, number: int = 1) -> None:
    assert open_(receiver, number) == MoveOutcome.OPEN
    assert freeze(source, number).outcome == MoveOutcome.FROZEN
    assert do(receiver, activate(source, number), source.stamp).outcome == MoveOutcome.ACTIVE
    assert release(source, number) == MoveOutcome.RELEASED


@pytest.fixture
def source() -> Machine:
    machine = Machine()
    machine.apply(NOW, [kv.Put(KEY, b"a"), kv.Put(OTHER, b"b"), kv.Put(STAYS, b"c")])
    return machine


@pytest.fixture
def receiver() -> Machine:
    machine = Machine()
    machine.apply(NOW, [kv.Put(b"its own", b"")])
    return machine


# -- the table -------------------------------------------------------------------------------------------


def test_a_group_without_a_move_checks_nothing(source):
    assert source.keyspace.slots is None
    assert one(source, kv.Put(KEY, b"b")) == "OK"


def test_a_table_covers_all_slots_and_joins_those_that_are_alike():
    table = SlotTable.initial(10, 20)
    assert [(part.first, part.last) for part in table.ranges] == [(0, 9), (10, 20), (21, SLOTS - 1)]
    table.change(15, 18, lambda part: SlotRange(part.first, part.last, SlotState.GONE, 7, 0, 3))
    assert [part.first for part in table.ranges] == [0, 10, 15, 19, 21]
    assert table.within(14, 16) == [SlotRange(14, 14, 1), SlotRange(15, 16, 0, 7, 0, 3)]
    table.change(15, 18, lambda part: SlotRange(part.first, part.last, SlotState.OWN))
    assert [part.first for part in table.ranges] == [0, 10, 21]
    table.change(21, SLOTS - 1, lambda part: SlotRange(part.first, part.last, SlotState.FROZEN))
    assert [(part.first, part.last) for part in table.ranges] == [(0, 9), (10, 20), (21, SLOTS - 1)]
    assert table.within(SLOTS, SLOTS - 1) == table.within(0, -1) == []
    assert SlotTable.initial(*ALL).ranges == [SlotRange(0, SLOTS - 1, SlotState.OWN)]
    assert SlotTable.initial(*NOTHING).ranges == [SlotRange(0, SLOTS - 1, SlotState.GONE)]


def test_a_replica_that_starts_anew_has_the_same_table(source, receiver):
    open_(receiver)
    do(receiver, kv.Import(1, 0, rows(source)))
    freeze(source)
    for machine in (source, receiver):
        again = restored(machine).keyspace.slots
        table = machine.keyspace.slots
        assert table is not None
        assert again is not None
        assert (again.ranges, again.moves, again.hidden) == (table.ranges, table.moves, table.hidden)
        assert restored(machine).digest() == machine.digest()
    assert one(restored(source), kv.Put(KEY, b"x")) is CommandFailure.LOCKED


# -- who may use a slot ----------------------------------------------------------------------------------


def test_a_frozen_slot_answers_nobody_and_its_group_answers_for_others(source):
    freeze(source)
    get = kv.Exec((), (kv.Look((KEY,)),))
    for command in (kv.Put(KEY, b"x"), get, kv.Flush(), kv.Exec((), (kv.Look(()),))):
        assert one(source, command) is CommandFailure.LOCKED
    assert one(source, kv.Put(STAYS, b"x")) == "OK"
    after = source.apply(NOW, [kv.Put(KEY, b"x"), kv.Put(STAYS, b"y")])
    assert after == [CommandFailure.LOCKED, CommandFailure.LOCKED]  # they keep their order
    assert (source.keyspace.get(KEY), source.keyspace.get(STAYS)) == (b"a", b"x")


def test_an_entry_goes_on_after_a_command_for_a_slot_of_another_group(source, receiver):
    moved(source, receiver)
    replies = source.apply(NOW, [kv.Put(KEY, b"x"), kv.Put(STAYS, b"y")])
    assert replies == [CommandFailure.NOT_OWNER, "OK"]
    assert one(receiver, kv.Exec((), (kv.Look((KEY,)),)))[1][0][0] == b"a"


def test_what_stands_after_a_freeze_in_its_entry_is_refused(source):
    command = kv.Freeze(1, SLOT, SLOT, RECEIVER, ALL)
    replies = source.apply(NOW, [kv.Put(KEY, b"1"), command, kv.Put(KEY, b"2")])
    assert replies[2] is CommandFailure.LOCKED
    assert source.keyspace.get(KEY) == b"1"


def test_every_way_to_touch_a_key_asks_for_its_owner(source, receiver):
    moved(source, receiver)
    watched = (kv.Watched(KEY, 1, 1),)
    token = kv.Once(b"t", bytes(16), kv.Put(KEY, b"x"), 1000)
    for command in (
        kv.Delete((STAYS, KEY)),
        kv.SetMany((STAYS, b"", KEY, b"")),
        kv.Exec(watched, (kv.Put(STAYS, b""),)),
        kv.Evaluated((kv.Put(KEY, b""),)),
        kv.Guarded(KEY, 1, kv.Put(STAYS, b"")),
        kv.Lock(KEY, 1000, b"me"),
        kv.Copy(KEY, STAYS, True),
        token,
    ):
        assert one(source, command) is CommandFailure.NOT_OWNER
    assert source.keyspace.ledger.get(LedgerKind.TOKEN, b"t") is None
    assert prepare(source, t(1), kv.Put(KEY, b"x")).outcome == StepOutcome.NOT_OWNER
    done = commit(source, t(2), kv.Put(KEY, b"x"))
    assert (done.outcome, done.reason) == (StepOutcome.ABORTED, StepOutcome.NOT_OWNER)


def test_a_write_of_a_locked_key_waits_in_a_group_whose_slots_have_moved_as_well(source, receiver):
    moved(source, receiver)
    prepare(source, t(1), kv.Put(STAYS, b"t"))
    assert source.apply(NOW, [kv.Put(STAYS, b"x"), kv.Put(b"{x}2", b"y")]) == [CommandFailure.LOCKED] * 2
    resolve(source, t(1))
    assert source.apply(NOW, [kv.Put(STAYS, b"x"), kv.Put(b"{x}2", b"y")]) == ["OK", "OK"]


def test_steps_of_a_transaction_wait_for_a_frozen_slot(source):
    freeze(source)
    assert prepare(source, t(1), kv.Put(KEY, b"x")).outcome == StepOutcome.LOCKED
    done = commit(source, t(2), kv.Put(KEY, b"x"))
    assert (done.outcome, done.reason) == (StepOutcome.ABORTED, StepOutcome.LOCKED)


# -- freeze ----------------------------------------------------------------------------------------------


def test_locked_keys_do_not_leave(source):
    prepare(source, t(), kv.Look((KEY,)))
    assert freeze(source).outcome == MoveOutcome.LOCKED
    resolve(source, t())
    prepare(source, t(2), kv.Put(STAYS, b""))
    assert freeze(source).outcome == MoveOutcome.FROZEN
    prepare(source, t(3), kv.Put(STAYS + b"2", b""))
    assert release(source) == MoveOutcome.RELEASED


def test_nothing_leaves_while_all_keys_are_locked(source):
    prepare(source, t(), kv.Flush())
    assert freeze(source).outcome == MoveOutcome.LOCKED


def test_a_freeze_is_for_one_move_and_one_receiver(source):
    assert freeze(source).outcome == MoveOutcome.FROZEN
    assert freeze(source).outcome == MoveOutcome.FROZEN
    assert freeze(source, receiver=3).outcome == MoveOutcome.REFUSED
    assert freeze(source, number=2).outcome == MoveOutcome.REFUSED
    unfreeze(source)
    assert freeze(source).outcome == MoveOutcome.REFUSED  # the number is used up
    assert freeze(source, number=2).outcome == MoveOutcome.FROZEN
    assert unfreeze(source) == MoveOutcome.OWN
    assert one(source, kv.Put(KEY, b"x")) is CommandFailure.LOCKED


def test_a_freeze_after_its_unfreeze_has_no_effect(source):
    freeze(source, number=1)
    unfreeze(source, number=1)
    unfreeze(source, number=5)
    assert freeze(source, number=5).outcome == MoveOutcome.REFUSED


def test_a_freeze_that_comes_late_leaves_a_slot_that_came_back_alone(source, receiver):
    moved(source, receiver, 1)
    do(source, kv.Sweep(1, (KEY, OTHER)))
    back = do(receiver, kv.Freeze(2, SLOT, SLOT, SOURCE, NOTHING))
    assert back.outcome == MoveOutcome.FROZEN
    assert do(source, kv.Open(2, SLOT, SLOT, ALL)).outcome == MoveOutcome.OPEN
    assert do(source, activate(receiver, 2)).outcome == MoveOutcome.ACTIVE
    assert freeze(source, number=1).outcome == MoveOutcome.REFUSED
    assert release(source, number=1) == MoveOutcome.RELEASED  # as it was, and without effect
    assert one(source, kv.Put(KEY, b"x")) == "OK"


# -- the receiver ----------------------------------------------------------------------------------------


def test_keys_that_come_are_hidden_until_the_move_is_active(source, receiver):
    open_(receiver)
    assert do(receiver, kv.Import(1, 0, rows(source))) == MoveReply(outcome=MoveOutcome.OPEN, count=1)
    assert len(receiver.keyspace) == 1
    assert one(receiver, kv.Put(KEY, b"x")) is CommandFailure.NOT_OWNER
    freeze(source)
    done = do(receiver, activate(source, 1, 1, rows=()))
    assert (done.outcome, done.count) == (MoveOutcome.ACTIVE, 2)
    assert (len(receiver.keyspace), receiver.keyspace.get(KEY)) == (3, b"a")
    assert do(receiver, activate(source, 1, 1, rows=())) == done
    assert do(receiver, kv.Import(1, 1, (kv.Row(KEY, b"late", 0, 1),))) == done
    assert receiver.keyspace.get(KEY) == b"a"


def test_an_import_has_its_effect_once_and_in_order(source, receiver):
    open_(receiver)
    first = kv.Import(1, 0, (kv.Row(KEY, b"old", 0, 1),))
    do(receiver, first)
    assert do(receiver, kv.Import(1, 2, rows(source))).count == 1
    assert do(receiver, kv.Import(1, 1, (kv.Row(KEY, None),))).count == 2
    assert do(receiver, first).count == 2
    assert KEY not in receiver.keyspace
    cancel(receiver)
    assert do(receiver, kv.Import(1, 2, rows(source))).outcome == MoveOutcome.CANCELLED
    assert KEY not in receiver.keyspace


@pytest.mark.parametrize("wrong", [kv.Row(STAYS, b"x", 0, 1), kv.Row(KEY, b"x", 0, 1)])
def test_rows_of_other_slots_and_keys_that_come_twice_are_refused(source, receiver, wrong):
    """They would be counted as hidden keys that nothing removes, or overwrite keys that are in use."""
    open_(receiver)
    first = kv.Row(KEY, b"a", 0, 1)
    assert do(receiver, kv.Import(1, 0, (first, wrong))).outcome == MoveOutcome.REFUSED
    freeze(source)
    whole = activate(source, rows=(first, wrong), keys=-1, sum=b"")
    assert do(receiver, whole).outcome == MoveOutcome.MISMATCH
    assert receiver.keyspace.get(KEY) is None
    assert receiver.keyspace.slots.hidden == 0
    cancel(receiver)
    assert len(receiver.keyspace) == len(restored(receiver).keyspace) == 1
    assert do(receiver, kv.Import(1, 0, (first,))).outcome == MoveOutcome.CANCELLED


def test_a_receiver_with_other_keys_than_the_source_refuses(source, receiver):
    open_(receiver)
    freeze(source)
    whole = activate(source)
    for wrong in (
        activate(source, rows=()),
        activate(source, chunk=1),
        activate(source, keys=3),
        activate(source, sum=bytes(15) + b"\1"),
        activate(source, rows=(*rows(source), kv.Row(STAYS, b"", 0, 1))),
    ):
        assert do(receiver, wrong).outcome == MoveOutcome.MISMATCH
    assert do(receiver, whole).outcome == MoveOutcome.ACTIVE


def test_log_time_does_not_go_back_for_a_key(source, receiver):
    open_(receiver)
    source.apply(NOW + 50, ())
    freeze(source)
    assert do(receiver, activate(source)).outcome == MoveOutcome.EARLY
    assert do(receiver, activate(source), NOW + 50).outcome == MoveOutcome.ACTIVE


def test_a_revision_is_never_given_twice_to_a_key(source, receiver):
    for _ in range(20):
        source.apply(NOW, [kv.Put(KEY, b"x")])
    revision = source.keyspace.revision(KEY)
    moved(source, receiver)
    assert receiver.keyspace.revision(KEY) == revision
    one(receiver, kv.Put(KEY, b"y"))
    assert receiver.keyspace.revision(KEY) > revision


def test_no_revision_that_the_source_has_given_comes_again(source, receiver):
    """A client may have seen it, with a value that was removed since."""
    one(source, kv.Put(KEY, b"seen"))
    seen = source.keyspace.records[KEY].revision
    one(source, kv.Delete((KEY,)))
    moved(source, receiver)
    one(receiver, kv.Put(KEY, b"another"))
    assert receiver.keyspace.records[KEY].revision > seen


def test_a_watch_of_a_missing_key_does_not_survive_what_the_source_knew(source, receiver):
    watched = (kv.Watched(b"{k}gone", 0, source.revision),)
    source.apply(NOW, [kv.Put(b"{k}gone", b""), kv.Delete((b"{k}gone",))])
    moved(source, receiver)
    assert one(receiver, kv.Exec(watched, (kv.Put(KEY, b"x"),))) is None


def test_what_a_group_has_or_expects_is_not_opened(source, receiver):
    assert do(source, kv.Open(1, SLOT, SLOT, ALL)).outcome == MoveOutcome.REFUSED
    open_(receiver, 1)
    assert open_(receiver, 2) == MoveOutcome.REFUSED
    do(receiver, kv.Import(1, 0, rows(source)))
    cancel(receiver, 1)
    assert open_(receiver, 2) == MoveOutcome.REFUSED  # its keys are still there
    assert do(receiver, kv.Sweep(1, (KEY, STAYS))).count == 1
    assert do(receiver, kv.Sweep(1, (OTHER,))).count == 0
    assert open_(receiver, 2) == MoveOutcome.OPEN
    assert open_(receiver, 1) == MoveOutcome.CANCELLED


def test_a_move_is_active_or_cancelled_for_good(source, receiver):
    assert cancel(receiver, 1) == MoveOutcome.CANCELLED
    assert open_(receiver, 1) == MoveOutcome.CANCELLED
    moved(source, receiver, 2)
    assert cancel(receiver, 2) == MoveOutcome.ACTIVE
    assert one(receiver, kv.Put(KEY, b"x")) == "OK"


def test_a_later_cancel_ends_an_earlier_move(source, receiver):
    open_(receiver, 1)
    freeze(source, 1)
    cancel(receiver, 2)
    assert do(receiver, activate(source)).outcome == MoveOutcome.CANCELLED


def test_nothing_becomes_active_while_all_keys_of_the_receiver_are_locked(source, receiver):
    prepare(receiver, t(), kv.Flush())
    open_(receiver)
    freeze(source)
    assert do(receiver, activate(source)).outcome == MoveOutcome.LOCKED
    resolve(receiver, t())
    assert do(receiver, activate(source)).outcome == MoveOutcome.CANCELLED


@pytest.mark.parametrize("prepared", [False, True])
def test_a_flush_cancels_moves_whose_keys_it_removes(source, receiver, prepared):
    open_(receiver)
    do(receiver, kv.Import(1, 0, rows(source)))
    if prepared:
        prepare(receiver, t(), kv.Flush())
        resolve(receiver, t())
    else:
        one(receiver, kv.Flush())
    assert len(receiver.keyspace) == 0
    assert receiver.keyspace.ledger.counts[LedgerKind.MOVE] == 0
    freeze(source)
    assert do(receiver, activate(source, 1, 1, rows=())).outcome == MoveOutcome.CANCELLED


# -- afterwards ------------------------------------------------------------------------------------------


def test_the_source_hides_what_is_left_until_it_is_swept(source, receiver):
    moved(source, receiver)
    assert len(source.keyspace) == 1
    assert len(source.keyspace.records) == 3
    do(source, kv.Sweep(1, (KEY,)))
    do(source, kv.Sweep(1, (KEY, OTHER, STAYS)))
    assert list(source.keyspace.records) == [STAYS]
    assert source.keyspace.ledger.counts[LedgerKind.MOVE] == 0
    assert len(restored(source).keyspace) == 1
    assert do(receiver, kv.Close(1)).outcome == MoveOutcome.CLOSED
    assert receiver.keyspace.ledger.counts[LedgerKind.MOVE] == 0


def test_a_slot_that_is_not_frozen_is_not_released(source):
    assert release(source) == MoveOutcome.REFUSED
    freeze(source, number=2)
    assert release(source, number=1) == MoveOutcome.REFUSED
    assert one(source, kv.Put(STAYS, b"")) == "OK"


def test_a_sweep_leaves_other_keys_alone(source, receiver):
    moved(source, receiver)
    do(source, kv.Sweep(1, (STAYS,)))
    do(source, kv.Sweep(9, (KEY,)))
    assert len(source.keyspace.records) == 3


# -- time, tokens and locks ------------------------------------------------------------------------------


def test_keys_expire_where_they_are_used(source, receiver):
    due(source, KEY)
    freeze(source)
    source.apply(NOW + 20, ())
    assert KEY in source.keyspace  # the receiver has it
    open_(receiver)
    receiver.apply(NOW + 20, ())
    do(receiver, kv.Import(1, 0, rows(source)))
    receiver.apply(NOW + 30, ())
    assert KEY in receiver.keyspace.records
    assert receiver.keyspace.due.next() is None
    assert do(receiver, activate(source, 1, 1, rows=())).outcome == MoveOutcome.ACTIVE
    assert KEY not in receiver.keyspace
    unfreeze(source)
    assert KEY not in source.keyspace


def test_a_token_goes_with_each_of_its_slots(source, receiver):
    old = kv.Once(b"old", bytes(16), kv.Put(KEY, b"1"), 10_000)
    one(source, old)  # the group has no table yet
    freeze(source)
    unfreeze(source)
    both = kv.Once(b"both", bytes(16), kv.SetMany((KEY, b"2", STAYS, b"2")), 10_000)
    many = kv.Once(b"many", bytes(16), kv.Delete(tuple(b"%d" % n for n in range(200))), 10_000)
    one(source, both)
    one(source, many)
    found = {row.key: token_slots(row.value or b"") for row in tokens(source)}
    assert found == {b"old": None, b"many": None, b"both": tuple(sorted((SLOT, slot_of(STAYS))))}
    assert len(found[b"both"] or ()) <= SLOTS_MAX
    one(source, kv.Put(KEY, b"3"))
    assert open_(receiver, 2) == MoveOutcome.OPEN
    freeze(source, 2)
    do(receiver, activate(source, 2))
    release(source, 2)
    assert one(receiver, old) == "OK"
    assert receiver.keyspace.get(KEY) == b"3"
    assert one(source, both) is CommandFailure.NOT_OWNER


def test_a_token_that_is_over_gives_way_to_its_second_use(source, receiver):
    token = kv.Once(b"t", bytes(16), kv.Increment(b"its own", 1), 10)
    one(receiver, token)
    later = kv.Once(b"t", bytes(16), kv.Put(KEY, b"1"), 10_000)
    one(source, later, NOW + 20)
    freeze(source)
    open_(receiver)
    do(receiver, activate(source), NOW + 20)
    one(receiver, kv.Put(KEY, b"2"), NOW + 20)
    assert one(receiver, later, NOW + 20) == "OK"
    assert receiver.keyspace.get(KEY) == b"2"


def test_a_lock_of_a_client_keeps_its_token(source, receiver):
    held = one(source, kv.Lock(KEY + b"lock", 1000, b"me"))
    open_(receiver)
    freeze(source)
    do(receiver, activate(source))
    assert one(receiver, kv.Guarded(KEY + b"lock", held[1], kv.Put(KEY, b"x"))) == "OK"


def test_replies_travel():
    for reply in (
        MoveReply(outcome=MoveOutcome.FROZEN, revision=3, stamp=NOW),
        MoveReply(outcome=MoveOutcome.OWN),
    ):
        assert move_reply(reply.to_reply()) == reply
    for wrong in ("OK", None, [99, 0, 0, 0], [1]):
        with pytest.raises(ValueError, match="no reply to a step of a move"):
            move_reply(wrong)
