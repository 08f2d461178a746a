"""What failed of the moves out of one group, and when each is tried again: others go on meanwhile."""

from dataclasses import dataclass

from kraft.node.ports import Clock

FAILURE_SECONDS, FAILURE_SECONDS_MAX = 1.0, 60.0  # before the next attempt; doubled with each that fails
STEP_SECONDS = 1.0  # before the next step, after one that was not answered


@dataclass(slots=True)
class _Trouble:
    """The `failures` of one move in a row, why the last attempt failed, and times in monotonic seconds."""

    problem: str = ""
    failures: int = 0
    attempt_at: float = 0.0
    step_at: float = 0.0


class MoveTroubles:
    """By the id of the move."""

    def __init__(self, clock: Clock) -> None:
        self._clock = clock
        self._troubles: dict[int, _Trouble] = {}

    def problem(self, id_: int) -> str:
        """Why the last attempt of a move failed, '' if none has."""
        return self._of(id_).problem

    def may_step(self, id_: int) -> bool:
        """Whether anything may be done for a move now."""
        return self._of(id_).step_at <= self._clock.seconds()

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

    def step_failed(self, id_: int) -> None:
        """Nobody has answered a step."""
        trouble = self._troubles.setdefault(id_, _Trouble())
        trouble.step_at = self._clock.seconds() + STEP_SECONDS

    def over(self, id_: int) -> None:
        """The move is over."""
        self._troubles.pop(id_, None)

    def clear(self) -> None:
        """Forget everything: another node leads the group."""
        self._troubles.clear()

    def _of(self, id_: int) -> _Trouble:
        return self._troubles.get(id_, _NONE)


_NONE = _Trouble()
