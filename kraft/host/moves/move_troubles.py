"""What failed of the moves out of one group, and when each is tried again: others go on meanwhile."""

from collections.abc import Collection
from dataclasses import dataclass

from kraft.kv.slot_map import PlannedMove
from kraft.node.ports import Clock

FAILURE_SECONDS, FAILURE_SECONDS_MAX = 1.0, 60.0  # before the next attempt; doubled with each that fails
STEP_SECONDS = 1.0  # before a step is repeated


@dataclass(slots=True)
class _Trouble:
    """The `failures` of one move in a row, why the last attempt failed, and times in monotonic seconds.

    `number` is that of the move when its last step was sent, 0 for none.
    """

    problem: str = ""
    failures: int = 0
    attempt_at: float = 0.0
    number: int = 0
    step_at: float = 0.0


class MoveTroubles:
    """By the id of the move."""

    def __init__(self, clock: Clock) -> None:
        self._clock = clock
        self._troubles: dict[int, _Trouble] = {}

    def problem(self, id_: int) -> str:
        """Why the last attempt of a move failed, '' if none has."""
        return self._of(id_).problem

    def may_step(self, move: PlannedMove) -> bool:
        """Whether anything may be done for a move now."""
        trouble = self._of(move.id)
        return trouble.number != move.number or trouble.step_at <= self._clock.seconds()

    def may_attempt(self, id_: int) -> bool:
        """Whether another attempt may begin now."""
        return self._of(id_).attempt_at <= self._clock.seconds()

    def attempt_failed(self, id_: int, problem: str) -> None:
        """The next attempt waits for longer."""
        trouble = self._troubles.setdefault(id_, _Trouble())
        wait = min(FAILURE_SECONDS * 2**trouble.failures, FAILURE_SECONDS_MAX)
        trouble.problem = problem
        trouble.failures += 1
        trouble.attempt_at = self._clock.seconds() + wait

    def pause(self, move: PlannedMove) -> None:
        """Do not repeat a step of a move at once, unless the move has another number by then.

        Nobody has answered the step, or group 0 has changed the map and its replica here lags.
        """
        trouble = self._troubles.setdefault(move.id, _Trouble())
        trouble.number, trouble.step_at = move.number, self._clock.seconds() + STEP_SECONDS

    def keep(self, ids: Collection[int]) -> None:
        """Forget all moves but these."""
        for id_ in [id_ for id_ in self._troubles if id_ not in ids]:
            del self._troubles[id_]

    def clear(self) -> None:
        """Forget everything: another node leads the group."""
        self._troubles.clear()

    def _of(self, id_: int) -> _Trouble:
        return self._troubles.get(id_, _NONE)


_NONE = _Trouble()
