"""What a script did is logged in fewer commands, which leave the same state and tell watchers the same."""

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from kraft.kv import commands as kv
from kraft.kv.commands import Condition, Expiry
from kraft.kv.machine import Machine
from kraft.kv.net_effect import STEPS_MAX, VALUE_BYTES_MAX, net_effect
from kraft.kv.overlay import Overlay
from tests.kv.programs import commands, programs

KEYS = (b"", b"a", b"b", b"c")
LATER = 1000
few = st.sampled_from((b"a", b"b"))
often = st.one_of(
    st.builds(kv.Increment, few, st.integers(-3, 3)),
    st.builds(kv.Expire, few, st.just(int(Expiry.RELATIVE)), st.sampled_from([-1, 1, 60])),
    st.builds(kv.Put, few, st.just(b"1")),
    st.builds(kv.ClearExpiry, few),
)
anything = commands.filter(lambda command: type(command) not in (kv.Once, kv.Guarded))
steps = st.one_of(st.lists(often, min_size=2, max_size=4), st.lists(st.one_of(often, anything), max_size=4))


def machine_after(program) -> Machine:
    machine = Machine()
    for wait, batch in program:
        machine.apply(machine.stamp + wait, batch)
    return machine


def effect_of(machine, *steps):
    overlay = Overlay(machine, machine.stamp)
    for step in steps:
        overlay.step(step)
    return net_effect(steps, overlay)


@settings(deadline=None)
@given(programs, steps, st.lists(steps, min_size=1, max_size=3))
def test_replicas_end_in_the_same_state_and_watchers_learn_the_same(program, before, scripts):
    plain, short = machine_after(program), machine_after(program)
    stamp = plain.stamp
    overlay = Overlay(plain, stamp)
    overlay.apply(before)
    watched = [kv.Watched(key, plain.keyspace.revision(key), plain.revision) for key in KEYS]
    done, effects = [], []
    for script in scripts:
        overlay.hold()
        for step in script:
            overlay.step(step)
        done.append(kv.Evaluated(tuple(script)))
        effects.append(kv.Evaluated(net_effect(script, overlay)))
    touched = overlay.touched
    plain.apply(stamp, [*before, kv.Exec((), tuple(done), touched)])
    short.apply(stamp, [*before, kv.Exec((), tuple(effects), touched)])
    assert plain.digest() == short.digest()
    assert [plain.keyspace.unchanged([watch]) for watch in watched] == [
        short.keyspace.unchanged([watch]) for watch in watched
    ]


def test_a_counter_with_an_expiry_is_one_command():
    machine = machine_after([(5, [kv.Put(b"n", b"41")])])
    counted = kv.Increment(b"n", 1), kv.Expire(b"n", int(Expiry.RELATIVE), LATER)
    both = kv.Set(b"n", b"42", int(Condition.ALWAYS), int(Expiry.ABSOLUTE), 5 + LATER)
    assert effect_of(machine, *counted) == (both,)
    assert effect_of(machine, kv.Put(b"n", b"x"), kv.AppendValue(b"n", b"y")) == (kv.Put(b"n", b"xy"),)


@pytest.mark.parametrize(
    "steps",
    [
        [kv.Increment(b"n", 1)],
        [kv.Increment(b"n", 1), kv.Increment(b"m", 1)],
        [kv.Put(b"n", b"1"), kv.GetDelete(b"n")],
        [kv.Put(b"n", b"1"), kv.Expire(b"n", int(Expiry.RELATIVE), -1)],
        [kv.Put(b"n", b"x" * VALUE_BYTES_MAX), kv.AppendValue(b"n", b"x")],
        [kv.Increment(b"n", 1)] * (STEPS_MAX + 1),
        [kv.Put(b"n", b"1"), kv.Put(b"n", b"2"), kv.LoadScript(b"a" * 40, b"return 1", LATER)],
        [kv.Lock(b"n", LATER, b"me"), kv.Extend(b"n", 1, LATER), kv.Put(b"m", b"1"), kv.Put(b"m", b"2")],
    ],
    ids=["one", "each its key", "removed", "expired", "long", "many", "cache", "lock"],
)
def test_other_steps_stay_as_they_are(steps):
    assert effect_of(Machine(), *steps) == tuple(steps)
