"""KEYS and SCAN in scripts, where the search takes too long."""

import pytest

from kraft.kv.commands import Delete, Flush, Set
from kraft.kv.machine import Machine
from kraft.kv.overlay import Overlay
from kraft.server.lua.key_scan import key_scan
from kraft.server.lua.runtime import LimitReached
from tests.server.fakes import Port


def test_a_search_that_takes_too_long_ends_the_script(monkeypatch):
    machine = Machine()
    machine.apply(1, [Set(b"a", b"1")])
    overlay = Overlay(machine, 1)
    port = Port().factory.port
    assert key_scan("keys", [b"KEYS", b"*"], overlay, port) == [b"a"]
    monkeypatch.setattr(port.clock, "seconds", iter(range(100)).__next__)
    for name in ("keys", "scan"):
        with pytest.raises(LimitReached, match="time"):
            key_scan(name, [name.encode(), b"0"], overlay, port)


def test_keys_that_are_found_are_watched():
    """Not the others: a change of these changes nothing for the script."""
    machine = Machine()
    machine.apply(1, [Set(b"a1", b"1"), Set(b"b", b"1")])
    overlay = Overlay(machine, 1)
    assert key_scan("keys", [b"KEYS", b"a*"], overlay, Port().factory.port) == [b"a1"]
    assert [watched.key for watched in overlay.touched] == [b"a1"]


def test_keys_are_found_as_the_commands_before_have_left_them():
    """Those of the same batch, and of the same script."""
    machine = Machine()
    machine.apply(1, [Set(b"a", b"1"), Set(b"b", b"1"), Set(b"c", b"1")])
    overlay = Overlay(machine, 1)
    overlay.apply([Delete((b"a",)), Set(b"d", b"1")])
    overlay.step(Delete((b"b",)))
    overlay.step(Set(b"e", b"1"))
    assert sorted(overlay.names()) == [b"c", b"d", b"e"]
    overlay.drop()
    assert sorted(overlay.names()) == [b"b", b"c", b"d"]
    overlay.apply([Flush(), Set(b"f", b"1")])
    assert [*overlay.names()] == [b"f"]
    overlay.step(Flush())
    assert [*overlay.names()] == []
