"""Every command names all that it may write or read, whatever the state is."""

from hypothesis import given, settings
from hypothesis import strategies as st

from kraft.kv.commands import (
    DeleteLibrary,
    Evaluated,
    Exec,
    FlushLibraries,
    FlushScripts,
    Function,
    LoadScript,
    Look,
    PutLibrary,
    Watched,
)
from kraft.kv.footprint import _FOOTPRINTS, Footprint, Whole, footprint, together
from kraft.kv.ledger import LedgerKind
from kraft.kv.machine import FUNCTIONS, STEPS, Machine
from kraft.kv.overlaid_keyspace import OverlaidKeyspace
from kraft.kv.state import MachineState
from tests.kv.programs import commands, keys, programs

ROWS = {LedgerKind.SCRIPT, LedgerKind.LIBRARY}
shas = st.sampled_from([b"a" * 40, b"b" * 40])
names = st.sampled_from([b"lib", b"other"])
scripts = st.one_of(
    st.builds(LoadScript, shas, st.just(b"return 1"), st.just(600)),
    st.just(FlushScripts()),
    st.builds(PutLibrary, names, st.just(b"#!lua"), st.just((Function(b"f"),))),
    st.builds(DeleteLibrary, names),
    st.just(FlushLibraries()),
)
watched = st.lists(st.builds(Watched, keys, st.integers(0, 3), st.integers(0, 3)), max_size=2).map(tuple)
steps = st.lists(st.one_of(commands, scripts), max_size=3).map(tuple)
looks = st.builds(Look, st.lists(keys).map(tuple))
every = st.one_of(
    commands,
    scripts,
    st.builds(Evaluated, steps, st.just(b""), watched),
    st.builds(
        Exec, watched, st.lists(st.one_of(commands, st.builds(Look, st.lists(keys).map(tuple)))).map(tuple)
    ),
)


def test_every_command_has_one():
    assert set(_FOOTPRINTS) - {Look} == set(FUNCTIONS) - STEPS


@settings(max_examples=150, deadline=None)
@given(programs, scripts, every)
def test_a_command_touches_nothing_else(program, script, command):
    machine = Machine()
    for wait, batch in program:
        machine.apply(machine.stamp + wait, batch)
    machine.apply(machine.stamp, [script])
    aside = MachineState()
    space = OverlaidKeyspace(machine.keyspace, machine.stamp)
    aside.keyspace, aside.stamp, aside.revision = space, machine.stamp, machine.revision
    FUNCTIONS[type(command)](aside, command)
    found = footprint(command)
    assert len(set(found.written)) == len(found.written) or not isinstance(command, Exec | Evaluated)
    everything = found.whole == Whole.WRITE
    assert everything or space.overlaid.changed.keys() <= set(found.written)
    assert everything or not space.overlaid.cleared
    assert everything or space.overlaid.touched.keys() <= {*found.written, *found.read}
    rows = {key[0] for key in space.rows.overlaid.changed} & ROWS
    assert rows <= set(found.written)


def test_a_union_names_each_key_once():
    union = together(
        [
            Footprint((b"a", b"b"), (b"c", b"d")),
            Footprint((b"c", b"a"), (b"d", b"b")),
            Footprint((), (), Whole.READ),
        ]
    )
    assert union == Footprint((b"a", b"b", b"c"), (b"d",), Whole.READ)
    assert together([]) == Footprint()
