"""What a keyspace keeps for checkpoints, and how it is loaded from one."""

from kraft.kv import garbage
from kraft.kv.keyspace import Keyspace
from kraft.kv.record import row_sum


def test_a_loaded_keyspace_is_like_one_that_grew():
    """Contents, memory, expiries; nothing counts as a change; the sum is that of the rows."""
    grown = Keyspace()
    rows = [(b"key %d" % n, b"value" * n, n + 1, (n % 3) * 10**12 * (20 - n)) for n in range(20)]
    for key, value, revision, expires in rows:
        grown.put(key, value, revision, expires)
    loaded, sized = Keyspace(), Keyspace()
    size = sum(len(key) + len(value) for key, value, _, _ in rows)

    assert loaded.load(iter(rows)) == sized.load(rows, size) == sum(row_sum(*row) for row in rows)

    for keyspace in (loaded, sized):
        assert keyspace.records == grown.records
        assert (keyspace.bytes, keyspace.due.live) == (grown.bytes, grown.due.live)
        assert keyspace.due.next() == grown.due.next()
        assert keyspace.changed == 0
        assert keyspace.expire(5 * 10**12) == len([row for row in rows if 0 < row[3] <= 5 * 10**12])


def test_a_change_keeps_no_second_copy_of_the_key():
    """However often a key is written: a million of them would take 64 MB."""
    keyspace = Keyspace()
    for revision in range(1, 4):
        keyspace.put(b"key %d" % 1, b"value", revision)
    [key], [changed] = keyspace.records, keyspace.take_changes()
    keyspace.put(b"key %d" % 1, b"value", 4)
    [changed_again] = keyspace.take_changes()
    keyspace.remove(b"key %d" % 1)
    [removed] = keyspace.take_changes()

    assert key is changed is changed_again is removed


def test_changes_given_back_are_taken_again_with_what_the_keys_hold_by_then():
    """Whoever took them may have let go of the records; newer changes stay."""
    keyspace = Keyspace()
    for key in (b"same", b"newer", b"removed", b"gone before"):
        keyspace.put(key, b"value", 1)
    keyspace.remove(b"gone before")
    taken = keyspace.take_changes()
    keyspace.put(b"newer", b"new", 2)
    keyspace.put(b"other", b"value", 3)
    keyspace.remove(b"removed")
    keyspace.give_back(dict.fromkeys(taken))

    changes = keyspace.take_changes()
    assert changes.pop(b"removed") is changes.pop(b"gone before") is None
    assert changes == keyspace.records
    assert keyspace.changed == 0


def test_a_flush_leaves_garbage_that_counts_as_memory_until_it_is_freed():
    """And what is written after it is not part of that."""
    keyspace = Keyspace()
    for number in range(1000):
        keyspace.put(b"key %d" % number, b"value", 1, 10**12 + number)
    before = keyspace.memory
    keyspace.clear()
    keyspace.put(b"new", b"value", 2, 10**13)

    assert (len(keyspace), keyspace.due.live, keyspace.due.next()) == (1, 1, 10**13)
    assert keyspace.memory >= before
    held = []
    while keyspace.garbage:
        held.append(keyspace.memory)
        keyspace.garbage.free(300)
    assert len(held) == 10
    assert held == sorted(held, reverse=True)
    assert keyspace.memory < before / 100
    assert keyspace.take_changes() == keyspace.records
    assert [len(keyspace), keyspace.get(b"new")] == [1, b"value"]


def test_the_table_of_a_large_dictionary_is_freed_by_itself(monkeypatch):
    """With a million keys that takes longer than a step."""
    monkeypatch.setattr(garbage, "LARGE_KEYS", 1000)
    waiting = garbage.Garbage()
    waiting.add(dict.fromkeys(range(1500)), 100)
    waiting.add(dict.fromkeys(range(700)), 100)
    assert [waiting.free(1000) for _ in range(4)] == [False, False, True, False]
    assert not waiting


def test_changes_from_before_a_flush_are_not_given_back():
    keyspace = Keyspace()
    keyspace.put(b"old", b"value", 1)
    taken = keyspace.take_changes()
    keyspace.clear()
    keyspace.put(b"new", b"value", 2)
    keyspace.give_back(taken)

    assert keyspace.cleared
    assert keyspace.changed == 2
    assert keyspace.take_changes() == keyspace.records
    assert not keyspace.cleared


def test_a_flush_given_back_is_taken_again():
    keyspace = Keyspace()
    keyspace.clear()
    keyspace.put(b"a", b"value", 1)
    taken = keyspace.take_changes()
    keyspace.put(b"b", b"value", 2)
    keyspace.give_back(taken, cleared=True)

    assert keyspace.cleared
    assert keyspace.take_changes() == keyspace.records
