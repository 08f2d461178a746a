"""Whether anything is under way on a node or in a replica, so that the next ticks have something to do."""

from collections.abc import Iterable, Mapping

from kraft.config import Config
from kraft.host import settings
from kraft.host.absent.absent_groups import AbsentGroups
from kraft.host.admin.executor import AdminExecutor
from kraft.host.admin.transfers import LeadershipTransfers
from kraft.host.backup.pinned_images import PinnedImages
from kraft.host.beats import Beats
from kraft.host.context import GroupContext
from kraft.host.group.group import Group
from kraft.host.group.stillness import is_still
from kraft.host.hibernation import Hibernation
from kraft.host.lifecycle import Lifecycle
from kraft.host.moves.moves import Moves
from kraft.node.status import SERVING


class Idleness:
    """Of one node with its `groups`. Groups that hibernate are idle, so only those that are awake count."""

    def __init__(
        self,
        config: Config,
        groups: Mapping[int, Group],
        context: GroupContext,
        lifecycle: Lifecycle,
        beats: Beats,
        hibernation: Hibernation,
        parts: tuple[LeadershipTransfers, AdminExecutor, PinnedImages, Moves, AbsentGroups],
    ) -> None:
        self._groups = groups
        self._context = context
        self._lifecycle = lifecycle
        self._beats = beats
        self._hibernation = hibernation
        self._parts = parts
        self._tick_seconds = settings.tick_seconds(config)
        self._spare_ticks = settings.spare_ticks(config)

    @property
    def is_idle(self) -> bool:
        """Whether nothing is under way, every group has a leader, and every link brings beats."""
        disk, groups, hibernation = self._context.persistence, len(self._groups), self._hibernation
        busy = disk.full or disk.under_way or disk.waiting or any(part.active for part in self._parts)
        return (
            not busy
            and self._lifecycle.phase == SERVING
            and len(hibernation.awake) + len(hibernation.asleep) == groups
            and (self._beats.lively or not self._beats.spoken)
            and all(_is_served(group) and is_still(group) for group in hibernation.awake.values())
        )

    def lasts(self, woken: Iterable[int]) -> bool:
        """Whether an idle node is still idle, though these groups were woken: by heartbeats, for example.

        Of these groups only what begins by itself is looked at: requests, entries, the loss of the leader.
        """
        groups = self._groups
        served = all(_is_served(groups[id_]) for id_ in woken if id_ in groups)
        return served and not any(part.active for part in self._parts)

    @property
    def spare_ticks(self) -> int:
        """How many ticks may pass before the host has to be called: nothing is due before that."""
        spare = [group.raft.spare_ticks for group in self._hibernation.awake.values()]
        return min([self._spare_ticks, self._beats.spare_ticks, *spare])

    def skip(self, ticks: int) -> None:
        """So many ticks passed without a call of the host."""
        self._context.slowness.skip(ticks * self._tick_seconds)
        self._beats.skip(ticks)
        for group in self._hibernation.awake.values():
            group.skip(ticks)


def _is_served(group: Group) -> bool:
    """Whether the group has a leader, all entries are applied, and nobody waits."""
    state = group.raft.state
    applied = state.log.last_index == group.state.index
    return applied and state.hears_leader and not state.transferring and group.requests.is_idle
