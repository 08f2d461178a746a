"""How the writes of a run are placed in the order of the log."""

from tests.simulation.history import History
from tests.simulation.linearizability import FLUSH, READ, Operation
from tests.simulation.logged import Logged


def test_a_flush_is_a_write_of_every_key():
    history = History()
    history.add(0, b"a", b"<1.1>", Operation("set", b"1", 0, 1, "OK"))
    history.add(0, b"b", b"<2.1>", Operation("set", b"1", 0, 1, "OK"))
    history.add(0, b"", b"<1.2>", Operation(FLUSH, None, 2, 3, "OK"))
    history.add(0, b"b", b"<1.3>", Operation(READ, None, 4, 5, None))
    history.add(1, b"a", b"<1.4>", Operation("set", b"1", 6, 7, "OK"))
    marks = (b"<1.1>", b"<1.2>", b"<2.1>")
    history.settle(0, [Logged(mark, (0, 8), 100 + place) for place, mark in enumerate(marks)])
    found = {key: [(o.name, o.number, o.stamp) for o in ops] for key, ops in history.operations().items()}
    assert found[0, b"a"] == [("set", 1, 100), (FLUSH, 2, 101)]
    assert sorted(found[0, b"b"]) == [(FLUSH, 1, 101), (READ, 0, 0), ("set", 2, 102)]
    assert found[1, b"a"] == [("set", 0, 0)]
    assert history.flushed(0)
    assert not history.flushed(1)


def test_an_unknown_flush_that_is_not_in_the_log_changed_nothing():
    history = History()
    history.add(0, b"a", b"<1.1>", Operation("set", b"1", 0, 1, "OK"))
    history.add(0, b"", b"<1.2>", Operation(FLUSH, None, 2, 3, "OK"))
    history.settle(0, [Logged(b"<1.1>", (0, 8), 100)])
    assert [o.name for o in history.operations()[0, b"a"]] == ["set"]
