"""Images of several groups that different nodes lead: one cut through all of them, while clients write."""

from dataclasses import replace
from functools import partial
from hashlib import sha1
from random import Random

import pytest

from kraft.host.backup.pinned_images import PinnedImage
from kraft.host.requests.proposer import Proposer
from kraft.kv.commands import Exec, Increment, Put, ScriptCall
from kraft.kv.conclusion import conclude
from kraft.node.admin import HoldProposals, LogHeldMarker
from kraft.node.errors import AdminRefused
from tests.host.image_machines import machines_of, open_image
from tests.host.trio import Trio

IMAGES = 3
ATTEMPTS = 3
SLOW = 0.15  # seconds on the link between K1, which opens the images, and K3: longer than the first hold
NAMES = ("K1", "K2", "K3")


class Bank(Trio):
    """Three nodes with three groups, whose clients move money from group to group, and count."""

    def __init__(self):
        super().__init__(groups=3, checkpoint_entries=400)
        assert self.run(20, lambda: all(p.host.leader(g) for p in self.processes() for g in range(3)))
        assert self.run(20, lambda: self.host("K1").groups[2].state.machine.version >= 4)
        self.spread()
        self.transfers = self.chains = 0
        self.open = True

    def spread(self):
        """Each node leads one group."""
        for group, name in enumerate(NAMES):
            leader = self.host("K1").leader(group)
            if leader != name:
                self.host(leader).groups[group].transfer_leadership(name)
        assert self.run(
            20, lambda: all(self.host(n).groups[g].raft.state.leads_with_commit for g, n in enumerate(NAMES))
        )

    def transfer(self, name, number):
        """Transfers one after the other, over two groups each; the same keys only for this client."""
        first, second = number % 3, (number + 1) % 3
        parts = {
            group: Exec((), (Increment(b"account %d" % number, amount),))
            for group, amount in ((first, 1), (second, -1))
        }

        def done(_):
            self.transfers += 1
            if self.open:
                self.transfer(name, number)

        self.host(name).transactions.execute(parts, 20, done)

    def chain(self, name, count=0):
        """Plain writes, each acknowledged before the next one, which goes to the next group."""

        def done(outcome):
            self.chains += 1
            if self.open:
                self.chain(name, count + 1 if isinstance(outcome, list) else count)

        self.host(name).write(count % 3, [Put(b"chain", b"%d" % count)], 20, done)

    def leads(self, name):
        return self.host(name).groups[0].raft.state.leads_with_commit

    def work(self):
        for number in range(9):
            self.transfer(NAMES[number % 3], number)
        self.chain("K2")

    def image(self):
        """An image that K1 opens, as machines."""
        image = open_image(self)
        assert isinstance(image, PinnedImage), image
        return machines_of(self, image)


def wrong(machines):
    """What is not one cut: a transfer of which one half is there, or a write without the one before it."""
    conclude(machines, len(machines))
    money = sum(
        int(record.value)
        for machine in machines.values()
        for key, record in machine.keyspace.records.items()
        if key.startswith(b"account")
    )
    found = sorted(int(machine.keyspace.get(b"chain") or -1) for machine in machines.values())
    return money != 0 or found[2] - found[0] > 2


@pytest.fixture
def bank():
    bank = Bank()
    bank.network.slow_down(("K1", "K3"), SLOW)
    bank.network.slow_down(("K3", "K1"), SLOW)
    bank.work()
    assert bank.run(10, lambda: bank.transfers > 30 and bank.chains > 10)
    return bank


def test_every_image_is_one_cut(bank):
    for _ in range(IMAGES):
        before = bank.transfers
        machines = bank.image()
        assert len(machines) == 3
        assert not wrong(machines)
        assert bank.transfers > before  # they go on
    bank.open = False


def test_images_are_one_cut_while_leaders_are_lost(bank):
    """A leader that logs its marker may be cut off before anybody has it: another entry takes its place."""
    dice, made = Random(7), 0
    for _ in range(ATTEMPTS):
        opened: list[PinnedImage | Exception] = []
        bank.host("K1").open_image(opened.append)
        bank.run(dice.uniform(0, 0.4))
        bank.isolate(bank.host("K1").leader(dice.choice((1, 2))) or "K2")
        bank.run(dice.uniform(0.5, 2))
        bank.network.heal()
        assert bank.run(60, partial(bool, opened))
        [image] = opened
        if isinstance(image, PinnedImage):
            made += 1
            assert not wrong(machines_of(bank, image))
        else:
            assert "no image of one moment" in str(image)
        bank.spread()
    assert made
    bank.open = False


def test_without_the_hold_it_is_none(bank, monkeypatch):
    """The planted mistake: a leader that goes on while the others hold."""

    def mark_at_once(self, _):
        self._end_hold()
        return self.propose_marker(), self._raft.state.term

    monkeypatch.setattr(Proposer, "propose_held_marker", mark_at_once)
    monkeypatch.setattr(Proposer, "hold", lambda *_: True)
    assert any(wrong(bank.image()) for _ in range(IMAGES))
    bank.open = False


def ask(bank, group, command):
    answers: list[object] = []
    executor = bank.host(NAMES[group])._admin
    executor.ask_at_once(group, command, answers.append)
    assert bank.run(5, lambda: bool(answers))
    return answers[0]


def test_a_hold_ends_by_itself_and_then_no_marker_is_logged():
    bank = Bank()
    assert ask(bank, 0, HoldProposals(7, 50)) == "OK"
    bank.ask("K2", Put(b"key", b"1"))
    assert not bank.run(0.02, lambda: bool(bank.answers))  # it waits
    assert bank.answered(within=1)
    assert bank.answers == [["OK"]]
    assert isinstance(ask(bank, 0, LogHeldMarker(7)), AdminRefused)


def test_a_script_waits_for_the_end_of_a_hold():
    """Evaluated again and again, in one turn, it would keep the leader from the tick that ends the hold."""
    bank = Bank()
    source = b"return redis.call('SET', KEYS[1], 'x')"
    script = ScriptCall(sha1(source).hexdigest().encode(), source, (b"key",), ())
    bank.ask("K1", script)
    assert bank.answered(within=5)
    assert ask(bank, 0, HoldProposals(7, 50)) == "OK"
    bank.ask("K1", script)
    bank.ask("K1", Put(b"key", b"1"))
    assert not bank.run(0.02, lambda: len(bank.answers) > 1)
    assert bank.answered(3, within=1)


def test_only_the_last_hold_may_log_a_marker_and_ends_with_it():
    bank = Bank()
    assert ask(bank, 0, HoldProposals(7, 60_000)) == "OK"
    assert ask(bank, 0, HoldProposals(8, 60_000)) == "OK"
    assert isinstance(ask(bank, 0, LogHeldMarker(7)), AdminRefused)
    bank.ask("K1", Put(b"key", b"1"))
    assert not bank.run(1, lambda: bool(bank.answers))
    assert isinstance(ask(bank, 0, LogHeldMarker(8)), list)
    assert bank.answered(within=1)


def test_no_checkpoint_is_due_during_a_hold():
    """It would be under way when that of the image is to begin."""
    bank = Bank()
    group = bank.host("K1").groups[0]
    group.checkpoints._settings = replace(group.checkpoints._settings, entries=1)
    bank.ask("K1", Put(b"key", b"1"))
    assert ask(bank, 0, HoldProposals(7, 60_000)) == "OK"
    assert bank.run(5, lambda: group.checkpoints.due(0.0))
    before = group.raft.state.log.last_index
    bank.run(1)
    assert group.raft.state.log.last_index == before
    assert ask(bank, 0, LogHeldMarker(7)) == [before + 1, group.raft.state.term]


def test_no_marker_is_logged_in_another_term():
    bank = Bank()
    assert ask(bank, 0, HoldProposals(7, 60_000)) == "OK"
    for name in ("K2", "K1"):
        [leader] = bank.leaders(0)
        bank.host(leader).groups[0].transfer_leadership(name)
        assert bank.run(10, partial(bank.leads, name))
    assert isinstance(ask(bank, 0, LogHeldMarker(7)), AdminRefused)


def test_an_image_of_one_moment_needs_all_leaders(bank):
    bank.isolate("K3")
    opened: list[object] = []
    bank.host("K1").open_image(opened.append)
    assert bank.run(30, lambda: bool(opened))
    assert isinstance(opened[0], PinnedImage) or "no image of one moment" in str(opened[0])
