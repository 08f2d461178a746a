"""State files that are damaged, missing or of another log: refused in one line, or rebuilt from the log."""

import apsw
import pytest

from kraft.kv.record import row_sum
from kraft.storage.errors import DamagedState
from tests.storage.states import filled

WAY_OUT = "move the directory aside and re-admit the node with KRAFT REPLACE"


COLUMNS = ["key", "value", "revision", "expires"]


@pytest.mark.parametrize("bit", [0, 1, 5, 15, 16, 40])
@pytest.mark.parametrize("column", COLUMNS)
def test_any_flipped_bit_of_a_row_is_found(column, bit):
    """The sum that a start computes is different."""
    row: dict = {"key": b"a key", "value": b"and some value", "revision": 12345, "expires": 1_700_000_000_000}
    changed = dict(row)
    if isinstance(row[column], bytes):
        flipped = bytearray(row[column])
        flipped[bit % len(flipped)] ^= 1 << (bit % 8)
        changed[column] = bytes(flipped)
    else:
        changed[column] ^= 1 << bit

    assert row_sum(*row.values()) != row_sum(*changed.values())


CHANGES = [
    "UPDATE record SET value = CAST(x'76616c7564' AS BLOB) WHERE key = CAST('key 00003' AS BLOB)",
    "UPDATE record SET key = CAST('key 99999' AS BLOB) WHERE key = CAST('key 00003' AS BLOB)",
    "UPDATE record SET revision = revision + 1 WHERE key = CAST('key 00003' AS BLOB)",
    "UPDATE record SET expires = expires + 4096 WHERE key = CAST('key 00003' AS BLOB)",
    "DELETE FROM record WHERE key = CAST('key 00003' AS BLOB)",
    "INSERT INTO record VALUES (CAST('x' AS BLOB), x'', 1, 0, 1, x'00')",
    "UPDATE image SET base_index = 6",
    "UPDATE image SET keys = 31",
    "UPDATE image SET sum = zeroblob(16)",
    "UPDATE image SET adlers = adlers + 1",
    "UPDATE image SET configuration = x'00'",
    "UPDATE image SET checksum = checksum + 1",
    "DELETE FROM image",
    "PRAGMA application_id=7",
]


@pytest.mark.parametrize("sql", CHANGES)
def test_a_damaged_state_file_is_refused_and_the_way_out_named(written, states_at, sql):
    _change(written, sql)

    with pytest.raises(DamagedState) as refusal:
        states_at(written)

    assert "state-0-1.db: " in str(refusal.value)
    assert WAY_OUT in str(refusal.value)
    assert str(refusal.value).count("KRAFT REPLACE") == 1
    assert "\n" not in str(refusal.value)


def test_a_bit_flipped_in_the_file_is_noticed(written, states_at):
    content = bytearray((written / "state-0-1.db").read_bytes())
    content[content.index(b"key 00007value") + 11] ^= 0x20
    (written / "state-0-1.db").write_bytes(content)

    with pytest.raises(DamagedState, match="its rows are not those that it was left with"):
        states_at(written)


def test_garbage_in_place_of_the_file(written, states_at):
    (written / "state-0-1.db").write_bytes(b"not a database at all " * 1000)

    with pytest.raises(DamagedState, match="SQLite finds it damaged"):
        states_at(written)


def test_a_missing_file_is_refused_when_the_log_does_not_have_it_all(written, states_at):
    (written / "state-0-1.db").unlink()

    with pytest.raises(DamagedState, match="it is missing, and the log begins at 6") as refusal:
        states_at(written)

    assert WAY_OUT in str(refusal.value)


@pytest.mark.parametrize("damage", ["gone", "garbage", *CHANGES])
def test_a_whole_log_makes_a_lost_file_anew(tmp_path, states_at, write, damage):
    log, states = states_at(tmp_path)
    log.commit([write(1, 9, commit=9)])
    assert states.write(0, filled(30).capture(7), log)
    states.close()
    log.close()
    if damage == "gone":
        (tmp_path / "state-0-1.db").unlink()
        (tmp_path / "state-0-1.db-wal").write_bytes(b"left")
    elif damage == "garbage":
        (tmp_path / "state-0-1.db").write_bytes(b"not a database at all " * 1000)
    else:
        _change(tmp_path, damage)

    log, states = states_at(tmp_path)
    assert states.loaded.checkpoints == {}
    assert (states.checkpoint(0), states.number(0)) == (None, 0)
    assert states.open_view(0) is None
    assert states.write(0, filled(20).capture(8), log)
    states.close()
    log.close()

    assert states_at(tmp_path)[1].loaded.checkpoints[0][0] == filled(20).checkpoint(8)
    assert not (tmp_path / "state-0-1.db").exists()
    assert not (tmp_path / "state-0-1.db-wal").exists()


def test_a_bit_flipped_anywhere_is_harmless_or_refused_in_one_line(written, states_at):
    """In the header, the schema, a row's types: never a traceback. The log does not reach back."""
    before = {path: path.read_bytes() for path in written.iterdir() if path.name != "lock"}
    content = before[written / "state-0-1.db"]
    refused = []
    for place in range(0, len(content), 23):
        for path in written.glob("*.db-*"):
            path.unlink()
        for path, was in before.items():
            path.write_bytes(was)
        flipped = bytearray(content)
        flipped[place] ^= 1 << (place % 8)
        (written / "state-0-1.db").write_bytes(flipped)
        try:
            for part in reversed(states_at(written)):
                part.abandon()
        except DamagedState as refusal:
            refused.append(str(refusal))
    assert len(refused) > 10
    assert not [text for text in refused if "\n" in text or WAY_OUT not in text]


@pytest.mark.parametrize(
    ("index", "term", "wrong"),
    [
        (12, 1, "it stands at 12, but the log ends at 9"),
        (4, 1, "it stands at 4, but the log begins at 6"),
        (7, 2, "it stands at an entry of term 2, but the log has one of term 1 at 7"),
        (5, 3, "it stands at an entry of term 3, but the log has one of term 1 at 5"),
    ],
)
def test_a_state_that_is_not_of_this_log_is_refused(written, states_at, file_at, index, term, wrong):
    (written / "state-0-1.db").unlink()
    database = file_at(written / "state-0-1.db")
    database.write(filled(30).capture(index, term=term))
    database.close()

    with pytest.raises(DamagedState, match=wrong):
        states_at(written)


def _change(directory, sql):
    connection = apsw.Connection(str(directory / "state-0-1.db"))
    for _ in connection.execute(sql):
        pass
    connection.close()
