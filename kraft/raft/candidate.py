"""The candidate's side of elections: asking whether a vote could be won (RD 9.6), then for it (RP 5.2).

A vote takes as long as the disks need: that of the candidate, then those of the voters. Where a write takes
longer than an election timeout, a candidate that gives up after its timeout never wins, and nor does the next
one. So the time of its own write does not count, and votes count until the next term begins, also while this
node asks again (`Ballot`). A node that is writing its vote neither campaigns nor grants a prevote: the next
term would end the election that this vote may decide.
"""

from kraft.raft.ballot import Ballot
from kraft.raft.membership.quorum import Outcome
from kraft.raft.messages import PreVote, PreVoteReply, Vote, VoteReply
from kraft.raft.role import Role
from kraft.raft.role_change import RoleChange
from kraft.raft.state import CANDIDATE, FOLLOWER, LEADER, PRECANDIDATE, ReplicaState

# Candidates that have divided the votes meet again, unless their timeouts differ by more than a write takes.
SPREAD = 3  # times the own write
SPREAD_TIMEOUTS = 20  # election timeouts, at most: the stall may be over


class _Campaign(Role):
    """A round of questions to the voters, with a time limit.

    The configuration cannot change meanwhile: only a leader's entries, or its snapshot, bring another.
    """

    __slots__ = ("_ended",)

    kind = ""  # as the observer calls the election

    def __init__(self, state: ReplicaState) -> None:
        super().__init__(state)
        self._ended = False

    def tick(self) -> None:
        state = self._state
        state.elapsed += 1
        if state.elapsed >= state.timeout:
            self._end("timeout")
            state.role_change = RoleChange(PRECANDIDATE if state.electable else FOLLOWER)

    def left(self) -> None:
        self._end("lost")

    def _end(self, outcome: str) -> None:
        if not self._ended:
            self._ended = True
            self._state.observer.election_ended(self._state.group, self.kind, outcome)

    def _lead(self, ballot: Ballot) -> None:
        """The votes of the present term are won."""
        self._state.role_change = RoleChange(LEADER, vote_clocks=ballot.clocks)


class PreCandidate(_Campaign):
    """Changes no term and no vote, so it may happen any time without disturbing anyone.

    One that was the candidate of the present term goes on counting the votes in its `ballot`.
    """

    __slots__ = ("_asked", "ballot")

    kind = "prevote"

    def __init__(self, state: ReplicaState, ballot: Ballot | None) -> None:
        super().__init__(state)
        self.ballot = ballot
        self._asked: dict[str, bool] = {}

    def start(self) -> None:
        """Ask all voters."""
        state = self._state
        ask = PreVote(state.term + 1, state.log.last_index, state.log.last_term)
        for voter in state.electors:
            if voter != state.id:
                state.effects.send_now(voter, ask)
        self._count(state.id, True)

    def prevote_reply(self, sender: str, message: PreVoteReply) -> None:
        """Count a grant for the term asked for; a refusal counts whatever its term."""
        if not message.granted:
            self._count(sender, False)
        elif message.term == self._state.term + 1:
            self._count(sender, True)

    def _count(self, voter: str, granted: bool) -> None:
        """Only the first answer of a voter counts."""
        self._asked.setdefault(voter, granted)
        outcome = self._state.quorum.tally(self._asked)
        if outcome is Outcome.WON:
            self._end("won")
            self._state.role_change = RoleChange(CANDIDATE)
        elif outcome is Outcome.LOST:
            self._state.role_change = RoleChange(FOLLOWER)

    def vote_reply(self, sender: str, message: VoteReply) -> None:
        """A vote of the present term arrives late: perhaps it is won after all."""
        ballot = self.ballot
        if ballot is not None and _cast(self._state, ballot, sender, message) is Outcome.WON:
            self._state.observer.election_ended(self._state.group, Candidate.kind, "won")
            self._lead(ballot)

    def timeout_now(self, sender: str) -> None:  # noqa: ARG002 - a term has one leader
        """There is a leader after all, and it transfers its leadership to this node."""
        self._state.role_change = RoleChange(CANDIDATE, transfer=True)


class Candidate(_Campaign):
    """Has voted for itself in a new term. That vote is a promise too: it counts once it is durable."""

    __slots__ = ("_transfer", "ballot")

    kind = "vote"
    ballot: Ballot

    def __init__(self, state: ReplicaState, *, transfer: bool) -> None:
        super().__init__(state)
        self.ballot = Ballot(state.quorum, state.wall_clock)
        self._transfer = transfer  # the leader itself asked for this election (RD 3.10)

    def start(self) -> None:
        """Ask all voters, as soon as the new term and the own vote are durable."""
        state = self._state
        ask = Vote(state.term, state.log.last_index, state.log.last_term, self._transfer)
        for voter in state.electors:
            if voter != state.id:
                state.effects.send_after_persist(voter, ask)

    def tick(self) -> None:
        """Wait for the disk first: the next term would have to wait for the same disk."""
        state = self._state
        if state.vote_durable:
            super().tick()
        else:
            state.elapsed += 1

    def persisted(self) -> None:
        """Count the own vote once the disk has it. Only now the others are asked."""
        state = self._state
        if state.vote_durable and not self.ballot.has(state.id):
            spread = min(SPREAD * state.elapsed, SPREAD_TIMEOUTS * state.settings.election_ticks)
            state.restart_timer(spread)
            self._settle(self.ballot.cast(state.id, True, state.wall_clock()))

    def vote_reply(self, sender: str, message: VoteReply) -> None:
        """Count the answer, and keep the clock that came with a grant."""
        self._settle(_cast(self._state, self.ballot, sender, message))

    def _settle(self, outcome: Outcome) -> None:
        if outcome is Outcome.WON:
            self._end("won")
            self._lead(self.ballot)
        elif outcome is Outcome.LOST:
            self._state.role_change = RoleChange(FOLLOWER)


def _cast(state: ReplicaState, ballot: Ballot, sender: str, message: VoteReply) -> Outcome:
    return ballot.cast(sender, message.granted, message.wall_ms if sender in state.electors else None)
