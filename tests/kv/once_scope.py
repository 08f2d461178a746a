"""Every history of two attempts to execute one transaction with a token of KRAFT ONCE, in a small scope.

The attempts are those of two nodes, at the same time or one after the other, and know nothing of each other.
Each step arrives at any time, any number of times, or never, and each coordinator may give up anywhere. The
first attempt may watch a key that a client changes meanwhile: then it records that nothing happens, by a
transaction of its own at home. There each step arrives once or never, and the leaders do nothing, as that is
in the other search. Each coordinator looks for the token before it begins.

The reply that is remembered says which attempt it is of, so every client's reply tells whose effects are to
be there.
"""

from collections.abc import Iterator
from typing import Any, NamedTuple

from kraft.kv import commands as kv
from kraft.kv.once import OnceReply, settled
from kraft.kv.replies import encode_replies
from kraft.kv.transaction_reply import StepOutcome, TransactionReply, transaction_reply
from tests.kv.group_states import NOW, work
from tests.kv.transaction_scope import COUNT, HOME, PARTICIPANT, READ, WRITE, Arrival, Scope, thawed, visit

TOKEN = kv.OnceToken(b"token", bytes(16), COUNT, 3_600_000)
ATTEMPTS = ("first", "second")
NOTHING = "nothing"  # the transaction that records that a watched key has changed
REPLIES = {"first": b"of the first", "second": b"of the second", NOTHING: None}


class State(NamedTuple):
    """One state of both groups (by number), of what was sent and heard, and of both coordinators.

    A phase is what a coordinator does, or ("told", reply) in the end.
    """

    there: int
    home: int
    sent: int
    heard: int
    phases: tuple[Any, Any]


def id_of(name: str) -> kv.TransactionId:
    return kv.TransactionId(name.encode(), 1, NOW)


def steps(*, watches: bool) -> dict[str, tuple[int, Any]]:
    """Each step by name: the group that it goes to, and the command."""
    found: dict[str, tuple[int, Any]] = {"client writes": (PARTICIPANT, kv.Put(READ, b"x"))}
    watched = (kv.Watched(READ, 2, 2),)
    for name in (*ATTEMPTS, *([NOTHING] if watches else ())):
        id_ = id_of(name)
        reply = encode_replies((REPLIES[name],))
        participants = () if name == NOTHING else (PARTICIPANT,)
        here = work(kv.Look((COUNT,)) if name == NOTHING else kv.Increment(COUNT, 1))
        found |= {
            f"prepare {name} at home": (HOME, kv.Prepare(id_, 1, HOME, here)),
            f"commit {name}": (HOME, kv.CommitOnce(id_, 1, participants, TOKEN, reply)),
            f"ask {name}": (HOME, kv.Decide(id_, True)),
            f"resolve {name} abort at home": (HOME, kv.Resolve(id_, False)),
            f"resolve {name} commit at home": (HOME, kv.Resolve(id_, True)),
        }
        if participants:
            there = work(kv.Increment(WRITE, 1), watched=watched if watches and name == "first" else ())
            found |= {
                f"prepare {name}": (PARTICIPANT, kv.Prepare(id_, 1, HOME, there)),
                f"resolve {name} commit": (PARTICIPANT, kv.Resolve(id_, True)),
                f"resolve {name} abort": (PARTICIPANT, kv.Resolve(id_, False)),
                f"forget {name}": (HOME, kv.Forget(id_, PARTICIPANT)),
            }
    return found


class OnceScope(Scope):
    """All states. `mistake` is one of the coordinators', to see that it is found."""

    def __init__(self, *, watches: bool = False, mistake: str = "") -> None:
        super().__init__(ordered=True, mistake=mistake)
        self.steps = steps(watches=watches)
        self.watches = watches
        self._tokens: dict[int, OnceReply | None] = {}

    def explore(self) -> int:
        """Visit every state, and return how many there are. Raises `Violation`."""
        given = self._bits("client writes") if self.watches else 0
        return visit(State(*self._begin(), given, 0, ("idle", "idle")), self._check_all, self._after)

    # -- the groups -----------------------------------------------------------------------------------

    def _arrival(self, group: int, step: str) -> Arrival:
        found = self._arrivals.get((group, step))
        if found is None:
            machine = thawed(self.groups[group])
            [reply] = machine.apply(machine.stamp, [self.steps[step][1]])
            answer = TransactionReply(outcome=StepOutcome.RESOLVED)
            if step != "client writes":
                answer = transaction_reply(reply)
            sent, heard = self._results(step, answer)
            found = self._arrivals[group, step] = Arrival(self._number(machine), answer.outcome, sent, heard)
        return found

    def _results(self, step: str, answer: TransactionReply) -> tuple[int, int]:
        kind, name, *_ = step.split()
        heard = sent = 0
        if kind == "prepare":
            heard = self._bits(f"{name} {'home ' if step.endswith('home') else ''}{answer.outcome.name}")
        if kind == "commit" and answer.reason is StepOutcome.TOKEN:
            heard = self._bits(f"{name} TOKEN {answer.replies!r}")
        elif kind == "commit":
            heard = self._bits(f"{name} {answer.outcome.name}")
        if kind == "ask" and answer.outcome in (StepOutcome.COMMITTED, StepOutcome.ABORTED):
            resolve = f"resolve {name} {'commit' if answer.outcome == StepOutcome.COMMITTED else 'abort'}"
            sent = self._steps(resolve, f"{resolve} at home")
        if kind == "resolve" and step.endswith("commit"):
            sent = self._bits(f"forget {name}")
        return sent, heard

    def _steps(self, *names: str) -> int:
        return self._bits(*[name for name in names if name in self.steps])

    def _drives(self, group: int) -> int:
        """What a leader sends because of the state of its group."""
        sent = 0 if self.watches else self._driven.get(group)
        if sent is None:
            sent = self._driven[group] = self._bits(*self._left(group))
        return sent

    def _left(self, group: int) -> list[str]:
        """The steps with which leaders end what is in the state of a group."""
        transactions = thawed(self.groups[group]).keyspace.transactions
        asks = [f"ask {hold.id.session.decode()}" for hold in transactions.prepared.values()]
        return asks + [
            f"resolve {each.id.session.decode()} commit" for each in transactions.decisions.values()
        ]

    def _known(self, home: int) -> OnceReply | None:
        """What home knows of the token."""
        if home not in self._tokens:
            machine = thawed(self.groups[home])
            self._tokens[home] = settled(machine.keyspace.ledger, machine.stamp, TOKEN)
        return self._tokens[home]

    # -- what may happen ------------------------------------------------------------------------------

    def _after(self, state: State) -> Iterator[tuple[str, State]]:
        for step in self._names.of(state.sent):
            yield step, self._arrives(state, step)
        for place in range(len(ATTEMPTS)):
            yield from self._goes_on(state, place)

    def _arrives(self, state: State, step: str) -> State:
        there, home = state.there, state.home
        at_home = self.steps[step][0] == HOME
        arrival = self._arrival(home if at_home else there, step)
        if at_home:
            home = arrival.group
        else:
            there = arrival.group
        before = state.sent & ~self._bits(step) if self.watches else state.sent
        sent = before | arrival.sent | self._drives(there) | self._drives(home)
        return State(there, home, sent, state.heard | arrival.heard, state.phases)

    def _goes_on(self, state: State, place: int) -> Iterator[tuple[str, State]]:
        """What a coordinator does next."""
        name, phase = ATTEMPTS[place], state.phases[place]
        if phase == "idle":
            known = None if self.mistake == "nobody looks" else self._known(state.home)
            if known is not None:
                yield f"the {name} finds the token", self._phase(state, place, ("told", known.reply))
            else:
                sent = (f"prepare {name}", f"prepare {name} at home")
                yield f"the {name} prepares", self._phase(state, place, "preparing", *sent)
        elif phase == "preparing":
            if self._has_heard(state, f"{name} PREPARED") and self._has_heard(state, f"{name} home PREPARED"):
                yield f"the {name} commits", self._phase(state, place, "committing", f"commit {name}")
            yield f"the {name} gives up", self._aborted(state, place, name, "over")
            if self._has_heard(state, f"{name} CHANGED"):
                yield f"the {name} finds a change", self._found_change(state, place, name)
        elif phase == "recording" and self._has_heard(state, f"{NOTHING} home PREPARED"):
            yield f"the {name} records", self._phase(state, place, "recorded", f"commit {NOTHING}")
        elif phase in ("committing", "recorded"):
            yield from self._hears(state, place, NOTHING if phase == "recorded" else name)

    def _found_change(self, state: State, place: int, name: str) -> State:
        if self.mistake == "a change is not recorded":
            return self._aborted(state, place, name, ("told", None))
        return self._aborted(state, place, name, "recording", f"prepare {NOTHING} at home")

    def _hears(self, state: State, place: int, name: str) -> Iterator[tuple[str, State]]:  # type: ignore[override]
        if self._has_heard(state, f"{name} COMMITTED"):
            told = self._phase(state, place, ("told", REPLIES[name]), *self._resolves(name, "commit"))
            yield f"the {name} hears COMMITTED", told
        if self._has_heard(state, f"{name} ABORTED"):
            yield f"the {name} hears ABORTED", self._aborted(state, place, name, "over")
        for reply in REPLIES.values():
            if self._has_heard(state, f"{name} TOKEN {reply!r}"):
                yield f"the {name} hears of another", self._aborted(state, place, name, ("told", reply))

    def _has_heard(self, state: State, what: str) -> bool:
        return bool(state.heard & self._bits(what))

    def _aborted(self, state: State, place: int, name: str, phase: Any, *sent: str) -> State:
        return self._phase(state, place, phase, *self._resolves(name, "abort"), *sent)

    def _resolves(self, name: str, how: str) -> list[str]:
        found = (f"resolve {name} {how}", *([f"resolve {name} {how} at home"] if how == "abort" else ()))
        return [step for step in found if step in self.steps]

    def _phase(self, state: State, place: int, phase: Any, *sent: str) -> State:
        phases = (phase, state.phases[1]) if place == 0 else (state.phases[0], phase)
        return state._replace(phases=phases, sent=state.sent | self._bits(*sent))

    # -- what must hold -------------------------------------------------------------------------------

    def _check_all(self, state: State) -> None:
        told = {phase[1] for phase in state.phases if phase[0] == "told"}
        assert len(told) < 2, "two clients have two replies"
        executed, known = self.facts(state.home).executed, self._known(state.home)
        assert (known is not None) == (executed == 1) or (known is not None and known.reply is None), (
            "the token and the effects are not one"
        )
        for reply in told:
            assert known is not None, "the client was told what no token remembers"
            assert known.reply == reply, "the token remembers another reply"
            assert executed == (reply is not None), "the client was told that something else was done"
        if (state.there, state.home) not in self._checked:
            self._check_groups(state.there, state.home)
            self._checked[state.there, state.home] = None

    def _recover(self, there: int, home: int) -> tuple[int, int]:
        """Both groups after their leaders have done what they can."""
        for _ in range(2):
            for group in (there, home):
                for step in self._left(group):
                    there, home = self._driven_by(there, home, step)
        return there, home

    def _driven_by(self, there: int, home: int, step: str) -> tuple[int, int]:
        kind, name, *_ = step.split()
        how = "commit"
        if kind == "ask":
            arrival = self._arrival(home, step)
            home, how = arrival.group, "commit" if arrival.outcome == StepOutcome.COMMITTED else "abort"
        if f"resolve {name} {how}" in self.steps:
            there = self._arrival(there, f"resolve {name} {how}").group
        home = self._arrival(home, f"resolve {name} {how} at home").group
        if how == "commit":
            home = self._arrival(home, f"forget {name}").group
        return there, home
