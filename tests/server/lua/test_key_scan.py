"""KEYS and SCAN in scripts: what they find, and how much of it, and how long that may take."""

import pytest

from kraft.config import LimitsConfig
from kraft.kv.commands import Delete, Evaluated, Flush, ScriptCall, Set, encode
from kraft.kv.machine import Machine
from kraft.kv.overlay import Overlay
from kraft.server.lua.key_scan import key_scan
from kraft.server.lua.runtime import LimitReached
from tests.server.fakes import Port
from tests.server.lua.talks import Scripts


def free(_size):
    """No limit of what is found."""


def test_a_search_that_takes_too_long_ends_the_script(monkeypatch):
    machine = Machine()
    machine.apply(1, [Set(b"a", b"1")])
    overlay = Overlay(machine, 1)
    port = Port().factory.port
    assert key_scan("keys", [b"KEYS", b"*"], overlay, port, free) == [b"a"]
    monkeypatch.setattr(port.clock, "seconds", iter(range(100)).__next__)
    for name in ("keys", "scan"):
        with pytest.raises(LimitReached, match="time"):
            key_scan(name, [name.encode(), b"0"], overlay, port, free)


def test_keys_that_are_found_are_watched():
    """Not the others: a change of these changes nothing for the script."""
    machine = Machine()
    machine.apply(1, [Set(b"a1", b"1"), Set(b"b", b"1")])
    overlay = Overlay(machine, 1)
    assert key_scan("keys", [b"KEYS", b"a*"], overlay, Port().factory.port, free) == [b"a1"]
    assert [watched.key for watched in overlay.touched] == [b"a1"]


@pytest.mark.parametrize("search", ["'KEYS', '*'", "'SCAN', 0"])
def test_keys_that_are_found_count_like_what_a_script_writes(search):
    """Their names are in the entry of the log, whose size has a limit."""
    scripts = Scripts(Port(limits=LimitsConfig(key_bytes=500, value_bytes=500, request_bytes=2000)))
    for number in range(4):
        scripts.call("SET", f"{number}" + "k" * 450, 1)
    assert scripts.run(f"redis.call({search}) return 1") == b":1\r\n"
    scripts.call("SET", "last" + "k" * 450, 1)
    refused = scripts.run(f"redis.call({search}) return 1")
    assert b"what a script does exceeds limit of 2000 bytes" in refused
    caught = f"for n = 1, 100 do redis.pcall({search}) end return redis.pcall('SET', 'x', 1)"
    assert b"what a script does exceeds limit of 2000 bytes" in scripts.run(caught)
    assert scripts.call("EXISTS", "x") == b":0\r\n"


@pytest.mark.parametrize("call", ["'KEYS', '*'", "'SCAN', 0", "'dbsize'", "'FLUSHALL'"])
@pytest.mark.parametrize("keys", [0, 1, 2])
def test_what_concerns_all_groups_is_refused_where_there_are_several(call, keys):
    """The group in which a script runs has a part of the keys, and its reply would look complete."""
    scripts = Scripts(Port(groups=3))
    refused = scripts.run(f"return redis.call({call})", *"ab"[:keys], keys=keys)
    assert refused.startswith(b"-ERR This Redis command is not allowed from script")


@pytest.mark.parametrize("length", [1, 40, 300, 65_000])
def test_what_a_search_counts_is_no_less_than_what_is_logged(length):
    """So a batch of scripts ends before its entry is too large for the links."""
    machine = Machine()
    machine.revision = (1 << 63) - 1_000
    machine.apply(1, [Set(b"%d" % number + b"k" * (length - 1), b"1") for number in range(10)])
    overlay = Overlay(machine, 1)
    script = ScriptCall(b"s" * 40, b"return #redis.call('KEYS', '*')", (), ())
    effects = Scripts().port.host.evaluator.evaluate(overlay, script)
    assert (effects.reply, len(overlay.touched)) == (10, 10)
    empty = len(encode([Evaluated((), b"", ())]))
    assert len(encode([Evaluated((), b"", overlay.touched)])) - empty <= effects.size


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
