"""The heartbeats of one leadership, and the reads that wait for proof of it (RD 6.4).

Every heartbeat carries the number of a *heartbeat round*, made by the leader. A follower echoes it, and a
quorum that has answered a round proves that the leader still led when that round began: then reads that began
with it, or earlier, may be answered. Rounds are compared only within one term: a new leader starts with none.
"""

from collections import deque

from kraft.raft.errors import InvariantViolation
from kraft.raft.messages import Heartbeat
from kraft.raft.progress import Progress
from kraft.raft.ready import ReadState
from kraft.raft.state import ReplicaState
from kraft.raft.tracker import Tracker


class Heartbeats:
    """Sends the heartbeats of one leadership and numbers their rounds.

    Waiting reads are kept in the order of their rounds; the host bounds their number, because all client
    reads of one turn share one `ctx`.

    `commits_wanted`: readers on some follower wait for a commit index that it could not be sent yet.
    `elapsed` are the ticks since periodic heartbeats were due last.
    """

    __slots__ = ("_reads", "_round", "_state", "_tracker", "commits_wanted", "elapsed")

    def __init__(self, state: ReplicaState, tracker: Tracker) -> None:
        self._state = state
        self._tracker = tracker
        self._round = 0
        self._reads: deque[tuple[int, ReadState]] = deque()  # with the rounds that they began
        self.commits_wanted = False
        self.elapsed = 0

    def tick(self) -> bool:
        """One tick passed. Returns whether periodic heartbeats are due."""
        self.elapsed += 1
        due = self.elapsed >= self._state.settings.heartbeat_ticks
        if due:
            self.elapsed = 0
        return due

    @property
    def spare_ticks(self) -> int:
        """How many ticks may pass before the one in which they are due. A quiet group has none."""
        state = self._state
        if state.transferring:
            return 0
        return max(0, state.settings.heartbeat_ticks - 1 - (0 if state.quiet else self.elapsed))

    def send(self, progress: Progress) -> None:
        """Send one heartbeat, with as much of the commit index as the follower is known to hold."""
        state = self._state
        commit = min(progress.match, state.commit)
        progress.commit_sent = max(progress.commit_sent, commit)
        newest = max(state.commit, state.noop_index)  # before it, earlier leaders may have committed more
        state.effects.send_now(progress.peer, Heartbeat(state.term, commit, self._round, newest))

    def send_all(self) -> None:
        """Send every follower a heartbeat."""
        for progress in self._tracker.progress.values():
            self.send(progress)

    def beat(self) -> None:
        """Send the periodic heartbeats, and let go of removed members that know of their removal."""
        self._round = self._tracker.release(self._round)
        self.send_all()

    def read(self, ctx: int, floor: int) -> None:
        """Begin a read of at least index `floor` in a heartbeat round of its own.

        The no-op's index is a floor too: only below it may there be entries that an earlier leader committed
        and that this one does not yet know to be committed.
        """
        state = self._state
        if floor > state.log.last_index:
            raise InvariantViolation("a read cannot wait for an entry that is not there")
        self._round += 1
        index = max(state.commit, state.noop_index, floor)
        self._reads.append((self._round, ReadState(ctx, index)))
        alone = True
        for voter in state.electors:
            if voter != state.id:
                alone = False
                progress = self._tracker.progress[voter]
                self.send(progress)
                if progress.commit_sent < index:
                    progress.commit_wanted = index
                    self.commits_wanted = True
        if alone:  # else no quorum has answered the new round yet
            self.confirm_reads()

    def confirm_reads(self) -> None:
        """Release the reads whose round a quorum has answered, once this term has committed an entry."""
        state, reads = self._state, self._reads
        if not reads or not state.leads_with_commit:
            return
        rounds = {state.id: self._round}
        for peer, progress in self._tracker.progress.items():
            rounds[peer] = progress.round
        confirmed = state.quorum.attained(rounds)
        while reads and reads[0][0] <= confirmed:
            state.effects.reads.append(reads.popleft()[1])

    def fail_reads(self) -> None:
        """Fail the reads that wait: none of them will be proven."""
        self._state.effects.reads_failed += [read.ctx for _, read in self._reads]
        self._reads.clear()

    def send_wanted_commits(self) -> None:
        """Send followers the commit index that readers there wait for, as soon as they hold the entries.

        The heartbeat of a read round can only carry what its receiver was known to hold. Without this, a
        reader on a follower that was a moment late would wait for the next periodic heartbeat.
        """
        commit = self._state.commit
        self.commits_wanted = False
        for progress in self._tracker.progress.values():
            if progress.commit_sent < progress.commit_wanted:
                if progress.commit_wanted <= min(progress.match, commit):
                    self.send(progress)
                else:
                    self.commits_wanted = True
