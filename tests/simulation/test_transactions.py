"""What the simulator makes of the replies to transactions, tried on a machine."""

import random
from dataclasses import replace

import pytest

from kraft.host.requests.round import View
from kraft.kv.commands import AppendValue, Exec, Look, Put, Watched
from kraft.kv.machine import Machine
from tests import serializability
from tests.serializability import APPEND, DONE, NOT_DONE, READ, UNKNOWN
from tests.simulation.linearizability import (
    FLUSH,
    INFINITY,
    NOTHING_WRITTEN,
    SET_IF_UNCHANGED,
    Operation,
    linearizable,
    numbered_key,
)
from tests.simulation.transactions import (
    LISTS,
    ListTransaction,
    attempt,
    draw,
    elements,
    on_lists,
    outcome,
    seen,
    set_if_unchanged,
    survey,
    surveyed,
)
from tests.simulation.violation import Violation


def view(machine):
    return View(machine.keyspace, machine.stamp, machine.revision)


def run(machine, command):
    (reply,) = machine.apply(machine.stamp + 1, [command])
    return reply


@pytest.mark.parametrize("seed", range(5))
def test_attempts_on_a_machine_are_serializable(seed):
    dice, machine, known, attempts = random.Random(seed), Machine(), {}, []
    for place in range(200):
        marked = b"<1.%d>" % place
        if dice.random() < 0.3:
            attempts.append(surveyed(marked, place, place + 0.5, survey(view(machine))))
            known = {key: seen(key, view(machine), (0, place)) for key in LISTS}
            continue
        plan, fate = draw(dice, known), dice.choice(("done", "done", "unknown", "refused"))
        reply = None if fate == "refused" else run(machine, on_lists(plan, marked))
        attempts.append(attempt(plan, marked, place, place + 0.5, fate, reply))
    lists = {key.decode(): elements(machine.keyspace.get(key)) for key in LISTS}
    assert serializability.check(attempts, lists) > 100
    assert {a.fate for a in attempts} == {DONE, NOT_DONE, UNKNOWN}
    with pytest.raises(serializability.NotSerializable):
        serializability.check(attempts, lists | {"x": lists["x"][:-1]})


def test_an_attempt_has_read_what_it_watched():
    machine = Machine()
    saw = seen(b"x", view(machine), (0, 1))
    plan = ListTransaction(saw, ((READ, b"x"), (APPEND, b"x"), (READ, b"x")))
    found = attempt(plan, b"<1.2>", 0, 1, "done", run(machine, on_lists(plan, b"<1.2>")))
    appended = (APPEND, "x", "1.2-1")
    assert found.operations == [(READ, "x", []), (READ, "x", []), appended, (READ, "x", ["1.2-1"])]
    again = attempt(plan, b"<1.3>", 2, 3, "done", run(machine, on_lists(plan, b"<1.3>")))
    assert (again.fate, again.operations) == (NOT_DONE, [(APPEND, "x", "1.3-1")])


def test_a_key_is_set_if_it_has_not_changed():
    machine = Machine()
    argument = (seen(b"a", view(machine), (0, 1)), b"1")
    assert outcome(argument, run(machine, set_if_unchanged(b"a", argument))) == "OK"
    assert outcome(argument, run(machine, set_if_unchanged(b"a", argument))) is None


def test_a_transaction_reads_what_it_wrote():
    machine = Machine()
    argument = (seen(b"a", view(machine), (0, 1)), b"1")
    stale = run(machine, Exec((), (AppendValue(b"a", b"0"), Look((b"a",)))))
    with pytest.raises(Violation, match="then read"):
        outcome(argument, [stale[0], stale[1], ["OK", stale[2][1]]])


def test_the_revision_after_a_transaction_is_higher_than_what_it_watched():
    machine = Machine()
    run(machine, Put(b"b", b""))
    before = seen(b"a", View(machine.keyspace, 0, machine.revision + 5), (0, 1))
    assert before.watched == Watched(b"a", 0, 6)
    with pytest.raises(Violation, match="went back"):
        outcome((before, b"1"), run(machine, Exec((), (Put(b"a", b"1"), Look((b"a",))))))


def write(name, argument, number, result):
    return Operation(name, argument, number, number + 0.5, result, number=number)


def conditional(before, number, result, seen_number, *, unknown=False):
    returned = INFINITY if unknown else number + 0.5
    argument = (before, b"new")
    return Operation(SET_IF_UNCHANGED, argument, number, returned, result, number=number, seen=seen_number)


ONE, TWO = write("set", b"1", 1, "OK"), write("set", b"2", 2, "OK")
BACK = write("set", b"1", 3, "OK")
FLUSHED = write(FLUSH, None, 2, "OK")
CAME, WENT = write("set if missing", b"1", 1, "OK"), write("delete", None, 2, 1)


def until(stamp):
    return replace(write("set until", (b"1", 5), 1, "OK"), stamp=stamp)


@pytest.mark.parametrize(
    ("operations", "correct"),
    [
        ([ONE, conditional(b"1", 2, "OK", 1)], True),
        ([ONE, conditional(b"1", 2, None, 1)], False),
        ([ONE, TWO, conditional(b"1", 3, "OK", 1)], False),
        ([ONE, TWO, conditional(b"1", 3, None, 1)], True),
        ([ONE, TWO, BACK, conditional(b"1", 4, "OK", 1)], False),
        ([ONE, TWO, BACK, conditional(b"1", 4, None, 1)], True),
        ([ONE, write("set", b"1", 2, "OK"), conditional(b"1", 3, None, 1)], True),
        ([ONE, write("set if missing", b"2", 2, None), conditional(b"1", 3, None, 1)], False),
        ([ONE, conditional(b"1", 2, None, 1, unknown=True), conditional(b"1", 3, None, 1)], True),
        ([ONE, conditional(b"1", 2, None, 1, unknown=True), conditional(b"1", 3, "OK", 1)], False),
        ([conditional(None, 1, None, 0)], True),
        ([conditional(None, 1, "OK", 0)], True),
        ([CAME, WENT, conditional(None, 3, "OK", 0)], False),
        ([CAME, WENT, conditional(None, 3, None, 0)], True),
        ([CAME, WENT, conditional(None, 3, "OK", 2)], True),
        ([ONE, FLUSHED, conditional(b"1", 3, "OK", 1)], False),
        ([ONE, FLUSHED, conditional(b"1", 3, None, 1)], True),
        ([CAME, FLUSHED, conditional(None, 3, "OK", 0)], False),
        ([CAME, FLUSHED, conditional(None, 3, "OK", 2)], True),
        ([until(4), conditional(None, 2, "OK", 0)], False),
        ([until(5), conditional(None, 2, "OK", 0)], True),
        ([write("set for a while", b"1", 1, "OK"), conditional(b"1", 2, None, 1)], True),
        ([write("set for a while", b"1", 1, "OK"), conditional(None, 2, "OK", 1)], True),
        ([write("set for a while", b"1", 1, "OK"), conditional(None, 2, "OK", 0)], False),
    ],
    ids=[
        "unchanged", "aborted without need", "changed", "aborted", "changed back", "aborted after a return",
        "set to the same", "no change", "unknown", "unknown, and then changed", "missing", "created",
        "came and went", "came, went, aborted", "went before", "flushed", "aborted after a flush",
        "came and was flushed", "flushed before", "set until later", "set until now", "expired",
        "expired before", "expired since",
    ],
)  # fmt: skip
def test_what_watch_promises(operations, correct):
    assert linearizable(operations, numbered_key, NOTHING_WRITTEN) == correct
