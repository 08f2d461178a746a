"""A log that begins after a base: cut at its beginning, or replaced as a whole by a snapshot."""

import apsw
import pytest

from kraft.raft.membership.configuration import START
from kraft.raft.messages import HardState
from kraft.storage import migrations
from kraft.storage.errors import DamagedLog, NoSpace, OutOfOrder
from kraft.storage.log.files import enable_vacuum
from kraft.storage.sqlite import open_connection, single
from tests.storage.conftest import entries, moved
from tests.storage.states import CONFIGURATION, base


def test_rows_up_to_the_base_go_and_the_others_stay(tmp_path, database_at, write):
    database = database_at(tmp_path)
    assert database.commit([write(1, 9, commit=4), write(1, 3, group=1)])
    assert database.commit([moved(base(6))])
    assert database.commit([write(10, 11)])
    assert [entry.index for entry in database.fetch(0, 7, 99, 1 << 20)] == [7, 8, 9, 10, 11]
    assert [entry.index for entry in database.fetch(0, 9, 10, 1 << 20)] == [9, 10]
    assert database.fetch(0, 6, 99, 1 << 20) == ()
    assert database.fetch(0, 1, 99, 1 << 20) == ()
    database.close()

    loaded = database_at(tmp_path).loaded

    restored = loaded.groups[0]
    assert (restored.base, restored.first_index, restored.last_index) == (base(6), 7, 11)
    assert restored.commit == 6
    assert restored.terms == ((7, 1),)
    assert [entry.index for entry in restored.tail] == [7, 8, 9, 10, 11]
    assert loaded.groups[1].base == START


def test_a_log_cut_to_nothing_goes_on_after_its_base(tmp_path, database_at, write):
    database = database_at(tmp_path)
    assert database.commit([write(1, 5, term=3, vote="K1")])
    assert database.commit([moved(base(5, term=3))])
    database.close()
    database = database_at(tmp_path)
    restored = database.loaded.groups[0]
    assert (restored.first_index, restored.last_index, restored.commit) == (6, 5, 5)
    assert (restored.last_stamp, restored.terms, restored.tail) == (1005, (), ())

    assert database.commit([write(6, 7, term=3)])
    database.close()

    assert database_at(tmp_path).loaded.groups[0].terms == ((6, 3),)


def test_a_snapshot_takes_the_place_of_the_whole_log(tmp_path, database_at, write):
    """Our entries of term 5 were never committed; the index of the snapshot is of term 4, or ahead of us.

    In (term, index) order the end goes back, so the high-water file goes back before the COMMIT.
    """
    database = database_at(tmp_path)
    database.commit([write(1, 3, term=4, vote="K1"), write(4, 9, term=5, vote="K1")])
    lowered = []
    database._highwater.sync = lambda: lowered.append((tmp_path / "highwater").read_bytes())
    assert database.commit([moved(base(20, term=4), truncate_from=1, state=7)])
    database.abandon()
    assert len(lowered) == 1
    (tmp_path / "highwater").write_bytes(lowered[0])  # the process died right after COMMIT

    database = database_at(tmp_path)
    restored = database.loaded.groups[0]

    assert (restored.first_index, restored.last_index) == (21, 20)
    assert restored.hard_state == HardState(5, "K1")
    assert database.replica(0).state == 7
    assert database.commit([write(21, 22, term=5)])
    assert [entry.index for entry in database.fetch(0, 21, 30, 1 << 20)] == [21, 22]


def test_matching_entries_after_a_snapshot_stay(tmp_path, database_at, write):
    """They were acknowledged: a majority may count on them."""
    database = database_at(tmp_path)
    database.commit([write(1, 9, term=2)])

    assert database.commit([moved(base(6, term=2), state=1)])

    assert [entry.index for entry in database.fetch(0, 7, 9, 1 << 20)] == [7, 8, 9]


def test_a_conflicting_entry_at_the_last_index_goes(tmp_path, database_at, write):
    """If it stayed, the same snapshot would be sent again and again."""
    database = database_at(tmp_path)
    database.commit([write(1, 6, term=2)])
    assert database.commit([moved(base(6, term=3), rows=entries(7, 8, term=3))])
    database.close()

    restored = database_at(tmp_path).loaded.groups[0]

    assert (restored.first_index, restored.last_index, restored.terms) == (7, 8, ((7, 3),))


def test_truncation_base_and_entries_in_one_write(tmp_path, database_at, write):
    database = database_at(tmp_path)
    database.commit([write(1, 9, term=2)])
    assert database.commit([moved(base(5, term=2), truncate_from=8, rows=entries(8, 9, term=3), commit=7)])
    database.close()

    restored = database_at(tmp_path).loaded.groups[0]

    assert (restored.first_index, restored.last_index) == (6, 9)
    assert restored.terms == ((6, 2), (8, 3))
    assert restored.commit == 7


def test_the_same_base_again_changes_nothing(tmp_path, database_at, write):
    database = database_at(tmp_path)
    database.commit([write(1, 9)])
    assert database.commit([moved(base(5))])
    assert database.commit([moved(base(5))])

    assert [entry.index for entry in database.fetch(0, 6, 9, 1 << 20)] == [6, 7, 8, 9]


@pytest.mark.parametrize(
    ("at", "breach"),
    [(base(4), "a base at 4 was to follow one at 5"), (base(7, term=9), "would stay after")],
)
def test_a_base_that_cannot_be_is_refused(tmp_path, database_at, write, at, breach):
    database = database_at(tmp_path)
    database.commit([write(1, 9)])
    database.commit([moved(base(5))])

    with pytest.raises(OutOfOrder, match=breach):
        database.commit([moved(at)])


def test_a_base_rolled_back_leaves_the_rows(tmp_path, database_at, faulty_vfs, write):
    database = database_at(tmp_path, vfs="faulty")
    assert database.commit([write(1, 9)])
    faulty_vfs.faults["wal", "write"] = apsw.SQLITE_FULL
    assert not database.commit([moved(base(5), state=3)])
    faulty_vfs.faults.clear()

    assert [entry.index for entry in database.fetch(0, 1, 9, 1 << 20)] == list(range(1, 10))
    assert database.replica(0).state == 0
    assert database.commit([moved(base(5), state=3)])
    assert database.fetch(0, 5, 9, 1 << 20) == ()


@pytest.mark.parametrize(
    ("sql", "damage"),
    [
        ("UPDATE replica SET base_index = 4", "the row of its base and state file is damaged"),
        ("UPDATE replica SET state = 2", "the row of its base and state file is damaged"),
        ("UPDATE replica SET fenced = 1", "the row of its base and state file is damaged"),
        ("UPDATE replica SET chain = chain + 1", "the row of its base and state file is damaged"),
        ("DELETE FROM replica", "entry 1 is missing"),
        ("DELETE FROM entry WHERE position = 6", "entry 6 is missing"),
        ("DELETE FROM entry", "the log ends at index 5 of term 1, but index 9 of term 1"),
        ("UPDATE starts SET count = count - 1", "the row that counts the starts is missing or damaged"),
        ("DELETE FROM starts", "the row that counts the starts is missing or damaged"),
    ],
)
def test_damage_at_the_beginning_is_noticed(tmp_path, database_at, write, sql, damage):
    database = database_at(tmp_path)
    database.commit([write(1, 9)])
    database.commit([moved(base(5), state=1)])
    database.close()
    connection = apsw.Connection(str(tmp_path / "log.db"))
    connection.execute(sql)
    assert connection.changes() > 0
    connection.close()

    with pytest.raises(DamagedLog) as refusal:
        database_at(tmp_path)

    assert damage in str(refusal.value)


def test_fences_last_until_another_state_file(tmp_path, database_at, write):
    database = database_at(tmp_path)
    database.commit([write(1, 9)])
    assert database.fence(0, True)
    assert database.fence(3, True)
    assert database.fence(3, True)
    database.close()
    database = database_at(tmp_path)
    assert database.loaded.fenced == {0, 3}

    assert database.commit([moved(None, state=4)])
    assert database.fence(3, False)
    database.close()

    database = database_at(tmp_path)
    assert database.loaded.fenced == frozenset()
    assert (database.replica(0).state, database.replica(3).state) == (4, 0)


def test_a_fence_waits_for_room(tmp_path, database_at, faulty_vfs):
    database = database_at(tmp_path, vfs="faulty")
    faulty_vfs.faults["wal", "write"] = apsw.SQLITE_FULL
    assert not database.fence(0, True)
    assert not database.name_first_state(0, 1)
    faulty_vfs.faults.clear()

    assert database.fence(0, True)
    assert database.replica(0).fenced
    assert database.replica(0).state == 0


def test_every_start_is_counted_before_anybody_hears_of_it(tmp_path, database_at):
    for expected in (1, 2, 3):
        database = database_at(tmp_path)  # the one before was not closed: it died
        assert database.loaded.starts == expected
        database.abandon()


def test_a_start_that_cannot_be_counted_does_not_happen(tmp_path, database_at, faulty_vfs):
    database_at(tmp_path).close()
    faulty_vfs.faults["wal", "write"] = apsw.SQLITE_FULL
    with pytest.raises(NoSpace, match="the disk is full"):
        database_at(tmp_path, vfs="faulty")
    faulty_vfs.faults.clear()

    assert database_at(tmp_path).loaded.starts == 2


def test_space_is_given_back_in_steps(tmp_path, database_at, write):
    database = database_at(tmp_path)
    database.commit([write(1, 200, data=b"x" * 4000)])
    database.checkpoint_wal()
    before = (tmp_path / "log.db").stat().st_size
    database.commit([moved(base(190))])
    free = database.free_pages
    assert free > 150

    steps = 0
    while database.vacuum(64):
        steps += 1
    database.checkpoint_wal()

    assert steps == -(-free // 64)
    assert database.free_pages == 0
    assert (tmp_path / "log.db").stat().st_size < before - 150 * 4096
    assert [entry.index for entry in database.fetch(0, 191, 200, 1 << 20)] == list(range(191, 201))


def test_a_vacuum_without_room_is_put_off(tmp_path, database_at, faulty_vfs, write):
    database = database_at(tmp_path, vfs="faulty")
    database.commit([write(1, 50, data=b"x" * 4000)])
    database.commit([moved(base(50))])
    faulty_vfs.faults["wal", "write"] = apsw.SQLITE_FULL
    assert not database.vacuum(8)
    faulty_vfs.faults.clear()

    assert database.vacuum(8)
    assert database.commit([write(51, 52)])


def test_a_directory_of_schema_1_goes_on(tmp_path, database_at, write):
    """Upgraded, it equals a fresh one, keeps its rows, and can give back space."""
    (tmp_path / "old").mkdir()
    (tmp_path / "new").mkdir()
    first = migrations.load()[:1]
    database = database_at(tmp_path / "new")
    database.commit([write(1, 3, vote="K1")])
    database.close()
    expected = _described(tmp_path / "new")

    connection = apsw.Connection(str(tmp_path / "old" / "log.db"))
    connection.execute("PRAGMA page_size=4096; PRAGMA journal_mode=WAL")
    migrations.create(connection, first)
    source = apsw.Connection(str(tmp_path / "new" / "log.db"))
    for table in ("node", "hard_state", "entry"):
        for row in source.execute(f"SELECT * FROM {table}"):
            connection.execute(f"INSERT INTO {table} VALUES ({','.join('?' * len(row))})", row)
    source.close()
    connection.close()
    (tmp_path / "old" / "highwater").write_bytes((tmp_path / "new" / "highwater").read_bytes())
    database = database_at(tmp_path / "old")
    assert (database.loaded.starts, database.loaded.groups[0].last_index) == (1, 3)
    database.close()

    assert _described(tmp_path / "old") == expected


def _described(directory):
    connection = apsw.Connection(str(directory / "log.db"))
    try:
        return [
            *(single(connection, f"PRAGMA {name}") for name in ("user_version", "auto_vacuum", "page_size")),
            *connection.execute("SELECT type, name, sql FROM sqlite_schema ORDER BY name"),
            *connection.execute("SELECT * FROM entry"),
        ]
    finally:
        connection.close()


def test_a_file_that_cannot_be_written_anew_stays_as_it_is(tmp_path, faulty_vfs):
    """When the disk is too full for it, space is given back after another start."""
    path = str(tmp_path / "old.db")
    connection = apsw.Connection(path)
    connection.execute("PRAGMA page_size=4096; CREATE TABLE t (x); INSERT INTO t VALUES (zeroblob(100000))")
    connection.close()
    connection = open_connection(path, wal_bytes_max=1 << 20, vfs="faulty")
    faulty_vfs.faults["wal", "write"] = apsw.SQLITE_FULL

    enable_vacuum(connection)

    assert single(connection, "PRAGMA auto_vacuum") == 0
    assert single(connection, "SELECT length(x) FROM t") == 100_000
    faulty_vfs.faults.clear()
    connection.close()


def test_a_row_tells_people_where_a_log_begins(tmp_path, database_at, write):
    database = database_at(tmp_path)
    database.commit([write(1, 4)])
    database.commit([moved(base(3), state=2)])
    database.close()

    reader = apsw.Connection(str(tmp_path / "log.db"))
    rows = reader.execute("SELECT replica, state, base_index, configuration FROM replica").fetchall()
    reader.close()

    assert rows == [(0, 2, 3, CONFIGURATION.encode())]
