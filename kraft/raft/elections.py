"""The voter's side of elections, the same in every role."""

from typing import TYPE_CHECKING

from kraft.raft.messages import PreVote, PreVoteReply, Vote, VoteReply

if TYPE_CHECKING:
    from kraft.raft.core import Core


def deaf(core: "Core", *, transfer: bool = False) -> bool:
    """Whether requests for votes are ignored, and with them their terms.

    So it is while a leader is heard (RD 4.2.3), unless that leader itself hands over: a node that merely lost
    a link must not depose it. A node without a configuration has no say yet, and one with a full disk could
    not keep its promise. Whether the own configuration lists this node, or the candidate, does not matter:
    it may be older than the candidate's, who counts only those it knows for voters (RD 4.2.2).
    """
    if core.suspended or not core.log.configuration.voters:
        return True
    return not transfer and (core.hears_leader or bound_by_lease(core))


def bound_by_lease(core: "Core") -> bool:
    """Whether a leader, of whatever term, may still rely on this node electing nobody (RD 6.4.1).

    A node that just started does not know whom it heard before, so it waits as if it had heard one then.
    """
    return core.settings.leases and core.ticks - core.heard < core.settings.election_ticks


def answer_prevote(core: "Core", sender: str, message: PreVote) -> None:
    """Tell whether a vote in the asked term would be granted; promise nothing."""
    if deaf(core):
        return
    granted = message.term > core.term or (message.term == core.term and _free(core, sender))
    granted = granted and core.log.up_to_date(message.last_index, message.last_term)
    core.send(sender, PreVoteReply(message.term if granted else core.term, granted))


def answer_vote(core: "Core", sender: str, message: Vote) -> None:
    """Vote in the present term: once, for a log at least as up to date as this one (RP 5.4.1)."""
    if deaf(core, transfer=message.transfer):
        return
    granted = _free(core, sender) and core.log.up_to_date(message.last_index, message.last_term)
    if granted:
        core.grant(sender)
    core.send_durable(sender, VoteReply(core.term, granted, core.wall_clock()))


def _free(core: "Core", sender: str) -> bool:
    return core.vote == sender or (not core.vote and not core.leader)
