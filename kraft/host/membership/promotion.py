"""Which learners are ready for their vote: those that have kept up without interruption for a while."""

from kraft.host.membership.health import ReplicaHealth
from kraft.raft.raft import Raft


class LearnerPromotion:
    """The joining learners of one group. A learner is ready when it has kept up for `steady_seconds`."""

    def __init__(self, raft: Raft, health: ReplicaHealth, steady_seconds: float) -> None:
        self._raft = raft
        self._health = health
        self._steady_seconds = steady_seconds
        self._steady_since: dict[str, float] = {}  # by id

    def tick(self, now: float) -> None:
        """Note since when each learner has kept up; `now` in monotonic seconds."""
        joining = self._raft.state.configuration.joining
        if not joining:
            self._steady_since.clear()
            return
        caught_up = self._health.caught_up
        self._steady_since = {
            learner.id: self._steady_since.get(learner.id, now)
            for learner in joining
            if learner.id in caught_up
        }

    def clear(self) -> None:
        """This node does not lead: forget what was observed."""
        self._steady_since.clear()

    def ready(self, now: float) -> list[str]:
        """The ids of the learners that may get their vote now."""
        return [id_ for id_, since in self._steady_since.items() if now - since >= self._steady_seconds]
