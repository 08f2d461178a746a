"""What the two ends of one link have agreed about quiet groups: see `kraft.host.beats`.

Each end tells the other for which of the groups that it leads nothing is under way, as a change of a numbered
version. A beat carries all changes since the version that the other end is known to have, so a lost beat does
no harm. A link begins with no agreement. Beats name both ends' numbers of the link, so that a late one of an
earlier link means nothing here.
"""

from collections import deque

from kraft.host.requests.leader_clock import READINGS
from kraft.peerwire.messages import Beat

AWAKE = (0, 0)  # in place of the (term, index) at which a group is quiet


class BeatLink:
    """One open link. Ticks are those of the host, `heard_at` is in monotonic seconds.

    * `epoch` is this node's number of the link, `peer_epoch` the other end's, 0 until it is known.
    * `listed` are the groups that the peer leads and that are quiet by what it says, with (term, index).
    * `refused` are groups that this node has told the peer of, and that are not quiet there.
    * `heard_tick` is when the last beat came, and `heard_at` a time that was certainly before that.
    * `answered_tick` is when the peer last answered another beat of this node.
    * `readings` are the last offsets of the peer's wall clock, as in `LeaderClock`.
    """

    def __init__(self, epoch: int) -> None:
        self.epoch = epoch
        self.peer_epoch = 0
        self.listed: dict[int, tuple[int, int]] = {}
        self.refused: frozenset[int] = frozenset()
        self.heard_tick = 0
        self.heard_at = float("-inf")
        self.answered_tick = 0
        self.readings: deque[float] = deque(maxlen=READINGS)
        self._told: dict[int, tuple[tuple[int, int], int]] = {}  # (term, index) and the version of the change
        self._version = 0
        self._acknowledged = 0  # the version that the peer has
        self._peer_version = 0
        self._sequence = 0  # of the last beat that was sent
        self._heard = 0  # of the last one that was taken
        self._answered = 0  # the last one that the peer has taken

    # -- the groups that this node leads

    def tell(self, group: int, place: tuple[int, int]) -> None:
        """`group` is quiet at `place`, or `AWAKE`: the next beats say so."""
        self._version += 1
        self._told[group] = place, self._version

    def agrees(self, group: int, place: tuple[int, int]) -> bool:
        """Whether the peer has `group` quiet at `place`."""
        told, version = self._told.get(group, (AWAKE, 0))
        return told == place and version <= self._acknowledged and group not in self.refused

    def refuses(self, group: int) -> bool:
        """Whether the peer knows what was told of `group`, and does not have it quiet."""
        return self._told[group][1] <= self._acknowledged and group in self.refused

    # -- beats

    def beat(self, wall_ms: int, awake: tuple[int, ...]) -> Beat:
        """The next beat for the peer. `awake` are groups of `listed` that are not quiet here."""
        self._sequence += 1
        told = self._told.items()
        changes = tuple((group, *place) for group, (place, version) in told if version > self._acknowledged)
        return Beat(
            epoch=self.epoch,
            to_epoch=self.peer_epoch,
            sequence=self._sequence,
            answers=self._heard,
            version=self._version,
            knows=self._peer_version,
            wall_ms=wall_ms,
            changes=changes,
            awake=awake,
        )

    def take(self, beat: Beat, tick: int, before: float) -> dict[int, tuple[int, int]] | None:
        """A beat came after tick `tick`, and after the time `before`. None if it is not one of this link.

        Returns the groups whose place has changed, with `AWAKE` for those that are quiet no more.
        """
        changed = {}
        if beat.epoch > self.peer_epoch:  # the other end has begun the link anew, or for the first time
            changed = dict.fromkeys(self.listed, AWAKE)
            self.listed = {}
            self.peer_epoch = beat.epoch
            self._peer_version = self._heard = self._acknowledged = 0
            self.refused = frozenset()
        if (beat.epoch, beat.to_epoch) != (self.peer_epoch, self.epoch) or beat.sequence <= self._heard:
            return changed or None
        self._heard = beat.sequence
        self.heard_tick, self.heard_at = tick, before
        if beat.answers > self._answered:
            self._answered, self.answered_tick = beat.answers, tick
        self._acknowledge(beat)
        changed.update(self._follow(beat))
        return changed

    def _acknowledge(self, beat: Beat) -> None:
        if beat.knows > self._acknowledged:
            self._acknowledged = beat.knows
            gone = [g for g, (place, v) in self._told.items() if place == AWAKE and v <= beat.knows]
            for group in gone:
                del self._told[group]
        self.refused = frozenset(beat.awake)

    def _follow(self, beat: Beat) -> dict[int, tuple[int, int]]:
        self._peer_version = beat.version
        changed = {group: (term, index) for group, term, index in beat.changes}
        for group, place in changed.items():
            if place == AWAKE:
                self.listed.pop(group, None)
            else:
                self.listed[group] = place
        return changed
