from kraft.kv.commands import Delete, Increment, Put
from kraft.kv.machine import Machine


def test_first_steps():
    machine = Machine()
    commands = [Put(b"a", b"1"), Increment(b"a", 2), Delete((b"a", b"b", b"a"))]
    assert machine.apply(1000, commands) == ["OK", 3, 1]
    assert (len(machine.keyspace), machine.revision, machine.keyspace.bytes) == (0, 3, 0)
