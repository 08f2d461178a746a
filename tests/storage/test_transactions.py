"""A node that starts in the middle of a transaction over several groups, from its disk or from a snapshot.

Locks, what was prepared, decisions and what is over are rows of the ledger: the log after the checkpoint is
applied to them as to any state.
"""

import msgspec
import pytest

from kraft.kv.commands import Delete, Increment, Look, Put, Watched
from kraft.kv.machine import Machine
from kraft.kv.replies import CommandFailure
from kraft.kv.transaction_reply import StepOutcome as Outcome
from kraft.storage.state.database import DamagedStateFile
from tests.kv.group_states import (
    NOW,
    check_index,
    commit,
    decide,
    due,
    forget,
    kinds,
    one,
    prepare,
    resolve,
    t,
)
from tests.storage.states import base, rows_of

VERSION = 4


def begun() -> Machine:
    """A machine at version 4 with one transaction in each state."""
    machine = Machine()
    machine.raise_version(NOW, VERSION)
    machine.apply(NOW, [Put(b"a", b"1"), Put(b"b", b"2"), Put(b"c", b"3"), Put(b"timed", b"4")])
    due(machine, b"timed", after=50)
    prepare(machine, t(1), Increment(b"a", 1), Delete((b"b",)), Look((b"timed",)))
    prepare(machine, t(2), Look((b"c",)), watched=(Watched(b"c", 3, 4),))
    commit(machine, t(3), Put(b"d", b"x"), participants=(1, 2))
    resolve(machine, t(4), committed=False)
    commit(machine, t(6), Look((b"d",)), mark=1, participants=())
    return machine


def come_back(keyspace, checkpoint) -> Machine:
    return Machine.restored(keyspace, checkpoint.base.stamp, checkpoint.revision, checkpoint.machine_version)


def at(machine, index):
    return msgspec.structs.replace(base(index), stamp=machine.stamp)


def go_on(machine):
    """The rest of the log, which ends every transaction. Returns all replies."""
    replies = [
        one(machine, Put(b"a", b"late"), NOW + 60),
        one(machine, Put(b"c", b"late"), NOW + 60),
        prepare(machine, t(1), Put(b"q", b""), stamp=NOW + 60),
        prepare(machine, t(4), Put(b"q", b""), stamp=NOW + 60),
        commit(machine, t(3), Put(b"d", b"y"), stamp=NOW + 60),
        resolve(machine, t(1), stamp=NOW + 61),
        resolve(machine, t(2), committed=False, stamp=NOW + 61),
        forget(machine, t(3), 1, stamp=NOW + 61),
        forget(machine, t(3), 2, stamp=NOW + 61),
        decide(machine, t(3), stamp=NOW + 61),
    ]
    assert replies[:2] == [CommandFailure.LOCKED] * 2
    outcomes = [Outcome.PREPARED, Outcome.FINISHED, Outcome.COMMITTED]
    assert [reply.outcome for reply in replies[2:5]] == outcomes
    assert {key: record.value for key, record in machine.keyspace.records.items()} == {
        b"a": b"2",
        b"c": b"3",
        b"d": b"x",
    }
    assert kinds(machine)[:2] == (0, 0)
    return replies


def test_a_start_in_the_middle_goes_on(tmp_path, file_at):
    machine, same = begun(), begun()
    database = file_at(tmp_path / "s.db")
    assert database.write(machine.capture(at(machine, 5)))
    database.close()

    database = file_at(tmp_path / "s.db")
    again = come_back(database.load(), database.checkpoint)
    assert again.digest() == same.digest()
    check_index(again)
    assert go_on(again) == go_on(same)
    assert again.digest() == same.digest()


def test_a_crash_between_two_checkpoints_repeats_the_log(tmp_path, file_at):
    """The file has what was there before Resolve; the log after it is applied a second time."""
    machine = begun()
    database = file_at(tmp_path / "s.db")
    assert database.write(machine.capture(at(machine, 5)))
    replies = go_on(machine)

    again = come_back(database.load(), database.checkpoint)
    assert go_on(again) == replies
    assert again.digest() == machine.digest()

    assert database.write(machine.capture(at(machine, 6)))
    last = come_back(database.load(), database.checkpoint)
    assert last.digest() == machine.digest()
    assert last.keyspace.transactions.prepared == {}


def test_two_replicas_with_checkpoints_at_different_times_have_the_same_sum(tmp_path, file_at):
    one_, other = begun(), begun()
    early, late = file_at(tmp_path / "early.db"), file_at(tmp_path / "late.db")
    assert early.write(one_.capture(at(one_, 5)))
    for machine in (one_, other):
        go_on(machine)
    assert early.write(one_.capture(at(one_, 6)))
    assert late.write(other.capture(at(other, 6)))
    assert early.checkpoint == late.checkpoint
    assert early.checkpoint.sum != bytes(16)


@pytest.mark.parametrize("what", ["prepared", "decision", "finished", "mark"])
def test_the_sum_covers_every_kind_of_row(tmp_path, file_at, what):
    right, wrong = begun(), begun()
    steps = {
        "prepared": lambda m: resolve(m, t(2), committed=False),
        "decision": lambda m: forget(m, t(3), 1),
        "finished": lambda m: decide(m, t(5)),
        "mark": lambda m: commit(m, t(6), mark=2),
    }
    steps[what](wrong)
    files = [file_at(tmp_path / f"{name}.db") for name in ("right", "wrong")]
    for database, machine in zip(files, (right, wrong), strict=True):
        assert database.write(machine.capture(at(machine, 5)))
    assert files[0].checkpoint.sum != files[1].checkpoint.sum


def test_a_row_that_is_damaged_is_noticed(tmp_path, file_at):
    machine = begun()
    database = file_at(tmp_path / "s.db")
    assert database.write(machine.capture(at(machine, 5)))
    database.connection.execute("UPDATE ledger SET expires = 1 WHERE hex(key) LIKE '04%'")
    with pytest.raises(DamagedStateFile):
        database.load()


@pytest.mark.parametrize("shared", [False, True])
def test_a_snapshot_in_the_middle_brings_the_locks(tmp_path, states_at, write, shared):
    machine, same = begun(), begun()
    log, states = states_at(tmp_path, shared=shared)
    log.commit([write(1, 9)])
    assert states.write(0, machine.capture(at(machine, 5)), log)
    view = states.open_view(0)
    checkpoint = view.checkpoint
    pieces = rows_of(view, max_bytes=60)
    view.close()
    receiver = states.receive(0, checkpoint)
    for piece in pieces:
        assert receiver.write(piece.data) == ""
    received = receiver.finish()

    again = come_back(received.keyspace, received.checkpoint)
    check_index(again)
    assert go_on(again) == go_on(same)
    assert again.digest() == same.digest()
