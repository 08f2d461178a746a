"""The models of scripts agree with the production evaluator, and explain no history that must not be."""

import random
from dataclasses import replace
from typing import Any

import msgspec
import pytest

from kraft.kv import commands as kv
from kraft.kv import machine
from kraft.kv.replies import CommandFailure
from tests import serializability
from tests.host.trio import Trio
from tests.serializability import DONE, NOT_DONE, UNKNOWN
from tests.server.fakes import Port
from tests.simulation import locks, scripts
from tests.simulation.linearizability import (
    INFINITY,
    NOTHING_WRITTEN,
    READ,
    SWAP,
    Operation,
    linearizable,
    numbered_key,
)
from tests.simulation.locks import EXTEND, FREE, GUARD, NEVER_TAKEN, TAKE, Tokens, fenced_list
from tests.simulation.scripts import (
    ADD,
    CALLED,
    CALLS,
    COMPLETE,
    DROP,
    EVAL,
    EVAL_UNDONE,
    EVALSHA,
    FCALL,
    FORGET,
    IN_VAIN,
    LOAD,
    NEVER_CALLED,
    UNDONE,
    attempts_on_lists,
    called,
    called_counter,
    calling,
    draw_lists,
    on_lists,
    plain,
    sha_of,
    swap,
    through_script,
    with_scripts,
)
from tests.simulation.transactions import LISTS, elements
from tests.simulation.violation import Violation

_EVALUATED = machine.FUNCTIONS[kv.Evaluated]


class Node:
    """A state machine with the production evaluator, in virtual time."""

    def __init__(self):
        self.port = Port()
        self.state = self.port.host.machines[0]

    def run(self, command):
        replies: list[Any] = []
        self.port.host.write(0, [command], 0, replies.extend)
        self.port.host.settle()
        return replies[0]

    @property
    def stamp(self):
        return self.port.clock.wall_ms()

    def get(self, key):
        return self.state.keyspace.get(key)


@pytest.fixture
def node():
    return Node()


# -- lists


@pytest.mark.parametrize("seed", range(4))
def test_scripts_on_lists_are_serializable(node, seed):
    dice, attempts = random.Random(seed), []
    for place in range(150):
        marked, wanted = b"<1.%d>" % place, draw_lists(dice)
        fate = dice.choice(("done", "done", "done", "unknown", "refused"))
        reply = None if fate == "refused" else node.run(on_lists(wanted, marked))
        attempts += attempts_on_lists(wanted, marked, place, place + 0.5, fate, reply)
        if place == 75:
            node.run(kv.FlushScripts())
    lists = {key.decode(): elements(node.get(key)) for key in LISTS}
    assert serializability.check(attempts, lists) > 50
    assert {a.fate for a in attempts} == {DONE, NOT_DONE, UNKNOWN}
    with pytest.raises(serializability.NotSerializable):
        serializability.check(attempts, lists | {"x": lists["x"][1:]})


def test_half_a_script_is_found():
    wanted = scripts.ListScript("eval", (("append", b"x"), ("append", b"y")), fails=True)
    attempts = attempts_on_lists(wanted, b"<1.2>", 0, 1, "done", ["e", b"ERR undone"])
    serializability.check(attempts, {"x": [], "y": []})
    with pytest.raises(serializability.NotSerializable, match="is there in part"):
        serializability.check(attempts, {"x": ["1.2-0"], "y": []})


# -- one key


def history(node, seed, draw):
    """Operations of one key through scripts, in the order of the log."""
    dice, found = random.Random(seed), []
    for place in range(1, 120):
        name, argument, command = draw(dice, b"1.%d" % place)
        how = COMPLETE if name == SWAP else dice.choice(("", COMPLETE, COMPLETE, UNDONE))
        node.port.clock.advance(dice.choice((0, 0.001, 0.04, 0.4)))
        stamp = node.stamp
        how = "" if name == TAKE else how  # a script is told less of a lock
        reply = node.run(through_script(command, how) if how and name != SWAP else command)
        reply = plain(reply) if how else reply
        found.append(
            Operation(name, argument, place, place + 0.5, reply, number=place, stamp=stamp, script=how)
        )
        yield found[-1]


@pytest.mark.parametrize("seed", range(4))
def test_the_model_of_a_key_agrees_with_the_evaluator(node, seed):
    def draw(dice, unique):
        before = dice.choice((node.get(b"e"), b"another"))
        return dice.choice(
            (
                ("set", unique, kv.Put(b"e", unique)),
                ("set for a while", unique, kv.Set(b"e", unique, expiry=kv.Expiry.RELATIVE, expiry_ms=300)),
                ("set if missing", unique, kv.Set(b"e", unique, condition=kv.Condition.IF_MISSING)),
                ("append", unique, kv.AppendValue(b"e", unique)),
                ("overwrite", (3, unique), kv.SetRange(b"e", 3, unique)),
                ("delete", None, kv.Delete((b"e",))),
                ("take", None, kv.GetDelete(b"e")),
                (SWAP, (before, unique), swap(b"e", (before, unique))),
            )
        )

    found = list(history(node, seed, draw))
    assert linearizable(found, with_scripts(numbered_key), NOTHING_WRITTEN)
    assert {o.result for o in found if o.name == SWAP} == {0, 1}
    place = next(p for p, o in enumerate(found) if o.script == UNDONE and o.name == "set")
    assert found[place].result == UNDONE
    found[place] = replace(found[place], script="", result="OK")
    later = replace(found[-1], name=READ, result=b"never written")
    assert not linearizable([*found, later], with_scripts(numbered_key), NOTHING_WRITTEN)


@pytest.mark.parametrize("seed", range(4))
def test_the_model_of_locks_agrees_with_the_evaluator(node, seed):
    tokens = Tokens(1, random.Random(seed))

    def draw(_, unique):
        name, argument = tokens.draw(0, unique)
        return name, argument, locks.command(name, argument)

    operations = []
    for operation in history(node, seed, draw):
        operations.append(operation)
        if operation.result not in (UNDONE, IN_VAIN):
            tokens.answered(0, operation.name, operation.result)
    assert {o.name for o in operations} == {TAKE, EXTEND, FREE, GUARD}
    assert linearizable(operations, with_scripts(fenced_list), NEVER_TAKEN)


@pytest.mark.parametrize(("script", "correct"), [("", False), (COMPLETE, True), (UNDONE, True)])
def test_only_a_script_may_do_nothing(script, correct):
    one = Operation("set", b"1", 1, 1.5, "OK", number=1)
    vain = Operation("set", b"2", 2, 2.5, IN_VAIN, number=2, script=script)
    read = Operation(READ, None, 3, 3.5, b"1")
    assert linearizable([one, vain, read], with_scripts(numbered_key), NOTHING_WRITTEN) is correct
    assert not linearizable(
        [one, vain, replace(read, result=b"2")], with_scripts(numbered_key), NOTHING_WRITTEN
    )


# -- calls by SHA-1 and of functions


@pytest.mark.parametrize("seed", range(4))
def test_the_model_of_calls_agrees_with_the_evaluator(node, seed):
    dice, found = random.Random(seed), []
    for place in range(1, 150):
        name = dice.choice(CALLS)
        reply = called(node.run(calling(name)))
        found.append(Operation(name, None, place, place + 0.5, reply, number=place))
    found.append(Operation(READ, None, 200, 201, node.get(CALLED)))
    assert linearizable(found, called_counter, NEVER_CALLED)
    assert {(o.name, o.result) for o in found} >= {
        (EVALSHA, "NOSCRIPT"), (FCALL, "Function not found"), (EVAL_UNDONE, UNDONE), (FORGET, "OK"),
        (LOAD, sha_of(scripts.COUNT)), (ADD, scripts.LIBRARY_NAME), (DROP, 1),
    }  # fmt: skip


def request(number, name, result):
    return Operation(name, None, number, number + 0.5, result, number=number)


@pytest.mark.parametrize(
    ("operations", "correct"),
    [
        ([request(1, LOAD, sha_of(scripts.COUNT)), request(2, EVALSHA, 1)], True),
        ([request(1, LOAD, sha_of(scripts.COUNT)), request(2, EVALSHA, "NOSCRIPT")], False),
        ([request(1, EVAL, 1), request(2, EVALSHA, "NOSCRIPT")], False),
        ([request(1, EVAL, 1), request(2, FORGET, "OK"), request(3, EVALSHA, 2)], False),
        ([request(1, EVAL_UNDONE, UNDONE), request(2, EVALSHA, 1)], True),
        ([request(1, EVAL_UNDONE, UNDONE), request(2, EVALSHA, 2)], False),
        ([request(1, FCALL, 1)], False),
        ([request(1, ADD, b"counting"), request(2, FORGET, "OK"), request(3, FCALL, 1)], True),
    ],
    ids=[
        "loaded", "not loaded", "evaluated", "forgotten", "undone", "half done", "no library", "other cache",
    ],
)  # fmt: skip
def test_what_a_call_promises(operations, correct):
    assert linearizable(operations, called_counter, NEVER_CALLED) == correct


def test_an_error_that_nobody_expects_is_found():
    with pytest.raises(Violation, match="a script fails"):
        plain(["e", b"ERR the script was stopped"])
    with pytest.raises(Violation, match="a script fails"):
        called(["e", b"ERR the script was stopped"])
    assert plain(["e", b"ERR LOST script: ..."]) == CommandFailure.LOCK_LOST


# -- on a cluster


def take_long(trio, seconds):
    """Every script takes so long on the clock of its node."""
    for process in trio.processes():
        evaluator = process.host._context.evaluators.evaluator
        evaluator._slow, evaluator._dice.uniform = 1.0, lambda *_: seconds


def swap_while_a_key_expires():
    """A reader finds the key due, and the leader logs that, while it still evaluates the batch."""
    trio = Trio()
    trio.run(2.0)  # the versions in force are raised
    take_long(trio, 0.02)
    leader = trio.leader
    trio.ask(leader, kv.Set(b"e", b"1", expiry=kv.Expiry.RELATIVE, expiry_ms=1_000))
    assert trio.answered()
    trio.run(0.97)
    trio.answers.clear()
    trio.ask(leader, scripts.swap(b"e", (b"1", b"2")), *(scripts.calling(EVAL) for _ in range(9)))
    for _ in range(20):
        trio.run(0.01)
        trio.look(leader, b"e")
    assert trio.answered(21)
    trio.look(leader, b"e")
    assert trio.answered(22)
    return trio, next(answer for answer in trio.answers if isinstance(answer, list))


def test_between_slices_a_key_that_was_read_may_expire_and_nothing_is_done():
    """What follows gets other revisions than the leader expected, and does nothing where it reads that."""
    trio, replies = swap_while_a_key_expires()
    assert scripts.in_vain(replies[0])
    assert replies[1] == 1
    assert all(map(scripts.in_vain, replies[2:]))
    assert [answer for answer in trio.answers if not isinstance(answer, list)][-1] is None
    trio.answers.clear()
    trio.ask(trio.leader, scripts.calling(EVAL))
    assert trio.answered()
    assert trio.answers == [[2]]


def test_without_the_comparison_a_script_would_rest_on_what_is_gone(monkeypatch):
    """A planted mistake, which the dice of the simulator have not found."""

    def unchecked(state, command):
        return _EVALUATED(state, msgspec.structs.replace(command, watched=()))

    monkeypatch.setitem(machine.FUNCTIONS, kv.Evaluated, unchecked)
    trio, replies = swap_while_a_key_expires()
    assert replies == [1, *range(1, 10)]
    seen = [answer for answer in trio.answers if not isinstance(answer, list)]
    assert seen.index(None) < seen.index(b"2"), "the key expired, and then its old value was swapped"


def test_a_script_reads_what_is_logged_before_it():
    """Many of them at once, from all nodes, and plain commands between them."""
    trio = Trio()
    trio.run(2.0)
    take_long(trio, 0.02)
    for number in range(60):
        trio.ask(
            list(trio.nodes)[number % 3],
            scripts.call(b"return redis.call('INCR', 'n')", (), ()) if number % 2 else kv.Increment(b"n", 1),
        )
    assert trio.answered(60)
    assert sorted(answer[0] for answer in trio.answers) == list(range(1, 61))


@pytest.mark.parametrize("correct", [True, False])
def test_the_log_says_which_scripts_without_an_answer_did_nothing(correct):
    """With two outcomes of each the search would not end."""
    count = 60
    history = [
        Operation("append", b"|%d" % n, n, INFINITY, number=n, script=COMPLETE, in_vain=n % 3 == 0)
        for n in range(1, count + 1)
    ]
    found = [b"|%d" % n for n in range(1, count + 1) if n % 3 or (n == 30 and not correct)]
    history.append(Operation("get", None, count + 1, count + 2, b"".join(found)))
    assert linearizable(history, with_scripts(numbered_key), NOTHING_WRITTEN) is correct
