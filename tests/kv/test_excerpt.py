"""An excerpt shows what the keyspace does, as far as it was asked for, and knows what it lacks."""

import pytest

from kraft.kv import excerpt
from kraft.kv.commands import Delete, LoadScript, Put, Set, Watched
from kraft.kv.commands.keys import Expiry
from kraft.kv.excerpt import NotInExcerpt, decode_rows, encode_rows, excerpt_rows
from kraft.kv.ledger import LedgerKind, ledger_key
from kraft.kv.machine import Machine
from kraft.kv.scripts import script_source
from kraft.kv.slots import SLOTS, SlotTable

NOW = 1_700_000_000_000


@pytest.fixture
def machine():
    made = Machine()
    commands = [Put(b"%d" % n, b"v" * n) for n in range(1, 6)]
    made.apply(NOW, [*commands, Set(b"due", b"x", expiry=Expiry.ABSOLUTE, expiry_ms=NOW + 9)])
    return made


def taken(machine, *names, needed=None):
    wanted = len(names) if needed is None else needed
    rows = excerpt_rows(machine.keyspace, NOW, machine.revision, names, wanted)
    assert rows is not None
    return decode_rows(encode_rows(rows)).excerpt()


def test_keys_are_as_in_the_keyspace(machine):
    found = taken(machine, b"1", b"2", b"due", b"none")
    for key in (b"1", b"2", b"due", b"none"):
        assert found.get(key) == machine.keyspace.get(key)
        assert found.revision(key) == machine.keyspace.revision(key)
        assert found.expires(key) == machine.keyspace.expires(key)
        assert (key in found) == (key in machine.keyspace)
    assert len(found) == len(machine.keyspace)
    assert found.bytes == machine.keyspace.bytes


@pytest.mark.parametrize("key", [b"1", b"none", b"gone"])
def test_watched_keys_are_judged_as_in_the_keyspace(machine, key):
    """Also those that came and went, and those of which a checkpoint has made the replicas forget."""
    machine.apply(NOW, [Put(b"gone", b"x"), Delete((b"gone",))])
    for _ in range(2):
        found = taken(machine, key)
        for seen in range(machine.revision + 2):
            for revision in (0, machine.keyspace.revision(key)):
                watched = (Watched(key, revision, seen),)
                assert found.unchanged(watched) == machine.keyspace.unchanged(watched), seen
        machine.mark(NOW)


def test_what_was_not_asked_for_counts_as_changed(machine):
    assert not taken(machine, b"1").unchanged((Watched(b"none", 0, machine.revision),))


def test_names_after_the_needed_ones_are_left_out(machine, monkeypatch):
    monkeypatch.setattr(excerpt, "PART_BYTES", 5)
    names = (b"none", b"2", b"3", b"4", b"other")
    assert taken(machine, *names).get(b"4") == b"vvvv"
    found = taken(machine, *names, needed=1)
    assert [found.get(name) for name in names[:3]] == [None, b"vv", b"vvv"]
    for name in names[3:]:
        with pytest.raises(NotInExcerpt):
            found.get(name)
        with pytest.raises(NotInExcerpt):
            found.revision(name)
        with pytest.raises(NotInExcerpt):
            name in found  # noqa: B015


def test_too_much_is_refused(machine, monkeypatch):
    monkeypatch.setattr(excerpt, "EXCERPT_BYTES", 5)
    assert excerpt_rows(machine.keyspace, NOW, 1, (b"2", b"3"), 2) is not None
    assert excerpt_rows(machine.keyspace, NOW, 1, (b"2", b"3", b"1"), 3) is None


def test_rows_of_the_ledger_come_by_kind(machine):
    machine.apply(NOW, [LoadScript(b"a" * 40, b"return 1", 1 << 20)])
    found = taken(machine, b"1", int(LedgerKind.SCRIPT))
    assert script_source(found.ledger, b"a" * 40) == b"return 1"
    assert not taken(machine, b"1", int(LedgerKind.LIBRARY)).ledger.rows


def test_of_a_kind_the_rows_that_are_asked_for_are_enough(machine):
    """One that does not exist is none; of another kind all come."""
    machine.apply(NOW, [LoadScript(sha * 40, b"return 1", 1 << 20) for sha in (b"a", b"b", b"c")])
    kind = LedgerKind.SCRIPT
    wanted = [ledger_key(kind, sha * 40) for sha in (b"b", b"x")]
    rows = excerpt_rows(machine.keyspace, NOW, 1, (int(kind),), 1, wanted)
    assert rows is not None
    assert [key for key, *_ in rows.ledger] == wanted[:1]
    wanted = [ledger_key(LedgerKind.USER, b"me")]
    rows = excerpt_rows(machine.keyspace, NOW, 1, (int(kind),), 1, wanted)
    assert rows is not None
    assert len(rows.ledger) == len(machine.keyspace.ledger.rows)


def test_the_slots_come_without_names(machine):
    assert taken(machine).slots is None
    machine.keyspace.slots = SlotTable.initial(0, SLOTS // 2)
    assert taken(machine, b"1").slots is None
    found = taken(machine).slots
    assert found is not None
    assert found.ranges == machine.keyspace.slots.ranges
