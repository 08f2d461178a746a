"""Damage that a process meets while it runs is remembered: each later start is refused with the same line."""

import os
import struct
from functools import partial

import apsw
import pytest

from kraft.storage.damage import (
    DAMAGE_FILE,
    REASON_BYTES_MAX,
    DamageFound,
    refuse_remembered_damage,
    remember_damage,
    remembered_damage,
)
from kraft.storage.directory import RealDirectory
from kraft.storage.offline.inspection import inspect
from kraft.storage.sqlite import PAGE_BYTES
from tests.storage.states import filled

TRUNK, LEAVES = 32, 4  # offsets: in the file, of the number of its first free page; in that, of its count
LARGE = b"x" * 10_000


def damage_free_page(path):
    """Damage the first free page of a file, which no start reads."""
    content = bytearray(path.read_bytes())
    [trunk] = struct.unpack_from(">I", content, TRUNK)
    assert trunk, "there are no free pages"
    struct.pack_into(">I", content, (trunk - 1) * PAGE_BYTES + LEAVES, 1 << 30)
    path.write_bytes(content)


def test_a_free_page_of_the_log(tmp_path, open_at, reactor, witness, done, write, database_at):
    """The line is that of the process that met the damage, and it is durable before that ends."""
    store = open_at(tmp_path)
    store.commit(write(1, 100, data=LARGE), done.append)
    store.commit(write(truncate_from=2), done.append)
    reactor.run_until(lambda: len(done) == 2)
    store.close()
    damage_free_page(tmp_path / "log.db")

    store = open_at(tmp_path)
    store.commit(write(2, 50, data=LARGE), pytest.fail)
    reactor.run_until(lambda: witness.deaths)
    store.close()

    [reason] = witness.deaths
    assert witness.damaged == [True]
    assert reason.startswith(f"{tmp_path / 'log.db'}: SQLite finds it damaged")
    assert "re-admit the node with KRAFT REPLACE" in reason
    for opened in (partial(open_at, tmp_path), partial(inspect, str(tmp_path))):
        with pytest.raises(DamageFound) as refused:
            opened()
        assert str(refused.value) == reason
    assert database_at(tmp_path).loaded.groups[0].last_index == 1, "a start reads nothing that is damaged"


def test_a_free_page_of_a_state_file(tmp_path, open_at, reactor, witness, ask, write):
    """Its thread is another one."""
    store = open_at(tmp_path)
    assert ask(store.commit, write(1, 20, vote="K1"))
    state = filled(2000)
    assert ask(store.checkpoint, 0, state.capture(10))
    for number in range(10, 2000):
        state.remove(b"key %05d" % number)
    assert ask(store.checkpoint, 0, state.capture(12))
    store.close()
    damage_free_page(tmp_path / "state-0-1.db")

    store = open_at(tmp_path)
    store.checkpoint(0, filled(2000).capture(14), pytest.fail)
    reactor.run_until(lambda: witness.deaths)
    store.close()

    assert witness.damaged == [True]
    with pytest.raises(DamageFound, match=r"state-0-1\.db: SQLite finds it damaged"):
        open_at(tmp_path)


@pytest.mark.parametrize("operation", ["write", "sync"])
def test_a_disk_that_failed_is_no_damage(tmp_path, open_at, reactor, witness, faulty_vfs, write, operation):
    """The next start finds out what it holds."""
    store = open_at(tmp_path, vfs="faulty")
    faulty_vfs.faults[("wal", operation)] = apsw.SQLITE_IOERR_FSYNC
    store.commit(write(1, 3), pytest.fail)
    reactor.run_until(lambda: witness.deaths)
    store.close()
    faulty_vfs.faults.clear()

    assert witness.damaged == [False]
    assert not (tmp_path / DAMAGE_FILE).exists()
    open_at(tmp_path)


def test_a_reason_is_one_line_that_can_be_printed(tmp_path):
    """Whatever became of the file."""
    directory = RealDirectory(str(tmp_path))
    refuse_remembered_damage(directory)
    remember_damage(directory, "log.db: é " + "x" * 10_000)
    assert remembered_damage(directory).startswith("log.db: é xxx")
    assert len(remembered_damage(directory)) <= REASON_BYTES_MAX
    for content in (b"", bytes(PAGE_BYTES), b"\n"):
        (tmp_path / DAMAGE_FILE).write_bytes(content)
        with pytest.raises(DamageFound) as refused:
            refuse_remembered_damage(directory)
        assert str(refused.value).startswith(f"{tmp_path / DAMAGE_FILE}: a process found damage")
        assert "re-admit" in str(refused.value)
    (tmp_path / DAMAGE_FILE).write_bytes(b"a\xff\nb")
    assert remembered_damage(directory) == "a\N{REPLACEMENT CHARACTER} b"


def test_without_space_for_the_reason_the_process_ends_all_the_same(tmp_path):
    class FullDirectory(RealDirectory):
        def record_file(self, name):
            raise OSError(28, os.strerror(28))

    remember_damage(FullDirectory(str(tmp_path)), "reason")
    assert remembered_damage(RealDirectory(str(tmp_path))) == ""
