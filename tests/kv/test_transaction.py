"""Transactions against a dumb twin that remembers every change, and what replicas must agree on."""

from typing import Any, get_args

import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from kraft.kv.commands import (
    CompareAndSet,
    Delete,
    Exec,
    Expire,
    Expiry,
    Increment,
    Look,
    Once,
    Put,
    Set,
    SetRange,
    Step,
    Watched,
    decode,
    encode,
    expires_within,
    needed_version,
)
from kraft.kv.commands.lock import LockCommand
from kraft.kv.errors import UnknownCommand
from kraft.kv.excerpt import EXCERPT_BYTES, Excerpt, examined, excerpt
from kraft.kv.keyspace import Keyspace
from kraft.kv.machine import Machine
from kraft.kv.removals import BUCKETS, Removals
from kraft.kv.replies import CommandFailure, decode_replies, encode_replies
from tests.kv.programs import commands, keys
from tests.kv.twin import Twin, check_state


def watch(machine: Machine, *names: bytes) -> tuple[Watched, ...]:
    return tuple(Watched(key, machine.keyspace.revision(key), machine.revision) for key in names)


def run(machine: Machine, *steps: Step, watched: tuple[Watched, ...] = ()) -> Any:
    [reply] = machine.apply(machine.stamp, [Exec(watched, steps)])
    return reply


def seen(look: Look, places: Any, records: Any) -> Excerpt:
    return excerpt(look, places, records)


# -- one machine


def test_steps_are_executed_in_order_and_have_one_revision():
    machine = Machine()
    machine.apply(5, [Put(b"z", b"")])
    stamp, records, replies = run(
        machine, Put(b"a", b"1"), Look((b"a", b"b")), Increment(b"a", 4), Look((b"a", b"a", b"z"))
    )
    assert stamp == 5
    assert replies == ["OK", [2, 0, None], 5, [2, 1, 1, 2]]
    assert records == [[b"1", 2, 0], [b"5", 2, 0], [b"", 1, 0]]
    assert machine.revision == 2
    before = seen(Look((b"a", b"b")), replies[1], records)
    assert (before.get(b"a"), before.get(b"b"), len(before)) == (b"1", None, 2)


def test_a_step_that_fails_changes_nothing_and_the_others_take_effect():
    machine = Machine()
    _, _, replies = run(
        machine, Put(b"a", b"x"), Increment(b"a", 1), SetRange(b"b", 9, b"x", 2), Put(b"c", b"")
    )
    assert replies == ["OK", CommandFailure.NOT_AN_INTEGER, CommandFailure.TOO_LARGE, "OK"]
    assert machine.revision == machine.keyspace.revision(b"a") == machine.keyspace.revision(b"c") == 1


def test_a_transaction_without_a_change_takes_no_revision():
    machine = Machine()
    run(machine, Delete((b"a",)), Look((b"a",)))
    run(machine)
    assert machine.revision == 0


def test_a_changed_key_leaves_everything_as_it_was():
    machine = Machine()
    watched = watch(machine, b"a")
    machine.apply(1, [Put(b"a", b"")])
    digest = machine.digest()
    assert run(machine, Put(b"b", b""), watched=watched) is None
    assert machine.digest() == digest


def test_an_expiry_is_relative_to_the_stamp_and_seen_at_once():
    machine = Machine()
    machine.apply(100, [])
    stamp, [record], _ = run(machine, Set(b"a", b"", expiry=Expiry.RELATIVE, expiry_ms=5), Look((b"a",)))
    assert (stamp, record[2]) == (100, 105)
    watched = watch(machine, b"a")
    machine.apply(105, [])
    assert run(machine, watched=watched) is None


def test_values_beyond_the_limit_are_left_out():
    """The same object counts once, however many reads look at it."""
    machine = Machine()
    big = b"x" * (EXCERPT_BYTES // 4)
    machine.apply(1, [Put(b"%d" % n, big) for n in range(5)])
    _, records, replies = run(machine, *[Look((b"0",))] * 9, *[Look((b"%d" % n,)) for n in range(5)])
    assert replies == [[5, 0]] * 10 + [[5, 1], [5, 2], [5, 3], CommandFailure.TOO_MUCH]
    assert len(records) == 4


def test_reads_alone_need_no_log():
    machine = Machine()
    machine.apply(7, [Put(b"a", b"1")])
    reading = Exec(watch(machine, b"a", b"b"), (Look((b"a",)), Look(())))
    assert examined(machine.keyspace, 7, reading) == machine.apply(7, [reading])[0]
    machine.apply(7, [Put(b"b", b""), Delete((b"b",))])
    assert examined(machine.keyspace, 7, reading) is None


def test_the_reply_travels_to_another_node():
    machine = Machine()
    watched = watch(machine, b"a")
    done = run(machine, Put(b"a", b"1"), Look((b"a", b"b")), Increment(b"a", 2**63 - 1), watched=watched)
    assert decode_replies(encode_replies([done, run(machine, watched=watched)])) == [done, None]


def test_what_a_transaction_needs_and_contains():
    absolute = Set(b"a", b"", expiry=Expiry.ABSOLUTE, expiry_ms=50)
    relative = Set(b"a", b"", expiry=Expiry.RELATIVE, expiry_ms=50)
    assert needed_version([Exec((), (Put(b"a", b""),))]) == 3
    assert expires_within(Exec((), (relative, absolute)), range(40, 60))
    assert not expires_within(Exec((), (relative, absolute)), range(60, 70))
    assert not expires_within(Exec((), (relative,)), range(40, 60))
    assert expires_within(Expire(b"a", Expiry.ABSOLUTE, 50), range(40, 60))
    assert not expires_within(Put(b"a", b""), range(1))


def test_the_bytes_stay_as_they_are():
    transaction = Exec((Watched(b"a", 1, 2),), (Put(b"a", b"b"), Look((b"c",))))
    rest = b"\x28\x91\x93\xc4\x01a\x01\x02\x92\x93\x01\xc4\x01a\xc4\x01b\x92\x29\x91\xc4\x01c"
    data = b"\x01\x91\x94" + rest + b"\x90"
    assert encode([transaction]) == data
    assert decode(b"\x01\x91\x93" + rest) == [transaction]  # before scripts could be steps
    assert decode(data) == [transaction]


def test_there_is_no_transaction_in_a_transaction():
    inner: Any = Exec((), ())
    with pytest.raises(UnknownCommand):
        decode(encode([Exec((), (inner,))]))


# -- removals


def test_what_is_forgotten_is_possible():
    removals = Removals()
    assert not removals.possible(b"a", 0)
    removals.add(b"a", 5)
    assert removals.possible(b"a", 4)
    assert not removals.possible(b"a", 5)
    assert not removals.possible(b"b", 0)
    removals.add(b"a", 3)
    assert removals.possible(b"a", 4)
    removals.forget(9)
    assert removals.possible(b"b", 8)
    assert not removals.possible(b"b", 9)


def test_removals_take_no_memory_before_the_first_and_a_fixed_amount_after_it():
    removals = Removals()
    assert removals._highest is None
    for n in range(3 * BUCKETS):
        removals.add(b"%d" % n, n)
    assert removals._highest is not None
    assert len(removals._highest) == BUCKETS


# -- against the twin


class Recorder(Twin):
    """A twin that also knows when each key changed last."""

    def __init__(self) -> None:
        super().__init__()
        self.changed: dict[bytes, int] = {}
        self.events = 0

    def apply(self, stamp: int, commands: Any) -> Any:
        self.events += 1
        for key in [key for key, (_, _, due) in self.data.items() if 0 < due <= stamp]:
            self.changed[key] = self.events
        replies = []
        for command in commands:
            replies += super().apply(stamp, [command])
            self.events += 1
            self.changed.update(dict.fromkeys(self.touched, self.events))
        if not commands:
            super().apply(stamp, [])
        return replies

    def Exec(self, c: Exec) -> Any:
        replies: list[Any] = []
        for step in c.steps:
            if isinstance(step, Look):
                found = [self.data.get(key) for key in step.keys]
                replies.append([len(self.data), [None if f is None else (f[0], f[2]) for f in found]])
            else:
                replies.append(getattr(self, type(step).__name__)(step))
        return replies


# Revisions in arguments and replies: within a transaction the twin has none.
revisions = (CompareAndSet, Once, *get_args(LockCommand))  # and a transaction is inside ONCE, never around it
simple = commands.filter(lambda command: not isinstance(command, revisions))
steps = st.lists(st.one_of(simple, st.builds(Look, st.lists(keys, max_size=3).map(tuple))), max_size=4)
programs = st.lists(
    st.one_of(
        st.tuples(st.just("batch"), st.integers(0, 8), st.lists(commands, max_size=4)),
        st.tuples(st.just("watch"), st.lists(keys, min_size=1, max_size=2)),
        st.tuples(st.just("exec"), steps),
        st.tuples(st.just("mark")),
    ),
    max_size=24,
)


def same(step: Step, theirs: Any, reply: Any, records: Any) -> bool:
    """Whether the machine's reply to a step is the twin's."""
    if not isinstance(step, Look) or isinstance(reply, CommandFailure):
        return bool(theirs == reply)
    found = seen(step, reply, records)
    pairs = [(found.get(key), found.expires(key)) if key in found else None for key in step.keys]
    return bool(theirs == [len(found), pairs])


@example(
    [
        ("watch", [b"a"]),
        ("batch", 0, [Put(b"a", b"")]),
        ("batch", 0, [Delete((b"a",))]),
        ("exec", [Put(b"b", b"")]),
    ]
)
@settings(deadline=None)
@given(programs)
def test_a_transaction_is_aborted_if_and_only_if_a_watched_key_changed(program):
    """Beside the machine, one that starts again from each checkpoint: they must decide alike."""
    machine, restarted, twin, now = Machine(), Machine(), Recorder(), 0
    watched: dict[bytes, tuple[Watched, int]] = {}
    marks = 0
    for kind, *arguments in program:
        if kind == "batch":
            now += arguments[0]
            replies = machine.apply(now, arguments[1])
            assert twin.apply(now, arguments[1]) == replies == restarted.apply(now, arguments[1])
        elif kind == "watch":
            for key in arguments[0]:
                watched.setdefault(key, (watch(machine, key)[0], twin.events))
        elif kind == "mark":
            marks = twin.events
            machine.mark(now)
            restarted = again(machine)
        else:
            transaction = Exec(tuple(known for known, _ in watched.values()), tuple(arguments[0]))
            changed = any(twin.changed.get(key, 0) > at for key, (_, at) in watched.items())
            doubtful = any(not known.revision and at <= marks for known, at in watched.values())
            reply: Any = machine.apply(now, [transaction])[0]
            assert restarted.apply(now, decode(encode([transaction]))) == [reply]
            assert reply is not None or changed or doubtful
            if reply is not None:
                assert not changed
                [theirs] = twin.apply(now, [transaction])
                for step, their, ours in zip(transaction.steps, theirs, reply[2], strict=True):
                    assert same(step, their, ours, reply[1])
            watched = {}
        assert restarted.digest() == machine.digest()
        check_state(machine, twin)


def again(machine: Machine) -> Machine:
    """The machine after a start from a checkpoint taken now."""
    keyspace = Keyspace()
    records = machine.keyspace.records.values()
    keyspace.load([(r.key, r.value, r.revision, r.expires) for r in records])
    keyspace.ledger.load(
        [(r.key, r.value, r.revision, r.expires) for r in machine.keyspace.ledger.rows.values()]
    )
    restored = Machine.restored(keyspace, machine.stamp, machine.revision, machine.version)
    restored.expired = machine.expired
    return restored
