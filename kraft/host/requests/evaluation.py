"""Batches with scripts: the leader evaluates them when it closes a batch, and logs what they did.

A batch is evaluated on the state that its entry will find: everything in the log is applied, and nothing is
logged before the batch is. So a batch with a script waits for the one before it; other batches do not. The
commands of the batch run in order on an overlay, and each script is replaced by its effects, also in a
transaction, and after KRAFT ONCE. That takes long where a batch has many scripts, so other work of the node
comes in between.
"""

from collections.abc import Generator, Iterator, Sequence
from typing import Any

import msgspec

from kraft.host.ports import ScriptEffects, ScriptEvaluator
from kraft.host.requests.leader_clock import NONE
from kraft.host.requests.proposal import Proposal
from kraft.kv.commands import (
    ChangePlacement,
    Command,
    Evaluated,
    Exec,
    Look,
    Once,
    ScriptCall,
    calls_script,
)
from kraft.kv.excerpt import Excerpts
from kraft.kv.footprint import declared, first_key
from kraft.kv.machine import STEPS, Machine
from kraft.kv.once import remember, settled
from kraft.kv.overlay import Overlay
from kraft.kv.replies import CommandFailure, Reply, encode_replies
from kraft.node.ports import Clock

SLICE_SECONDS = 0.005  # of scripts in one go; a script itself is never interrupted
EFFECTS_BYTES = 1 << 20  # of what scripts did, in one batch; further proposals wait for the next one

# In place of what has been done before, or may not be done: the state has the reply. If it did not, nothing
# would happen.
_NOT_AGAIN = Evaluated((), encode_replies((CommandFailure.SCRIPT_CONFLICT,)))


class Evaluation:
    """The evaluation of the batch of `proposals`, at `stamp`, for an entry of `term` in `group`.

    `commands` are what is to be logged, as many as the proposals have together; `replies` are those of the
    scripts by their places, unless they are logged. `left` are proposals that do not fit into the batch, and
    no part of `proposals` any more. `premature` is that of the `LeaderClock`, for what scripts do.
    """

    def __init__(
        self,
        machine: Machine,
        stamp: int,
        term: int,
        proposals: list[Proposal],
        evaluator: ScriptEvaluator,
        *,
        group: int = 0,
        premature: range = NONE,
    ) -> None:
        self.stamp = stamp
        self.term = term
        self.proposals = proposals
        self.left: list[Proposal] = []
        self.commands: list[Command] = []
        self.replies: dict[int, Reply] = {}
        self._overlay = Overlay(machine, stamp, group=group, premature=premature)
        self._evaluator = evaluator
        self._size = 0  # of what the scripts of one proposal did
        self._work = self._evaluate()

    def advance(self, clock: Clock) -> bool:
        """Evaluate for a while. Returns whether all is done."""
        until = clock.seconds() + SLICE_SECONDS
        return all(clock.seconds() < until for _ in self._work)

    def _evaluate(self) -> Iterator[None]:
        """The work in steps: each ends with a script.

        The overlay does not carry out the steps of transactions and moves, so what a script reads after one
        of them may be another thing when the batch is applied. It waits for the next batch.
        """
        total, stepped = 0, False
        for number, proposal in enumerate(self.proposals):
            if total > EFFECTS_BYTES or (stepped and proposal.scripted):
                self.left = self.proposals[number:]
                del self.proposals[number:]
                return
            self._size = 0
            held_up = False  # what a client has sent after a script that waits has to wait, too
            for command in proposal.commands:
                if type(command) in STEPS:
                    stepped = stepped or type(command) is not ChangePlacement  # no script sees that
                    self.commands.append(command)
                elif held_up:
                    self._refuse(CommandFailure.LOCKED)
                elif calls_script(command):
                    refused = CommandFailure.LOCKED if stepped else self._refusal(command)
                    if refused is None:
                        if type(command) is ScriptCall:
                            self._alone(command)
                            yield
                        else:
                            yield from self._called(command)
                    else:
                        self._refuse(refused)
                        held_up = refused is CommandFailure.LOCKED
                else:
                    if not stepped:
                        self._overlay.apply((command,))
                    self.commands.append(command)
            total += self._size

    def _refusal(self, command: Any) -> CommandFailure | None:
        """Why a script or transaction may not have its declared keys; None when it may.

        It would see what is old, and tell it in an error.
        """
        return self._overlay.refusal(declared(command)) if self._overlay.guarded else None

    def _refuse(self, refused: CommandFailure) -> None:
        """Log nothing in place of a command, and reply `refused`, whatever holds when that is applied.

        LOCKED makes it wait, and come again.
        """
        self.replies[len(self.commands)] = refused
        self.commands.append(_NOTHING)

    def _alone(self, script: ScriptCall) -> None:
        """Run a script that is a command by itself."""
        done = self._script(script)
        self.replies[len(self.commands)] = done.reply
        self.commands.append(Evaluated(done.steps, b"", self._overlay.touched))
        self._overlay.keep()

    def _called(self, command: Any) -> Iterator[None]:
        if type(command) is Once:
            logged = yield from self._once(command)
        else:
            logged, _ = yield from self._transaction(command)
        self._overlay.keep()
        self.commands.append(logged)

    def _script(self, script: ScriptCall, *, logged: bool = False) -> ScriptEffects:
        done = self._evaluator.evaluate(self._overlay, script, self._size, logged=logged)
        self._size += done.size
        return done

    def _transaction(self, transaction: Exec) -> Generator[None, None, tuple[Exec | Evaluated, Reply]]:
        """Run commands and scripts in order. Returns what is to be logged, and its reply."""
        overlay = self._overlay
        keyspace = overlay.machine.keyspace
        if not keyspace.unchanged(transaction.watched):
            return Evaluated((), b"", overlay.touched), None  # replies None
        excerpts = Excerpts(keyspace)
        steps: list[Any] = []
        replies: list[Reply] = []
        for step in transaction.steps:
            if type(step) is ScriptCall:
                overlay.hold()
                done = self._script(step, logged=True)
                steps.append(Evaluated(done.steps, done.encoded))
                replies.append(done.reply)
                yield
            else:
                steps.append(step)
                replies.append(excerpts.look(step) if type(step) is Look else overlay.step(step))
        logged = Exec(transaction.watched, tuple(steps), overlay.touched)
        return logged, excerpts.reply(self.stamp, replies)

    def _once(self, command: Once) -> Generator[None, None, Command]:
        """A script or a transaction with a token. Returns what is to be logged.

        It looks at the first key, also where no script does: the token goes with the slot of that key.
        """
        state = self._overlay.machine
        if settled(state.keyspace.ledger, state.stamp, command) is not None:
            return msgspec.structs.replace(command, command=_NOT_AGAIN)
        key = first_key(command.command)
        if key is not None:
            state.keyspace.records.get(key)
            self._overlay.hold()
        inner: Any
        if type(command.command) is Exec:
            inner, reply = yield from self._transaction(command.command)
        else:
            script: Any = command.command
            done = self._script(script, logged=True)
            inner, reply = Evaluated(done.steps, done.encoded, self._overlay.touched), done.reply
            yield
            if not done.final:
                self.replies[len(self.commands)] = reply
                return Evaluated(inner.steps, b"", inner.watched)
        remember(state, command, reply)
        return msgspec.structs.replace(command, command=inner)


_NOTHING = Evaluated((), b"", ())
"""In place of what is refused here."""


def with_evaluated(replies: Sequence[Reply], evaluated: dict[int, Reply]) -> list[Reply]:
    """The `replies` to what was logged, with those of the scripts in their places.

    A script whose effects did not take place, because a key has changed that it read, has done nothing.
    """
    merged: list[Any] = list(replies)
    for place, reply in evaluated.items():
        if type(merged[place]) is not CommandFailure:
            merged[place] = reply
    return merged
