"""The load's own judgement: a checker is trusted only while it catches planted faults."""

import threading

import pytest

from tests.cluster.load import Load, Writer
from tests.cluster.wire import Refusal


class Store:
    """A server and its client in one: a dict that misbehaves once, at its tenth INCR, in one way."""

    def __init__(self, fault=""):
        self.fault = fault
        self.stop = threading.Event()
        self.data = {}
        self.increments = 0

    def client(self, timeout=0):
        return self

    def __enter__(self):
        return self

    def __exit__(self, *_):
        return None

    def call(self, name, *arguments):
        if name == "INCR":
            return self.increment(*arguments)
        if name == "SET":
            self.data[arguments[0]] = str(arguments[1]).encode()
            return "OK"
        if name == "GET":
            return self.data.get(arguments[0])
        return [self.data.get(key) for key in arguments]

    def increment(self, key):
        self.increments += 1
        if self.increments == 30:
            self.stop.set()
        by = 1
        if self.increments == 10:
            if self.fault == "counted twice":
                by = 2
            elif self.fault == "done, but refused":
                self.add(key, 1)
                return Refusal("CLUSTERDOWN No leader for group 0")
            elif self.fault == "uncertain, done":
                self.add(key, 1)
                return Refusal("UNCERTAIN")
            elif self.fault == "uncertain, not done":
                return Refusal("UNCERTAIN")
            elif self.fault == "lost connection, done":
                self.add(key, 1)
                raise ConnectionError
            elif self.fault == "nonsense":
                return b"1"
            elif self.fault == "lost counter":
                self.data[key] = b"3"
        return self.add(key, by)

    def add(self, key, by):
        self.data[key] = str(int(self.data.get(key, b"0")) + by).encode()
        return int(self.data[key])


def load_on(store):
    """What a load of one writer remembers of `store`."""
    load = Load([store], writers=0)
    load.writers = [Writer("w0", [store], 0)]
    load.writers[0].run(store.stop)
    return load


@pytest.mark.parametrize("fault", ["", "uncertain, done", "uncertain, not done", "lost connection, done"])
def test_what_a_server_may_do_passes(fault):
    """Unknown outcomes may have happened or not."""
    store = Store(fault)
    load_on(store).check(store)


@pytest.mark.parametrize("fault", ["counted twice", "done, but refused", "lost counter", "nonsense"])
def test_what_a_server_must_not_do_is_found(fault):
    """Each breach of a promise is found."""
    store = Store(fault)
    with pytest.raises(AssertionError):
        load_on(store).check(store)


@pytest.mark.parametrize("key", ["w0:counter", "w0:mark:7"])
def test_a_loss_after_the_last_reply_is_found(key):
    """What was acknowledged must be there at the end."""
    store = Store()
    load = load_on(store)
    del store.data[key]
    with pytest.raises(AssertionError):
        load.check(store)
