"""Writes that this node cannot propose itself: they are sent to the leader once and never forwarded again.

The sender keeps the proposals until the leader answers. After NOT_PROPOSED they may go to the next leader.
When the link is lost after sending they are uncertain, because the leader may have logged them.
"""

from collections.abc import Callable
from typing import NamedTuple

from kraft.host.pending import overdue, settle_all
from kraft.host.ports import HostObserver
from kraft.host.requests.proposal import Proposal
from kraft.host.requests.proposals import settle_each
from kraft.kv import commands as kv
from kraft.kv.replies import decode_replies
from kraft.node.errors import Uncertain
from kraft.peerwire.messages import DONE, NOT_PROPOSED, Forward, ForwardReply, WaitingForward


class _Forwarded(NamedTuple):
    leader: str
    proposals: list[Proposal]
    waits: bool


class Forwarding:
    """The forwarded proposals of one group that have no answer yet, by request number."""

    def __init__(
        self, first_request: int, observer: HostObserver, not_taken: Callable[[Exception], None]
    ) -> None:
        """`not_taken` gets what is raised by whoever gets a reply."""
        self._next_request = first_request
        self._observer = observer
        self._not_taken = not_taken
        self._forwarded: dict[int, _Forwarded] = {}

    @property
    def pending(self) -> bool:
        """Whether any leader owes an answer."""
        return bool(self._forwarded)

    def awaits(self, request: int) -> bool:
        """Whether there is a request of that number."""
        return request in self._forwarded

    def pending_at(self, leader: str) -> int:
        """The number of requests that `leader` has not answered.

        Requests to an earlier leader are not counted: if it hangs, writes to its successor go on. Neither are
        those that wait there for locks.
        """
        return sum(
            forwarded.leader == leader and not forwarded.waits for forwarded in self._forwarded.values()
        )

    def request(self, leader: str, proposals: list[Proposal], now: float, *, waits: bool = False) -> Forward:
        """Register `proposals` as sent to `leader`, and return the message that carries them.

        With `waits` they may wait for locks there.
        """
        self._next_request += 1
        self._forwarded[self._next_request] = _Forwarded(leader, proposals, waits)
        commands = [c for p in proposals for c in p.commands]
        timeout = max(p.deadline for p in proposals) - now
        kind = WaitingForward if waits else Forward
        return kind(self._next_request, max(1, int(timeout * 1000)), kv.encode(commands))

    def unsent(self, request: int) -> list[Proposal]:
        """Remove and return the proposals of a message that the link did not take.

        There are none if the link went down after the message was posted: then they are settled already.
        """
        forwarded = self._forwarded.pop(request, None)
        return [] if forwarded is None else forwarded.proposals

    def answered(self, peer: str, reply: ForwardReply) -> list[Proposal]:
        """Settle the proposals of a reply; returns those that the peer did not propose.

        A reply to a request that was given up, or was sent to another node, is dropped. Raises
        msgspec.DecodeError, and settles nothing, when the replies cannot be decoded.
        """
        forwarded = self._forwarded.get(reply.request)
        if forwarded is None or forwarded.leader != peer:
            return []
        replies = decode_replies(reply.replies) if reply.outcome == DONE else []
        proposals = self._forwarded.pop(reply.request).proposals  # only after the replies were readable
        if reply.outcome == NOT_PROPOSED:
            self._observer.forwarded("not_proposed", len(proposals))
            return proposals
        if reply.outcome == DONE:
            self._observer.forwarded("done", len(proposals))
            settle_each(proposals, replies, self._not_taken)
        else:
            self._settle_uncertain([p for p in proposals if p.done is not None])
        return []

    def lost(self, peer: str) -> int:
        """The link to `peer` is gone: settle what was sent there as uncertain; returns the number settled."""
        gone = [request for request, forwarded in self._forwarded.items() if forwarded.leader == peer]
        proposals = [p for request in gone for p in self._forwarded.pop(request).proposals]
        return self._settle_uncertain([p for p in proposals if p.done is not None])

    def expire(self, now: float) -> int:
        """Settle proposals past their deadline as uncertain; returns their number."""
        count = 0
        for request, forwarded in list(self._forwarded.items()):
            late, left = overdue(forwarded.proposals, now)
            if not left:
                del self._forwarded[request]
            count += self._settle_uncertain(late)
        return count

    def abandon(self) -> None:
        """Settle everything as uncertain because the group stops."""
        proposals = [p for forwarded in self._forwarded.values() for p in forwarded.proposals]
        self._forwarded.clear()
        self._settle_uncertain([p for p in proposals if p.done is not None])

    def _settle_uncertain(self, proposals: list[Proposal]) -> int:
        if proposals:
            self._observer.forwarded("uncertain", len(proposals))
            settle_all(proposals, Uncertain())
        return len(proposals)
