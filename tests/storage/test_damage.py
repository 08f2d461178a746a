"""A log that lost or changed anything is refused: it is never cut and then used."""

import apsw
import pytest

from kraft.raft.messages import Entry, HardState
from kraft.storage.errors import DamagedLog, StorageError, UnknownVersion, WrongNode
from tests.storage.conftest import moved
from tests.storage.states import base

WAY_OUT = "must not vote again: move the directory aside and re-admit the node with KRAFT REPLACE"


@pytest.fixture
def written(tmp_path, database_at, write):
    """A closed directory: ten entries of group 0, three of group 2, a vote in term 4."""
    database = database_at(tmp_path)
    database.commit([write(1, 10, term=4, vote="K2", commit=7), write(1, 3, group=2, term=4, vote="K1")])
    database.close()
    return tmp_path


def change(directory, sql):
    connection = apsw.Connection(str(directory / "log.db"))
    connection.execute(sql)
    assert connection.changes() > 0
    connection.close()


def loosen(directory):
    """Make columns accept what their types forbid."""
    connection = apsw.Connection(str(directory / "log.db"))
    connection.config(apsw.SQLITE_DBCONFIG_DEFENSIVE, 0)
    connection.execute("PRAGMA writable_schema = 1")
    loose = "replace(replace(sql, 'STRICT', ''), 'NOT NULL', '')"
    connection.execute(f"UPDATE sqlite_schema SET sql = {loose} WHERE type = 'table'")
    connection.close()


@pytest.mark.parametrize(
    ("sql", "damage"),
    [
        ("UPDATE entry SET data = X'00' WHERE position = 5", "the checksum of entry 5 does not match"),
        ("UPDATE entry SET stamp = stamp + 1 WHERE position = 5", "the checksum of entry 5 does not match"),
        ("UPDATE entry SET committed = 0 WHERE position = 5", "the checksum of entry 5 does not match"),
        ("UPDATE entry SET checksum = checksum + 1 WHERE position = 5", "entry 5 does not match"),
        ("UPDATE entry SET term = 3 WHERE position = (2 << 48) + 1", "group 2: the checksum of entry 1"),
        ("DELETE FROM entry WHERE position = 5", "entry 5 is missing"),
        ("DELETE FROM entry WHERE position = 1", "entry 1 is missing"),
        ("DELETE FROM entry WHERE position IN (9, 10)", "the log ends at index 8 of term 4, but index 10"),
        ("DELETE FROM entry WHERE position BETWEEN 6 AND 10", "the log ends at 5, but 7 was committed"),
        ("DELETE FROM entry", "group 0: the log ends at index 0 of term 0, but index 10 of term 4"),
        ("UPDATE hard_state SET term = 5", "the row of term and vote is damaged"),
        ("UPDATE hard_state SET vote = 'K3'", "the row of term and vote is damaged"),
        ("DELETE FROM hard_state WHERE replica = 0", "the log knows term 0, but term 4 was stored"),
        ("UPDATE node SET incarnation = 'ff'", "the row that names the node is missing or damaged"),
        ("DELETE FROM node", "the row that names the node is missing or damaged"),
    ],
)
def test_damage_is_refused_and_the_way_out_named(written, database_at, sql, damage):
    change(written, sql)

    with pytest.raises(DamagedLog) as refusal:
        database_at(written)

    assert damage in str(refusal.value)
    assert WAY_OUT in str(refusal.value)
    assert "\n" not in str(refusal.value)


def test_a_bit_flipped_in_the_file_is_noticed(tmp_path, database_at, write):
    """SQLite does not checksum the pages of the main file; the rows have checksums."""
    database = database_at(tmp_path)
    database.commit([write(1, 3, data=b"payload" * 10)])
    database.close()
    content = bytearray((tmp_path / "log.db").read_bytes())
    content[content.index(b"payload") + 3] ^= 0x10
    (tmp_path / "log.db").write_bytes(content)

    with pytest.raises(DamagedLog, match="the checksum of entry"):
        database_at(tmp_path)


def test_a_bit_flipped_anywhere_is_harmless_or_refused_in_one_line(written, database_at):
    """In the header, the schema, a row's types: never a traceback."""
    file, highwater = written / "log.db", (written / "highwater").read_bytes()
    content = file.read_bytes()
    refused = []
    for place in range(0, len(content), 61):
        flipped = bytearray(content)
        flipped[place] ^= 1 << (place % 8)
        file.write_bytes(flipped)
        (written / "highwater").write_bytes(highwater)
        (written / "log.db-wal").unlink(missing_ok=True)
        try:
            database_at(written).abandon()
        except StorageError as refusal:
            refused.append(str(refusal))
    assert len(refused) > 30, len(refused)
    assert not [text for text in refused if "\n" in text]


@pytest.mark.parametrize(
    ("there", "instead"),
    [
        ("term ", "tern "),  # a column of another name
        ("CHECK (only = 1)", "CHECK (only = 0)"),
    ],
)
def test_a_damaged_schema_is_refused_and_the_way_out_named(written, database_at, there, instead):
    content = (written / "log.db").read_bytes()
    assert there.encode() in content
    (written / "log.db").write_bytes(content.replace(there.encode(), instead.encode()))

    with pytest.raises(DamagedLog, match=WAY_OUT):
        database_at(written)


@pytest.mark.parametrize(
    "sql",
    [
        "UPDATE entry SET term = 'one' WHERE position = 7",
        "UPDATE entry SET data = 'text' WHERE position = 7",
        "UPDATE entry SET stamp = -1 WHERE position = 7",
        "UPDATE hard_state SET vote = CAST(X'4BB1' AS TEXT)",
        "UPDATE node SET incarnation = CAST(X'B131' AS TEXT)",
        "UPDATE starts SET count = NULL",
        "UPDATE replica SET base_term = CAST(X'B131' AS TEXT)",
    ],
)
def test_a_column_of_another_type_is_refused_and_the_way_out_named(written, database_at, sql):
    database = database_at(written)
    database.commit([moved(base(5, term=4))])
    database.close()
    loosen(written)
    change(written, sql)

    with pytest.raises(DamagedLog, match=WAY_OUT):
        database_at(written)


def test_a_wal_that_lost_its_end_is_noticed(tmp_path, database_at, write):
    """SQLite drops frames with a bad checksum without an error; the high-water file shows the loss."""
    database = database_at(tmp_path)
    for index in range(1, 6):
        database.commit([write(index, index)])
    database.abandon()
    wal = bytearray((tmp_path / "log.db-wal").read_bytes())
    wal[-100] ^= 1
    (tmp_path / "log.db-wal").write_bytes(wal)

    with pytest.raises(DamagedLog, match="ends at index 4 of term 1, but index 5 of term 1 was stored"):
        database_at(tmp_path)


def test_a_lost_vote_is_noticed(tmp_path, database_at, write):
    database = database_at(tmp_path)
    database.commit([write(term=6, vote="")])
    old = (tmp_path / "log.db-wal").read_bytes()
    database.commit([write(term=6, vote="K2")])
    database.abandon()
    (tmp_path / "log.db-wal").write_bytes(old)

    with pytest.raises(DamagedLog, match="the vote given in term 6 is missing"):
        database_at(tmp_path)


@pytest.mark.parametrize("witness", ["highwater", "log.db-wal"])
def test_a_log_that_is_gone_is_noticed(written, database_at, witness):
    (written / witness).touch()
    (written / "log.db").unlink()

    with pytest.raises(DamagedLog, match=f"it is missing, while {witness}|it is missing, while log.db-wal"):
        database_at(written)


def test_garbage_in_place_of_the_database(written, database_at):
    (written / "log.db").write_bytes(b"not a database at all " * 1000)

    with pytest.raises(DamagedLog, match="SQLite finds it damaged"):
        database_at(written)


@pytest.mark.parametrize("keep", [0, 30, 63])
def test_a_torn_high_water_record_is_no_evidence(written, database_at, keep):
    """It is never synced with a commit, so a power cut may tear it: the start writes it anew."""
    whole = (written / "highwater").read_bytes()
    (written / "highwater").write_bytes(whole[:keep].ljust(len(whole), b"\x55"))

    database = database_at(written)

    assert database.loaded.groups[0].last_index == 10
    assert (written / "highwater").read_bytes() != whole[:keep].ljust(len(whole), b"\x55")


def test_another_node_is_refused_by_name(written, database_at):
    with pytest.raises(WrongNode, match="belongs to node K1, this node is configured as K9"):
        database_at(written, node_id="K9")


def test_a_schema_from_the_future_is_refused(written, database_at):
    connection = apsw.Connection(str(written / "log.db"))
    connection.execute("PRAGMA user_version=99")
    connection.close()

    with pytest.raises(UnknownVersion, match="has schema 99"):
        database_at(written)


def test_a_legal_truncation_by_an_older_term_is_no_damage(tmp_path, database_at, write):
    """A new leader may replace our long log of term 5 by entries of term 4, in more than one message.

    The log's end then goes back in (term, index) order. The high-water file goes back before the COMMIT, so
    that a crash between the two does not make the start refuse a healthy log.
    """
    database = database_at(tmp_path)
    database.commit([write(1, 3, term=4, vote="K1"), write(4, 9, term=5, vote="K1")])
    lowered = []
    database._highwater.sync = lambda: lowered.append((tmp_path / "highwater").read_bytes())
    database.commit([write(4, 6, term=4, truncate_from=4)])
    database.abandon()
    assert len(lowered) == 1
    (tmp_path / "highwater").write_bytes(lowered[0])  # the process died right after COMMIT

    restored = database_at(tmp_path).loaded.groups[0]

    assert (restored.last_index, restored.terms) == (6, ((1, 4),))
    assert restored.hard_state == HardState(5, "K1")


def test_a_fetched_row_is_verified(tmp_path, database_at, write):
    database = database_at(tmp_path)
    database.commit([write(1, 9)])
    database.cursor.execute("UPDATE entry SET data = X'00' WHERE position = 5")

    assert [entry.index for entry in database.fetch(0, 1, 4, 1 << 20)] == [1, 2, 3, 4]
    with pytest.raises(DamagedLog, match="the checksum of entry 5"):
        database.fetch(0, 4, 9, 1 << 20)
    assert database.fetch(0, 9, 9, 1 << 20) == (Entry(9, 1, 1009, 1, b"data"),)
