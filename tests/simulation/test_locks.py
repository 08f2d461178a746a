"""The model of locks agrees with the state machine, and explains no history that a lock must prevent."""

import random

import pytest

from kraft.kv.machine import Machine
from kraft.kv.replies import CommandFailure
from tests.simulation.linearizability import FLUSH, INFINITY, READ, Operation, linearizable
from tests.simulation.locks import (
    EXTEND,
    FREE,
    GUARD,
    NEVER_TAKEN,
    TAKE,
    Tokens,
    command,
    demand_order,
    fenced_list,
    looked_at,
)
from tests.simulation.violation import Violation


def history(seed: int, forgotten: float = 0.2) -> list[Operation]:
    """Operations of three clients, with the results of a machine; some replies are lost."""
    dice = random.Random(seed)
    machine, clients = Machine(), [Tokens(number, dice) for number in range(3)]
    found: list[Operation] = []
    number = 0
    for place in range(150):
        if dice.random() < 0.2:
            found.append(Operation(READ, None, place, place + 0.5, looked_at(machine.keyspace)))
            continue
        client = dice.choice(clients)
        name, argument = client.draw(0, b"1.%d" % place)
        stamp = machine.stamp + dice.choice((0, 1, 40, 400, 4_000))
        (reply,) = machine.apply(stamp, [command(name, argument)])
        number += 1
        if dice.random() < forgotten:
            found.append(Operation(name, argument, place, INFINITY, number=number, stamp=stamp))
            continue
        client.answered(0, name, reply)
        found.append(Operation(name, argument, place, place + 0.5, reply, number=number, stamp=stamp))
    return found


def explained(operations):
    return linearizable(operations, fenced_list, NEVER_TAKEN)


@pytest.mark.parametrize("seed", range(20))
def test_the_model_agrees_with_the_state_machine(seed):
    operations = history(seed)
    assert explained(operations)
    done = [o for o in operations if o.name == GUARD and not o.unknown]
    assert done
    assert any(o.name == EXTEND for o in operations)


def test_every_kind_of_reply_is_met():
    met = {
        (o.name, o.result[0] if o.name == TAKE else o.result == CommandFailure.LOCK_LOST or bool(o.result))
        for seed in range(20)
        for o in history(seed)
        if o.name != READ and not o.unknown
    }
    assert {(TAKE, 0), (TAKE, 1), (EXTEND, True), (EXTEND, False), (FREE, True), (FREE, False)} <= met


def lock(number, stamp, token, ttl_ms=100, owner=b"", given=1, end=0):
    reply = [given, token, end or stamp + ttl_ms, stamp]
    return Operation(TAKE, (ttl_ms, owner), number, number + 0.5, reply, number=number, stamp=stamp)


def step(name, number, stamp, token, what, result):
    return Operation(name, (token, what), number, number + 0.5, result, number=number, stamp=stamp)


LOST = CommandFailure.LOCK_LOST
FLUSHED = Operation(FLUSH, None, 2, 2.5, "OK", number=2, stamp=50)


@pytest.mark.parametrize(
    ("operations", "correct"),
    [
        ([lock(1, 0, 7), step(GUARD, 2, 99, 7, b"|7.1", 4)], True),
        ([lock(1, 0, 7), step(GUARD, 2, 100, 7, b"|7.1", 4)], False),
        ([lock(1, 0, 7), step(GUARD, 2, 100, 7, b"|7.1", LOST)], True),
        ([lock(1, 0, 7), step(GUARD, 2, 99, 7, b"|7.1", LOST)], False),
        ([lock(1, 0, 7), lock(2, 100, 9), step(GUARD, 3, 101, 7, b"|7.1", 4)], False),
        ([lock(1, 0, 7), lock(2, 99, 9)], False),
        ([lock(1, 0, 7), lock(2, 99, 7, given=0, end=100)], True),
        ([lock(1, 0, 7), lock(2, 100, 7)], False),
        ([lock(1, 0, 7), lock(2, 100, 6)], False),
        ([lock(1, 0, 7, owner=b"a"), lock(2, 50, 7, owner=b"a"), step(FREE, 3, 149, 7, 0, 1)], True),
        ([lock(1, 0, 7, owner=b"a"), lock(2, 50, 9, owner=b"a")], False),
        ([lock(1, 0, 7), step(EXTEND, 2, 99, 7, 50, 1), step(GUARD, 3, 148, 7, b"|7.1", 4)], True),
        ([lock(1, 0, 7), step(EXTEND, 2, 100, 7, 50, 1)], False),
        ([lock(1, 0, 7), step(FREE, 2, 50, 7, 0, 1), lock(3, 51, 7)], False),
        ([lock(1, 0, 7), lock(2, 100, 9), step(FREE, 3, 101, 7, 0, 1)], False),
        ([lock(1, 0, 7), FLUSHED, lock(3, 51, 9), step(GUARD, 4, 52, 9, b"|9.1", 4)], True),
        ([lock(1, 0, 7), FLUSHED, lock(3, 51, 7)], False),
        ([lock(1, 0, 7), FLUSHED, step(GUARD, 3, 51, 7, b"|7.1", 4)], False),
    ],
    ids=[
        "in time", "accepted too late", "refused too late", "refused in time", "after the next holder",
        "two holders", "refused", "token twice", "token back", "taken again", "another token", "extended",
        "extended too late", "token of a freed lock", "freed by another", "flushed",
        "token of a flushed lock", "flushed under its holder",
    ],
)  # fmt: skip
def test_what_a_lock_promises(operations, correct):
    assert explained(operations) == correct


def test_a_token_that_no_reply_has_shown_is_known_from_a_read():
    unknown = Operation(TAKE, (100, b""), 1, INFINITY, number=1, stamp=0)
    read = Operation(READ, None, 1.6, 1.9, (b"", 7, b""))
    assert explained([unknown, read, lock(2, 100, 9)])
    assert not explained([unknown, read, lock(2, 100, 7)])


def test_the_order_of_writes_is_that_of_the_tokens():
    demand_order(b"|7.1.1|7.1.2|9.2.4", "here")
    with pytest.raises(Violation, match="not in their order"):
        demand_order(b"|7.1.1|9.2.4|7.1.2", "here")
