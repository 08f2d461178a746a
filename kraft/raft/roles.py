"""The role of one replica, and how it changes.

While a role deals with an input it may ask for another role by `ReplicaState.role_change`; `Raft` has it
carried out when the method of the role has returned. A role never replaces itself.
"""

from kraft.raft.candidate import Candidate, PreCandidate
from kraft.raft.follower import Follower
from kraft.raft.leader import Leader
from kraft.raft.role import Role
from kraft.raft.role_change import RoleChange
from kraft.raft.state import CANDIDATE, FOLLOWER, LEADER, PRECANDIDATE, ReplicaState


class Roles:
    """`current` is the role of the replica, at first that of a follower."""

    __slots__ = ("_follower", "_state", "current")

    def __init__(self, state: ReplicaState) -> None:
        self._state = state
        self._follower = Follower(state)
        self.current: Role = self._follower

    def hear_leader(self, sender: str) -> None:
        """Give way to a leader of this term: it has won the election in which this node campaigns."""
        if self._state.role in (PRECANDIDATE, CANDIDATE):
            self.follow(self._state.term, sender)

    def follow(self, term: int, leader: str) -> None:
        """Follow `leader`, or nobody yet if it is empty, in `term`.

        A mere change of term leaves a follower's timer running. Else a node that cannot win an election could
        keep the others from trying.
        """
        state = self._state
        if self.current is not self._follower:
            self.current.left()
            self.current = self._follower
            state.restart_timer()
        if term > state.term:
            state.enter(term, "")
        state.take_role(FOLLOWER)
        state.leader = leader
        state.report()

    def change(self) -> None:
        """Carry out the change that the role asks for; a new role may ask at once, as with a single voter."""
        state = self._state
        while (change := state.role_change) is not None:
            state.role_change = None
            if change.role == FOLLOWER:
                self.follow(state.term, "")
            else:
                self.current.left()
                self.current = self._enter(change)
                state.take_role(change.role)
                state.report()
                self.current.start()

    def _enter(self, change: RoleChange) -> Role:
        """Set term, vote, leader and timer for a campaign or leadership, and make its object."""
        state = self._state
        if change.role == LEADER:
            state.leader = state.id
            state.elapsed = 0
            state.vote_clocks = change.vote_clocks
            return Leader(state)
        state.leader = ""
        state.restart_timer()
        if change.role == PRECANDIDATE:
            return PreCandidate(state, self.current.ballot)
        state.enter(state.term + 1, state.id)
        return Candidate(state, transfer=change.transfer)
