"""The followers of a leader: the other members of the configuration in force, and for a while removed ones.

A removed node that never hears of its removal would campaign for ever, harmlessly (RD 4.2.3). So it is sent
entries until it is known to have heard that its removal is committed, or until its time is over. It counts
nowhere, as quorums are made from the configuration alone.
"""

from dataclasses import dataclass

from kraft.raft.membership.configuration import Configuration
from kraft.raft.progress import Progress
from kraft.raft.state import ReplicaState

PATIENCE_TIMEOUTS = 10  # election timeouts, from the commit on, for a removed node to hear of it


@dataclass(slots=True)
class _Departure:
    """A removal: the `index` of its entry, the heartbeat `round` that carries its commit, the `deadline` in
    ticks.

    The last two are 0 until they are known.
    """

    index: int
    round: int = 0
    deadline: int = 0


class Tracker:
    """`progress` of each follower, by id in sorted order; a new dict whenever the configuration changes."""

    __slots__ = ("_departures", "_incarnations", "_state", "progress")

    def __init__(self, state: ReplicaState) -> None:
        self._state = state
        self._departures: dict[str, _Departure] = {}
        self._incarnations: dict[str, str] = {}
        self.progress: dict[str, Progress] = {}

    def trim_tail(self) -> None:
        """Keep few of the entries in memory that every follower has."""
        state = self._state
        had = min((progress.match for progress in self.progress.values()), default=state.applied)
        state.log.trim(min(had, state.applied), state.settings.short_tail_bytes)

    def follow(self, before: Configuration, first: int) -> None:
        """The configuration `before` was replaced; new members are sent entries from `first` on."""
        state, old = self._state, self.progress
        configuration = state.configuration
        incarnations = {m.id: m.incarnation for m in configuration.everyone if m.id != state.id}
        gone = {m.id for m in before.everyone}.difference(incarnations, (state.id,))
        departures = {p: d for p, d in self._departures.items() if p not in incarnations}
        for peer in gone.difference(departures):
            departures[peer] = _Departure(state.configuration_index)
        # The same id with another incarnation is another member, with nothing in its log.
        same = {p for p, incarnation in incarnations.items() if self._incarnations.get(p) == incarnation}
        same.update(departures)
        state.effects.withdraw(old.keys() & incarnations.keys() - same)
        self.progress = {
            peer: old[peer] if peer in old and peer in same else self._new(peer, first)
            for peer in sorted({*incarnations, *departures})
        }
        self._departures = departures
        self._incarnations = incarnations
        # New electors have not been silent yet: give them time to answer.
        for peer in set(configuration.electors).difference(before.electors, (state.id,)):
            self.progress[peer].contact = state.ticks

    def _new(self, peer: str, first: int) -> Progress:
        settings = self._state.settings
        return Progress(
            peer,
            first,
            self._state.ticks,
            max_messages=settings.inflight_messages,
            max_bytes=settings.inflight_bytes,
        )

    def departing(self, peer: str) -> bool:
        """Whether `peer` is not a member any more."""
        return peer in self._departures

    def release(self, newest_round: int) -> int:
        """Drop the removed members that know of their removal; called before heartbeats leave.

        A member that holds the entry hears of its commit by a heartbeat with a round of its own: the answer
        to that round, or to a later one, shows that it was heard. Returns the newest round then.
        """
        state = self._state
        for peer, departure in list(self._departures.items()):
            if state.commit < departure.index:
                continue
            progress = self.progress[peer]
            if not departure.deadline:
                departure.deadline = state.ticks + PATIENCE_TIMEOUTS * state.settings.election_ticks
            knows = departure.round and progress.round >= departure.round
            if knows or state.ticks >= departure.deadline:
                del self._departures[peer], self.progress[peer]
            elif not departure.round and progress.match >= departure.index:
                newest_round += 1
                departure.round = newest_round
        return newest_round
