"""Writes that this node cannot propose itself: sent to the leader once, and never forwarded again.

The sender keeps the proposals until the answer. NOT_PROPOSED lets them try the next leader; a link lost
after sending leaves them uncertain, because the leader may have logged them.
"""

from collections.abc import Callable

from kraft.host.requests.proposals import Proposal
from kraft.kv import commands as kv
from kraft.kv.replies import decode_replies
from kraft.node.errors import Uncertain
from kraft.peerwire.messages import DONE, NOT_PROPOSED, Forward, ForwardReply


class Forwarding:
    """The forwarded, unanswered proposals of one group."""

    def __init__(self, first_request: int, ended: Callable[[str, int], None]) -> None:
        """`ended` is told how many proposals ended as done, not_proposed or uncertain."""
        self._next = first_request
        self._ended = ended
        self._sent: dict[int, tuple[str, list[Proposal]]] = {}

    def pending_at(self, leader: str) -> int:
        """Requests that `leader` has to answer; one that hangs must not hold back writes to its successor."""
        return sum(asked == leader for asked, _ in self._sent.values())

    def request(self, leader: str, proposals: list[Proposal], now: float) -> Forward:
        """The message that carries `proposals` to `leader`."""
        self._next += 1
        self._sent[self._next] = (leader, proposals)
        commands = [c for p in proposals for c in p.commands]
        timeout = max(p.deadline for p in proposals) - now
        return Forward(self._next, max(1, int(timeout * 1000)), kv.encode(commands))

    def unsent(self, request: int) -> list[Proposal]:
        """The link took nothing: these were certainly not forwarded."""
        return self._sent.pop(request)[1]

    def answered(self, peer: str, reply: ForwardReply) -> list[Proposal]:
        """Settle the proposals of a reply; returns those the peer did not propose."""
        leader, proposals = self._sent.get(reply.request, ("", []))
        if leader != peer:
            return []  # given up already
        replies = decode_replies(reply.replies) if reply.outcome == DONE else []
        del self._sent[reply.request]  # not before the answer was readable
        if reply.outcome == NOT_PROPOSED:
            self._ended("not_proposed", len(proposals))
            return proposals
        if reply.outcome == DONE:
            self._ended("done", len(proposals))
            start = 0
            for proposal in proposals:
                end = start + len(proposal.commands)
                proposal.settle(replies[start:end])
                start = end
        else:
            self._uncertain(proposals)
        return []

    def lost(self, peer: str) -> int:
        """The link to `peer` is gone: what it was sent is uncertain; how many those were."""
        gone = [request for request, (leader, _) in self._sent.items() if leader == peer]
        return sum(self._uncertain(self._sent.pop(request)[1]) for request in gone)

    def expire(self, now: float) -> int:
        """Give up proposals past their deadline; how many those were."""
        count = 0
        for request, (leader, proposals) in list(self._sent.items()):
            count += self._uncertain([p for p in proposals if p.deadline <= now])
            if all(p.done is None for p in proposals):
                del self._sent[request]
            else:
                self._sent[request] = (leader, proposals)
        return count

    def abandon(self) -> None:
        """The group stopped."""
        for _, proposals in self._sent.values():
            self._uncertain(proposals)
        self._sent.clear()

    def _uncertain(self, proposals: list[Proposal]) -> int:
        waiting = [p for p in proposals if p.done is not None]
        if waiting:
            self._ended("uncertain", len(waiting))
        for proposal in waiting:
            proposal.settle(Uncertain())
        return len(waiting)
