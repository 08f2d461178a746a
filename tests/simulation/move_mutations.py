"""Mistakes in moves of slots that a history shows, or the check that each slot has one owner.

Those in `tests/kv/move_mutations.py` are found by the search in a small scope, and by tests of the steps.
"""

from functools import partial

from tests.simulation.mutation import Mutation

_plant = partial(Mutation, run="tests.simulation.run:run_moving")
_ATTEMPT = "kraft/host/moves/attempt.py"

MOVE_MUTATIONS = (
    _plant(
        "the receiver is active before the source is frozen",
        _ATTEMPT,
        "            self._freeze()\n            return",
        "            self._activate(copy, MoveReply(outcome=MoveOutcome.FROZEN), (), ())\n            return",
        "what is written in between is lost, and there are two owners",
    ),
    _plant(
        "a number is given to another move",
        "kraft/kv/slot_map.py",
        "        number = known.last + 1\n        planned = PlannedMove(number, number",
        "        number = len(known.moves) + 1\n        planned = PlannedMove(number, number",
        "steps of the first one that come late are taken for those of the second one",
    ),
    _plant(
        "a move goes on under the number that the receiver has cancelled",
        "kraft/kv/slot_map.py",
        "    number = known.last + 1\n    _save(",
        "    number = command.number\n    _save(",
        "a receiver that has cancelled a number never takes it again",
    ),
    _plant(
        "a flush does not wait for frozen slots",
        "kraft/kv/slots.py",
        "        if SlotState.FROZEN in states or (whole and self.frozen):",
        "        if SlotState.FROZEN in states:",
        "the receiver has a copy of their keys, which would come back",
        test="tests/host/test_slot_waits.py",
    ),
)
