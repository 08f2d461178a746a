"""Every history of one transaction over two groups, in a small scope, with the state machine of production.

`Scope.explore` visits every state that can be reached. A step that was sent may arrive at any time, any
number of times, or never; so may its reply. The coordinator may die anywhere, and may give up at any time; it
makes one or two attempts. A leader that finds locks asks home; home sends Resolve until it is confirmed. Each
group has its own clock, which may pass the limit of age at any time. Meanwhile a client writes a key that the
transaction only reads, and that is about to expire; another transaction holds a lock at home for a while.

Group states are kept as rows, as a checkpoint has them, so a group starts anew before every step. There are
few of them: what a step does to one is computed once.
"""

from collections.abc import Callable, Iterable, Iterator
from typing import Any, NamedTuple, TypeVar

from kraft.kv import commands as kv
from kraft.kv.commands.transaction import LIFE_MS
from kraft.kv.keyspace import Keyspace
from kraft.kv.ledger import LedgerKind
from kraft.kv.machine import Machine
from kraft.kv.prepared import decode_prepared
from kraft.kv.replies import CommandFailure, decode_replies
from kraft.kv.transaction_reply import StepOutcome, transaction_reply
from tests.kv.group_states import NOW, work

PARTICIPANT, HOME = 1, 2
ATTEMPTS = (1, 2)
STAMPS = (NOW, NOW + LIFE_MS, NOW + LIFE_MS + 1)
READ_EXPIRES = NOW + 10

WRITE, READ = b"w", b"r"  # a key of the participant that the transaction increments, and one that it reads
COUNT = b"c"  # the key of home that it increments

OTHER = kv.TransactionId(b"other", 1, NOW + 5)

Rows = tuple[tuple[Any, ...], ...]
_State = TypeVar("_State")  # a state of one of the searches
Frozen = tuple[int, int, Rows, Rows]  # stamp, revision, records, rows of the ledger


class Violation(AssertionError):
    """What the protocol promises does not hold; the argument has the history."""


class State(NamedTuple):
    """One state of everything: of both groups (by number), what was sent, what was replied, the coordinator.

    What was sent and replied are sets of names, as bits (`Names`).
    """

    there: int
    home: int
    sent: int
    heard: int
    attempt: int
    phase: str


class Names:
    """Sets of names as bits of a number."""

    def __init__(self) -> None:
        self.names: list[str] = []
        self._bits: dict[str, int] = {}

    def bits(self, *names: str) -> int:
        """The set of these names."""
        found = 0
        for name in names:
            if name not in self._bits:
                self._bits[name] = 1 << len(self.names)
                self.names.append(name)
            found |= self._bits[name]
        return found

    def of(self, bits: int) -> list[str]:
        """The names in a set."""
        return [name for place, name in enumerate(self.names) if bits >> place & 1]


class Arrival(NamedTuple):
    """What a step does that arrives at a group in one of its states."""

    group: int
    outcome: Any
    sent: int  # what is sent because of it
    heard: int  # what may be heard of it


class Facts(NamedTuple):
    """What one state of a group shows."""

    executed: int  # the number in WRITE or COUNT
    read: Any
    prepared: dict[int, Any]  # attempt -> the value of READ that it saw
    decided: frozenset[int]
    shown: bool  # a read in the log is not held up


def id_of(attempt: int) -> kv.TransactionId:
    return kv.TransactionId(b"session", attempt, NOW + attempt - 1)


def steps(*, ordered: bool) -> dict[str, tuple[int, Any]]:
    """Each step by name: the group that it goes to, and the command."""
    found: dict[str, tuple[int, Any]] = {
        "client writes": (PARTICIPANT, kv.CompareAndSet(READ, 2, b"x")),
        "other prepares": (HOME, kv.Prepare(OTHER, 0, 9, work(kv.Look((COUNT,))))),
        "other ends": (HOME, kv.Resolve(OTHER, False)),
    }
    there = work(kv.Increment(WRITE, 1), kv.Look((READ,)))
    here = work(kv.Increment(COUNT, 1))
    for n in ATTEMPTS:
        id_ = id_of(n)
        found |= {
            f"prepare {n}": (PARTICIPANT, kv.Prepare(id_, n, HOME, there)),
            f"commit {n}": (HOME, kv.Commit(id_, n, (PARTICIPANT,), here)),
            f"resolve {n} commit": (PARTICIPANT, kv.Resolve(id_, True)),
            f"resolve {n} abort": (PARTICIPANT, kv.Resolve(id_, False)),
            f"forget {n}": (HOME, kv.Forget(id_, PARTICIPANT)),
            f"ask {n}": (HOME, kv.Decide(id_, True)),
            f"decide {n}": (HOME, kv.Decide(id_, False)),
        }
        if ordered:
            found |= {
                f"prepare {n} at home": (HOME, kv.Prepare(id_, n, HOME, here)),
                f"resolve {n} abort at home": (HOME, kv.Resolve(id_, False)),
                f"resolve {n} commit at home": (HOME, kv.Resolve(id_, True)),
            }
    return found


def frozen(machine: Machine) -> Frozen:
    records = sorted(machine.keyspace.records.items())
    rows = sorted(machine.keyspace.ledger.rows.items())
    return (
        machine.stamp,
        machine.revision,
        tuple((key, r.value, r.revision, r.expires) for key, r in records),
        tuple((key, r.value, r.revision, r.expires) for key, r in rows),
    )


def thawed(state: Frozen) -> Machine:
    keyspace = Keyspace()
    keyspace.load(state[2])
    keyspace.ledger.load(state[3])
    return Machine.restored(keyspace, state[0], state[1], 4)


class Scope:
    """All states. `mistake` is one of the coordinator's, to see that it is found."""

    def __init__(
        self, *, attempts: int = 1, others: bool = False, ordered: bool = False, mistake: str = ""
    ) -> None:
        """`ordered`: the home group prepares, too. `others`: another client and another transaction."""
        self.steps = steps(ordered=ordered)
        self.ordered = ordered
        self.attempts = attempts
        self.others = others
        self.mistake = mistake
        self.groups: list[Frozen] = []
        self._numbers: dict[Frozen, int] = {}
        self._arrivals: dict[tuple[int, str], Arrival] = {}
        self._laters: dict[int, int] = {}
        self._facts: dict[int, Facts] = {}
        self._driven: dict[int, int] = {}
        self._checked: dict[tuple[int, int], None] = {}
        self._names = Names()
        self._lists: dict[int, list[str]] = {}

    def explore(self) -> int:
        """Visit every state, and return how many there are. Raises `Violation`."""
        given = ("client writes", "other prepares", "other ends") if self.others else ()
        first = State(*self._begin(), self._bits(*given), 0, 0, "idle")
        return visit(first, self._check, self._successors)

    def _bits(self, *names: str) -> int:
        return self._names.bits(*names)

    # -- the groups ---------------------------------------------------------------------------------------

    def _begin(self) -> tuple[int, int]:
        there, home = Machine(), Machine()
        there.raise_version(NOW, 4)
        home.raise_version(NOW, 4)
        expiring = kv.Set(READ, b"y", expiry=kv.Expiry.ABSOLUTE, expiry_ms=READ_EXPIRES)
        there.apply(NOW, [kv.Put(WRITE, b"0"), expiring])
        home.apply(NOW, [kv.Put(COUNT, b"0")])
        return self._number(there), self._number(home)

    def _number(self, machine: Machine) -> int:
        state = frozen(machine)
        number = self._numbers.get(state)
        if number is None:
            number = self._numbers[state] = len(self.groups)
            self.groups.append(state)
        return number

    def _arrival(self, group: int, step: str) -> Arrival:
        """What comes of a step that arrives."""
        found = self._arrivals.get((group, step))
        if found is None:
            machine = thawed(self.groups[group])
            [reply] = machine.apply(machine.stamp, [self.steps[step][1]])
            outcome = None if step == "client writes" else transaction_reply(reply).outcome
            sent, heard = self._consequences(step, outcome)
            found = self._arrivals[group, step] = Arrival(self._number(machine), outcome, sent, heard)
        return found

    def _consequences(self, step: str, outcome: Any) -> tuple[int, int]:
        words = step.split()
        sent = heard = 0
        if words[0] in ("prepare", "commit", "decide"):
            heard = self._bits(f"{words[1]} {'home ' if words[-1] == 'home' else ''}{outcome.name}")
        if words[0] == "ask" and outcome in (StepOutcome.COMMITTED, StepOutcome.ABORTED):
            resolve = f"resolve {words[1]} {'commit' if outcome == StepOutcome.COMMITTED else 'abort'}"
            sent = self._bits(resolve, *([f"{resolve} at home"] if self.ordered else ()))
        if words[0] == "resolve" and words[2] == "commit" and words[-1] != "home":
            sent = self._bits(f"forget {words[1]}")
        if self.mistake == "home forgets early" and words[0] == "commit":
            sent = self._bits(f"forget {words[1]}")
        return sent, heard

    def _later(self, group: int) -> int:
        """The group after its clock went on, which it does a few times."""
        later = self._laters.get(group)
        if later is None:
            machine = thawed(self.groups[group])
            place = STAMPS.index(machine.stamp) + 1
            if place < len(STAMPS):
                machine.mark(STAMPS[place])
            later = self._laters[group] = self._number(machine)
        return later

    def facts(self, group: int) -> Facts:
        """What a state of a group shows."""
        found = self._facts.get(group)
        if found is None:
            found = self._facts[group] = facts_of(thawed(self.groups[group]))
        return found

    def _drives(self, group: int) -> int:
        """What a leader sends because of the state of its group."""
        sent = self._driven.get(group)
        if sent is None:
            facts = self.facts(group)
            asks = [f"ask {n}" for n in facts.prepared]
            resolves = [f"resolve {n} commit" for n in facts.decided]
            sent = self._driven[group] = self._bits(*asks, *resolves)
        return sent

    # -- what may happen ------------------------------------------------------------------------------------

    def _successors(self, state: State) -> Iterator[tuple[str, State]]:
        names = self._lists.get(state.sent)
        if names is None:
            names = self._lists[state.sent] = self._names.of(state.sent)
        for step in names:
            yield step, self._arrive(state, step)
        yield "time passes in the participant", self._moved(state, self._later(state.there), state.home)
        yield "time passes at home", self._moved(state, state.there, self._later(state.home))
        yield from self._coordinate(state)

    def _moved(self, state: State, there: int, home: int, sent: int = 0, heard: int = 0) -> State:
        sent |= state.sent | self._drives(there) | self._drives(home)
        return State(there, home, sent, heard | state.heard, state.attempt, state.phase)

    def _arrive(self, state: State, step: str) -> State:
        if self.steps[step][0] == PARTICIPANT:
            group, _, sent, heard = self._arrival(state.there, step)
            return self._moved(state, group, state.home, sent, heard)
        group, _, sent, heard = self._arrival(state.home, step)
        if self.facts(group).executed > self.facts(state.home).executed:
            self._check_order_point(state, int(step.split()[1]))
        return self._moved(state, state.there, group, sent, heard)

    def _coordinate(self, state: State) -> Iterator[tuple[str, State]]:
        n, phase = state.attempt, state.phase
        if phase == "idle":
            yield "the coordinator sends Prepare", self._try(state, 1)
        if phase == "preparing":
            ready = self._hears(state, "PREPARED") and (
                not self.ordered or self._hears(state, "home PREPARED")
            )
            if ready or self.mistake == "commits before all have prepared":
                sent = state.sent | self._bits(f"commit {n}")
                yield "the coordinator sends Commit", state._replace(sent=sent, phase="committing")
            yield from self._give_up(state, "gives up before Commit")
        if phase in ("committing", "asking"):
            if self._hears(state, "COMMITTED"):
                sent = state.sent | self._bits(f"resolve {n} commit")
                yield "the coordinator hears COMMITTED", state._replace(sent=sent, phase="done")
            if self._hears(state, "ABORTED"):
                yield from self._give_up(state, "hears ABORTED")
            if self._hears(state, "TOO_OLD"):
                yield "the coordinator hears TOO_OLD", state._replace(phase="unknown")
        if phase == "committing":
            sent = state.sent | self._bits(f"decide {n}")
            yield "the coordinator sends Decide", state._replace(sent=sent, phase="asking")
            if self.mistake == "aborts by itself":
                yield from self._give_up(state, "aborts by itself")

    def _hears(self, state: State, what: str) -> bool:
        return bool(state.heard & self._bits(f"{state.attempt} {what}"))

    def _try(self, state: State, attempt: int) -> State:
        at_home = [f"prepare {attempt} at home"] if self.ordered else []
        sent = state.sent | self._bits(f"prepare {attempt}", *at_home)
        return state._replace(sent=sent, attempt=attempt, phase="preparing")

    def _give_up(self, state: State, why: str) -> Iterator[tuple[str, State]]:
        n = state.attempt
        at_home = [f"resolve {n} abort at home"] if self.ordered else []
        over = state._replace(sent=state.sent | self._bits(f"resolve {n} abort", *at_home), phase="not done")
        yield f"the coordinator {why}", over
        if n < self.attempts:
            yield f"the coordinator {why}, and sends another Prepare", self._try(over, n + 1)

    # -- what must hold -------------------------------------------------------------------------------------

    def _check(self, state: State) -> None:
        home = self.facts(state.home)
        if state.phase == "done":
            assert home.executed == 1, "the client was told that it was done"
        if state.phase == "not done":
            assert home.executed == 0, "the client was told that it was not done"
        if (state.there, state.home) not in self._checked:
            self._check_groups(state.there, state.home)
            self._checked[state.there, state.home] = None

    def _check_groups(self, there: int, home: int) -> None:
        count, shown = self.facts(there).executed, self.facts(there).shown
        assert count <= 1, "the participant executed it twice"
        assert self.facts(home).executed <= 1, "home executed it twice"
        assert count <= self.facts(home).executed, "it shows at the participant and is not committed"
        assert count == self.facts(home).executed or not shown, "a reader sees one half"
        there, home = self._recover(there, home)
        open_ = (self.facts(there).prepared, self.facts(home).prepared, self.facts(home).decided)
        assert not any(open_), "it does not end without its coordinator"
        assert self.facts(there).executed == self.facts(home).executed, "leaders end one half of it"

    def _check_order_point(self, state: State, attempt: int) -> None:
        there = self.facts(state.there)
        assert attempt in there.prepared, "home commits, and the participant holds no locks"
        assert there.prepared[attempt] == there.read, "what the transaction read has changed"

    def _recover(self, there: int, home: int) -> tuple[int, int]:
        """Both groups after their leaders have done what they can, without the coordinator."""
        home = self._arrival(home, "other ends").group
        for _ in range(3):
            for n in {*self.facts(there).prepared, *self.facts(home).prepared}:
                home, outcome, _, _ = self._arrival(home, f"ask {n}")
                to = "commit" if outcome == StepOutcome.COMMITTED else "abort"
                there = self._arrival(there, f"resolve {n} {to}").group
                if self.ordered:
                    home = self._arrival(home, f"resolve {n} {to} at home").group
            for n in self.facts(home).decided:
                there = self._arrival(there, f"resolve {n} commit").group
                home = self._arrival(home, f"forget {n}").group
        return there, home


def facts_of(machine: Machine) -> Facts:
    """What a machine shows."""
    space = machine.keyspace
    key = WRITE if WRITE in space else COUNT
    prepared = {}
    for hold in space.transactions.prepared.values():
        if hold.id != OTHER:
            row = space.ledger.get(LedgerKind.PREPARED, hold.id.name)
            assert row is not None
            replies: Any = decode_replies(decode_prepared(row.value).replies)[0]
            prepared[hold.id.number] = [record[0] for record in replies[1]]
    read = [space.records[READ].value] if READ in space else []
    decided = frozenset(decision.id.number for decision in space.transactions.decisions.values())
    count = int(bytes(space.get(key) or b"0"))
    hidden = space.transactions.locks.hides([key])
    [probe] = machine.apply(machine.stamp, [kv.Exec((), (kv.Look((key,)),))])
    assert hidden == (probe is CommandFailure.LOCKED), "reads and the log disagree"
    return Facts(count, read, prepared, decided, not hidden)


def visit(
    first: _State,
    check: Callable[[_State], None],
    successors: Callable[[_State], Iterable[tuple[str, _State]]],
) -> int:
    """Check every state that is reached from `first`, and return how many there are. Raises `Violation`.

    `successors` gives the states that may follow one, each with what happens.
    """
    came: dict[_State, tuple[_State, str] | None] = {first: None}
    waiting = [first]
    while waiting:
        state = waiting.pop()
        try:
            check(state)
            for what, after in successors(state):
                if after not in came:
                    came[after] = (state, what)
                    waiting.append(after)
        except AssertionError as error:
            raise Violation(f"{error}\n" + _history(came, state)) from error
    return len(came)


def _history(came: dict[_State, tuple[_State, str] | None], state: _State) -> str:
    """What led to a state, one line for each step."""
    lines = []
    while (before := came[state]) is not None:
        state, what = before
        lines.append(f"  {what}")
    return "\n".join(reversed(lines))
