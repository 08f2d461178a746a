"""The logs of three groups with transfers between them, whose leaders' clocks differ, without any node."""

import random
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

from kraft.kv import commands
from kraft.kv.commands import Commit, Decide, Exec, Forget, Increment, Prepare, Put, Resolve, TransactionId
from kraft.kv.machine import Machine
from kraft.kv.replies import Reply
from kraft.kv.transaction_reply import StepOutcome, TransactionReply, transaction_reply
from kraft.moment import LATEST, Moment
from kraft.raft.messages import Entry, EntryKind
from kraft.storage.offline.replay import BackupMoment, LogReplay, replay
from tests.backup.sources import CLUSTER, START_MS, FakeSource, Twin

GROUPS = 3
SESSION = b"K1:1"
OPEN_MAX = 4  # transfers under way at once


class GroupLogs:
    """`logs` are the entries of each group, whose leaders' clocks differ by `offsets`, in ms."""

    def __init__(self, seed: int, offsets: Sequence[int]) -> None:
        self.dice = random.Random(seed)
        self.logs: list[list[Entry]] = [[] for _ in range(GROUPS)]
        self.now = 1000  # real time in ms
        self._offsets = offsets
        self._twins = [Twin() for _ in range(GROUPS)]

    def lengths(self) -> list[int]:
        return [len(log) for log in self.logs]

    def log(self, group: int, command: commands.Command) -> Reply:
        """Let a group log and apply a command."""
        self.now += self.dice.randint(1, 3)
        log = self.logs[group]
        stamp = max(START_MS + self.now + self._offsets[group], log[-1].stamp if log else 0)
        entry = Entry(len(log) + 1, 2, stamp, EntryKind.COMMANDS, commands.encode([command]))
        log.append(entry)
        (reply,) = self._twins[group].machine.apply(stamp, [command])
        return reply


class GroupsBank(GroupLogs):
    """Transfers whose steps interleave in every way: doubled, or left to the leaders by their coordinator.

    A transfer moves money and puts a key of its number in each group.
    """

    def __init__(self, seed: int, offsets: Sequence[int]) -> None:
        super().__init__(seed, offsets)
        self._open: dict[int, Iterator[None]] = {}
        self._number = 0

    def run(self, steps: int) -> "GroupsBank":
        """Let so many steps happen."""
        for _ in range(steps):
            if len(self._open) < OPEN_MAX:
                self._number += 1
                self._open[self._number] = self._transfer(self._number)
            number = self.dice.choice(list(self._open))
            if next(self._open[number], number) or self.dice.random() < 0.03:  # it is over, or abandoned
                del self._open[number]
            if self.dice.random() < 0.05:
                self._recover()
        return self

    def _write(self, group: int, command: commands.Command) -> TransactionReply:
        return transaction_reply(self.log(group, command))

    def _transfer(self, number: int) -> Iterator[None]:
        dice = self.dice
        parts = sorted(dice.sample(range(GROUPS), dice.choice((2, 2, 3))))
        home, participants, amount = parts[-1], parts[:-1], dice.randint(1, 9)
        changes = [amount] * len(participants) + [-amount * len(participants)]
        work = {
            group: Exec((), (Increment(b"account", change), Put(b"t%d" % number, b"%d" % len(parts))))
            for group, change in zip(parts, changes, strict=True)
        }
        id_ = TransactionId(SESSION, number, START_MS + self.now)
        for group in participants:
            prepare = Prepare(id_, min(self._open), home, work[group])
            if self._write(group, prepare).outcome is not StepOutcome.PREPARED:
                for each in participants:
                    yield
                    self._write(each, Resolve(id_, commit=False))
                return
            yield
        decided = self._write(home, Commit(id_, min(self._open), tuple(participants), work[home])).outcome
        if dice.random() < 0.1:
            yield
            self._write(home, Commit(id_, min(self._open), tuple(participants), work[home]))
        for group in participants:
            yield
            self._write(group, Resolve(id_, decided is StepOutcome.COMMITTED))
            yield
            self._write(home, Forget(id_, group))

    def _recover(self) -> None:
        """The leaders end what no coordinator drives."""
        for group, twin in enumerate(self._twins):
            index = twin.machine.keyspace.transactions
            for hold in [each for each in index.prepared.values() if each.id.number not in self._open]:
                decided = self._write(hold.home, Decide(hold.id, holder=True)).outcome
                self._write(group, Resolve(hold.id, decided is StepOutcome.COMMITTED))
            for decision in [each for each in index.decisions.values() if each.id.number not in self._open]:
                for participant in decision.waiting:
                    self._write(participant, Resolve(decision.id, commit=True))
                    self._write(group, Forget(decision.id, participant))


@dataclass
class _Log:
    """`ShippedLog`, as far as a replay reads it."""

    shipped: list[Entry]
    gap: bool = False

    @property
    def reach(self) -> None:
        return None

    def entries(self, after) -> Iterator[Entry]:
        yield from (entry for entry in self.shipped if entry.index > after.index)


class _Archive:
    def __init__(self, logs: Sequence[Sequence[Entry]]) -> None:
        self._logs = logs

    def shipped_log(self, _: str, group: int) -> _Log:
        return _Log(list(self._logs[group]))


def replayed(
    bank: GroupLogs, image: Sequence[int], ends: Sequence[int], moment: Moment = LATEST
) -> list[LogReplay]:
    """The logs up to `ends`, replayed on an image of the groups at these lengths."""
    twins = [Twin().apply(log[:length]) for log, length in zip(bank.logs, image, strict=True)]
    manifest = FakeSource(*twins).head
    archive = _Archive([log[:end] for log, end in zip(bank.logs, ends, strict=True)])
    backup = BackupMoment(archive, Path(CLUSTER), manifest, moment)  # type: ignore[arg-type]
    replays = {
        group.group: LogReplay(backup, group, twin.machine)
        for group, twin in zip(manifest.groups, twins, strict=True)
    }
    replay(replays, len(replays), _created)
    return list(replays.values())


def _created(group: int) -> LogReplay:
    raise AssertionError(f"nothing creates group {group}")


def halves(machines: Sequence[Machine]) -> set[bytes]:
    """The transfers that took place in some of their groups only."""
    found: dict[bytes, list[int]] = {}
    for machine in machines:
        for key, record in machine.keyspace.records.items():
            if key.startswith(b"t"):
                found.setdefault(key, []).append(int(record.value))
    return {key for key, values in found.items() if len(values) != values[0]}


def total(machines: Sequence[Machine]) -> int:
    """The money of all groups."""
    return sum(int(machine.keyspace.get(b"account") or 0) for machine in machines)
