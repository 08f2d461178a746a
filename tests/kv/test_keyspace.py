"""Loading a keyspace from the rows of a checkpoint."""

from kraft.kv.keyspace import Keyspace, row_sum


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
        assert (keyspace.bytes, keyspace.expiring) == (grown.bytes, grown.expiring)
        assert keyspace.next_expiry() == grown.next_expiry()
        assert keyspace.changed == 0
        assert keyspace.expire(5 * 10**12) == len([row for row in rows if 0 < row[3] <= 5 * 10**12])
