"""The writer thread: group commit, order, full and failing disks, the lock."""

import os
import subprocess
import sys
from pathlib import Path

import apsw
import pytest

import kraft
from kraft.host.ports import Disk
from kraft.node.values import Identity, Transaction
from kraft.raft.log.log import ENTRY_OVERHEAD_BYTES
from kraft.raft.membership.configuration import Member
from kraft.raft.messages import HardState
from kraft.storage.directory import refuse_foreign_owner
from kraft.storage.errors import DirectoryLocked, DirectoryUnusable
from kraft.storage.lock import DirectoryLock
from kraft.storage.ports import StorageSettings
from kraft.storage.store import Store

CHILD = """
import sys
from kraft.host.ports import Transaction
from kraft.raft.messages import Entry, HardState
from kraft.raft.ready import Persist
from kraft.storage import open_store

class Nobody:
    def committed(self, *_): pass
    def wal_checkpointed(self, *_): pass
    def error(self, *_): pass
    def state_loading(self, *_): pass

calls = __import__("queue").SimpleQueue()
store = open_store(sys.argv[1], node_id="K1", incarnation=lambda: "ab" * 16,
                   call_in_reactor=lambda *call: calls.put(call), fatal=print, observer=Nobody())
print("open", flush=True)
index = 0
while sys.argv[2] == "write":
    index += 1
    entry = Entry(index, 1, index, 1, b"x" * 500)
    persist = Persist(index, HardState(1, "K1"), None, (entry,), index - 1)
    store.commit(Transaction(((0, persist),)), lambda ok: None)
    call, *arguments = calls.get()
    call(*arguments)
    print(index, flush=True)
sys.stdin.read()
"""


@pytest.fixture
def child():
    """Starts another process with a store; kills it at the end if it still runs."""
    started = []

    def start(directory, what):
        process = subprocess.Popen(
            [sys.executable, "-c", CHILD, str(directory), what],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
            env=os.environ | {"PYTHONPATH": str(Path(kraft.__file__).parents[1])},
        )
        started.append(process)
        assert process.stdout is not None
        assert process.stdout.readline() == "open\n"
        return process

    yield start
    for process in started:
        process.kill()
        process.communicate()


def as_disk(store: Store) -> Disk:
    """For the type checker: a store is what the host asks for."""
    return store


def test_a_new_directory_is_a_node_at_once(tmp_path, open_at):
    """The identity is durable when the store is open, before any message could carry it."""
    path = tmp_path / "a" / "K1"
    loaded = open_at(path).loaded

    assert (loaded.identity.id, loaded.identity.incarnation) == ("K1", "0123456789abcdef" * 2)
    assert (loaded.identity.cluster, loaded.identity.members, loaded.groups) == ("", (), {})
    assert path.stat().st_mode & 0o777 == 0o700
    assert sorted(file.name for file in path.iterdir()) == [
        "ballast", "highwater", "lock", "log.db", "log.db-wal",
    ]  # fmt: skip


def test_the_incarnation_stays(tmp_path, open_at, database_at):
    open_at(tmp_path).close()

    again = database_at(tmp_path, incarnation=lambda: pytest.fail("made a second time"))

    assert again.loaded.identity.incarnation == "0123456789abcdef" * 2


def test_a_commit_survives_the_restart(done, tmp_path, open_at, reactor, write):
    store = open_at(tmp_path)
    members = (Member("K1", "aa", "h:1"), Member("K2", "bb", "h:2"))
    store.commit(
        Transaction(
            (*write(1, 3, vote="K1", commit=1).writes, *write(1, 2, group=4, term=7, vote="").writes),
            Identity("K1", "0123456789abcdef" * 2, "cluster", members),
        ),
        done.append,
    )
    reactor.run_until(lambda: done)
    store.close()

    loaded = open_at(tmp_path).loaded

    assert done == [True]
    assert (loaded.identity.cluster, loaded.identity.members) == ("cluster", members)
    first, second = loaded.groups[0], loaded.groups[4]
    assert (first.last_index, first.commit, first.hard_state) == (3, 1, HardState(1, "K1"))
    assert (second.last_index, second.terms, second.last_stamp) == (2, ((1, 7),), 1002)


def test_callbacks_wait_for_the_reactor(done, tmp_path, open_at, reactor, write):
    """Nothing is called inside the call that asks, nor on the writer thread."""
    store = open_at(tmp_path)
    store.commit(write(1, 1), done.append)
    store.close()

    assert done == []
    reactor.run_waiting()
    assert done == [True]


def test_all_that_waits_is_one_transaction(done, tmp_path, open_at, reactor, witness, faulty_vfs, write):
    """While one commit is in its fsync, fifty more arrive: two transactions and two syncs in all."""
    store = open_at(tmp_path, vfs="faulty")
    store.commit(write(1, 1), lambda ok: done.append((1, ok)))
    reactor.run_until(lambda: witness.commits)
    syncs = faulty_vfs.syncs  # the first one synced the header of the WAL as well
    faulty_vfs.gate.clear()
    store.commit(write(2, 2), lambda ok: done.append((2, ok)))
    assert faulty_vfs.at_gate.wait(30)
    for index in range(3, 53):
        store.commit(write(index, index), lambda ok, index=index: done.append((index, ok)))
    faulty_vfs.gate.set()
    reactor.run_until(lambda: len(witness.commits) == 3)

    assert done == [(index, True) for index in range(1, 53)]
    assert witness.commits == [(1, 4), (1, 4), (50, 200)]
    assert faulty_vfs.syncs - syncs == 2


def test_an_empty_write_costs_no_sync(done, tmp_path, open_at, reactor, faulty_vfs, write):
    store = open_at(tmp_path, vfs="faulty")
    syncs = faulty_vfs.syncs

    store.commit(write(), done.append)
    reactor.run_until(lambda: done)

    assert (done, faulty_vfs.syncs) == ([True], syncs)


def test_fetch_sees_what_was_committed_before_it(done, tmp_path, open_at, reactor, write):
    store = open_at(tmp_path)
    store.commit(write(1, 9, data=b"x" * 100), lambda _: None)
    store.fetch(0, 3, 9, 3 * (100 + ENTRY_OVERHEAD_BYTES), done.append)
    store.fetch(0, 9, 9, 0, done.append)
    store.fetch(0, 10, 12, 100, done.append)
    reactor.run_until(lambda: len(done) == 3)

    assert [[entry.index for entry in entries] for entries in done] == [[3, 4, 5], [9], []]


def test_fetch_counts_entries_without_data_too(done, tmp_path, open_at, reactor, write):
    """A group in which keys expire has very many of them."""
    store = open_at(tmp_path)
    store.commit(write(1, 50, data=b""), lambda _: None)
    store.fetch(0, 1, 50, 10 * ENTRY_OVERHEAD_BYTES, done.append)
    reactor.run_until(lambda: done)

    assert [entry.index for entry in done[0]] == list(range(1, 11))


def test_a_sync_that_hangs_leaves_a_ping_without_an_answer(
    done, tmp_path, open_at, reactor, witness, faulty_vfs, write
):
    store = open_at(tmp_path, vfs="faulty")
    store.ping(lambda: done.append("idle"))
    reactor.run_until(lambda: done)
    faulty_vfs.gate.clear()
    store.commit(write(1, 1), lambda _: done.append("committed"))
    assert faulty_vfs.at_gate.wait(30)
    store.ping(lambda: done.append("after it"))
    reactor.run_waiting()
    assert done == ["idle"]

    faulty_vfs.gate.set()
    reactor.run_until(lambda: len(done) == 3)

    assert done == ["idle", "committed", "after it"]


def test_a_full_disk_fails_all_that_waited_and_nothing_is_written(
    done, tmp_path, open_at, reactor, witness, faulty_vfs, write
):
    """Also what was handed over before the failure was known: it was made on top of what failed."""
    store = open_at(tmp_path, vfs="faulty")
    store.commit(write(1, 1, vote="K1"), done.append)
    reactor.run_until(lambda: done)
    done.clear()
    faulty_vfs.faults["wal", "write"] = apsw.SQLITE_FULL
    answer = done.append
    store.commit(write(2, 3), answer)
    reactor.run_until(lambda: witness.errors)  # the answer itself is still on its way
    faulty_vfs.faults.clear()
    store.commit(write(4, 4), answer)  # before its time: it follows what was not written
    reactor.run_until(lambda: len(done) == 2)
    assert (done, witness.errors) == ([False, False], ["commit"])

    store.commit(write(2, 3), answer)
    store.commit(write(4, 4), answer)
    reactor.run_until(lambda: len(done) == 4)
    store.close()

    assert done == [False, False, True, True]
    assert witness.deaths == []
    assert open_at(tmp_path).loaded.groups[0].last_index == 4


def test_a_truncation_rolled_back_leaves_the_old_rows(tmp_path, database_at, faulty_vfs, write):
    database = database_at(tmp_path, vfs="faulty")
    assert database.commit([write(1, 9, term=2, vote="K1")])
    faulty_vfs.faults["wal", "write"] = apsw.SQLITE_FULL
    assert not database.commit([write(4, 5, term=1, truncate_from=4)])
    faulty_vfs.faults.clear()

    assert database.commit([write(10, 10, term=2)])
    assert [entry.index for entry in database.fetch(0, 1, 99, 1 << 20)] == list(range(1, 11))
    database.close()
    assert database_at(tmp_path).loaded.groups[0].last_index == 10


@pytest.mark.parametrize(
    ("operation", "code"),
    [("sync", apsw.SQLITE_IOERR_FSYNC), ("write", apsw.SQLITE_IOERR_WRITE), ("sync", apsw.SQLITE_CANTOPEN)],
)
def test_a_failed_write_or_sync_is_the_end(
    done, tmp_path, open_at, reactor, witness, faulty_vfs, write, operation, code
):
    """The same insert would succeed afterwards, as SQLite does not stop: so nothing more is accepted."""
    store = open_at(tmp_path, vfs="faulty")
    faulty_vfs.faults["wal", operation] = code
    store.commit(write(1, 1), done.append)
    reactor.run_until(lambda: witness.deaths)
    faulty_vfs.faults.clear()
    store.commit(write(1, 1), done.append)
    store.fetch(0, 1, 1, 1, done.append)
    store.close()
    reactor.run_waiting()

    assert done == []
    assert len(witness.deaths) == 1
    assert "log.db" in witness.deaths[0]


@pytest.mark.parametrize("operation", ["write", "sync"])
def test_a_failed_checkpoint_is_the_end(tmp_path, open_at, reactor, witness, faulty_vfs, write, operation):
    store = open_at(tmp_path, vfs="faulty", settings=StorageSettings(wal_bytes=1))
    faulty_vfs.faults["db", operation] = apsw.SQLITE_IOERR_WRITE
    store.commit(write(1, 1), lambda _: None)
    reactor.run_until(lambda: witness.deaths)
    faulty_vfs.faults.clear()
    store.close()

    assert "IOError" in witness.deaths[0]


def test_a_checkpoint_without_space_is_tried_again(
    done, tmp_path, open_at, reactor, witness, faulty_vfs, write
):
    """Commits go on in the WAL; the next try comes when it has grown once more."""
    store = open_at(
        tmp_path, vfs="faulty", settings=StorageSettings(wal_bytes=3 * 4120, wal_bytes_max=8 * 4120)
    )
    faulty_vfs.faults["db", "write"] = apsw.SQLITE_FULL
    for index in range(1, 4):
        store.commit(write(index, index), done.append)
        reactor.run_until(lambda index=index: len(done) == index)
    reactor.run_until(lambda: witness.errors)
    faulty_vfs.faults.clear()
    for index in range(4, 8):
        store.commit(write(index, index), done.append)
        reactor.run_until(lambda index=index: len(done) == index)
    reactor.run_until(lambda: witness.wal_checkpoints)

    assert set(done) == {True}
    assert witness.errors == ["checkpoint"]
    assert witness.deaths == []


def test_the_wal_is_bounded_and_reused(done, tmp_path, open_at, reactor, witness, write):
    store = open_at(tmp_path, settings=StorageSettings(wal_bytes=20_000, wal_bytes_max=40_000))
    for index in range(1, 101):
        store.commit(write(index, index), done.append)
        reactor.run_until(lambda index=index: len(done) == index)
    store.close()
    sizes = store.sizes()
    reactor.run_waiting()

    assert witness.wal_checkpoints >= 10
    assert sizes["wal"] == 0
    assert sizes["wal_pending"] == 0
    assert sizes["log"] > 0


def test_the_bound_holds_while_somebody_always_waits(
    done, tmp_path, open_at, reactor, witness, faulty_vfs, write
):
    """Beyond the hard bound a checkpoint does not wait for an idle moment."""
    store = open_at(tmp_path, vfs="faulty", settings=StorageSettings(wal_bytes=1, wal_bytes_max=1))
    faulty_vfs.gate.clear()
    store.commit(write(1, 1), done.append)
    assert faulty_vfs.at_gate.wait(30)
    store.commit(write(2, 2), done.append)
    faulty_vfs.gate.set()
    reactor.run_until(lambda: len(done) == 2 and witness.wal_checkpoints == 2)

    assert store.sizes()["wal_pending"] == 0


def test_a_high_water_file_without_space_does_not_undo_a_commit(faulty_directory, database_at, write):
    database = database_at(faulty_directory)
    faulty_directory.errno = 28  # ENOSPC
    assert database.commit([write(1, 3)])
    assert database.highwater_failures == 1
    faulty_directory.errno = 0

    database.close()
    assert database_at(faulty_directory).loaded.groups[0].last_index == 3


def test_a_failing_high_water_file_is_the_end(faulty_directory, database_at, write):
    database = database_at(faulty_directory)
    faulty_directory.errno = 5  # EIO
    with pytest.raises(Exception, match="highwater"):
        database.commit([write(1, 3)])


def test_a_gap_between_entries_is_the_end(tmp_path, open_at, reactor, witness, write):
    store = open_at(tmp_path)
    store.commit(write(2, 2), lambda _: None)
    reactor.run_until(lambda: witness.deaths)

    assert witness.deaths == ["group 0: entry 2 was to follow entry 0"]


def test_an_impossible_group_is_the_end(tmp_path, open_at, reactor, witness, write):
    store = open_at(tmp_path)
    store.commit(write(1, 1, group=1 << 15), lambda _: None)
    reactor.run_until(lambda: witness.deaths)

    assert witness.deaths == ["group 32768 is not in 0 to 32767"]


def test_another_identity_is_the_end(tmp_path, open_at, reactor, witness):
    store = open_at(tmp_path)
    store.commit(Transaction((), Identity("K2", "0123456789abcdef" * 2)), lambda _: None)
    reactor.run_until(lambda: witness.deaths)

    assert "refused to become K2" in witness.deaths[0]


def test_a_killed_process_loses_nothing_it_acknowledged(tmp_path, child, open_at):
    process = child(tmp_path, "write")
    for _ in range(30):
        process.stdout.readline()
    process.kill()
    acknowledged = max([30, *(int(line) for line in process.stdout.read().splitlines())])

    restored = open_at(tmp_path).loaded.groups[0]

    assert acknowledged <= restored.last_index <= acknowledged + 1
    assert restored.hard_state == HardState(1, "K1")
    assert restored.commit >= acknowledged - 1


def test_a_second_process_is_refused_and_told_who_is_first(tmp_path, child, open_at):
    process = child(tmp_path, "wait")

    with pytest.raises(DirectoryLocked, match=f"is in use by process {process.pid}$"):
        open_at(tmp_path)

    process.kill()
    process.wait()
    assert open_at(tmp_path).loaded.identity.id == "K1"


def test_close_lets_the_next_one_in(tmp_path, open_at):
    store = open_at(tmp_path)
    with pytest.raises(DirectoryLocked):
        DirectoryLock(str(tmp_path))
    store.close()

    DirectoryLock(str(tmp_path)).release()


def test_a_file_is_no_directory(tmp_path, open_at):
    (tmp_path / "data").touch()
    with pytest.raises(DirectoryUnusable, match="data is not a directory"):
        open_at(tmp_path / "data")
    with pytest.raises(DirectoryUnusable, match="Not a directory"):
        open_at(tmp_path / "data" / "K1")


def test_a_directory_that_is_not_writable_is_refused(tmp_path, open_at, monkeypatch):
    """Root may write everywhere, so the answer of the system is faked."""
    tmp_path.chmod(0o500)
    monkeypatch.setattr(os, "access", lambda path, mode, **_: os.fspath(path) != str(tmp_path))
    with pytest.raises(DirectoryUnusable, match=rf"has mode 0500, .*: chmod u\+rwx {tmp_path}$"):
        open_at(tmp_path)
    tmp_path.chmod(0o700)


def test_a_directory_of_somebody_else_is_refused_also_for_root():
    with pytest.raises(DirectoryUnusable, match=r"to #4211, this process runs as root: run it as #4211"):
        refuse_foreign_owner("/data", 4211, 0)
