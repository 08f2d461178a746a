"""The candidate's side of elections: asking whether a vote could be won (RD 9.6), then for it (RP 5.2)."""

from kraft.raft.membership.quorum import Outcome
from kraft.raft.messages import PreVote, PreVoteReply, Vote, VoteReply
from kraft.raft.role import Role
from kraft.raft.role_change import RoleChange
from kraft.raft.state import CANDIDATE, FOLLOWER, LEADER, PRECANDIDATE, ReplicaState


class _Campaign(Role):
    """A round of questions to the voters, with a tally and a time limit.

    The configuration cannot change meanwhile: only a leader's entries, or its snapshot, bring another.
    """

    __slots__ = ("_ended", "_votes")

    kind = ""  # as the observer calls the election

    def __init__(self, state: ReplicaState) -> None:
        super().__init__(state)
        self._votes: dict[str, bool] = {}
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

    def _cast(self, voter: str, granted: bool) -> None:
        """Count a vote; only the first answer of a voter counts."""
        self._votes.setdefault(voter, granted)
        outcome = self._state.quorum.tally(self._votes)
        if outcome is Outcome.WON:
            self._end("won")
            self._state.role_change = self._won()
        elif outcome is Outcome.LOST:
            self._state.role_change = RoleChange(FOLLOWER)

    def _won(self) -> RoleChange:
        """The role to take after this round was won."""
        raise NotImplementedError


class PreCandidate(_Campaign):
    """Changes no term and no vote, so it may happen any time without disturbing anyone."""

    __slots__ = ()

    kind = "prevote"

    def start(self) -> None:
        """Ask all voters."""
        state = self._state
        ask = PreVote(state.term + 1, state.log.last_index, state.log.last_term)
        for voter in state.electors:
            if voter != state.id:
                state.effects.send_now(voter, ask)
        self._cast(state.id, True)

    def prevote_reply(self, sender: str, message: PreVoteReply) -> None:
        """Count a grant for the term asked for; a refusal counts whatever its term."""
        if not message.granted:
            self._cast(sender, False)
        elif message.term == self._state.term + 1:
            self._cast(sender, True)

    def timeout_now(self, sender: str) -> None:  # noqa: ARG002 - a term has one leader
        """There is a leader after all, and it transfers its leadership to this node."""
        self._state.role_change = RoleChange(CANDIDATE, transfer=True)

    def _won(self) -> RoleChange:
        return RoleChange(CANDIDATE)


class Candidate(_Campaign):
    """Has voted for itself in a new term. That vote is a promise too: it counts once it is durable."""

    __slots__ = ("_clocks", "_transfer")

    kind = "vote"

    def __init__(self, state: ReplicaState, *, transfer: bool) -> None:
        super().__init__(state)
        self._transfer = transfer  # the leader itself asked for this election (RD 3.10)
        self._clocks: dict[str, int] = {}

    def start(self) -> None:
        """Ask all voters, as soon as the new term and the own vote are durable."""
        state = self._state
        ask = Vote(state.term, state.log.last_index, state.log.last_term, self._transfer)
        for voter in state.electors:
            if voter != state.id:
                state.effects.send_after_persist(voter, ask)

    def persisted(self) -> None:
        """Count the own vote once the disk has it."""
        state = self._state
        promised = state.durable_hard_state
        if promised.term == state.term and promised.vote == state.id and state.id not in self._votes:
            self._clocks[state.id] = state.wall_clock()
            self._cast(state.id, True)

    def vote_reply(self, sender: str, message: VoteReply) -> None:
        """Count the answer, and keep the clock that came with a grant."""
        if message.granted and sender in self._state.electors:
            self._clocks[sender] = message.wall_ms
        self._cast(sender, message.granted)

    def _won(self) -> RoleChange:
        return RoleChange(LEADER, vote_clocks=self._clocks)
