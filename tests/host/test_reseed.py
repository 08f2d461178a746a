"""A replica whose state is wrong gets a copy of the leader's while writes go on, with real hosts."""

import pytest

from kraft.kv.commands import Increment
from kraft.node import admin
from kraft.raft.messages import Append
from tests.host.trio import Trio


class Story(Trio):
    """One follower is fenced; clients increase a counter again as soon as they are answered."""

    def __init__(self, clients):
        super().__init__()
        for _ in range(20):
            self.ask(self.leader, Increment(b"n", 1))
        assert self.answered(20)
        taken: list = []
        self.host(self.leader).admin(admin.TakeSnapshot(), taken.append)
        assert self.run(20, lambda: bool(taken))
        self.odd = self.followers[0]
        self.fenced.consistency._fence(1)
        self._stopped = False
        for _ in range(clients):
            self._again()
        self.run(0.5)

    @property
    def fenced(self):
        return self.group(self.odd)

    def _again(self, _=None):
        if not self._stopped:
            self.host(self.leader).write(0, [Increment(b"n", 1)], 20, self._again)

    def reseed(self):
        self.group(self.leader).consistency.equal = lambda _: (
            0
        )  # it is, here: the story is about what follows
        self.host(self.leader).admin(admin.Reseed(self.odd), self.answers.append)
        assert self.run(20, lambda: not self.fenced.state.fenced)

    def settle(self):
        self._stopped = True
        self.run(5)
        groups = [self.group(id_) for id_ in self.nodes]
        return {(g.state.index, g.state.machine.keyspace.get(b"n"), g.state.machine.revision) for g in groups}

    def together(self, waiting):
        """The finished copy is heard of in the reactor's turn in which a commit is, with that many entries to
        be applied by it.
        """
        held: list = []
        receiving, persistence = self.fenced.receiver, self.host(self.odd).persistence
        finished, committed = receiving._finished, persistence._committed

        def both(durable):
            ends = [p.entries[-1].index for _, p, _ in persistence._in_flight if p.entries]
            node = self.fenced.raft
            if held and ends and waiting(min(node.state.commit, ends[-1]) - node.state.applied):
                receiving._finished = finished
                finished(*held.pop())
            committed(durable)

        receiving._finished = lambda *arguments: held.append(arguments)
        persistence._committed = both


def test_a_reseeded_replica_is_like_the_others_and_serves():
    story = Story(clients=4)
    story.reseed()

    assert len(story.settle()) == 1


@pytest.mark.parametrize(("clients", "slow", "waiting"), [(1, 1.5, 1), (4, 10.0, 2)])
def test_entries_that_come_with_the_copy_are_applied_once(clients, slow, waiting):
    story = Story(clients)
    story.process(story.odd).disk.slow = slow
    story.together(lambda entries: entries >= waiting)
    story.reseed()
    story.process(story.odd).disk.slow = 1.0

    assert len(story.settle()) == 1


def test_a_snapshot_that_is_ahead_of_the_log_is_taken_like_any_other():
    """A replica that has just started knows of fewer committed entries than the snapshot holds."""
    story = Story(clients=0)
    fenced, received = story.fenced, story.fenced.received

    def hard_of_hearing(sender, message):
        if not isinstance(message, Append):
            received(sender, message)

    fenced.received = hard_of_hearing
    story.ask(story.leader, Increment(b"n", 1))
    assert story.answered(21)
    commit = fenced.raft.state.commit
    story.reseed()
    assert fenced.raft.state.commit > commit
    fenced.received = received

    assert len(story.settle()) == 1
