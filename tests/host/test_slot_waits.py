"""Requests that meet a slot which is about to move: who waits, what wakes them, and what they are told."""

from functools import partial

import pytest

from kraft.host.requests import transaction_waits
from kraft.host.requests.round import View
from kraft.kv.commands import Flush, Freeze, Increment, Lock, Put, Release, Unfreeze
from kraft.kv.replies import CommandFailure
from kraft.kv.slots import SLOTS, slot_of
from kraft.kv.transaction_reply import StepOutcome, transaction_reply
from kraft.node.errors import Locked, NotOwner, TooManyWaiters, TooStale
from tests.host.test_transaction_waits import SECONDS, Leader

HERE, AWAY, SAME = b"here", b"{away}", b"{away}2"
SLOT = slot_of(AWAY)


class Source(Leader):
    """The leader of a group that owns all slots at first, and one of which may move to group 1."""

    def read(self, done, fresh):
        done(self.view())

    def read_stale(self, done):
        done(self.view())

    def view(self):
        return View(self.machine.keyspace, self.clock.wall_ms(), self.machine.revision)

    def freeze(self, number=1, slot=SLOT):
        self.apply(Freeze(number, slot, slot, 1, (0, SLOTS - 1)))
        self.look()

    def unfreeze(self, number=1):
        self.apply(Unfreeze(number, SLOT, SLOT))
        self.look()

    def release(self, number=1, slot=SLOT):
        self.apply(Release(number, slot, slot, 0))
        self.look()

    def get(self, *keys, stale=False):
        done = partial(self._got, keys)
        if stale:
            self.waits.read_stale(lambda: list(keys), done)
        else:
            self.waits.read(lambda: list(keys), done, False)

    def _got(self, keys, outcome):
        if isinstance(outcome, View):
            outcome = [outcome.keyspace.get(key) for key in keys]
        self.done.append(outcome)


@pytest.fixture
def source():
    source = Source()
    source.apply(Put(HERE, b"h"), Put(AWAY, b"a"))
    return source


def test_a_write_to_a_frozen_slot_waits_outside_the_log_until_the_move_is_cancelled(source):
    source.freeze()
    source.ask(Put(AWAY, b"x"))
    source.ask(Put(HERE, b"y"))
    source.turn()
    assert source.done == [["OK"]], "the other slot is in use"
    assert source.machine.keyspace.get(HERE) == b"y"
    source.unfreeze()
    source.turn()
    assert source.done == [["OK"], ["OK"]]
    assert source.machine.keyspace.get(AWAY) == b"x"


def test_a_write_that_waited_for_a_slot_which_has_gone_is_certainly_not_done(source):
    source.freeze()
    source.ask(Put(AWAY, b"x"))
    source.release()
    source.turn()
    assert source.done == [[CommandFailure.NOT_OWNER]]
    assert source.machine.keyspace.get(AWAY) == b"a"


def test_who_waits_goes_to_the_receiver_before_the_source_lets_go(source):
    """The receiver has decided, and the step that tells the source takes another round."""
    source.freeze()
    source.ask(Put(AWAY, b"x"), Put(HERE, b"y"))
    source.get(AWAY)
    source.look()
    assert source.done == []
    source.slots.taken(1, SLOT, SLOT, 1)
    source.clock.advance(0)
    read, write = source.done
    assert isinstance(read, NotOwner)
    assert write == [CommandFailure.NOT_OWNER] * 2
    source.ask(Put(AWAY, b"x"))
    source.get(AWAY)
    source.get(AWAY, stale=True)
    source.look()
    assert [type(each) for each in source.done[2:]] == [NotOwner, NotOwner, list]
    assert source.sent == [], "nothing of it was logged"


def test_a_prepare_waits_until_the_source_lets_go(source):
    """What became of its transaction, the log says."""
    source.freeze()
    source.ask(source.prepare(1, AWAY))
    source.slots.taken(1, SLOT, SLOT, 1)
    source.clock.advance(0)
    assert (source.done, source.sent) == ([], [])
    source.release()
    source.turn()
    [[reply]] = source.done
    assert transaction_reply(reply).outcome is StepOutcome.NOT_OWNER


def test_other_frozen_slots_are_still_waited_for(source):
    source.freeze()
    source.freeze(2, slot_of(HERE))
    source.slots.taken(1, SLOT, SLOT, 1)
    source.ask(Put(HERE, b"y"))
    source.get(HERE)
    source.clock.advance(0)
    assert source.done == []
    source.slots.watchers[0]()
    source.clock.advance(0)
    assert source.done == []


def test_writes_to_a_frozen_slot_keep_their_order(source):
    source.freeze()
    for number in b"123":
        source.ask(Put(AWAY, b"%c" % number))
    source.look()
    assert source.sent == []
    source.unfreeze()
    source.turn()
    assert source.machine.keyspace.get(AWAY) == b"3"


def test_a_write_to_a_frozen_slot_is_refused_after_a_while_and_not_done(source):
    source.freeze()
    source.ask(Put(AWAY, b"x"))
    source.clock.advance(SECONDS)
    source.look()
    assert source.done == [[CommandFailure.LOCKED]]
    source.unfreeze()
    source.turn()
    assert source.machine.keyspace.get(AWAY) == b"a"


def test_a_prepare_waits_for_a_frozen_slot(source):
    source.freeze()
    source.ask(source.prepare(1, AWAY))
    source.turn()
    assert source.done == []
    source.unfreeze()
    source.turn()
    [[reply]] = source.done
    assert AWAY in source.machine.keyspace.transactions.locks.exclusive, reply


@pytest.mark.parametrize("after", [(Put(HERE, b"2"),), (Put(HERE, b"2"), Put(AWAY, b"3"))], ids=len)
def test_what_came_after_a_command_for_a_slot_that_has_gone_goes_with_it(source, after):
    """Sent again for another group, the first of them must not come after the others."""
    source.freeze()
    source.release()
    source.ask(Put(AWAY, b"1"), *after)
    free = source.hold(HERE)  # while they are on their way
    source.turn()
    assert source.done == [[CommandFailure.NOT_OWNER] * (1 + len(after))]
    source.apply(free)
    source.turn()
    assert source.machine.keyspace.get(HERE) == b"h"


def test_a_reply_that_is_the_number_of_a_failure_is_none(source):
    """The command is done: the next one waits for its lock, and neither is sent again for another group."""
    number = int(CommandFailure.NOT_OWNER)
    source.ask(Increment(SAME, number), Put(HERE, b"2"))
    free = source.hold(HERE)  # while they are on their way
    source.turn()
    assert source.done == []
    source.apply(free)
    source.look()
    source.turn()
    assert source.done == [[number, "OK"]]


def test_a_client_too_many_is_refused_and_the_others_wait(source, monkeypatch):
    monkeypatch.setattr(transaction_waits, "WAITERS_MAX", 2)
    source.freeze()
    for number in b"123":
        source.ask(Put(AWAY, b"%c" % number))
        source.get(AWAY)
    source.clock.advance(0)
    assert [type(outcome) for outcome in source.done] == [TooManyWaiters, TooManyWaiters]
    source.unfreeze()
    source.turn()
    assert source.machine.keyspace.get(AWAY) == b"2"
    source.freeze(2)
    source.ask(Put(AWAY, b"4"))
    source.clock.advance(0)
    assert len(source.done) == 6, "those who have waited count no more"


def test_flushall_waits_for_frozen_slots(source):
    source.freeze()
    source.ask(Flush())
    source.turn()
    assert source.done == []
    source.release()
    source.turn()
    assert source.done == [["OK"]]


# -- reads


def test_a_read_of_a_frozen_slot_waits_and_one_of_another_does_not(source):
    source.freeze()
    source.get(AWAY)
    source.get(HERE)
    assert source.done == [[b"h"]]
    source.unfreeze()
    assert source.done == [[b"h"], [b"a"]]


def test_a_read_that_waited_does_not_show_what_the_slot_held_before_it_went(source):
    source.freeze()
    source.get(HERE, SAME)
    source.release()
    assert [type(outcome) for outcome in source.done] == [NotOwner]


def test_a_read_of_a_slot_that_has_gone_is_refused_at_once(source):
    source.freeze()
    source.release()
    source.get(AWAY)
    source.get(AWAY, stale=True)
    assert [type(outcome) for outcome in source.done] == [NotOwner, NotOwner]


def test_a_read_of_a_frozen_slot_is_refused_after_a_while(source):
    source.freeze()
    source.get(AWAY)
    source.clock.advance(SECONDS)
    source.look()
    assert [type(outcome) for outcome in source.done] == [Locked]


def test_a_stale_read_of_a_frozen_slot_waits_as_well(source):
    """The receiver may own the slot already, and change it: this replica never hears of it."""
    source.freeze()
    source.get(AWAY, stale=True)
    source.get(HERE, stale=True)
    assert source.done == [[b"h"]]
    source.release()
    assert isinstance(source.done[1], NotOwner)


def test_a_stale_read_that_is_refused_stays_so(source):
    source.read_stale = lambda done: done(TooStale(0))
    source.freeze()
    source.get(AWAY, stale=True)
    assert [type(outcome) for outcome in source.done] == [TooStale]


def test_a_read_of_all_keys_waits_for_the_moves_that_it_finds_and_no_others(source):
    source.freeze()
    source.get()
    source.freeze(2, slot_of(HERE))
    source.release()
    assert source.done == [[]], "it does not wait for the later one"


# -- clients that wait for a KRAFT LOCK


def test_who_waits_for_a_lock_hears_that_its_slot_has_gone(source):
    """The lock is freed in another group from here on: nothing here would wake the client."""
    source.apply(Lock(SAME, 60_000))
    source.locks.wait(Lock(SAME, 10_000), 60.0, source.done.append)
    source.turn()
    source.freeze()
    source.turn()
    assert source.done == []
    source.release()
    source.turn()
    assert source.done == [[CommandFailure.NOT_OWNER]]
