"""What commands do on an overlay is what they do when they are applied; the state below stays as it is."""

from hypothesis import given, settings
from hypothesis import strategies as st

from kraft.kv.commands import (
    Delete,
    Evaluated,
    Exec,
    Flush,
    FlushScripts,
    Function,
    Increment,
    LoadScript,
    Once,
    Put,
    PutLibrary,
    Watched,
)
from kraft.kv.ledger import LedgerKind, ledger_bytes
from kraft.kv.libraries import library_of
from kraft.kv.machine import Machine
from kraft.kv.overlay import Overlay
from kraft.kv.scripts import script_source
from tests.kv.programs import commands, keys, programs

scripts = st.one_of(
    st.builds(
        LoadScript, st.sampled_from([b"a" * 40, b"b" * 40, b"c" * 40]), st.just(b"return 1"), st.just(600)
    ),
    st.just(FlushScripts()),
)

# Without ONCE, which a script cannot call: an overlay does not forget its tokens when they are due.
steps = st.lists(st.one_of(commands.filter(lambda command: type(command) is not Once), scripts), max_size=5)


def machine_after(program) -> Machine:
    machine = Machine()
    for wait, batch in program:
        machine.apply(machine.stamp + wait, batch)
    return machine


def sizes(ledger) -> int:
    rows = [row for key, row in ledger.rows.items() if key[0] == LedgerKind.SCRIPT]
    return sum(ledger_bytes(row.key, row.value, 0) for row in rows)


def records(machine: Machine) -> dict:
    space = machine.keyspace
    rows = {key: row for key, row in space.ledger.rows.items() if key[0] == LedgerKind.SCRIPT}
    return {**dict(space.records.items()), **rows}


groups = st.lists(st.lists(st.tuples(st.booleans(), steps), max_size=3), max_size=3)


@settings(deadline=None)
@given(programs, st.integers(0, 40), steps, groups)
def test_an_overlay_tells_what_comes(program, wait, first, transactions):
    """Plain commands, then groups of scripts, each of which is kept or dropped."""
    machine, other, untouched = [machine_after(program) for _ in "123"]
    stamp = machine.stamp + wait
    overlay = Overlay(machine, stamp)
    overlay.apply(first)
    logged: list = list(first)
    nested: list = list(first)
    said = []
    for parts in transactions:
        replies: list = []
        done: list = []
        for kept, part in parts:
            overlay.hold()
            found = [overlay.step(step) for step in part]
            if kept:
                replies += found
                done.append(tuple(part))
            else:
                overlay.drop()
        watched = overlay.touched
        overlay.keep()
        logged.append(Exec(watched, sum(done, ())))
        nested.append(Exec(watched, tuple(map(Evaluated, done))))
        said.append(replies)
    assert machine.digest() == untouched.digest()
    answered: list = machine.apply(stamp, logged)[len(first) :]
    assert [reply and reply[2] for reply in answered] == said
    other.apply(stamp, nested)
    assert other.digest() == machine.digest()
    assert records(overlay.machine) == records(machine)
    assert overlay.machine.revision == machine.revision
    for ledger in (overlay.machine.keyspace.ledger, machine.keyspace.ledger):
        assert ledger.sizes[LedgerKind.SCRIPT] == sizes(ledger)


@settings(max_examples=60, deadline=None)
@given(programs, keys, st.lists(commands, max_size=4))
def test_what_was_touched_is_watched(program, key, between):
    """If another command changes what a script read, its effects do not take place."""
    machine = machine_after(program)
    overlay = Overlay(machine, machine.stamp)
    found = overlay.machine.keyspace.get(key)
    overlay.step(Put(b"effect", b"1"))
    command = Exec(overlay.touched, (Put(b"effect", b"1"),))
    revision = machine.keyspace.revision(key)
    [*_, reply] = machine.apply(machine.stamp, [*between, command])
    if reply is None:
        assert machine.keyspace.get(b"effect") is None
    else:
        assert (machine.keyspace.get(b"effect"), machine.keyspace.revision(key)) == (b"1", revision)
        assert machine.keyspace.get(key) == found


def test_a_due_key_is_missing_and_its_absence_is_watched():
    machine = Machine()
    machine.apply(5, [Put(b"a", b"1")])
    machine.keyspace.put(b"a", b"1", 1, expires=10)
    overlay = Overlay(machine, 10)
    assert overlay.step(Increment(b"a", 5)) == 5
    assert overlay.touched == (Watched(b"a", 0, 1),)
    assert machine.keyspace.get(b"a") == b"1"


def test_a_dropped_flush_leaves_the_keys():
    machine = Machine()
    machine.apply(0, [Put(b"a", b"1"), Put(b"b", b"2")])
    overlay = Overlay(machine, 0)
    overlay.step(Flush())
    assert (len(overlay.machine.keyspace), overlay.machine.keyspace.bytes) == (0, 0)
    overlay.drop()
    assert overlay.step(Delete((b"a", b"x"))) == 1
    assert len(overlay.machine.keyspace) == 1


def test_what_is_dropped_is_not_what_a_key_holds_after_an_earlier_step():
    """In a transaction a script may fail after others have changed its keys."""
    overlay = Overlay(Machine(), 0)
    overlay.step(Put(b"a", b"1"))
    overlay.hold()
    overlay.step(Put(b"a", b"2"))
    overlay.drop()
    assert overlay.machine.keyspace.get(b"a") == b"1"
    overlay.step(Flush())
    overlay.step(Put(b"b", b"3"))
    overlay.drop()
    assert [overlay.machine.keyspace.get(key) for key in (b"a", b"b")] == [b"1", None]


def test_what_is_dropped_is_not_in_the_numbers_of_the_ledger():
    """They are remembered at the first change after `hold`, and not at the next ones."""
    overlay = Overlay(Machine(), 0)
    ledger = overlay.machine.keyspace.ledger

    def numbers():
        return ledger.counts[LedgerKind.SCRIPT], ledger.sizes[LedgerKind.SCRIPT]

    def load(*names):
        for name in names:
            overlay.step(LoadScript(name * 40, b"return 1", 1 << 20))

    load(b"a")
    overlay.keep()
    kept = numbers()
    load(b"b", b"c")
    overlay.drop()
    assert numbers() == kept
    load(b"d")
    overlay.hold()
    held = numbers()
    assert held > kept
    load(b"e", b"f")
    overlay.drop()
    overlay.drop()
    assert numbers() == held
    overlay.step(FlushScripts())
    overlay.drop()
    assert numbers() == held


def test_a_row_that_was_missing_is_found_once_it_is_put():
    overlay = Overlay(Machine(), 0)
    ledger = overlay.machine.keyspace.ledger
    assert library_of(ledger, b"count") is None
    overlay.step(PutLibrary(b"counting", b"", (Function(b"count", (), None),)))
    assert library_of(ledger, b"count") is not None
    overlay.drop()
    assert library_of(ledger, b"count") is None


def test_the_oldest_scripts_leave_the_cache():
    machine = Machine()
    names = [bytes([97 + n]) * 40 for n in range(4)]
    for name in names:
        machine.apply(0, [LoadScript(name, b"x" * 100, 1500)])
    ledger = machine.keyspace.ledger
    assert [script_source(ledger, name) is not None for name in names] == [False, False, True, True]
    machine.apply(0, [FlushScripts(), LoadScript(names[0], b"y", 1500)])
    assert [script_source(ledger, name) for name in names] == [b"y", None, None, None]
    assert script_source(ledger, b"") is None
