"""Leadership transfers (RD 3.10), each with a caller that waits for its outcome.

Consensus carries the transfer out. It has succeeded when another node is known to lead, and it has failed
when consensus gave it up and this node goes on leading.
"""

from collections.abc import Callable, Iterable

from kraft.host.admin.transfer_obstacle import every_obstacle, transfer_obstacle
from kraft.host.group.group import Group
from kraft.host.membership.peers import Peers
from kraft.host.pending import Pending
from kraft.host.turns import Turns
from kraft.node.errors import AdminRefused
from kraft.node.ports import Clock
from kraft.raft.errors import NotLeading, TransferRefused
from kraft.raft.transfer import best_successor, dispensable

PAUSE_TIMEOUTS = 2  # between two tries of a slow leader, in timeouts of a transfer

GRACE_SECONDS = 0.5  # after an election timeout, in which consensus gives a transfer up by itself

TransferOutcome = str | Exception  # the id of the new leader, or the reason of the failure


class _PendingTransfer(Pending[TransferOutcome], eq=False):
    """A transfer of the leadership of `group` to the node `to`."""

    group: Group
    to: str

    def outcome(self, now: float) -> TransferOutcome | None:
        """The new leader or the failure; None while the transfer goes on."""
        raft = self.group.raft
        if raft.state.leader and raft.state.leader != raft.state.id:
            return raft.state.leader
        if raft.state.leader and not raft.state.transferring:
            return AdminRefused(f"{self.to} did not take over in time; {raft.state.id} is still the leader")
        if self.deadline <= now:
            return AdminRefused("no new leader is known yet")
        return None


class _Countdown:
    """Calls `done` when `count` transfers have ended, in whatever way."""

    def __init__(self, count: int, done: Callable[[], None]) -> None:
        self._count = count
        self._done = done

    def ended(self, _: TransferOutcome) -> None:
        self._count -= 1
        if not self._count:
            self._done()


class LeadershipTransfers:
    """The transfers under way on this node. Each lasts little more than `election_timeout` seconds."""

    def __init__(self, clock: Clock, election_timeout: float, turns: Turns, peers: Peers) -> None:
        self._clock = clock
        self._peers = peers
        self._timeout = election_timeout + GRACE_SECONDS
        self._turns = turns
        self._pending: list[_PendingTransfer] = []
        self._handed_over: dict[int, float] = {}  # group id -> when that was last tried

    @property
    def active(self) -> bool:
        """Whether a caller waits for the outcome of one."""
        return bool(self._pending)

    def begin(self, group: Group, to: str, done: Callable[[TransferOutcome], None]) -> None:
        """Transfer the leadership of `group`, which this node leads, to the node `to`, or to the best voter.

        `done` gets the id of the new leader, or `AdminRefused`. What is known to keep `to` from it is
        reported before anything is tried.
        """
        obstacle = transfer_obstacle(group, self._peers, to) if to else ""
        to = to or best_successor(group.raft.state, group.raft.progress())
        if not to:
            obstacle = self.obstacle(group)
        if obstacle:
            done(AdminRefused(obstacle))
            return
        try:
            group.transfer_leadership(to)
        except TransferRefused as error:
            done(AdminRefused(str(error)))
            return
        except NotLeading:
            done(AdminRefused("another leadership transfer is under way: repeat this when it is done"))
            return
        self._pending.append(_PendingTransfer(self._clock.seconds() + self._timeout, done, group, to))
        self._turns.wake(group.id)

    def obstacle(self, group: Group) -> str:
        """Why no other voter can take over the leadership of `group`."""
        reasons = every_obstacle(group, self._peers)
        return "no other voter can take over" + (f": {reasons}" if reasons else " yet: repeat this")

    def transfer_away(self, group: Group) -> None:
        """Transfer the leadership of `group` to any voter. Call it again until this node leads no more."""
        if all(pending.group is not group for pending in self._pending):
            self.begin(group, "", _ignore)

    def leave(self, groups: Iterable[Group], *, slow: bool) -> None:
        """Transfer leadership away where this node leads and should not.

        A fenced state is wrong, and replies would come from it. A `slow` node holds up the others, if they do
        without it. A node that has left group 0 cannot greet those that came after it, so it could not take
        one of them into the groups in which it is still to be replaced.
        """
        leaves = self._peers.left_first_group
        for group in groups:
            gives_way = slow or (leaves and group.id > 0)
            if group.raft.state.leads and (group.state.fenced or (gives_way and self._may_hand_over(group))):
                self.transfer_away(group)

    def _may_hand_over(self, group: Group) -> bool:
        """Whether other voters can take over `group` from this slow node, and it has not tried just now.

        Without a majority of voters that are not slow themselves, an election would wait for slow disks.
        Nothing can be written during a transfer, so one that fails is not repeated at once.
        """
        raft, now = group.raft, self._clock.seconds()
        if now - self._handed_over.get(group.id, float("-inf")) < PAUSE_TIMEOUTS * self._timeout:
            return False
        if not raft.state.leads_with_commit or not dispensable(raft.state, raft.progress()):
            return False
        self._handed_over[group.id] = now
        return True

    def transfer_all(self, groups: Iterable[Group], done: Callable[[], None]) -> None:
        """Transfer all leaderships away. Calls `done` when none is left here, or no more can be moved."""
        states = ((g, g.raft.state) for g in groups)
        led = [g for g, state in states if state.leads and state.electors != (state.id,)]
        if not led:
            self._clock.call_soon(done)
        countdown = _Countdown(len(led), done)
        for group in led:
            self.begin(group, "", countdown.ended)

    def tick(self) -> None:
        """Answer the callers of the transfers that have ended."""
        if not self._pending:
            return
        now = self._clock.seconds()
        pending, self._pending = self._pending, []
        ended: list[tuple[_PendingTransfer, TransferOutcome]] = []
        for each in pending:
            outcome = each.outcome(now)
            if outcome is None:
                self._pending.append(each)
            else:
                ended.append((each, outcome))
        for each, outcome in ended:
            each.settle(outcome)


def _ignore(_: TransferOutcome) -> None:
    """No caller waits for the outcome."""
