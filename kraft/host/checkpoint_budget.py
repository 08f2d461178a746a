"""Which of the groups that a node leads log their markers now: the budget of the node for checkpoints.

Each group knows when a checkpoint of it is due (`Checkpoints.due`). With one group that decides. With
several, all of them could be due in the same moment, and the one thread that writes state files would be busy
with them for long. So a node has at most `UNDER_WAY_MAX` checkpoints of groups that it leads under way: first
those for which an administrator waits, then those of the groups with the most to replay at a start.

A start replays the logs of all groups after their checkpoints. Each group bounds its own part, so that a node
with many groups could have to replay many times that. While all of them together exceed `REPLAY_TIMES` the
bound of one, the groups with the most to replay are due before their time.
"""

from collections.abc import Collection

from kraft.host.group.group import Group

UNDER_WAY_MAX = 2  # one is written, and one waits, so that the thread never runs dry
PATIENCE_SECONDS = 5.0  # a marker that waits longer, for a majority, keeps no other group from its checkpoint
LOOK_SECONDS = 1.0
REPLAY_TIMES = 4  # the bound of one group (`snapshot.checkpoint_bytes`)
EARLY_SHARE = 1 / 16  # of that bound: with less to replay no group takes a checkpoint before its time


class CheckpointBudget:
    """Lets groups log their markers; after `checkpoint_bytes` of entries one is due in any case."""

    def __init__(self, checkpoint_bytes: int) -> None:
        self._checkpoint_bytes = checkpoint_bytes
        self._too_much = False  # to replay, in all groups together
        self._look_at = 0.0  # when that is looked at again
        self._logged_at: dict[int, float] = {}  # when the last marker of a group was logged, by its id

    def tick(self, now: float, groups: Collection[Group], awake: Collection[Group]) -> None:
        """One tick of the host passed; `now` in monotonic seconds.

        Of `groups` those that are not `awake` have no checkpoint due. Every second it is found out whether
        all have too much to replay.
        """
        if len(groups) > 1 and now >= self._look_at:
            self._look_at = now + LOOK_SECONDS
            together = sum([group.checkpoints.replay_bytes for group in groups])
            self._too_much = together > REPLAY_TIMES * self._checkpoint_bytes
        led = [group for group in (groups if self._too_much else awake) if group.raft.state.leads]
        due = [group for group in led if group.checkpoints.due(now)]
        if len(groups) > 1:
            due = self._chosen(now, groups, led, due)
        for group in due:
            group.log_marker()

    def _chosen(
        self, now: float, groups: Collection[Group], led: Collection[Group], due: list[Group]
    ) -> list[Group]:
        """The groups whose turn it is. Those whose checkpoint is being written may hibernate meanwhile."""
        if self._too_much:
            least = EARLY_SHARE * self._checkpoint_bytes
            due += [group for group in led if group not in due and group.checkpoints.replay_bytes >= least]
        waiting = [group for group in due if not (group.checkpoints.busy or group.marker_waits)]
        if not waiting:
            return waiting  # most often
        under_way = sum([self._is_under_way(group, now) for group in groups if group.raft.state.leads])
        waiting.sort(key=lambda group: (not group.checkpoints.awaited, -group.checkpoints.replay_bytes))
        chosen = waiting[: max(0, UNDER_WAY_MAX - under_way)]
        self._logged_at.update((group.id, now) for group in chosen)
        return chosen

    def _is_under_way(self, group: Group, now: float) -> bool:
        if group.checkpoints.busy:
            return True
        return group.marker_waits and now - self._logged_at.get(group.id, now) < PATIENCE_SECONDS
