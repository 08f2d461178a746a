"""Every history of moves of one slot, in a small scope, with the state machine of production.

`MoveScope.explore` visits every state that can be reached. A step that was sent may arrive at any time, any
number of times, or never; so may its reply. The mover may die anywhere, and may give up a move at any time;
it makes two: to the same receiver, to another one, or back. A leader whose group has a frozen slot asks the
receiver of the move. Meanwhile a client increments a key with KRAFT ONCE, in whatever group it takes for the
owner, and clocks go on; or there is a transaction with another group, in which the slot's group takes part,
or which it decides.

Group states are kept as in `tests.kv.transaction_scope`: a group starts anew from its rows before every step.
"""

import sys
from collections.abc import Iterator
from typing import Any, NamedTuple

from kraft.kv import commands as kv
from kraft.kv.checkpoint import moved_sum, record_hash
from kraft.kv.ledger import LedgerKind
from kraft.kv.machine import Machine
from kraft.kv.move_reply import MoveOutcome, move_reply
from kraft.kv.replies import CommandFailure
from kraft.kv.slots import MoveState, SlotState, slot_of
from kraft.kv.transaction_reply import StepOutcome, transaction_reply
from tests.kv.group_states import NOW, work
from tests.kv.transaction_scope import Frozen, Names, frozen, thawed, visit

GROUPS = (1, 2, 3)
SOURCE, RECEIVER, THIRD = GROUPS  # at first; the third is another receiver, or has a part in the transaction
SHARES = {SOURCE: (0, 16_000), RECEIVER: (16_001, 16_383), THIRD: (0, -1)}
LATER = NOW + 20

COUNT, DUE, WORK = b"{k}c", b"{k}d", b"{k}w"  # incremented once; about to expire; the transaction's
SLOT = slot_of(COUNT)
ELSEWHERE = b"{x}w"  # what the transaction increments in the third group
TOKEN = kv.Once(b"token", b"f" * 16, kv.Increment(COUNT, 1), 10**9)

ROUTES = {  # of both moves: from, to
    "": ((SOURCE, RECEIVER), (SOURCE, RECEIVER)),
    "another": ((SOURCE, RECEIVER), (SOURCE, THIRD)),
    "back": ((SOURCE, RECEIVER), (RECEIVER, SOURCE)),
}


LONG_SCOPES: tuple[tuple[dict[str, Any], int], ...] = (
    ({"moves": 1, "transaction": "participant"}, 8_747),
    ({"moves": 1, "transaction": "home"}, 6_272),
    ({"moves": 1, "transaction": "participant", "attempts": 2}, 46_908),
    ({"moves": 1, "transaction": "home", "attempts": 2}, 33_946),
    ({"route": "another"}, 56_784),
    ({"route": "back"}, 204_697),
)
"""Those that are too long for every run of the tests, and how many states each has."""


class State(NamedTuple):
    """One state of everything: the groups by number, what was sent and heard, the mover, the coordinator.

    `base` is the state of the source of which the mover has sent a copy. `executed` is whether the increment
    has taken effect, and `time` the highest stamp of any group while it owned the slot.
    """

    groups: tuple[int, ...]
    sent: int
    heard: int
    move: int = 0
    phase: str = "idle"
    base: int = -1
    attempt: int = 0
    commit: str = "idle"
    executed: bool = False
    time: int = NOW


class Facts(NamedTuple):
    """What one state of a group shows. A request is `routed` to it by some map."""

    slot: int
    serves: bool
    routed: bool
    counted: int
    worked: int
    due: bool
    stamp: int
    frozen: tuple[int, int] | None  # the number and the receiver of the move
    moves: tuple[tuple[int, int], ...]  # number and state
    hidden: int
    prepared: frozenset[int]
    decided: frozenset[int]


class MoveScope:
    """All states. `mistake` is one of the mover's or a leader's, to see that it is found."""

    def __init__(
        self,
        *,
        route: str = "",
        moves: int = 2,
        once: bool = False,
        clocks: bool = False,
        transaction: str = "",
        attempts: int = 1,
        mistake: str = "",
    ) -> None:
        """`transaction`: the slot is its "participant", or its "home". It is tried in the source, and then in
        the receiver.
        """
        self.attempts = attempts
        self.routes = ROUTES[route]
        self.moves = moves
        self.once = once
        self.clocks = clocks
        self.transaction = transaction
        self.mistake = mistake
        self.reuses = mistake == "gives a number again"
        self.states: list[Frozen] = []
        self._numbers: dict[Frozen, int] = {}
        self._steps: dict[str, tuple[int, Any]] = {}
        self._arrivals: dict[tuple[int, str], tuple[int, Any, bool, int, int]] = {}
        self._facts: dict[int, Facts] = {}
        self._drives: dict[tuple[int, ...], int] = {}
        self._laters: dict[int, int] = {}
        self._names = Names()
        self._lists: dict[int, list[str]] = {}
        self._checked: set[tuple[int, ...]] = set()
        self._heard_of_others = self._names.bits(*_of_coordinator())

    def explore(self) -> int:
        """Visit every state, and return how many there are. Raises `Violation`."""
        first = State(self._begin(), 0, 0)
        if self.once:
            first = first._replace(
                sent=self._sent(*[(f"once {g}", g, TOKEN) for g in sorted({*sum(self.routes, ())})])
            )
        return visit(first, self._check, self._successors)

    # -- the groups ---------------------------------------------------------------------------------------

    def _begin(self) -> tuple[int, ...]:
        source, receiver, third = Machine(), Machine(), Machine()
        source.apply(NOW, [kv.Put(b"other", b"") for _ in range(8)])  # its revision is ahead
        due = kv.Set(DUE, b"", expiry=kv.Expiry.ABSOLUTE, expiry_ms=NOW + 10)
        source.apply(NOW, [kv.Put(COUNT, b"0"), kv.Put(WORK, b"0"), *([due] if self.clocks else [])])
        receiver.apply(NOW, [kv.Put(b"its own", b"")])
        third.apply(NOW, [kv.Put(ELSEWHERE, b"0")])
        return tuple(map(self._number, (source, receiver, third)))

    def _number(self, machine: Machine) -> int:
        state = frozen(machine)
        number = self._numbers.get(state)
        if number is None:
            number = self._numbers[state] = len(self.states)
            self.states.append(state)
        return number

    def _sent(self, *steps: tuple[str, int, Any]) -> int:
        for name, group, command in steps:
            self._steps[name] = (group, command)
        return self._names.bits(*[name for name, _, _ in steps])

    def _arrival(self, group: int, step: str) -> tuple[int, Any, bool, int, int]:
        """The group after a step, the outcome, whether the increment took effect, what is sent, and heard."""
        found = self._arrivals.get((group, step))
        if found is None:
            machine = thawed(self.states[group])
            before = machine.keyspace.get(COUNT)
            [reply] = machine.apply(machine.stamp, [self._steps[step][1]])
            fresh = step.startswith("once") and machine.keyspace.get(COUNT) != before
            outcome = _outcome(step, reply)
            sent, heard = self._consequences(step, outcome)
            found = self._arrivals[group, step] = (self._number(machine), outcome, fresh, sent, heard)
        return found

    def facts(self, group: int) -> Facts:
        """What a state of a group shows."""
        found = self._facts.get(group)
        if found is None:
            found = self._facts[group] = facts_of(thawed(self.states[group]))
        return found

    # -- what may happen ----------------------------------------------------------------------------------

    def _successors(self, state: State) -> Iterator[tuple[str, State]]:
        names = self._lists.get(state.sent)
        if names is None:
            names = self._lists[state.sent] = self._names.of(state.sent)
        for step in names:
            if not step.startswith("once") or self.facts(state.groups[self._steps[step][0] - 1]).routed:
                yield step, self._arrive(state, step)
        if self.clocks:
            for group in GROUPS[:2]:
                yield f"time passes in group {group}", self._later(state, group)
        yield from self._mover(state)
        yield from self._coordinate(state)

    def _arrive(self, state: State, step: str) -> State:
        group, _ = self._steps[step]
        number, _, fresh, sent, heard = self._arrival(state.groups[group - 1], step)
        assert not (fresh and state.executed), "the increment took effect twice"
        groups, executed = _with(state.groups, group, number), state.executed or fresh
        heard |= state.heard
        if state.phase == "idle":
            heard &= self._heard_of_others
        sent |= state.sent | self._driven(groups)
        return self._seen(state._replace(groups=groups, sent=sent, heard=heard, executed=executed))

    def _later(self, state: State, group: int) -> State:
        at = state.groups[group - 1]
        if at not in self._laters:
            machine = thawed(self.states[at])
            machine.mark(LATER)
            self._laters[at] = self._number(machine)
        return self._seen(state._replace(groups=_with(state.groups, group, self._laters[at])))

    def _seen(self, state: State) -> State:
        owners = [facts.stamp for facts in map(self.facts, state.groups) if facts.slot == SlotState.OWN]
        return state._replace(time=max((state.time, *owners)))

    def _hears(self, state: State, step: str, outcome: Any) -> bool:
        return bool(state.heard & self._names.bits(f"heard {step} {outcome}"))

    def _driven(self, groups: tuple[int, ...]) -> int:
        """What leaders send because of the state of their groups."""
        sent = self._drives.get(groups)
        if sent is None:
            sent = 0
            for group, facts in zip(GROUPS, map(self.facts, groups), strict=True):
                if facts.frozen is not None:
                    thaws = self.mistake == "thaws by itself"
                    number, receiver = facts.frozen
                    sent |= self._unfreezes(number, group) if thaws else self._cancels(number, receiver)
                if self.transaction:
                    sent |= sum([self._asks(n) for n in facts.prepared])
                    sent |= sum([self._resolves(n, True) for n in facts.decided])
            self._drives[groups] = sent
        return sent

    def _consequences(self, step: str, outcome: Any) -> tuple[int, int]:
        """What is sent because of an outcome, and what the mover or the coordinator hears."""
        words = step.split()
        if words[0] == "cancel":
            number, receiver = int(words[1]), int(words[2])
            source = next(here for here, there in self.routes if there == receiver)
            if outcome == MoveOutcome.CANCELLED:
                return self._unfreezes(number, source), 0
            return self._releases(number, source, int(outcome.split()[1])), 0
        if words[0] == "ask" and outcome in (StepOutcome.COMMITTED, StepOutcome.ABORTED):
            return self._resolves(int(words[1]), outcome == StepOutcome.COMMITTED), 0
        if words[0] == "resolve" and words[2] == "True":
            n = int(words[1])
            participant, home, _, _ = self._parts(n)
            return self._sent((f"forget {n}", home, kv.Forget(self._id(n), participant))), 0
        if words[0] in ("open", "import", "freeze", "activate", "release", "prepare", "commit"):
            return 0, self._names.bits(f"heard {step} {outcome}")
        return 0, 0

    # -- the mover ----------------------------------------------------------------------------------------

    def _mover(self, state: State) -> Iterator[tuple[str, State]]:
        if state.phase == "idle":
            if state.move < self.moves:
                yield "the mover begins", self._begins(state)
            return
        number, (source, receiver) = self._number_of(state.move), self.routes[state.move - 1]
        key = f"{number} {receiver}"
        at = state.groups[source - 1]
        if state.phase == "opening" and self._hears(state, f"open {key}", MoveOutcome.OPEN):
            rows, tokens = self._rows(at), self._tokens(at)
            step = (f"import {key} of {at}", receiver, kv.Import(number, 0, rows, tokens))
            sent = state.sent | self._sent(step)
            yield "the mover copies", state._replace(sent=sent, phase="copying", base=at)
        if state.phase == "copying" and self._hears(state, f"import {key} of {state.base}", MoveOutcome.OPEN):
            freeze = kv.Freeze(number, SLOT, SLOT, receiver, SHARES[source])
            sent = state.sent | self._sent((f"freeze {key}", source, freeze))
            if self.mistake == "activates before the source is frozen":
                sent |= self._activates(state, number, source, receiver)
            yield "the mover freezes", state._replace(sent=sent, phase="freezing")
        frozen_for = self.facts(at).frozen
        is_frozen = frozen_for == (number, receiver) or (self.reuses and frozen_for is not None)
        if (
            state.phase == "freezing"
            and is_frozen
            and self._hears(state, f"freeze {key}", MoveOutcome.FROZEN)
        ):
            sent = state.sent | self._activates(state, number, source, receiver)
            yield "the mover activates", state._replace(sent=sent, phase="activating")
        keys = self._keys_of_active(state, f"activate {key} ")
        if state.phase in ("freezing", "activating") and keys is not None:
            sent = state.sent | self._releases(number, source, keys)
            yield "the mover releases", state._replace(sent=sent, phase="releasing")
        if state.phase == "releasing" and self._hears(
            state, f"release {number} {source}", MoveOutcome.RELEASED
        ):
            left = tuple(row.key for row in self._rows(at))
            sent = self._sent(
                (f"close {key}", receiver, kv.Close(number)),
                (f"sweep {key} {at}", source, kv.Sweep(number, left)),
            )
            heard = state.heard & self._heard_of_others
            yield (
                "the mover sweeps",
                state._replace(sent=state.sent | sent, heard=heard, phase="idle", base=-1),
            )
        if state.phase != "releasing":
            sent = state.sent | self._cancels(number, receiver)
            heard = state.heard & self._heard_of_others
            yield "the mover gives up", state._replace(sent=sent, heard=heard, phase="idle", base=-1)

    def _number_of(self, move: int) -> int:
        return 1 if self.reuses else move

    def _keys_of_active(self, state: State, step: str) -> int | None:
        """The number of keys, if the reply to a step was that the move is active."""
        names = self._lists.get(state.heard)
        if names is None:
            names = self._lists[state.heard] = self._names.of(state.heard)
        for name in names:
            if name.startswith(f"heard {step}") and " ACTIVE " in name:
                return int(name.rpartition(" ")[2])
        return None

    def _begins(self, state: State) -> State:
        move = state.move + 1
        number, (_, receiver) = self._number_of(move), self.routes[move - 1]
        step = (f"open {number} {receiver}", receiver, kv.Open(number, SLOT, SLOT, SHARES[receiver]))
        sent = state.sent | self._sent(step)
        return state._replace(sent=sent, move=move, phase="opening", base=-1)

    def _rows(self, group: int) -> tuple[kv.Row, ...]:
        return tuple(
            kv.Row(row[0], row[1], row[3], row[2]) for row in self.states[group][2] if _moves(row[0])
        )

    def _tokens(self, group: int) -> tuple[kv.Row, ...]:
        rows = [row for row in self.states[group][3] if row[0][0] == LedgerKind.TOKEN]
        return tuple(kv.Row(row[0][1:], row[1], row[3]) for row in rows)

    def _activates(self, state: State, number: int, source: int, receiver: int) -> int:
        at = state.groups[source - 1]
        before, now = self._rows(state.base), self._rows(at)
        tokens = self._tokens(at)
        if self.mistake == "changes since the copy are not sent":
            now, tokens = before, ()
        there = {row.key for row in now}
        delta = [row for row in now if row not in before]
        delta += [kv.Row(row.key, None) for row in before if row.key not in there]
        total = sum([_hash(row) for row in now])
        stamp, revision = self.states[at][:2]
        command = kv.Activate(
            number, 1, tuple(delta), tokens, revision, stamp, len(now), moved_sum(bytes(16), total, 0)
        )
        return self._sent((f"activate {number} {receiver} of {state.base} {at}", receiver, command))

    def _cancels(self, number: int, receiver: int) -> int:
        command = kv.Cancel(number, SLOT, SLOT, SHARES[receiver])
        return self._sent((f"cancel {number} {receiver}", receiver, command))

    def _unfreezes(self, number: int, source: int) -> int:
        return self._sent((f"unfreeze {number} {source}", source, kv.Unfreeze(number, SLOT, SLOT)))

    def _releases(self, number: int, source: int, keys: int) -> int:
        return self._sent((f"release {number} {source}", source, kv.Release(number, SLOT, SLOT, keys)))

    # -- the transaction ----------------------------------------------------------------------------------

    def _parts(self, n: int) -> tuple[int, int, kv.Exec, kv.Exec]:
        """Of an attempt: the participant, the home group, and what they do. The owner is a guess."""
        owner = self.routes[0][n - 1]
        here, there = work(kv.Increment(WORK, 1)), work(kv.Increment(ELSEWHERE, 1))
        return (
            (owner, THIRD, here, there) if self.transaction == "participant" else (THIRD, owner, there, here)
        )

    def _id(self, n: int) -> kv.TransactionId:
        return kv.TransactionId(b"session", n, NOW)

    def _asks(self, n: int) -> int:
        return self._sent((f"ask {n}", self._parts(n)[1], kv.Decide(self._id(n), True)))

    def _resolves(self, n: int, commit: bool) -> int:
        return self._sent((f"resolve {n} {commit}", self._parts(n)[0], kv.Resolve(self._id(n), commit)))

    def _coordinate(self, state: State) -> Iterator[tuple[str, State]]:
        n = state.attempt
        if state.commit == "idle" and n < self.attempts and self.transaction:
            participant, home, here, _ = self._parts(n + 1)
            if not self.facts(state.groups[self.routes[0][n] - 1]).routed:
                return
            sent = self._sent((f"prepare {n + 1}", participant, kv.Prepare(self._id(n + 1), 0, home, here)))
            yield (
                "the coordinator prepares",
                state._replace(sent=state.sent | sent, attempt=n + 1, commit="preparing"),
            )
        if state.commit == "preparing":
            participant, home, _, there = self._parts(n)
            if self._hears(state, f"prepare {n}", StepOutcome.PREPARED):
                sent = self._sent((f"commit {n}", home, kv.Commit(self._id(n), 0, (participant,), there)))
                yield "the coordinator commits", state._replace(sent=state.sent | sent, commit="committing")
            if any(
                self._hears(state, f"prepare {n}", outcome)
                for outcome in (StepOutcome.NOT_OWNER, StepOutcome.LOCKED)
            ):
                yield from self._gives_up(state)
        if state.commit == "committing":
            if self._hears(state, f"commit {n}", StepOutcome.COMMITTED):
                sent = state.sent | self._resolves(n, True)
                yield "the coordinator resolves", state._replace(sent=sent, commit="done")
            if self._hears(state, f"commit {n}", StepOutcome.ABORTED):
                yield from self._gives_up(state)

    def _gives_up(self, state: State) -> Iterator[tuple[str, State]]:
        sent = state.sent | self._resolves(state.attempt, False)
        yield "the coordinator gives up", state._replace(sent=sent, commit="idle")

    # -- what must hold -----------------------------------------------------------------------------------

    def _check(self, state: State) -> None:
        all_facts = [self.facts(group) for group in state.groups]
        owners = [facts for facts in all_facts if facts.slot == SlotState.OWN]
        assert len(owners) <= 1, "the slot has two owners"
        assert len(owners) + sum(facts.frozen is not None for facts in all_facts) >= 1, "nobody has the slot"
        for facts in all_facts:
            if facts.serves:
                assert facts in owners, "a group serves a slot that it does not own"
                assert facts.counted == state.executed, "the owner does not show what was done"
                assert facts.stamp >= state.time, "log time goes back for the slot"
                assert facts.due <= (state.time < NOW + 10), "a key that has expired is there again"
        if (*state.groups, state.executed) not in self._checked:
            self._checked.add((*state.groups, state.executed))
            self._check_end(state)

    def _check_end(self, state: State) -> None:
        """Leaders end everything without the mover and the coordinator."""
        groups = state.groups
        for _ in range(4):
            groups = self._end_moves(self._end_transaction(groups))
        all_facts = [self.facts(group) for group in groups]
        owners = [facts for facts in all_facts if facts.slot == SlotState.OWN]
        assert len(owners) == 1, "in the end the slot has no owner"
        assert owners[0].counted == state.executed, "in the end the owner does not show what was done"
        assert not any(facts.moves or facts.prepared or facts.decided for facts in all_facts), (
            "it does not end"
        )
        assert not any(facts.hidden for facts in all_facts), "hidden keys are left"
        if self.transaction:
            other = self.facts(groups[THIRD - 1]).worked
            assert owners[0].worked == other <= 1, "one half of the transaction"

    def _end_moves(self, groups: tuple[int, ...]) -> tuple[int, ...]:
        for group in GROUPS:
            at = self.facts(groups[group - 1])
            if at.frozen is not None:
                number, receiver = at.frozen
                self._cancels(number, receiver)
                groups, outcome = self._end(groups, f"cancel {number} {receiver}")
                active = outcome != MoveOutcome.CANCELLED
                if active:
                    self._releases(number, group, int(outcome.split()[1]))
                else:
                    self._unfreezes(number, group)
                groups, _ = self._end(groups, f"{'release' if active else 'unfreeze'} {number} {group}")
            for number, how in self.facts(groups[group - 1]).moves:
                if how == MoveState.OPEN:
                    self._cancels(number, group)
                    groups, _ = self._end(groups, f"cancel {number} {group}")
                elif how == MoveState.SWEEP:
                    left = tuple(row.key for row in self._rows(groups[group - 1]))
                    name = f"sweep {number} {group} {groups[group - 1]}"
                    self._sent((name, group, kv.Sweep(number, left)))
                    groups, _ = self._end(groups, name)
                elif not any(facts.frozen for facts in map(self.facts, groups)):
                    self._sent((f"close {number} {group}", group, kv.Close(number)))
                    groups, _ = self._end(groups, f"close {number} {group}")
        return groups

    def _end_transaction(self, groups: tuple[int, ...]) -> tuple[int, ...]:
        for n in (1, 2) if self.transaction else ():
            participant, home, _, _ = self._parts(n)
            if n in self.facts(groups[participant - 1]).prepared:
                self._asks(n)
                groups, outcome = self._end(groups, f"ask {n}")
                self._resolves(n, outcome == StepOutcome.COMMITTED)
                groups, _ = self._end(groups, f"resolve {n} {outcome == StepOutcome.COMMITTED}")
            if n in self.facts(groups[home - 1]).decided:
                self._resolves(n, True)
                self._sent((f"forget {n}", home, kv.Forget(self._id(n), participant)))
                groups, _ = self._end(self._end(groups, f"resolve {n} True")[0], f"forget {n}")
        return groups

    def _end(self, groups: tuple[int, ...], step: str) -> tuple[tuple[int, ...], Any]:
        group = self._steps[step][0]
        number, outcome, *_ = self._arrival(groups[group - 1], step)
        return _with(groups, group, number), outcome


def facts_of(machine: Machine) -> Facts:
    """What a machine shows."""
    space = machine.keyspace
    table = space.slots
    part = None if table is None else table.within(SLOT, SLOT)[0]
    owns = SlotState.OWN if COUNT in space else SlotState.GONE  # by the static map
    [probe] = machine.apply(machine.stamp, [kv.Exec((), (kv.Look((COUNT,)),))])
    transactions = space.transactions
    keys = [key for key in space.records if _moves(key)]
    state = owns if part is None else part.state
    routed = part is not None or owns == SlotState.OWN
    for key in keys if state == SlotState.OWN else ():
        assert space.revision(key) <= machine.revision, "a key has a revision that is still to come"
    return Facts(
        state,
        routed and type(probe) is not CommandFailure,
        routed,
        int(space.get(COUNT) or b"0"),
        int(space.get(WORK) or space.get(ELSEWHERE) or b"0"),
        DUE in space,
        machine.stamp,
        (part.move, part.peer) if part is not None and part.state == SlotState.FROZEN else None,
        () if table is None else tuple((move.number, move.state) for move in table.moves.values()),
        len(keys) if state == SlotState.GONE else 0,
        frozenset(hold.id.number for hold in transactions.prepared.values()),
        frozenset(decision.id.number for decision in transactions.decisions.values()),
    )


def _outcome(step: str, reply: Any) -> Any:
    word = step.partition(" ")[0]
    if word == "once":
        return None
    if word in ("prepare", "commit", "resolve", "forget", "ask"):
        return transaction_reply(reply).outcome
    done = move_reply(reply)
    return f"ACTIVE {done.count}" if done.outcome == MoveOutcome.ACTIVE else done.outcome


def _of_coordinator() -> list[str]:
    """What is heard by others than the mover."""
    prepared = (StepOutcome.PREPARED, StepOutcome.NOT_OWNER, StepOutcome.LOCKED)
    names = [f"heard prepare {n} {outcome}" for n in (1, 2) for outcome in prepared]
    decided = (StepOutcome.COMMITTED, StepOutcome.ABORTED)
    return names + [f"heard commit {n} {outcome}" for n in (1, 2) for outcome in decided]


def _moves(key: bytes) -> bool:
    return slot_of(key) == SLOT


def _hash(row: kv.Row) -> int:
    assert row.value is not None
    return int.from_bytes(record_hash(row.key, row.value, row.revision, row.expires), "big")


def _with(groups: tuple[int, ...], group: int, number: int) -> tuple[int, ...]:
    return (*groups[: group - 1], number, *groups[group:])


def main() -> None:
    """Visit the long scopes."""
    for scope, states in LONG_SCOPES:
        found = MoveScope(**scope).explore()
        sys.stdout.write(f"{scope}: {found:,} states\n")
        sys.stdout.flush()
        if found != states:
            raise SystemExit(f"not {states:,}: mend this list, and docs/design/slots.md")


if __name__ == "__main__":
    main()
