"""The model of a counter with KRAFT ONCE agrees with the state machine, and explains no second effect."""

import random

import pytest

from kraft.kv.machine import Machine
from kraft.kv.replies import CommandFailure
from tests.simulation.linearizability import FLUSH, READ, Operation, linearizable
from tests.simulation.once import COUNTED, NEVER_COUNTED, ONCE, Use, command, counted_once, draw


@pytest.mark.parametrize("seed", range(10))
def test_the_model_agrees_with_the_state_machine(seed):
    dice, machine = random.Random(seed), Machine()
    found: list[Operation] = []
    uses: list[Use] = []
    for place in range(100):
        if dice.random() < 0.2:
            found.append(Operation(READ, None, place, place + 0.5, machine.keyspace.get(COUNTED)))
            continue
        if not uses or dice.random() < 0.5:
            uses.append(draw(dice, b"1.%d" % place))
        use = dice.choice(uses)
        stamp = machine.stamp + dice.choice((0, 1, 499, 500, 3_000))
        (reply,) = machine.apply(stamp, [command(use)])
        number = len([o for o in found if o.name == ONCE]) + 1
        found.append(Operation(ONCE, use, place, place + 0.5, reply, number=number, stamp=stamp))
    assert linearizable(found, counted_once, NEVER_COUNTED)
    assert machine.repeats


def use(number, stamp, result, token=b"t", amount=2):
    argument = Use(token, amount, 100)
    return Operation(ONCE, argument, number, number + 0.5, result, number=number, stamp=stamp)


@pytest.mark.parametrize(
    ("operations", "correct"),
    [
        ([use(1, 0, 2), use(2, 99, 2)], True),
        ([use(1, 0, 2), use(2, 99, 4)], False),
        ([use(1, 0, 2), use(2, 100, 4)], True),
        ([use(1, 0, 2), use(2, 100, 2)], False),
        ([use(1, 0, 2), use(2, 50, 4, b"u"), use(3, 60, 2)], True),
        ([use(1, 0, 2), use(2, 50, 4, b"u"), use(3, 60, 4)], False),
        ([use(1, 0, 2), use(2, 50, CommandFailure.TOKEN_REUSED, amount=3)], True),
        ([use(1, 0, 2), Operation(READ, None, 2, 3, b"4")], False),
        ([use(1, 0, 2), Operation(FLUSH, None, 2, 3, "OK", number=2), use(3, 50, 2)], True),
    ],
    ids=[
        "once", "twice", "forgotten", "remembered too long", "first reply", "later reply", "reused",
        "counted twice", "flushed",
    ],
)  # fmt: skip
def test_what_once_promises(operations, correct):
    assert linearizable(operations, counted_once, NEVER_COUNTED) == correct
