"""How committed entries are applied to the state machine."""

from types import SimpleNamespace
from typing import Any

import pytest

from kraft.host.applied_state import AppliedState
from kraft.host.backpressure import Backpressure
from kraft.host.group.applier import Applier
from kraft.host.requests.proposals import Proposals
from kraft.host.slots import SlotMap
from kraft.host.user_watch import UserWatch
from kraft.kv import commands as kv
from kraft.kv.checkpoint import Checkpoint
from kraft.kv.commands import Increment
from kraft.kv.keyspace import Keyspace
from kraft.kv.machine import Machine
from kraft.kv.users import users_of
from kraft.node.values import Received
from kraft.raft.membership.configuration import Base
from kraft.raft.messages import Entry, EntryKind

ENTRY = kv.encode([Increment(b"n", 1)])


class Story:
    """An applier without writes of its own, and what it reports. A slice has room for two entries."""

    def __init__(self):
        self.state = AppliedState(Machine(), 0)
        self.indices = []
        self.note_at = 0
        self.errors: list[Exception] = []
        self.ledgers: list[object] = []  # as the watcher of users gets them
        raft: Any = None
        requests: Any = SimpleNamespace(
            proposals=Proposals(Backpressure(100)),
            writes=None,
            transaction_waits=SimpleNamespace(reading=False),
        )
        checkpoints: Any = self
        users = UserWatch()
        users.watcher = self.ledgers.append
        context: Any = SimpleNamespace(broken=self.errors.append, users=users, slots=SlotMap())
        self.raises: list[bool] = []
        version: Any = SimpleNamespace(applied=lambda *, live: self.raises.append(live))
        self.applier = Applier(0, raft, self.state, requests, checkpoints, version, context, 2 * len(ENTRY))

    def note(self):
        self.indices.append(self.state.index)

    @property
    def counted(self):
        return self.state.machine.keyspace.get(b"n")


@pytest.fixture
def story():
    return Story()


def entries(first, last):
    return [Entry(index, 1, 1_000 + index, EntryKind.COMMANDS, ENTRY) for index in range(first, last + 1)]


def test_a_backlog_is_applied_in_slices(story):
    story.applier.add(entries(1, 5))
    story.applier.apply_slice()
    assert story.indices == [1, 2]
    assert story.applier.waiting
    story.applier.apply_slice()
    story.applier.apply_slice()
    assert story.indices == [1, 2, 3, 4, 5]
    assert not story.applier.waiting
    assert (story.state.index, story.counted) == (5, b"5")


def test_entries_that_wait_when_a_snapshot_comes_are_not_applied_to_it(story):
    """The snapshot contains them: they would count twice."""
    story.applier.add(entries(1, 5))
    story.applier.apply_slice()
    keyspace = Keyspace()
    keyspace.load([(b"n", b"7", 7, 0)])
    base = Base(index=7, term=1, stamp=1_007)
    story.applier.restore(Received(1, Checkpoint(base, 7, 1, 2, bytes(16)), keyspace))
    assert not story.applier.waiting
    assert story.ledgers == [keyspace.ledger]  # it may have other users
    story.applier.add(entries(8, 8))
    story.applier.apply_slice()
    assert story.indices == [1, 2, 8]
    assert (story.state.index, story.counted) == (8, b"8")


def test_a_change_of_users_is_told_as_soon_as_it_is_applied(story):
    """Whoever watches then finds it in the ledger; other commands are no news."""
    change = kv.encode([kv.ChangeUsers(0, ((b"u", b"data"),))])
    story.applier.add([*entries(1, 1), Entry(2, 1, 1_002, EntryKind.COMMANDS, change), *entries(3, 3)])
    while story.applier.waiting:
        story.applier.apply_slice()
    assert story.ledgers == [story.state.machine.keyspace.ledger]
    assert users_of(story.ledgers[0]) == {b"u": b"data"}


def test_an_entry_that_cannot_be_applied_is_reported_and_raised(story):
    """To go on would leave out an entry that the others apply."""
    story.applier.add([Entry(1, 1, 1_001, EntryKind.COMMANDS, b"\xc1")])
    with pytest.raises(Exception) as raised:  # noqa: PT011 - whatever it is
        story.applier.apply_slice()
    assert story.errors == [raised.value]
    assert story.state.index == 0


def test_a_replay_tells_how_far_it_has_come(story):
    """The disk gives the log in pieces."""
    told, fetches, ended = [], [], []
    story.state.index = 2
    story.applier._context.disk = SimpleNamespace(fetch=lambda *asked: fetches.append(asked))
    story.applier._context.observer = SimpleNamespace(replaying=lambda *progress: told.append(progress))
    story.applier.replay(9, lambda: ended.append(True))
    for first, last in ((3, 5), (6, 9)):
        _, asked_first, upto, _, fetched = fetches.pop()
        assert (asked_first, upto, ended) == (first, 9, [])
        fetched(entries(first, last))
    assert told == [(0, 3, 7), (0, 7, 7)]
    assert ended == [True]
    assert fetches == []
