"""Tokens of KRAFT ONCE over several groups: their Commit, and every history of two attempts."""

from pathlib import Path
from typing import Any

import pytest
from msgspec.structs import replace

from kraft.kv.commands import (
    Commit,
    CommitOnce,
    Decide,
    Exec,
    Flush,
    Increment,
    Look,
    Once,
    OnceToken,
    Prepare,
    Put,
    Resolve,
    Watched,
    decode,
    encode,
    needed_version,
)
from kraft.kv.errors import UnknownCommand
from kraft.kv.footprint import first_key
from kraft.kv.ledger import LedgerKind
from kraft.kv.machine import Machine
from kraft.kv.once import token_slots
from kraft.kv.replies import CommandFailure, encode_replies
from kraft.kv.slots import SLOTS, SlotRange, SlotState, SlotTable, slot_of
from kraft.kv.transaction_reply import StepOutcome, TransactionReply
from tests.kv.group_states import NOW, one, restored, step, t, work
from tests.kv.once_scope import OnceScope
from tests.kv.transaction_scope import Violation

HOME = 0
PAGE = (Path(__file__).resolve().parents[2] / "docs/design/transactions.md").read_text()
REPLY: Any = ["all", 1]


def commit(id_: Any, participants: tuple[int, ...] = (1,), reply: Any = REPLY, **fields: Any) -> CommitOnce:
    token = OnceToken(b"token", fields.pop("fingerprint", bytes(16)), b"n", 1000, **fields)
    return CommitOnce(id_, 0, participants, token, encode_replies((reply,)))


def prepare(id_: Any, *steps: Any) -> Prepare:
    return Prepare(id_, 0, HOME, work(*(steps or (Increment(b"n", 1),))))


def outcome(reply: TransactionReply) -> tuple[Any, ...]:
    return reply.outcome, reply.reason, reply.replies


@pytest.fixture
def machine() -> Machine:
    machine = Machine()
    machine.raise_version(NOW, 7)
    return machine


def tokens(machine: Machine) -> int:
    return machine.keyspace.ledger.counts[LedgerKind.TOKEN]


@pytest.mark.parametrize("restarts", [False, True])
def test_what_home_has_prepared_takes_effect_with_its_token(machine: Machine, restarts: bool):
    step(machine, prepare(t(1)))
    if restarts:
        machine = restored(machine)
    assert step(machine, commit(t(1))).outcome is StepOutcome.COMMITTED
    assert machine.keyspace.get(b"n") == b"1"
    assert tokens(machine) == 1
    assert not machine.keyspace.transactions.prepared
    assert machine.keyspace.transactions.decisions[t(1).name].waiting == (1,)
    if restarts:
        machine = restored(machine)
    assert step(machine, commit(t(1))).outcome is StepOutcome.COMMITTED
    assert machine.keyspace.get(b"n") == b"1"


def test_the_next_attempt_hears_the_reply_and_leaves_no_lock(machine: Machine):
    step(machine, prepare(t(1)))
    step(machine, commit(t(1)))
    step(machine, prepare(t(2)))
    found = outcome(step(machine, commit(t(2))))
    assert found == (StepOutcome.ABORTED, StepOutcome.TOKEN, REPLY)
    assert machine.keyspace.get(b"n") == b"1"
    assert not machine.keyspace.transactions.prepared
    assert machine.repeats == 1
    assert step(machine, Decide(t(2), True)).outcome is StepOutcome.ABORTED


@pytest.mark.parametrize(
    ("fields", "failure"),
    [
        ({"fingerprint": bytes(15) + b"x"}, CommandFailure.TOKEN_REUSED),
        ({"tokens_max": 1}, REPLY),
    ],
)
def test_what_a_known_token_replies(machine: Machine, fields: dict[str, Any], failure: Any):
    step(machine, prepare(t(1)))
    step(machine, commit(t(1)))
    step(machine, prepare(t(2)))
    assert outcome(step(machine, commit(t(2), **fields)))[2] == failure


def test_no_room_for_a_token(machine: Machine):
    one(machine, Once(b"other", bytes(16), Put(b"a", b"1"), 1000))
    step(machine, prepare(t(1)))
    found = outcome(step(machine, commit(t(1), tokens_max=1)))
    assert found == (StepOutcome.ABORTED, StepOutcome.TOKEN, CommandFailure.TOO_MANY_TOKENS)
    assert machine.keyspace.get(b"n") is None
    assert not machine.keyspace.transactions.prepared


def test_a_token_is_forgotten_by_log_time(machine: Machine):
    for number, stamp in ((1, NOW), (2, NOW + 1000)):
        one(machine, prepare(t(number, stamp)), stamp)
        assert step(machine, commit(t(number, stamp)), stamp).outcome is StepOutcome.COMMITTED
    assert machine.keyspace.get(b"n") == b"2"


def test_what_recovery_has_aborted_does_not_commit(machine: Machine):
    step(machine, prepare(t(1)))
    step(machine, Decide(t(1), True))
    step(machine, Resolve(t(1), False))
    assert step(machine, commit(t(1))).outcome is StepOutcome.ABORTED
    assert tokens(machine) == 0


def test_what_was_never_prepared_does_not_commit(machine: Machine):
    found = outcome(step(machine, commit(t(1))))
    assert found == (StepOutcome.ABORTED, StepOutcome.LOCKED, None)
    assert tokens(machine) == 0
    assert step(machine, prepare(t(1))).outcome is StepOutcome.FINISHED


def test_a_key_that_falls_due_under_the_locks_is_there_for_what_was_prepared(machine: Machine):
    """The reply that is remembered was made from that."""
    one(machine, Put(b"n", b"5"))
    machine.keyspace.put(b"n", b"5", machine.revision, NOW + 10)
    step(machine, prepare(t(1), Increment(b"m", 1), Look((b"n",))))
    assert step(machine, commit(t(1)), NOW + 20).outcome is StepOutcome.COMMITTED
    assert machine.keyspace.get(b"n") is None
    assert machine.keyspace.get(b"m") == b"1"


def test_without_participants_nothing_is_left_open(machine: Machine):
    step(machine, prepare(t(1), Look((b"n",))))
    assert step(machine, commit(t(1), (), None)).outcome is StepOutcome.COMMITTED
    assert not machine.keyspace.transactions.decisions
    once = Once(b"token", bytes(16), Exec((), (Increment(b"n", 1),)), 1000)
    assert one(machine, once) is None, "in one group it is the same token"


def test_one_group_and_several_remember_the_same(machine: Machine):
    exec_ = Exec((), (Increment(b"n", 1),))
    first = one(machine, Once(b"token", bytes(16), exec_, 1000))
    step(machine, prepare(t(1)))
    assert outcome(step(machine, commit(t(1))))[1:] == (StepOutcome.TOKEN, first)


def test_a_token_goes_with_the_slot_of_its_key_alone(machine: Machine):
    step(machine, prepare(t(1), Increment(b"n", 1), Increment(b"other", 1)))
    step(machine, commit(t(1)))
    row = machine.keyspace.ledger.get(LedgerKind.TOKEN, b"token")
    assert row is not None
    assert token_slots(row.value) == (slot_of(b"n"),)


def test_the_sum_and_checkpoints_have_it(machine: Machine):
    follower = restored(machine)
    batch: list[Any] = [prepare(t(1)), commit(t(1))]
    assert machine.apply(NOW, batch) == follower.apply(NOW, decode(encode(batch)))
    assert machine.digest() == follower.digest()
    assert restored(machine).digest() == machine.digest()


@pytest.mark.parametrize("reply", [b"", b"\xc1", encode_replies(()), encode_replies((1, 2))])
def test_a_reply_that_is_none_comes_into_no_log(reply: bytes):
    data = encode([commit(t(1))])
    assert data.count(encode_replies((REPLY,))) == 1
    size = len(encode_replies((REPLY,)))
    place = data.index(encode_replies((REPLY,)))
    broken = data[: place - 1] + bytes([len(reply)]) + reply + data[place + size :]
    with pytest.raises(UnknownCommand):
        decode(broken)


def test_it_needs_its_version():
    assert needed_version([commit(t(1))]) == 7
    assert needed_version([Commit(t(1), 0, (1,), work(Put(b"a", b"b")))]) == 4


def test_the_first_key_follows_from_the_words():
    exec_ = Exec((Watched(b"w", 0, 0),), (Look(()), Look((b"b", b"a")), Put(b"c", b"1")))
    assert first_key(exec_) == b"b"
    assert first_key(Put(b"k", b"")) == b"k"
    assert first_key(Exec((Watched(b"w", 0, 0),), (Look(()),))) is None


# -- every history


@pytest.mark.parametrize(("scope", "states"), [({}, 113_141), ({"watches": True}, 17_792)])
def test_every_history_of_two_attempts_keeps_the_promises(scope: dict[str, Any], states: int):
    assert OnceScope(**scope).explore() == states
    assert f"{states:,}" in PAGE


def test_a_change_that_is_not_recorded_is_found():
    with pytest.raises(Violation, match="the client was told what no token remembers"):
        OnceScope(watches=True, mistake="a change is not recorded").explore()


def test_a_token_is_remembered_only_where_its_slot_is(machine: Machine) -> None:
    """Else the next attempt would look for it in another group, and execute the command again."""
    table = SlotTable([SlotRange(0, SLOTS - 1, SlotState.OWN)])
    machine.keyspace.slots = table
    step(machine, prepare(t(1), Put(b"{other}", b"1")))
    table.change(slot_of(b"n"), slot_of(b"n"), lambda part: replace(part, state=SlotState.GONE, peer=1))
    decided = step(machine, commit(t(1)))
    assert outcome(decided)[:2] == (StepOutcome.ABORTED, StepOutcome.NOT_OWNER)
    assert machine.keyspace.ledger.counts[LedgerKind.TOKEN] == 0
    assert machine.keyspace.get(b"{other}") is None


def test_no_token_lets_a_group_with_some_of_the_slots_remove_its_keys(machine: Machine) -> None:
    half = SLOTS // 2
    machine.keyspace.slots = SlotTable(
        [SlotRange(0, half - 1, SlotState.OWN), SlotRange(half, SLOTS - 1, SlotState.GONE, peer=1)]
    )
    flush = Exec((), (Flush(),))
    once = Once(b"t", bytes(16), flush, 1000)
    assert machine.apply(NOW, [flush, once]) == [CommandFailure.NOT_OWNER, CommandFailure.NOT_OWNER]
    machine.version = 6  # members of the program before do it, and all have to do the same
    assert machine.apply(NOW, [flush]) != [CommandFailure.NOT_OWNER]
