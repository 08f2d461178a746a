"""The set of commands and its encoding: closed, versioned, and readable by programs of the same version."""

from typing import Any, get_args

import pytest

from kraft.kv.commands import (
    AppendValue,
    BitField,
    BitOperation,
    ClearExpiry,
    Command,
    CompareAndSet,
    Copy,
    Delete,
    DeleteIf,
    DeleteLibrary,
    Evaluated,
    Exec,
    Expire,
    Extend,
    FieldOperation,
    Flush,
    FlushLibraries,
    GetDelete,
    GetExpire,
    Guarded,
    Increment,
    IncrementFloat,
    Lock,
    Once,
    Put,
    PutLibrary,
    Rename,
    Set,
    SetBit,
    SetIf,
    SetMany,
    SetManyIf,
    SetRange,
    Unlock,
    decode,
    encode,
    needed_version,
)
from kraft.kv.commands.script import FlushScripts, LoadScript, ScriptCall
from kraft.kv.errors import UnknownCommand
from kraft.kv.machine import FUNCTIONS
from kraft.kv.versions import MACHINE_VERSION

TAGS: dict[Any, tuple[int, int]] = {
    Put: (1, 1),
    Set: (2, 1),
    SetMany: (3, 1),
    GetDelete: (4, 1),
    AppendValue: (5, 1),
    Delete: (6, 1),
    Increment: (7, 1),
    Expire: (8, 1),
    ClearExpiry: (9, 1),
    SetRange: (10, 2),
    SetIf: (11, 3),
    DeleteIf: (12, 3),
    GetExpire: (13, 3),
    SetManyIf: (14, 3),
    IncrementFloat: (15, 3),
    CompareAndSet: (16, 3),
    SetBit: (17, 3),
    BitOperation: (18, 3),
    BitField: (19, 3),
    Rename: (20, 3),
    Copy: (21, 3),
    Flush: (22, 3),
    Exec: (40, 3),
    Lock: (50, 3),
    Unlock: (51, 3),
    Extend: (52, 3),
    Guarded: (53, 3),
    Once: (60, 3),
    ScriptCall: (70, 3),
    LoadScript: (71, 3),
    FlushScripts: (72, 3),
    Evaluated: (73, 3),
    PutLibrary: (74, 3),
    DeleteLibrary: (75, 3),
    FlushLibraries: (76, 3),
}


def test_tags_and_versions_are_a_contract_with_every_log_ever_written():
    assert {kind: (kind.__struct_config__.tag, kind.since) for kind in get_args(Command)} == TAGS


def test_the_machine_applies_every_command_of_its_version():
    assert max(kind.since for kind in TAGS) == MACHINE_VERSION
    assert set(FUNCTIONS) == set(TAGS) - {ScriptCall}  # which the leader replaces before it is logged


@pytest.mark.parametrize(
    ("command", "data"),
    [
        (Put(b"a", b"b"), b"\x01\x91\x93\x01\xc4\x01a\xc4\x01b"),
        (AppendValue(b"a", b"b", 9), b"\x01\x91\x94\x05\xc4\x01a\xc4\x01b\x09"),
        (ClearExpiry(b"a"), b"\x01\x91\x92\x09\xc4\x01a"),
        (SetRange(b"a", 1, b"b", 9), b"\x01\x91\x95\x0a\xc4\x01a\x01\xc4\x01b\x09"),
        (DeleteIf(b"a", 1, b"b"), b"\x01\x91\x94\x0c\xc4\x01a\x01\xc4\x01b"),
        (CompareAndSet(b"a", 7, b"b"), b"\x01\x91\x94\x10\xc4\x01a\x07\xc4\x01b"),
        (Lock(b"a", 9, b"b"), b"\x01\x91\x94\x32\xc4\x01a\x09\xc4\x01b"),
        (Guarded(b"a", 7, Put(b"b", b"c")), b"\x01\x91\x94\x35\xc4\x01a\x07\x93\x01\xc4\x01b\xc4\x01c"),
        (
            Once(b"t", b"f", Put(b"b", b"c"), 9, 8, 7),
            b"\x01\x91\x97\x3c\xc4\x01t\xc4\x01f\x93\x01\xc4\x01b\xc4\x01c\x09\x08\x07",
        ),
        (SetBit(b"a", 7, 1, 9, 8), b"\x01\x91\x96\x11\xc4\x01a\x07\x01\x09\x08"),
        (
            BitField(b"a", (FieldOperation(1, True, 8, 3, 5, 2),), 9, 8),
            b"\x01\x91\x95\x13\xc4\x01a\x91\x96\x01\xc3\x08\x03\x05\x02\x09\x08",
        ),
    ],
)
def test_the_bytes_stay_as_they_are(command, data):
    assert encode([command]) == data
    assert decode(data) == [command]


@pytest.mark.parametrize(
    "data",
    [
        b"",
        b"\x02\x90",
        b"\x01",
        b"\x01\xc1",
        b"\x01\x91\x92\x7f\xc4\x01a",
        encode([Put(b"a", b"b")])[:-1],
    ],
    ids=["nothing", "newer format", "cut", "no msgpack", "unknown tag", "half a command"],
)
def test_what_is_no_batch_of_this_program_is_one_error(data):
    with pytest.raises(UnknownCommand):
        decode(data)


def test_a_batch_needs_the_version_of_its_newest_command():
    assert needed_version([]) == 1
    assert needed_version([Put(b"a", b"b"), Delete((b"a",))]) == 1
    assert needed_version([Put(b"a", b"b"), SetRange(b"a", 0, b"x"), Put(b"a", b"b")]) == 2
    assert needed_version([SetRange(b"a", 0, b"x"), SetBit(b"a", 0, 1)]) == 3
