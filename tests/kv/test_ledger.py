"""The ledger: rows of several kinds beside the keys."""

from kraft.kv.ledger import Ledger, LedgerKind, ledger_bytes, ledger_key

TOKEN = LedgerKind.TOKEN


def rows_of(ledger):
    return [(row.key, row.value, row.revision, row.expires) for row in ledger.rows.values()]


def loaded(ledger):
    again = Ledger()
    again.load(rows_of(ledger))
    return again


def test_a_row_is_there_until_it_is_removed():
    ledger = Ledger()
    ledger.put(TOKEN, b"a", b"data", 7, 900)
    row = ledger.rows[b"\x01a"]
    assert row is ledger.get(TOKEN, b"a")
    assert (row.value, row.revision, row.expires) == (b"data", 7, 900)
    assert (ledger.counts[TOKEN], ledger.sizes[TOKEN]) == (1, ledger_bytes(b"\x01a", b"data", 900))
    ledger.put(TOKEN, b"a", b"other", 8)
    assert ledger.rows[b"\x01a"].value == b"other"
    assert (ledger.counts[TOKEN], ledger.sizes[TOKEN]) == (1, ledger_bytes(b"\x01a", b"other", 0))
    assert ledger.remove(TOKEN, b"a")
    assert not ledger.remove(TOKEN, b"a")
    assert ledger.get(TOKEN, b"a") is None
    assert (ledger.counts[TOKEN], ledger.sizes[TOKEN]) == (0, 0)


def test_rows_are_forgotten_in_the_order_of_their_times_and_not_more_than_asked():
    ledger = Ledger()
    for number in range(10):
        ledger.put(TOKEN, b"%d" % number, b"", 1, 100 - number)
    ledger.put(TOKEN, b"for ever", b"", 1)
    assert ledger.forget(90, 5) == 0
    assert ledger.forget(99, 5) == 5
    left = [b"%d" % number for number in range(5)] + [b"for ever"]
    assert sorted(ledger.rows) == [ledger_key(TOKEN, name) for name in left]
    again = loaded(ledger)
    assert again.forget(1000, 100) == ledger.forget(1000, 100) == 5
    assert list(again.rows) == [ledger_key(TOKEN, b"for ever")]


def test_changes_are_what_a_checkpoint_has_to_write():
    ledger = Ledger()
    ledger.put(TOKEN, b"a", b"1", 1)
    ledger.put(TOKEN, b"b", b"2", 2)
    ledger.remove(TOKEN, b"b")
    assert ledger.changed == 2
    changes = ledger.take_changes()
    assert changes == {b"\x01a": ledger.get(TOKEN, b"a"), b"\x01b": None}
    assert ledger.changed == 0
    ledger.put(TOKEN, b"a", b"3", 3)
    ledger.give_back(changes)
    assert ledger.take_changes() == {b"\x01a": ledger.get(TOKEN, b"a"), b"\x01b": None}
    assert loaded(ledger).changed == 0


def test_equal_ledgers_have_equal_digests_in_whatever_order_their_rows_came():
    one, other = Ledger(), Ledger()
    rows = [(TOKEN, b"%d" % number, b"x", number + 1, 0) for number in range(5)]
    for row in rows:
        one.put(*row)
    for row in reversed(rows):
        other.put(*row)
    assert one.digest() == other.digest() == loaded(one).digest()
    other.put(TOKEN, b"0", b"x", 1, 5)
    assert one.digest() != other.digest()
