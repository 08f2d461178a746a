"""Batches with scripts: the leader evaluates them when it closes a batch, and logs what they did.

A batch is evaluated on the state that its entry will find: everything in the log is applied, and nothing is
logged before the batch is. So a batch with a script waits for the one before it; other batches do not. The
commands of the batch run in order on an overlay, and each script is replaced by its effects. That takes long
where a batch has many scripts, so other work of the node comes in between.
"""

from collections.abc import Sequence
from typing import Any

from kraft.host.ports import ScriptEvaluator
from kraft.host.requests.proposal import Proposal
from kraft.kv.commands import Command, Exec, ScriptCall
from kraft.kv.machine import Machine
from kraft.kv.overlay import Overlay
from kraft.kv.replies import CommandFailure, Reply
from kraft.node.ports import Clock

SLICE_SECONDS = 0.005  # of scripts in one go; a script itself is never interrupted


class Evaluation:
    """The evaluation of the batch of `proposals`, at `stamp`, for an entry of `term`.

    `commands` are what is to be logged, as many as the proposals have together; `replies` are those of the
    scripts by their places.
    """

    def __init__(
        self, machine: Machine, stamp: int, term: int, proposals: list[Proposal], evaluator: ScriptEvaluator
    ) -> None:
        self.stamp = stamp
        self.term = term
        self.proposals = proposals
        self.commands: list[Command] = []
        self.replies: dict[int, Reply] = {}
        self._waiting: list[Command] = [command for each in proposals for command in each.commands]
        self._overlay = Overlay(machine, stamp)
        self._evaluator = evaluator

    def advance(self, clock: Clock) -> bool:
        """Evaluate for a while. Returns whether all is done."""
        until = clock.seconds() + SLICE_SECONDS
        while len(self.commands) < len(self._waiting):
            command = self._waiting[len(self.commands)]
            if type(command) is ScriptCall:
                effects = self._evaluator.evaluate(self._overlay, command)
                self.replies[len(self.commands)] = effects.reply
                self.commands.append(Exec(effects.watched, effects.steps))
                if clock.seconds() >= until:
                    break
            else:
                self._overlay.apply((command,))
                self.commands.append(command)
        return len(self.commands) == len(self._waiting)


def with_evaluated(replies: Sequence[Reply], evaluated: dict[int, Reply]) -> list[Reply]:
    """The `replies` to what was logged, with those of the scripts in their places.

    A script whose effects did not take place, because a key has changed that it read, has done nothing.
    """
    merged: list[Any] = list(replies)
    for place, reply in evaluated.items():
        merged[place] = CommandFailure.SCRIPT_CONFLICT if merged[place] is None else reply
    return merged
