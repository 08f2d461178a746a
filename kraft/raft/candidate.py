"""Elections: asking whether a vote could be won (RD 9.6), then asking for it (RP 5.2)."""

from typing import TYPE_CHECKING

from kraft.raft.membership.quorum import Outcome
from kraft.raft.messages import Append, Heartbeat, PreVote, PreVoteReply, Vote, VoteReply
from kraft.raft.role import Role

if TYPE_CHECKING:
    from kraft.raft.core import Core


class _Campaign(Role):
    """What both rounds share: a tally, a time limit, and giving way to a leader of the same term.

    The configuration cannot change meanwhile: only a leader's entries, or its snapshot, bring another.
    """

    __slots__ = ("_core", "_ended", "_votes")

    kind = ""

    def __init__(self, core: "Core") -> None:
        self._core = core
        self._votes: dict[str, bool] = {}
        self._ended = False

    def tick(self) -> None:
        core = self._core
        core.elapsed += 1
        if core.elapsed < core.timeout:
            return
        self._end("timeout")
        if core.electable:
            core.become_precandidate()
        else:
            core.become_follower(core.term, "")

    def left(self) -> None:
        self._end("lost")

    def append(self, sender: str, message: Append) -> None:
        self._core.become_follower(self._core.term, sender)
        self._core.role.append(sender, message)

    def heartbeat(self, sender: str, message: Heartbeat) -> None:
        self._core.become_follower(self._core.term, sender)
        self._core.role.heartbeat(sender, message)

    def _end(self, outcome: str) -> None:
        if not self._ended:
            self._ended = True
            self._core.observer.election_ended(self._core.group, self.kind, outcome)

    def _cast(self, voter: str, granted: bool) -> None:
        """Count a vote; the first answer of a voter counts."""
        self._votes.setdefault(voter, granted)
        outcome = self._core.quorum.tally(self._votes)
        if outcome is Outcome.WON:
            self._end("won")
            self._won()
        elif outcome is Outcome.LOST:
            self._core.become_follower(self._core.term, "")

    def _won(self) -> None:
        raise NotImplementedError


class PreCandidate(_Campaign):
    """Changes no term and no vote, so it may happen any time without disturbing anyone."""

    __slots__ = ()

    name = "precandidate"
    kind = "prevote"

    def start(self) -> None:
        """Ask all voters."""
        core = self._core
        ask = PreVote(core.term + 1, core.log.last_index, core.log.last_term)
        for voter in core.electors:
            if voter != core.id:
                core.send(voter, ask)
        self._cast(core.id, True)

    def prevote_reply(self, sender: str, message: PreVoteReply) -> None:
        """Count a grant for the term asked for; a refusal counts whatever its term."""
        if not message.granted:
            self._cast(sender, False)
        elif message.term == self._core.term + 1:
            self._cast(sender, True)

    def timeout_now(self, sender: str) -> None:  # noqa: ARG002 - a term has one leader
        """There is a leader after all, and it wants to hand over."""
        self._core.become_candidate(transfer=True)

    def _won(self) -> None:
        self._core.become_candidate()


class Candidate(_Campaign):
    """Has voted for itself in a new term. That vote is a promise too: it counts once it is durable."""

    __slots__ = ("_clocks", "_transfer")

    name = "candidate"
    kind = "vote"

    def __init__(self, core: "Core", *, transfer: bool) -> None:
        super().__init__(core)
        self._transfer = transfer  # the leader itself asked for this election (RD 3.10)
        self._clocks: dict[str, int] = {}

    def start(self) -> None:
        """Ask all voters, as soon as the new term and the own vote are durable."""
        core = self._core
        ask = Vote(core.term, core.log.last_index, core.log.last_term, self._transfer)
        for voter in core.electors:
            if voter != core.id:
                core.send_durable(voter, ask)

    def persisted(self) -> None:
        """Count the own vote once the disk has it."""
        core = self._core
        promised = core.durable_hard_state
        if promised.term == core.term and promised.vote == core.id and core.id not in self._votes:
            self._clocks[core.id] = core.wall_clock()
            self._cast(core.id, True)

    def vote_reply(self, sender: str, message: VoteReply) -> None:
        """Count the answer, and keep the clock that came with a grant."""
        if message.granted and sender in self._core.electors:
            self._clocks[sender] = message.wall_ms
        self._cast(sender, message.granted)

    def _won(self) -> None:
        self._core.become_leader(self._clocks)
