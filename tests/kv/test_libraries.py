"""Libraries of functions in the state machine."""

from kraft.kv.commands import (
    Command,
    DeleteLibrary,
    Flush,
    FlushLibraries,
    Function,
    PutLibrary,
    decode,
    encode,
)
from kraft.kv.ledger import LedgerKind
from kraft.kv.libraries import libraries_bytes, library, library_names, library_of
from kraft.kv.machine import Machine

F, G = Function(b"f", ("no-writes",), b"text"), Function(b"G")
ONE = PutLibrary(b"one", b"#!lua name=one\n...", (F, G))
TWO = PutLibrary(b"two", b"#!lua name=two\n", (Function(b"h"),))


def one(machine: Machine, command):
    (reply,) = machine.apply(machine.stamp, [command])
    return reply


def test_a_library_is_found_by_the_names_of_its_functions_in_any_case():
    machine = Machine()
    assert one(machine, ONE) == b"one"
    assert one(machine, TWO) == b"two"
    ledger = machine.keyspace.ledger
    assert library_names(ledger) == [b"one", b"two"]
    for name, function in ((b"f", F), (b"F", F), (b"g", G)):
        found = library_of(ledger, name)
        assert found is not None
        assert (found[0].source, found[1]) == (ONE.source, function)
    assert library_of(ledger, b"one") is None
    assert library(ledger, b"f") is None


def test_another_text_takes_the_place_of_a_library():
    machine = Machine()
    one(machine, ONE)
    one(machine, PutLibrary(b"one", b"#!lua name=one\n", (G,)))
    ledger = machine.keyspace.ledger
    assert library_of(ledger, b"f") is None
    found = library(ledger, b"one")
    assert found is not None
    assert found.source == b"#!lua name=one\n"
    assert ledger.counts[LedgerKind.LIBRARY] == 3


def test_nothing_is_left_of_a_library_that_is_removed():
    machine = Machine()
    one(machine, ONE)
    one(machine, TWO)
    one(machine, Flush())
    ledger = machine.keyspace.ledger
    assert libraries_bytes(ledger) > 0
    assert [one(machine, DeleteLibrary(b"one")), one(machine, DeleteLibrary(b"one"))] == [1, 0]
    assert library_names(ledger) == [b"two"]
    assert library_of(ledger, b"f") is None
    assert one(machine, FlushLibraries()) == "OK"
    revision = machine.revision
    assert one(machine, FlushLibraries()) == "OK"
    assert (machine.revision, libraries_bytes(ledger), ledger.rows) == (revision, 0, {})


def test_the_digest_covers_libraries_and_they_travel():
    machine, other = Machine(), Machine()
    one(machine, ONE)
    one(other, TWO)
    assert machine.digest() != other.digest()
    commands: list[Command] = [ONE, TWO, DeleteLibrary(b"one"), FlushLibraries()]
    assert decode(encode(commands)) == commands
