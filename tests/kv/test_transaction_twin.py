"""Transactions over several groups against a twin that copies all keys, and remembers everything for ever."""

import copy
from typing import Any, get_args

from hypothesis import given, settings
from hypothesis import strategies as st

from kraft.kv import commands as kv
from kraft.kv.commands.lock import LockCommand
from kraft.kv.commands.transaction import LIFE_MS
from kraft.kv.excerpt import excerpt
from kraft.kv.footprint import Whole, footprint
from kraft.kv.machine import Machine
from kraft.kv.replies import CommandFailure
from kraft.kv.transaction_reply import StepOutcome as Outcome
from kraft.kv.transaction_reply import TransactionReply, transaction_reply
from tests.kv.group_states import check_index, restored
from tests.kv.programs import commands, keys
from tests.kv.twin import Twin, check_state

Answer = tuple[set[Outcome], Any]
"""The outcomes that are right, and the work that was done with its replies, None if there is none."""


class GroupTwin(Twin):
    def __init__(self) -> None:
        super().__init__()
        self.open: dict[Any, Any] = {}  # id -> footprint, keys changed, what they become, answer
        self.over: dict[Any, bool] = {}  # id -> committed
        self.waiting: dict[Any, tuple[set[int], Any]] = {}  # id -> participants, answer
        self.marks: dict[bytes, int] = {}

    def apply(self, stamp: int, commands: Any) -> Any:
        self.now = stamp
        self.expire()
        replies: list[Any] = []
        held_up = False
        for command in commands:
            if isinstance(command, get_args(kv.TransactionCommand)):
                replies.append(getattr(self, type(command).__name__)(command))
                continue
            held_up = held_up or self.conflict(footprint(command), None)
            replies.append(CommandFailure.LOCKED if held_up else self.execute(command))
        return replies

    def locked(self, key: bytes) -> bool:
        return any(bool(f.whole) or key in f.written or key in f.read for f, _, _, _ in self.open.values())

    def conflict(self, wanted: Any, own: Any) -> bool:
        return any(clash(held[0], wanted) for id_, held in self.open.items() if id_ != own)

    def old(self, id_: Any) -> bool:
        return bool(id_.start + LIFE_MS <= self.now or id_.number < self.marks.get(id_.session, 0))

    def advance(self, c: Any) -> None:
        self.marks[c.id.session] = max(self.marks.get(c.id.session, 0), c.mark)

    def fits(self, id_: Any, work: Any) -> Outcome | None:
        if self.conflict(footprint(work), id_):
            return Outcome.LOCKED
        known = {key: row[1] for key, row in self.data.items()}
        if any(known.get(w.key, 0) != w.revision for w in work.watched):
            return Outcome.CHANGED
        return None

    def Exec(self, c: Any) -> Any:
        replies: list[Any] = []
        for step in c.steps:
            if isinstance(step, kv.Look):
                found = [self.data.get(key) for key in step.keys]
                replies.append([len(self.data), [None if f is None else (f[0], f[2]) for f in found]])
            else:
                replies.append(getattr(self, type(step).__name__)(step))
        return replies

    def Prepare(self, c: Any) -> Answer:
        self.advance(c)
        if c.id in self.open:
            return {Outcome.PREPARED}, self.open[c.id][3]
        if c.id in self.over or self.old(c.id):
            late = {Outcome.FINISHED} if c.id in self.over else set()
            return late | ({Outcome.TOO_OLD} if self.old(c.id) else set()), None
        wrong = self.fits(c.id, c.work)
        if wrong is not None:
            return {wrong}, None
        aside = copy.copy(self)
        aside.data, aside.touched = dict(self.data), set()
        replies = aside.Exec(c.work)
        becomes = {key: aside.data.get(key) for key in aside.touched}
        self.open[c.id] = footprint(c.work), aside.touched, becomes, (c.work, replies)
        return {Outcome.PREPARED}, (c.work, replies)

    def known(self, id_: Any) -> set[Outcome]:
        if id_ not in self.over:
            return set()
        return {Outcome.COMMITTED if self.over[id_] else Outcome.ABORTED}

    def Commit(self, c: Any) -> Answer:
        self.advance(c)
        if c.id in self.waiting:
            return {Outcome.COMMITTED}, self.waiting[c.id][1]
        if c.id in self.over or self.old(c.id):
            known = (
                {Outcome.COMMITTED if self.over[c.id] else Outcome.ABORTED} if c.id in self.over else set()
            )
            return known | ({Outcome.TOO_OLD} if self.old(c.id) else set()), None
        if self.open.pop(c.id, None) is not None:
            self.expire()
        if self.fits(c.id, c.work) is not None:
            self.over[c.id] = False
            return {Outcome.ABORTED}, None
        replies = self.execute(c.work)
        self.over[c.id] = True
        if c.participants:
            self.waiting[c.id] = set(c.participants), (c.work, replies)
        return {Outcome.COMMITTED}, (c.work, replies)

    def Resolve(self, c: Any) -> Answer:
        held = self.open.pop(c.id, None)
        if held is not None and c.commit:
            self.touched = held[1]
            for key, row in held[2].items():
                if row is None:
                    self.data.pop(key, None)
                else:
                    self.data[key] = row
            self.stamp_touched()
        if held is not None:
            self.expire()
        self.over.setdefault(c.id, c.commit)
        return {Outcome.RESOLVED}, None

    def Forget(self, c: Any) -> Answer:
        if c.id in self.waiting:
            self.waiting[c.id][0].discard(c.participant)
            if not self.waiting[c.id][0]:
                del self.waiting[c.id]
        return {Outcome.FORGOTTEN}, None

    def Decide(self, c: Any) -> Answer:
        if c.id in self.waiting:
            return {Outcome.COMMITTED}, None
        if c.id in self.over or self.old(c.id):
            known = (
                {Outcome.COMMITTED if self.over[c.id] else Outcome.ABORTED} if c.id in self.over else set()
            )
            late = {Outcome.ABORTED if c.holder else Outcome.TOO_OLD} if self.old(c.id) else set()
            return known | late, None
        self.over[c.id] = False
        return {Outcome.ABORTED}, None


def clash(held: Any, wanted: Any) -> bool:
    """Whether two footprints exclude each other, spelled out."""
    if Whole.WRITE in (held.whole, wanted.whole):
        other = wanted if held.whole == Whole.WRITE else held
        return held.whole == Whole.WRITE or bool(other.whole or other.written or other.read)
    if (held.whole and wanted.written) or (wanted.whole and held.written):
        return True
    one, two = set(held.written), set(wanted.written)
    return bool(one & {*two, *wanted.read} or two & {*one, *held.read})


def same(work: kv.Exec, theirs: Any, reply: TransactionReply) -> bool:
    """Whether the machine's replies to work are the twin's."""
    replies: Any = reply.replies
    _, records, each = replies
    for step, ours, their in zip(work.steps, each, theirs, strict=True):
        if isinstance(step, kv.Look):
            found = excerpt(step, ours, records)
            pairs = [(found.get(key), found.expires(key)) if key in found else None for key in step.keys]
            if their != [len(found), pairs]:
                return False
        elif their != ours:
            return False
    return True


# Revisions in arguments and replies: within a transaction the twin has none.
revisions = (kv.CompareAndSet, kv.Once, *get_args(LockCommand))
simple = commands.filter(lambda command: not isinstance(command, revisions))
steps = st.lists(st.one_of(simple, st.builds(kv.Look, st.lists(keys, max_size=2).map(tuple))), max_size=3)
# What is missing is not watched: the machine may say that it has changed when it has not.
watched = st.lists(st.builds(kv.Watched, keys, st.integers(1, 5), st.just(9)), max_size=1)
works = st.builds(lambda watched, steps: kv.Exec(tuple(watched), tuple(steps)), watched, steps)
numbers = st.integers(1, 4)
ids = st.builds(lambda s, n: kv.TransactionId(s, n, n * 9000), st.sampled_from([b"K1", b"K2"]), numbers)


@st.composite
def marked(draw, kind, *fields):
    id_ = draw(ids)
    mark = draw(st.sampled_from([0, 0, 1, id_.number]))
    return kind(id_, mark, *[draw(field) for field in fields])


participants = st.sets(st.integers(1, 2)).map(lambda groups: tuple(sorted(groups)))
transactions = st.one_of(
    marked(kv.Prepare, st.just(7), works),
    marked(kv.Prepare, st.just(7), works),
    marked(kv.Commit, participants, works),
    st.builds(kv.Resolve, ids, st.booleans()),
    st.builds(kv.Forget, ids, st.integers(1, 2)),
    st.builds(kv.Decide, ids, st.booleans()),
)
waits = st.sampled_from([0, 0, 1, 5, 20, 9000, LIFE_MS])
programs = st.lists(
    st.tuples(waits, st.lists(st.one_of(commands, transactions, transactions), max_size=4)), max_size=14
)


@settings(max_examples=400, deadline=None)
@given(programs)
def test_machine_and_twin_agree(program):
    """Beside the machine, one that starts again from a checkpoint before each batch."""
    machine, twin, now = Machine(), GroupTwin(), 0
    for wait, batch in program:
        now += wait
        restarted = restored(machine)
        replies = machine.apply(now, batch)
        assert restarted.apply(now, kv.decode(kv.encode(batch))) == replies
        assert restarted.digest() == machine.digest()
        for command, reply, theirs in zip(batch, replies, twin.apply(now, batch), strict=True):
            if isinstance(command, get_args(kv.TransactionCommand)):
                ours = transaction_reply(reply)
                outcomes, answer = theirs
                assert ours.outcome in outcomes, command
                assert answer is None or same(answer[0], answer[1], ours)
            else:
                assert (type(reply), reply) == (type(theirs), theirs)
        check_index(machine)
        check_state(machine, twin)
        assert {hold.id for hold in machine.keyspace.transactions.prepared.values()} == twin.open.keys()
        assert {d.id for d in machine.keyspace.transactions.decisions.values()} == twin.waiting.keys()
