"""Early prevotes after the leader's process has closed its link, and the order of elections of many groups.

No leader holds a lease at that moment, so no node relies on a full election timeout of silence. A peer that
has not noticed the loss yet refuses; a node that stays without a leader therefore asks a few times more.

With one group the followers draw a small random delay, so that usually one of them asks first. With several,
rank decides for each group which survivor asks first (`leader_order`), and a lower rank waits a heartbeat
interval. A node asks for many groups in the same turn: their prevotes leave in one frame per peer, and their
votes are one disk transaction. Rank counts for liveness only: nodes that see others live may ask at the same
time, or none asks, and then the random timeouts of consensus decide. Groups whose leader is silent for an
election timeout, though its link stays, are asked for in the same order. So are several groups after a start,
as otherwise leaders would be elected at random, and most groups handed over soon.
"""

from collections import defaultdict
from collections.abc import Iterable, Sequence
from functools import partial

from kraft.host.admin.leader_spread import leader_order
from kraft.host.group.group import Group
from kraft.host.membership.peers import Peers
from kraft.host.turns import Turns
from kraft.node.ports import Clock
from kraft.raft.ports import Jitter

ATTEMPTS = 4
FIRST_SECONDS = 0.01  # before the first rank asks: by then the other survivors have noticed the loss too
TURN_GROUPS = 128  # that ask in one turn: a frame of some kilobytes, and a few milliseconds of work
RANKED_NODES = 2  # that ask in an election timeout of their own after a start; the others follow, at random
TICK_GROUPS = 64  # in which a node asks in one tick after a start


class FastElection:
    """Delayed campaigns. `window` is the longest random delay in seconds."""

    def __init__(self, clock: Clock, jitter: Jitter, window: float, turns: Turns, peers: Peers) -> None:
        self._clock = clock
        self._jitter = jitter
        self._window = window
        self._window_ms = max(2, round(window * 1000))
        self._turns = turns
        self._peers = peers

    def silent(self, peer: str, groups: Iterable[Group]) -> None:
        """`peer` has said nothing for an election timeout: elect, by rank, in those groups that it led."""
        led = [g for g in groups if g.raft.state.leader == peer and not g.raft.state.hears_leader]
        for group in led:
            group.raft.leader_lost(peer)
        self.begin([group for group in led if not group.raft.state.leader], ranked=True, without=peer)

    def begin(self, groups: Sequence[Group], *, ranked: bool, without: str = "") -> None:
        """Let the replicas of `groups` here campaign soon, unless a leader turns up; by rank if `ranked`.

        The node `without` has no rank, though it has a link.
        """
        if not ranked:
            for group in groups:
                self._arrange([group], self._random_delay())
            return
        by_rank: defaultdict[int, list[Group]] = defaultdict(list)
        for group in sorted(groups, key=lambda group: not group.requests.pending):  # first where clients wait
            by_rank[self._rank(group, without)].append(group)
        for rank, members in sorted(by_rank.items()):
            delay = rank * self._window + self._random_delay() if rank else FIRST_SECONDS
            for start in range(0, len(members), TURN_GROUPS):
                self._arrange(members[start : start + TURN_GROUPS], delay)
                delay += FIRST_SECONDS

    def _rank(self, group: Group, without: str) -> int:
        """How many voters that are able to lead, as far as this node knows, should lead `group` before it."""
        state = group.raft.state
        order = leader_order(group.id, state.electors)
        before = order[: order.index(state.id)] if state.elector else order
        return sum(self._peers.is_able(node) for node in before if node != without)

    def _random_delay(self) -> float:
        return (1 + self._jitter(self._window_ms)) / 1000.0

    def _arrange(self, groups: Sequence[Group], delay: float) -> None:
        terms = [(group, group.raft.state.term) for group in groups]
        self._clock.call_later(delay, partial(self._campaign, terms, ATTEMPTS))

    def _campaign(self, terms: Sequence[tuple[Group, int]], attempts: int) -> None:
        """Ask for those of the (group, term) pairs that still have no leader in that term."""
        states = ((group, term, group.raft.state) for group, term in terms)
        left = [(group, term) for group, term, state in states if not state.leader and state.term == term]
        for group, _ in left:
            group.raft.campaign()
            self._turns.wake(group.id)
        if left and attempts > 1:
            self._clock.call_later(self._random_delay(), partial(self._campaign, left, attempts - 1))


def await_turn(group: Group, election_ticks: int, groups: int) -> None:
    """Let a replica of one of so many `groups` that has just begun, or was started, wait for its turn to ask.

    The preferred leader of several groups asks first, the next one an election timeout later, which has so
    many `election_ticks`.
    """
    state = group.raft.state
    order = leader_order(group.id, state.electors)
    if order == (state.id,):
        group.raft.campaign()  # no other node can lead, so there is no silence to wait for
    elif groups > 1 and state.id in order[:RANKED_NODES]:
        turn = group.id // (len(order) * TICK_GROUPS)
        state.await_turn(election_ticks * (1 + order.index(state.id)) + turn)
    elif groups > 1:
        state.await_turn(election_ticks * RANKED_NODES + state.timeout)
