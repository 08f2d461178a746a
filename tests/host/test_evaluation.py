"""What the leader makes of a batch with scripts, and what the state machine makes of that."""

from typing import Any

from kraft.host.ports import ScriptEffects
from kraft.host.requests.evaluation import EFFECTS_BYTES, Evaluation, with_evaluated
from kraft.host.requests.proposal import Proposal
from kraft.kv.commands import (
    Activate,
    ChangePlacement,
    Exec,
    Forget,
    Freeze,
    Increment,
    Look,
    Once,
    Open,
    Put,
    Resolve,
    ScriptCall,
    Watched,
    calls_script,
)
from kraft.kv.machine import Machine
from kraft.kv.move_reply import MoveOutcome, move_reply
from kraft.kv.replies import CommandFailure, encode_replies
from kraft.kv.slots import SLOTS
from kraft.kv.transaction_reply import StepOutcome, transaction_reply
from tests.kv.group_states import NOW, prepare, t
from tests.server.fake_host import FakeClock

PRINT, OTHER = bytes(16), bytes(15) + b"x"  # fingerprints


class Counter:
    """In place of Lua: increments each key. The argument is the size of that; the source says if it fails."""

    def __init__(self) -> None:
        self.calls = 0

    def evaluate(
        self, overlay: Any, script: ScriptCall, used: int = 0, *, logged: bool = False
    ) -> ScriptEffects:
        self.calls += 1
        steps = tuple([Increment(key, 1) for key in script.keys])
        replies: Any = [overlay.step(step) for step in steps]
        if script.source == b"fail":
            overlay.drop()
            steps, replies = (), -1
        encoded = encode_replies((replies,)) if logged else b""
        size = int(script.arguments[0]) if script.arguments else 0
        return ScriptEffects(steps, replies, encoded, size, script.source != b"again")


def call(*keys: bytes, source: bytes = b"", size: int = 0) -> ScriptCall:
    return ScriptCall(b"", source, keys, (b"%d" % size,))


def evaluated(machine: Machine, *proposals: Any, counter: Counter | None = None) -> Evaluation:
    waiting = [
        Proposal(0.0, None, commands, 0, 0.0, scripted=any(map(calls_script, commands)))
        for commands in proposals
    ]
    evaluation = Evaluation(machine, NOW, 1, waiting, counter or Counter())
    while not evaluation.advance(FakeClock()):
        pass
    return evaluation


def answered(machine: Machine, *proposals: Any) -> list[Any]:
    evaluation = evaluated(machine, *proposals)
    return with_evaluated(machine.apply(NOW, evaluation.commands), evaluation.replies)


def test_each_command_sees_those_before_it_of_all_proposals() -> None:
    once = Once(b"t", PRINT, call(b"a", b"b"), 1000)
    failing = call(b"a", source=b"fail")
    transaction = Exec((), (call(b"a"), Increment(b"a", 10), failing, Look((b"a",)), call(b"a")))
    replies = answered(
        Machine(), (Put(b"a", b"5"), call(b"a")), (once, once), (transaction, once, call(b"a"))
    )
    assert replies[:4] == ["OK", [6], [7, 1], [7, 1]]
    assert replies[4] == [NOW, [[b"18", 4, 0]], [[8], 18, -1, [2, 0], [19]]]
    assert replies[5:] == [[7, 1], [20]]


def test_an_effect_rests_on_what_was_read() -> None:
    """If a key is another one when the batch is applied, nothing happens, and no token is remembered."""
    machine = Machine()
    once = Once(b"t", PRINT, call(b"a"), 1000)
    again = Once(b"u", PRINT, Exec((), (call(b"b"), Put(b"c", b"1"))), 1000)
    evaluation = evaluated(machine, (call(b"a"),), (Exec((), (call(b"b"),)), once, again))
    machine.apply(NOW, [Put(b"b", b"7"), Put(b"a", b"7")])
    replies = with_evaluated(machine.apply(NOW, evaluation.commands), evaluation.replies)
    assert replies == [CommandFailure.SCRIPT_CONFLICT] * 4
    assert (machine.keyspace.get(b"a"), machine.keyspace.get(b"b")) == (b"7", b"7")
    assert answered(machine, (once,)) == [[8]]


def test_a_watched_key_is_compared_before_the_evaluation() -> None:
    machine, counter = Machine(), Counter()
    machine.apply(NOW, [Put(b"w", b"1")])
    stale = Exec((Watched(b"w", 0, 0),), (call(b"a"),))
    evaluation = evaluated(machine, (stale, Once(b"t", PRINT, stale, 1000)), counter=counter)
    assert machine.apply(NOW, evaluation.commands) == [None, None]
    assert counter.calls == 0


def test_a_token_that_is_known_or_that_has_no_room_is_not_evaluated() -> None:
    machine, counter = Machine(), Counter()
    once = Once(b"t", PRINT, call(b"a"), 1000, 1)
    assert answered(machine, (once,)) == [[1]]
    other = Once(b"t", OTHER, call(b"a"), 1000, 1)
    third = Once(b"u", PRINT, call(b"a"), 1000, 1)
    evaluation = evaluated(machine, (once, other, third), counter=counter)
    assert machine.apply(NOW, evaluation.commands) == [
        [1], CommandFailure.TOKEN_REUSED, CommandFailure.TOO_MANY_TOKENS
    ]  # fmt: skip
    assert counter.calls == 0
    assert machine.keyspace.get(b"a") == b"1"


def test_a_reply_that_is_not_final_is_not_remembered() -> None:
    machine = Machine()
    once = Once(b"t", PRINT, call(source=b"again"), 1000)
    assert answered(machine, (once,)) == [[]]
    assert answered(machine, (Once(b"t", OTHER, call(b"a"), 1000),)) == [[1]]


def test_a_script_waits_for_the_next_batch_after_a_step_of_a_move() -> None:
    """Activate makes the revision higher, and what was removed before it is not known any more."""
    machine, share = Machine(), (0, SLOTS // 2)
    machine.apply(NOW, [Open(1, SLOTS - 9, SLOTS - 1, share)])
    active = Activate(1, 0, (), (), 70, NOW, 0, bytes(16))
    evaluation = evaluated(machine, (active,), (Put(b"c", b"1"),), (call(b"b"),), (Put(b"c", b"2"),))
    assert (len(evaluation.proposals), len(evaluation.left)) == (2, 2)
    reply, _ = machine.apply(NOW, evaluation.commands)
    assert move_reply(reply).outcome is MoveOutcome.ACTIVE
    assert answered(machine, *[proposal.commands for proposal in evaluation.left]) == [[1], "OK"]


def test_a_script_waits_for_the_end_of_a_transaction_that_is_in_its_own_message() -> None:
    """A node sends both together. The lock is gone when the batch is applied, but was there before.

    What came after the script waits as well, so that no client's commands change their order. Steps do not,
    nor does another message.
    """
    machine, counter = Machine(), Counter()
    assert prepare(machine, t(), Put(b"a", b"5")).outcome is StepOutcome.PREPARED
    waits = (call(b"c"), Once(b"t", PRINT, call(b"a"), 1000), Put(b"b", b"2"))
    message = (Resolve(t(), True), Put(b"b", b"1"), *waits, Forget(t(), 1))
    evaluation = evaluated(machine, message, (Put(b"d", b"1"),), counter=counter)
    replies = with_evaluated(machine.apply(NOW, evaluation.commands), evaluation.replies)
    assert replies[1:5] == ["OK", *[CommandFailure.LOCKED] * 3]
    assert transaction_reply(replies[5]).outcome is StepOutcome.FORGOTTEN
    assert replies[6] == "OK"
    assert (machine.keyspace.get(b"a"), machine.keyspace.get(b"b")) == (b"5", b"1")
    assert counter.calls == 0
    assert answered(machine, waits) == [[1], [6], "OK"]


def test_no_script_waits_for_a_change_of_the_placement() -> None:
    """A node forwards what its clients and administrators ask together, as one proposal."""
    change = ChangePlacement(0, 3, settling=True)
    replies = answered(Machine(), [call(b"n"), change, call(b"n")])
    assert replies == [[1], [1, 1], [2]]


def test_what_is_refused_is_not_seen_by_the_scripts_after_it() -> None:
    """A command for a slot that has gone takes no revision, so the next one has it."""
    machine = Machine()
    machine.apply(NOW, [Open(1, SLOTS - 9, SLOTS - 1, (0, SLOTS // 2))])
    gone, here = b"a", b"b"
    replies = answered(machine, (Put(gone, b"1"),), (Put(here, b"5"), call(here), call(here)))
    assert replies == [CommandFailure.NOT_OWNER, "OK", [6], [7]]


def test_a_script_with_a_frozen_key_waits_whatever_it_would_reply() -> None:
    """The receiver may have the slot, and another value: an error would tell the one of here."""
    machine, counter = Machine(), Counter()
    machine.apply(NOW, [Freeze(1, 0, SLOTS // 2, 1, (0, SLOTS // 2))])
    failing = call(b"b", source=b"fail")
    calls = (failing, Exec((), (failing,)), Once(b"t", PRINT, failing, 1000), Put(b"a", b"1"))
    evaluation = evaluated(machine, calls, counter=counter)
    replies = with_evaluated(machine.apply(NOW, evaluation.commands), evaluation.replies)
    assert replies == [CommandFailure.LOCKED] * 4
    assert counter.calls == 0


def test_large_effects_end_a_batch() -> None:
    """What is left is whole proposals, which wait for the next batch."""
    machine = Machine()
    first, second, third = (call(b"a", size=EFFECTS_BYTES + 1),), (call(b"a"),), (Put(b"b", b"1"),)
    evaluation = evaluated(machine, first, second, third)
    assert [each.commands for each in evaluation.proposals] == [first]
    assert [each.commands for each in evaluation.left] == [second, third]
    assert len(evaluation.commands) == 1
