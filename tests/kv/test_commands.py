"""The set of commands and its encoding: closed, versioned, and readable by programs of the same version."""

from typing import Any, get_args

import pytest

from kraft.kv import commands as kv
from kraft.kv.errors import UnknownCommand
from kraft.kv.machine import FUNCTIONS
from kraft.kv.versions import MACHINE_VERSION, REPLICA_NUMBERS

ID = kv.TransactionId(b"s", 5, 6)
TAGS: dict[Any, tuple[int, int]] = {
    kv.Put: (1, 1),
    kv.Set: (2, 1),
    kv.SetMany: (3, 1),
    kv.GetDelete: (4, 1),
    kv.AppendValue: (5, 1),
    kv.Delete: (6, 1),
    kv.Increment: (7, 1),
    kv.Expire: (8, 1),
    kv.ClearExpiry: (9, 1),
    kv.SetRange: (10, 2),
    kv.SetIf: (11, 3),
    kv.DeleteIf: (12, 3),
    kv.GetExpire: (13, 3),
    kv.SetManyIf: (14, 3),
    kv.IncrementFloat: (15, 3),
    kv.CompareAndSet: (16, 3),
    kv.SetBit: (17, 3),
    kv.BitOperation: (18, 3),
    kv.BitField: (19, 3),
    kv.Rename: (20, 3),
    kv.Copy: (21, 3),
    kv.Flush: (22, 3),
    kv.Exec: (40, 3),
    kv.Lock: (50, 3),
    kv.Unlock: (51, 3),
    kv.Extend: (52, 3),
    kv.Guarded: (53, 3),
    kv.Once: (60, 3),
    kv.ScriptCall: (70, 3),
    kv.LoadScript: (71, 3),
    kv.FlushScripts: (72, 3),
    kv.Evaluated: (73, 3),
    kv.PutLibrary: (74, 3),
    kv.DeleteLibrary: (75, 3),
    kv.FlushLibraries: (76, 3),
    kv.Prepare: (80, 4),
    kv.Commit: (81, 4),
    kv.Resolve: (82, 4),
    kv.Forget: (83, 4),
    kv.Decide: (84, 4),
    kv.CommitOnce: (85, 7),
    kv.ChangeUsers: (90, 4),
    kv.Open: (100, 5),
    kv.Import: (101, 5),
    kv.Freeze: (102, 5),
    kv.Activate: (103, 5),
    kv.Cancel: (104, 5),
    kv.Unfreeze: (105, 5),
    kv.Release: (106, 5),
    kv.Sweep: (107, 5),
    kv.Close: (108, 5),
    kv.PlanMove: (110, 5),
    kv.RenewMove: (111, 5),
    kv.StopMove: (112, 5),
    kv.EndMove: (113, 5),
    kv.PlanMoves: (114, 6),
    kv.AddGroups: (120, 6),
    kv.ChangePlacement: (130, 7),
}


def test_tags_and_versions_are_a_contract_with_every_log_ever_written():
    assert {kind: (kind.__struct_config__.tag, kind.since) for kind in get_args(kv.Command)} == TAGS


def test_the_machine_applies_every_command_of_its_version():
    assert {kind.since for kind in TAGS} | {REPLICA_NUMBERS} == set(range(1, MACHINE_VERSION + 1))
    assert set(FUNCTIONS) == set(TAGS) - {kv.ScriptCall}  # which the leader replaces before it is logged


@pytest.mark.parametrize(
    ("command", "data"),
    [
        (kv.Put(b"a", b"b"), b"\x01\x91\x93\x01\xc4\x01a\xc4\x01b"),
        (kv.AppendValue(b"a", b"b", 9), b"\x01\x91\x94\x05\xc4\x01a\xc4\x01b\x09"),
        (kv.ClearExpiry(b"a"), b"\x01\x91\x92\x09\xc4\x01a"),
        (kv.SetRange(b"a", 1, b"b", 9), b"\x01\x91\x95\x0a\xc4\x01a\x01\xc4\x01b\x09"),
        (kv.DeleteIf(b"a", 1, b"b"), b"\x01\x91\x94\x0c\xc4\x01a\x01\xc4\x01b"),
        (kv.CompareAndSet(b"a", 7, b"b"), b"\x01\x91\x94\x10\xc4\x01a\x07\xc4\x01b"),
        (kv.Lock(b"a", 9, b"b"), b"\x01\x91\x94\x32\xc4\x01a\x09\xc4\x01b"),
        (kv.Guarded(b"a", 7, kv.Put(b"b", b"c")), b"\x01\x91\x94\x35\xc4\x01a\x07\x93\x01\xc4\x01b\xc4\x01c"),
        (
            kv.Once(b"t", b"f", kv.Put(b"b", b"c"), 9, 8, 7),
            b"\x01\x91\x97\x3c\xc4\x01t\xc4\x01f\x93\x01\xc4\x01b\xc4\x01c\x09\x08\x07",
        ),
        (
            kv.ChangeUsers(7, ((b"a", b"b"),), (b"c",)),
            b"\x01\x91\x94\x5a\x07\x91\x92\xc4\x01a\xc4\x01b\x91\xc4\x01c",
        ),
        (kv.SetBit(b"a", 7, 1, 9, 8), b"\x01\x91\x96\x11\xc4\x01a\x07\x01\x09\x08"),
        (
            kv.BitField(b"a", (kv.FieldOperation(1, True, 8, 3, 5, 2),), 9, 8),
            b"\x01\x91\x95\x13\xc4\x01a\x91\x96\x01\xc3\x08\x03\x05\x02\x09\x08",
        ),
        (
            kv.Prepare(ID, 4, 3, kv.Exec((kv.Watched(b"w", 1, 2),), (kv.Put(b"a", b"b"),))),
            bytes.fromhex("0191955093c40173050604039428 9193c40177010291 9301c40161c4016290"),
        ),
        (
            kv.Commit(ID, 4, (1, 2), kv.Exec((), ())),
            b"\x01\x91\x95\x51\x93\xc4\x01s\x05\x06\x04\x92\x01\x02\x94\x28\x90\x90\x90",
        ),
        (kv.Resolve(ID, True), b"\x01\x91\x93\x52\x93\xc4\x01s\x05\x06\xc3"),
        (kv.Forget(ID, 3), b"\x01\x91\x93\x53\x93\xc4\x01s\x05\x06\x03"),
        (kv.Decide(ID, False), b"\x01\x91\x93\x54\x93\xc4\x01s\x05\x06\xc2"),
        (kv.PlanMove(1, 2, 3, 4), b"\x01\x91\x95\x6e\x01\x02\x03\x04"),
        (kv.RenewMove(7), b"\x01\x91\x92\x6f\x07"),
        (kv.StopMove(7), b"\x01\x91\x92\x70\x07"),
        (kv.EndMove(7, True), b"\x01\x91\x93\x71\x07\xc3"),
        (
            kv.PlanMoves(((1, 2, 3), (4, 5, 6)), 7, 8, 9),
            b"\x01\x91\x95\x72\x92\x93\x01\x02\x03\x93\x04\x05\x06\x07\x08\x09",
        ),
        (kv.AddGroups(1, 2, b"c"), b"\x01\x91\x94\x78\x01\x02\xc4\x01c"),
        (kv.ChangePlacement(1, 3, True, ("K2",)), b"\x01\x91\x95\xcc\x82\x01\x03\xc3\x91\xa2K2"),
    ],
)
def test_the_bytes_stay_as_they_are(command, data):
    assert kv.encode([command]) == data
    assert kv.decode(data) == [command]


@pytest.mark.parametrize(
    "data",
    [
        b"",
        b"\x02\x90",
        b"\x01",
        b"\x01\xc1",
        b"\x01\x91\x92\x7f\xc4\x01a",
        kv.encode([kv.Put(b"a", b"b")])[:-1],
    ],
    ids=["nothing", "newer format", "cut", "no msgpack", "unknown tag", "half a command"],
)
def test_what_is_no_batch_of_this_program_is_one_error(data):
    with pytest.raises(UnknownCommand):
        kv.decode(data)


def test_a_batch_needs_the_version_of_its_newest_command():
    assert kv.needed_version([]) == 1
    assert kv.needed_version([kv.Put(b"a", b"b"), kv.Delete((b"a",))]) == 1
    assert kv.needed_version([kv.Put(b"a", b"b"), kv.SetRange(b"a", 0, b"x"), kv.Put(b"a", b"b")]) == 2
    assert kv.needed_version([kv.SetRange(b"a", 0, b"x"), kv.SetBit(b"a", 0, 1)]) == 3
