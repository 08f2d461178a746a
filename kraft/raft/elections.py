"""The voter's side of elections, the same in every role."""

from collections.abc import Sequence

from msgspec.structs import replace

from kraft.raft.messages import PreVote, PreVoteReply, Vote, VoteReply
from kraft.raft.ready import Outgoing
from kraft.raft.role_change import RoleChange
from kraft.raft.state import FOLLOWER, PRECANDIDATE, ReplicaState


def ignores_votes(state: ReplicaState, *, transfer: bool = False) -> bool:
    """Whether to ignore vote requests and the terms they carry.

    They are ignored while a leader is heard (RD 4.2.3), as a node that merely lost a link must not depose it;
    not if that leader itself transfers its leadership (`transfer`). A node without a configuration has no say
    yet, and one with a full disk could not keep its promise. It does not matter whether the configuration of
    this node lists this node, or the candidate: the candidate's may be newer, and the candidate counts only
    the voters in its own (RD 4.2.2).
    """
    if state.suspended or not state.configuration.voters:
        return True
    return not transfer and (state.hears_leader or bound_by_lease(state))


def bound_by_lease(state: ReplicaState) -> bool:
    """Whether a leader, of whatever term, may still rely on this node electing nobody (RD 6.4.1).

    A node that just started does not know when it last heard a leader, so it waits as if it had heard one
    at its start.
    """
    return state.settings.leases and state.ticks - state.heard < state.settings.election_ticks


def answer_prevote(state: ReplicaState, sender: str, message: PreVote) -> None:
    """Reply whether a vote in the asked term would be granted, which promises nothing.

    No reply while the own vote is being written: it may decide an election, which a new term would end.
    """
    if not state.vote_durable or ignores_votes(state):
        return
    free = message.term > state.term or (message.term == state.term and _free(state, sender))
    granted = free and state.log.up_to_date(message.last_index, message.last_term)
    state.effects.send_now(sender, PreVoteReply(message.term if granted else state.term, granted))
    if free and not granted:
        _contest(state)


def _contest(state: ReplicaState) -> None:
    """Campaign in the place of a node with a shorter log, which asks first wherever it ranks first.

    Without that, the group would wait for the random timeout of a node that can win.
    """
    if state.settings.contests and state.following and state.electable and not state.slow:
        state.role_change = RoleChange(PRECANDIDATE)


def answer_vote(state: ReplicaState, sender: str, message: Vote) -> None:
    """Vote in the present term: once, for a log at least as up to date as this one (RP 5.4.1)."""
    if ignores_votes(state, transfer=message.transfer):
        return
    granted = _free(state, sender) and state.log.up_to_date(message.last_index, message.last_term)
    if granted:
        state.vote = sender
        state.elapsed = 0
        if not state.following:
            state.role_change = RoleChange(FOLLOWER)
    state.effects.send_after_persist(sender, VoteReply(state.term, granted, state.wall_clock()))


def with_clock(state: ReplicaState, messages: Sequence[Outgoing]) -> list[Outgoing]:
    """Messages that leave now; votes with the clock of now, as their write may have taken long."""
    now = state.wall_clock()
    return [
        Outgoing(each.to, replace(each.message, wall_ms=now)) if type(each.message) is VoteReply else each
        for each in messages
    ]


def _free(state: ReplicaState, sender: str) -> bool:
    return state.vote == sender or (not state.vote and not state.leader)
