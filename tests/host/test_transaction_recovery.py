"""The recovery of transactions at a leader: when it asks whom, and what it does with the answer."""

from types import SimpleNamespace
from typing import Any

import pytest

from kraft.host.transactions.recovery import TransactionRecovery
from kraft.kv.commands import Commit, Decide, Exec, Forget, Prepare, Put, Resolve, TransactionId
from kraft.kv.machine import Machine
from kraft.kv.transaction_reply import StepOutcome, TransactionReply
from kraft.node.errors import NoLeader
from tests.server.fake_host import WALL_MS, FakeClock

PATIENCE = 1.0
GROUP, HOME = 0, 1
ID = TransactionId(b"dead", 1, WALL_MS)
PART = Exec((), (Put(b"a", b"1"),))


class Leader:
    """The leader of one group. `asked` are its questions that wait for an answer."""

    def __init__(self, *steps):
        self.clock = FakeClock()
        self.asked = []
        state: Any = SimpleNamespace(machine=Machine())
        state.machine.apply(WALL_MS, steps)
        this: Any = self
        self.recovery = TransactionRecovery(GROUP, state, this, self.clock, PATIENCE)

    def write(self, group, commands, size, done):
        self.asked.append((group, *commands, done))

    def tick(self, seconds=0.0, *, leads=True):
        self.clock.advance(seconds)
        self.recovery.tick(leads=leads)

    @property
    def steps(self):
        return [(group, step) for group, step, _ in self.asked]

    def answer(self, outcome):
        _, _, done = self.asked.pop(0)
        done([TransactionReply(outcome=outcome).to_reply()] if isinstance(outcome, StepOutcome) else outcome)


@pytest.fixture
def holder():
    """The leader of a participant that holds locks of a dead coordinator."""
    return Leader(Prepare(ID, 1, HOME, PART))


def test_nobody_is_asked_before_the_patience_is_over(holder):
    holder.tick()
    holder.tick(PATIENCE / 2)
    assert holder.steps == []
    assert holder.recovery.oldest() == PATIENCE / 2
    holder.tick(PATIENCE / 2)
    assert holder.steps == [(HOME, Decide(ID, holder=True))]
    assert holder.recovery.count == 1


@pytest.mark.parametrize("decided", [StepOutcome.COMMITTED, StepOutcome.ABORTED])
def test_what_home_has_decided_is_done(holder, decided):
    holder.tick()
    holder.tick(PATIENCE)
    holder.answer(decided)
    assert holder.steps == [(GROUP, Resolve(ID, commit=decided is StepOutcome.COMMITTED))]


def test_home_is_asked_again_only_after_it_has_answered(holder):
    holder.tick()
    for _ in range(5):
        holder.tick(PATIENCE)
    assert len(holder.steps) == 1
    holder.answer(NoLeader(HOME))
    assert holder.steps == []
    holder.tick(0.1)
    assert holder.steps == [(HOME, Decide(ID, holder=True))]


def test_a_new_leader_is_patient_anew(holder):
    holder.tick()
    holder.tick(PATIENCE, leads=False)
    assert holder.steps == []
    holder.tick()
    holder.tick(PATIENCE / 2)
    assert holder.steps == []


def test_home_sends_its_decision_to_those_who_have_not_confirmed_it():
    home = Leader(Commit(ID, 1, (3, 4), PART))
    home.tick()
    home.tick(PATIENCE)
    assert home.steps == [(3, Resolve(ID, commit=True)), (4, Resolve(ID, commit=True))]
    home.answer(StepOutcome.RESOLVED)
    assert home.steps == [(4, Resolve(ID, commit=True)), (GROUP, Forget(ID, 3))]
    home.answer(NoLeader(4))
    home.answer(StepOutcome.FORGOTTEN)
    home.tick()
    assert (4, Resolve(ID, commit=True)) in home.steps
