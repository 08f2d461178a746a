"""What a node tells of the logs of its groups to nodes that lack them."""

from types import SimpleNamespace
from typing import Any

import pytest

from kraft.host.backup.lent_logs import KEEP_SECONDS, PART_BYTES, LentLogs
from kraft.node.admin import FindLogs, ReadLog
from kraft.raft.messages import Entry, EntryKind
from tests.host.fakes import Clock

GROUP = 1


class Scene:
    """The leader of group 1, whose log has entries from 5 up to 20, all applied."""

    def __init__(self):
        state = SimpleNamespace(leads=True, leads_with_commit=True)
        state.log = SimpleNamespace(base=SimpleNamespace(index=4))
        self.group = SimpleNamespace(
            raft=SimpleNamespace(state=state), state=SimpleNamespace(index=20, fenced=False)
        )
        self.clock = Clock()
        self.fetched = 0
        here: Any = self
        groups: Any = {GROUP: self.group}
        self.logs = LentLogs(groups, here, self.clock)
        self.answers: list[Any] = []

    def fetch(self, _group, first, _last, _max_bytes, done):
        self.fetched += 1
        done([Entry(first, 1, 0, EntryKind.COMMANDS, bytes(2 * PART_BYTES))])

    def find(self, *groups):
        self.logs.find(FindLogs(groups), self.answers.append)
        return self.answers.pop()

    def read(self, offset):
        self.logs.read(GROUP, ReadLog(5, 5, offset), self.answers.append)
        part, total = self.answers.pop()
        return len(part), total


@pytest.fixture
def scene():
    return Scene()


def test_a_leader_tells_of_its_groups_and_of_no_others(scene):
    assert scene.find(GROUP, 2) == [[GROUP, 5, 20]]


def test_who_leads_and_has_not_committed_yet_may_not_know_what_was_committed(scene):
    scene.group.raft.state.leads_with_commit = False
    assert scene.find(GROUP) == []


def test_a_replica_that_differs_tells_nothing(scene):
    scene.group.state.fenced = True
    assert scene.find(GROUP) == []


def test_an_entry_of_several_parts_is_read_once_until_it_is_given_up(scene):
    size, total = scene.read(0)
    assert size == PART_BYTES
    scene.read(size)
    assert scene.fetched == 1
    scene.clock.advance(KEEP_SECONDS)
    scene.read(2 * size)
    assert scene.fetched == 2
    assert 2 * size < total
