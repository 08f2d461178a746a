"""Beats: one message per link and heartbeat interval speaks for all groups in which nothing happens.

A leader with many groups would send heartbeats for each of them, and both ends would handle every one. A
group becomes *quiet* when its leader has told every linked follower all it has, and nothing has happened for
an election timeout. Its leader then says so in the beats to these followers, and sends no more heartbeats of
the group, once all of them have agreed. From then on a beat of the leader's node counts for each quiet group
as a heartbeat, and the answer to a beat as the answer to one. docs/design/many-groups.md has the rules.

What is said holds for one link only (`BeatLink`). A follower without a link is left out: when its link opens,
the group is awake for it. Peers that do not speak beats keep the groups that they are in awake.
"""

from collections.abc import Collection, Mapping
from dataclasses import dataclass

from kraft.config import Config
from kraft.host import settings
from kraft.host.beat_link import AWAKE, BeatLink
from kraft.host.group.group import Group
from kraft.host.membership.peers import Peers
from kraft.host.slots import SlotMap
from kraft.host.turns import Turns
from kraft.node.ports import Clock
from kraft.peerwire.hello import WIRE_BEATS
from kraft.peerwire.messages import Beat
from kraft.raft.membership.configuration import Configuration

SILENT_HEARTBEATS = 3  # intervals without a beat, after which no group hibernates: one may be late, or lost


@dataclass(slots=True)
class _Rest:
    """What the leader of a group has told `peers` of it: quiet at `place`, a (term, index).

    `links` numbers the links and conditions of nodes of that moment; `agreed`: all `peers` have it quiet.
    """

    place: tuple[int, int]
    configuration: Configuration
    peers: Collection[str]
    links: int
    agreed: bool = False


class Beats:
    """The beats of one node. A group rests after an election timeout without change.

    `groups` are all groups of the node, `awake` those that are ticked. A node that has group 0 alone sends
    beats too, where the cluster has more groups: those of the others hibernate only while all nodes are
    heard. `sent` and `received` count beats since the start, and `ticks` those of the host.
    """

    def __init__(
        self,
        config: Config,
        groups: Mapping[int, Group],
        peers: Peers,
        slots: SlotMap,
        turns: Turns,
        clock: Clock,
        starts: int,
    ) -> None:
        self.sent = self.received = self.ticks = 0
        self._groups = groups
        self.awake: dict[int, Group] = {}
        self._peers = peers
        self._slots = slots
        self._turns = turns
        self._clock = clock
        self._patience = settings.election_ticks(config)
        self._epoch = starts << 31  # of the last link: never the same again in this data directory
        self._links: dict[str, BeatLink] = {}
        self._changes = 0  # of links, and of conditions of nodes
        self._rests: dict[int, _Rest] = {}  # of the groups led here
        self._still_since: dict[int, tuple[tuple[int, int], int]] = {}  # (term, last index), tick
        self._silence = min(SILENT_HEARTBEATS * settings.TICKS_PER_HEARTBEAT, self._patience // 2)
        self._last_tick_at = self._tick_before_at = clock.seconds()

    # -- links

    def link_up(self, peer: str) -> None:
        """A link to `peer` is open: nothing is agreed on it."""
        self._changes += 1
        self._epoch += 1
        hello = self._peers.hellos[peer]
        if hello.wire_max >= WIRE_BEATS:
            self._links[peer] = BeatLink(self._epoch)

    def link_down(self, peer: str) -> None:
        """The link to `peer` is gone, and all that was agreed on it."""
        self._changes += 1
        link = self._links.pop(peer, None)
        if link is not None:
            self._follow(peer, dict.fromkeys(link.listed, AWAKE))

    def condition_changed(self) -> None:
        """Another node reports a change: its followers have to tell it to their leaders."""
        self._changes += 1

    def received_from(self, peer: str, beat: Beat) -> None:
        """Take a beat of `peer`."""
        self.received += 1
        link = self._links.get(peer)
        changed = None if link is None else link.take(beat, self.ticks, self._tick_before_at)
        if link is None or changed is None:
            return
        if beat.wall_ms:
            link.readings.append(beat.wall_ms - self._clock.seconds() * 1000.0)
        self._follow(peer, changed)

    def _follow(self, peer: str, changed: Mapping[int, tuple[int, int]]) -> None:
        """`peer` says that groups which it leads are quiet now, or no more."""
        for id_, place in changed.items():
            group = self._groups.get(id_)
            if group is None or group.raft.state.leader != peer:
                continue
            if place == AWAKE:
                group.raft.wake()
            elif group.raft.rest(peer, *place):
                self._turns.wake(id_)  # it may have learnt that its last entries are committed

    def spoken_for(self, peer: str) -> dict[int, tuple[int, int]]:
        """The groups led here that `peer` is told are quiet, with (term, index)."""
        return {id_: rest.place for id_, rest in self._rests.items() if peer in rest.peers}

    def rests(self, group: Group) -> bool:
        """Whether beats speak for the group, and nothing has happened that its leader has yet to look at."""
        state = group.raft.state
        if state.leads:
            rest = self._rests.get(group.id)
            return rest is not None and rest.agreed and self._holds(rest, group)
        link = self._links.get(state.leader)
        return link is not None and link.listed.get(group.id) == (state.term, state.commit)

    def forget(self, group: int) -> None:
        """The replica of `group` is about to be destroyed."""
        self._still_since.pop(group, None)
        if group in self._rests:
            self._withdraw(group)

    # -- ticks

    def skip(self, ticks: int) -> None:
        """So many ticks passed in which no beat was due."""
        self.ticks += ticks

    @property
    def spare_ticks(self) -> int:
        """How many ticks may pass before the one in which beats are due; one group alone has none."""
        interval = settings.TICKS_PER_HEARTBEAT
        return interval - 1 - (self.ticks % interval if self.spoken else 0)

    @property
    def spoken(self) -> bool:
        """Whether nodes send beats: a cluster of one group has none, nor has a node without a replica."""
        return self._slots.groups > 1 and bool(self._groups)

    @property
    def lively(self) -> bool:
        """Whether every link has just brought a beat, and an answer to a beat of this node."""
        late = self.ticks - self._silence
        return all(min(link.heard_tick, link.answered_tick) > late for link in self._links.values())

    def silent(self) -> list[str]:
        """The peers that have sent no beat for just an election timeout."""
        late = self.ticks - self._patience
        return [p for p, link in self._links.items() if link.heard_tick and link.heard_tick == late]

    def speak(self) -> None:
        """Before the groups' ticks: let the beats that came speak for the quiet groups."""
        for group in self.awake.values():
            self.speak_for(group)

    def speak_for(self, group: Group) -> None:
        """Let the beats that came speak for this group, if it is quiet."""
        state = group.raft.state
        if not state.quiet:
            return
        if state.leads:
            self._speak_to_leader(group, self._rests[group.id])
        elif (link := self._links.get(state.leader)) is not None:
            group.raft.spoken_for(state.leader, self.ticks - link.heard_tick)
            group.requests.reads.spoken_for(link.heard_at, state.commit)

    def _speak_to_leader(self, group: Group, rest: _Rest) -> None:
        for peer in rest.peers:
            link = self._links.get(peer)
            if link is not None and link.agrees(group.id, rest.place):
                group.raft.spoken_for(peer, self.ticks - link.answered_tick)

    def tick(self, now: float) -> None:
        """After the groups' ticks, at `now` (monotonic seconds): send the beats that are due."""
        self.ticks += 1
        self._tick_before_at, self._last_tick_at = self._last_tick_at, now
        if self.ticks % settings.TICKS_PER_HEARTBEAT or not self.spoken:
            return
        for id_, group in self.awake.items():
            if group.raft.state.leads:
                self._review(group)
            elif id_ in self._rests:
                self._withdraw(id_)
        for peer, link in self._links.items():
            self._turns.post(peer, 0, link.beat(self._clock.wall_ms(), self._refused(peer, link)))
            self.sent += 1

    def _refused(self, peer: str, link: BeatLink) -> tuple[int, ...]:
        """The groups that `peer` calls quiet and that are not quiet here under its lead.

        Those that hibernate are: a beat that names another place wakes its group.
        """
        awake, groups, listed = self.awake, self._groups, link.listed
        seen = [id_ for id_ in listed if id_ in awake or id_ not in groups]
        return tuple(id_ for id_ in seen if not self._is_quiet(id_, peer, listed[id_]))

    def _is_quiet(self, id_: int, peer: str, place: tuple[int, int]) -> bool:
        group = self._groups.get(id_)
        if group is None:
            return False
        state = group.raft.state
        return state.quiet and (state.leader, state.term, state.commit) == (peer, *place)

    def _review(self, group: Group) -> None:
        """Whether a group that is led here may begin to rest, or must not rest any more."""
        rest = self._rests.get(group.id)
        if rest is not None and not self._holds(rest, group):
            self._withdraw(group.id)
            group.raft.wake()
        elif rest is not None:
            if not rest.agreed and all(self._links[p].agrees(group.id, rest.place) for p in rest.peers):
                rest.agreed = group.raft.rest(group.raft.state.id, *rest.place)
                for peer in rest.peers:
                    group.requests.leader_clock.share(peer, self._links[peer].readings)
        elif self._is_still(group):
            self._begin(group)

    def _holds(self, rest: _Rest, group: Group) -> bool:
        """Whether what was told of the group is right still, and refused by nobody."""
        state = group.raft.state
        same = rest.links == self._changes and rest.configuration is state.configuration
        if not same or (state.term, state.log.last_index) != rest.place or state.transferring:
            return False
        quiet = state.quiet or not rest.agreed
        return quiet and not any(self._links[peer].refuses(group.id) for peer in rest.peers)

    def _is_still(self, group: Group) -> bool:
        """Whether nothing was added to the log of the group for a while."""
        state = group.raft.state
        place = state.term, state.log.last_index
        known, since = self._still_since.get(group.id, (AWAKE, 0))
        if known != place:
            self._still_since[group.id] = place, self.ticks
            return False
        return self.ticks - since >= self._patience

    def _begin(self, group: Group) -> None:
        """Tell every linked follower that the group is quiet, if it is."""
        state = group.raft.state
        linked = self._peers.connected
        peers = [m.id for m in state.configuration.everyone if m.id in linked and m.id != state.id]
        if not all(peer in self._links for peer in peers) or not group.raft.is_settled(peers):
            return
        place = state.term, state.log.last_index
        self._rests[group.id] = _Rest(place, state.configuration, peers, self._changes)
        for peer in peers:
            self._links[peer].tell(group.id, place)

    def _withdraw(self, id_: int) -> None:
        """Tell the followers that the group is quiet no more."""
        self._still_since.pop(id_, None)
        for peer in self._rests.pop(id_).peers:
            if peer in self._links:
                self._links[peer].tell(id_, AWAKE)
