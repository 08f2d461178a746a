"""Reads at a follower go on as soon as the leader knows that a transaction over several groups is over."""

import pytest
from msgspec.structs import replace

from kraft.kv.commands import Resolve, TransactionId
from kraft.peerwire.hello import WIRE_REPLICAS
from kraft.peerwire.messages import LockQuestion
from tests.host.test_group_transactions import A, Groups

TICK = 0.025
SOON = 0.015  # less than a tick, and much less than a heartbeat interval
SESSIONS = (b"dead", b"lost")


class Held(Groups):
    """A transaction holds a key of group 0, and a read of each follower waits for it. `asked`: who asked."""

    def __init__(self):
        super().__init__()
        self.asked = []
        self.looked = []
        for name in self.others:
            self.watch(self.host(name).peers.network, name)

    def hold(self, *sessions):
        for session in sessions:
            self.holder(session, A + session)
        self.run(0.2)
        for name in self.others:
            self.read(name, *(A + session for session in sessions))
        self.run(SOON)

    def read(self, name, *keys):
        self.host(name).read_keys(0, lambda: keys, lambda _: self.looked.append(name))

    @property
    def others(self):
        return [process.id for process in self.processes() if process.id != self.leads(0)]

    def watch(self, network, name):
        send = network.send

        def sent(peer, messages):
            self.asked += [(name, m.holders) for _, m in messages if isinstance(m, LockQuestion)]
            return send(peer, messages)

        network.send = sent

    def end(self, session=b"dead"):
        id_ = TransactionId(session, 1, 1)
        done: list[object] = []
        self.host(self.leads(0)).transactions.write(0, [Resolve(id_, commit=False)], 20, done.append)
        assert self.run(SOON, lambda: bool(done))


@pytest.fixture
def held():
    return Held()


def test_reads_of_followers_go_on_at_once_when_a_transaction_is_over(held):
    held.hold(b"dead")
    assert held.looked == []
    held.end()
    assert held.run(SOON, lambda: len(held.looked) == 2)


def test_a_question_that_comes_after_the_end_is_answered_at_once(held):
    held.hold(b"dead")
    held.host(held.leads(0)).groups[0].requests.lock_questions.waiting.clear()
    held.end()
    assert held.run(TICK + SOON, lambda: len(held.looked) == 2)


def test_a_follower_asks_once_in_a_tick_for_each_transaction(held):
    held.hold(*SESSIONS)
    [name, _] = held.others
    before = len([each for each, _ in held.asked if each == name])
    names = {holder for each, holders in held.asked if each == name for holder in holders}
    assert len(names) == len(SESSIONS)
    for _ in range(10):
        held.read(name, *(A + session for session in SESSIONS))
    held.run(0.25)
    assert len([each for each, _ in held.asked if each == name]) <= before + 11


def test_who_waits_asks_the_next_leader(held):
    held.hold(b"dead")
    old = held.leads(0)
    [name, _] = held.others
    held.host(old).groups[0].transfer_leadership(name)
    assert held.run(1, lambda: held.host(name).groups[0].raft.state.leads_with_commit)
    assert held.run(1, lambda: not held.host(old).groups[0].requests.lock_questions.waiting)
    held.run(0.1)
    assert held.host(name).groups[0].requests.lock_questions.waiting


def test_a_leader_of_an_earlier_program_is_not_asked(held):
    """It would take the question for garbage, and end the link."""
    leader = held.leads(0)
    for name in held.others:
        hellos = held.host(name).peers.hellos
        hellos[leader] = replace(hellos[leader], wire_max=WIRE_REPLICAS - 1)
    held.hold(b"dead")
    assert held.asked == []
    held.end()
    assert held.run(1, lambda: len(held.looked) == 2)
