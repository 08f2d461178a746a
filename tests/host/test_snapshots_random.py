"""Both sides over a network that loses, repeats, delays and damages, with restarts: states end up equal."""

import random

import msgspec
import pytest

from kraft.host.snapshots.settings import SnapshotSettings
from kraft.peerwire.messages import SnapshotChunk
from tests.host.fakes import Clock
from tests.host.snapshot_files import File, Follower, Leader, Network, pass_time, some_rows


class Weather:
    """Random faults until `fine`; copies may arrive much later."""

    def __init__(self, dice):
        self.dice = dice
        self.loss, self.doubles = dice.choice([0.0, 0.1, 0.3]), dice.choice([0.0, 0.2, 0.5])
        self.damage = dice.choice([0.0, 0.05])
        self.slowest = dice.choice([0.01, 0.5, 3.0])
        self.fine = False

    def __call__(self, message):
        copies = 1 + (self.dice.random() < self.doubles)
        arriving = []
        for _ in range(copies):
            delay = 0.001 + self.dice.random() * self.slowest * (30 if self.dice.random() < 0.05 else 1)
            if self.fine:
                arriving.append((0.001, message))
            elif self.dice.random() >= self.loss:
                arriving.append((delay, self._damaged(message)))
        return arriving

    def _damaged(self, message):
        if isinstance(message, SnapshotChunk) and message.rows and self.dice.random() < self.damage:
            rows = bytearray(message.rows)
            rows[self.dice.randrange(len(rows))] ^= 1 << self.dice.randrange(8)
            return msgspec.structs.replace(message, rows=bytes(rows))
        return message


class Story:
    """Two nodes that may lead, one after the other, and two that need a copy."""

    def __init__(self, seed):
        self.dice = random.Random(seed)
        self.clock = Clock()
        self.network = Network(self.clock)
        self.weather = self.network.weather = Weather(self.dice)
        self.settings = SnapshotSettings(
            self.dice.choice([1, 60, 500]), self.dice.choice([0, 2000]), self.dice.choice([5.0, 60.0])
        )
        self.file = File(100, some_rows(self.dice.choice([0, 1, 30, 60])))
        self.followers = [
            Follower(self.clock, self.network, id_, settings=self.settings, delay=self.dice.random() * 0.05)
            for id_ in ("K2", "K3")
        ]
        self.leader = self._new_leader()

    def lead(self):
        """Another node leads, or the same one after a restart; its snapshot is equal or newer."""
        self.leader.sender.stop()
        if self.dice.random() < 0.5:
            self.file = File(
                self.file.checkpoint.base.index + 50, some_rows(40, seed=self.dice.random() < 0.5)
            )
        self.leader = self._new_leader()

    def _new_leader(self):
        id_ = self.dice.choice(["K1", "K4"])
        leader = Leader(self.clock, self.network, self.file, id_, self.settings, self.dice.random() * 0.05)
        for follower in self.followers:
            follower.leaders = [leader]
        return leader

    def step(self):
        for follower in self.followers:
            if follower.commit < self.leader.disk.file.checkpoint.base.index:
                self.leader.offer(follower.id)
        pass_time(self.clock, 0.5, self.leader, *self.followers, step=0.05)

    def trouble(self):
        follower = self.dice.choice(self.followers)
        kind = self.dice.randrange(5)
        if kind == 0:
            self.lead()
        elif kind == 1:
            self.leader.sender.link_down(follower.id)
            follower.receiver.link_down(self.leader.id)
        elif kind == 2:
            follower.disk.full = not follower.disk.full
        elif kind == 3:
            follower.receiver.abandon()
        else:
            self.leader.sender.checkpointed()

    def end(self):
        self.weather.fine = True
        for follower in self.followers:
            follower.disk.full = False


@pytest.mark.parametrize("seed", range(40))
def test_every_transfer_ends_with_an_equal_snapshot(seed):
    story = Story(seed)
    for _ in range(40):
        story.step()
        if story.dice.random() < 0.15:
            story.trouble()
    story.end()
    for _ in range(400):
        story.step()
        if all(
            f.received_snapshots and f.commit >= story.file.checkpoint.base.index for f in story.followers
        ):
            break

    for follower in story.followers:
        assert follower.commit == story.file.checkpoint.base.index
        assert follower.rows == story.file.rows
        assert len(follower.disk.files_left) == len(follower.received_snapshots)
    pass_time(story.clock, 2 * story.settings.hold, story.leader, *story.followers, step=0.5)
    assert story.leader.disk.open_readers == []
    assert story.leader.disk.reading_most <= len(story.followers)
