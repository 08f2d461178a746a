"""Segments of several groups. They consist of parts: a segment for each group.

The parts of a run of requests are under way at once, so that a pipeline takes as long as in one group. Within
a group its commands take effect in their order; between groups nothing orders those that are under way.
"""

from collections.abc import Callable, Sequence
from functools import partial
from typing import Any, Final

from msgspec import field

from kraft.host.requests.round import View
from kraft.kv.created_groups import created_count
from kraft.node.errors import Uncertain
from kraft.resp.values import Error, Reply
from kraft.server.commands.all_groups import AllGroups, partly_done
from kraft.server.commands.scan import ALL_SLOTS
from kraft.server.errors import GUARD_ALL, SLOT_MOVED
from kraft.server.flush_rounds import GROWN, FlushRounds
from kraft.server.ports import NodeHost
from kraft.server.segments import ReadSegment, Segment
from kraft.server.session_state import SessionState
from kraft.server.slot_cover import SlotCover

_NO_REPLY: Final[Any] = object()


class GroupsSegment(Segment):
    """A run of reads, of writes, or of calls of scripts in several groups.

    `owners` has the group of each item. `answers` are the replies of the `parts`, both by group, and
    `failure` is a bug in making them.
    """

    owners: list[int] = field(default_factory=list)
    parts: dict[int, Segment] = field(default_factory=dict)
    answers: dict[int, list[Reply]] = field(default_factory=dict)
    failure: Exception | None = None

    def ask(self, host: NodeHost, state: SessionState, done: Callable[[Any], None]) -> None:
        """Ask for all parts at once; `done` gets the answers."""
        for part in self.parts.values():
            part.ask(host, state, partial(self._answered, part, host, done))

    def _answered(self, part: Segment, host: NodeHost, done: Callable[[Any], None], outcome: Any) -> None:
        self.take(part, host, outcome)
        if len(self.answers) == len(self.parts):
            done(self.failure or self.answers)

    def take(self, part: Segment, host: NodeHost, outcome: Any) -> list[Reply]:
        """Keep the replies of a part, which has its outcome now: a view is valid during this call only."""
        replies: list[Reply] = []
        try:
            failed = isinstance(outcome, Exception)
            replies = part.failures(outcome, host) if failed else part.replies(outcome)
            self.moved = self.moved or part.moved
            if part.shapes:
                replies = part.complete(replies)
        except Exception as error:  # a bug costs this client alone, and no other part of the turn
            self.failure = error
        self.answers[part.group] = replies
        return replies

    def replies(self, outcome: dict[int, list[Reply]]) -> list[Reply]:
        """The replies in the order of the items, up to the first one that a part has left for later."""
        left = {group: iter(replies) for group, replies in outcome.items()}
        replies: list[Reply] = []
        for group in self.owners:
            reply: Any = next(left[group], _NO_REPLY)
            if reply is _NO_REPLY:
                break
            replies.append(reply)
        if ReadSegment in map(type, self.parts.values()):
            self._count_values(replies)
        return replies

    def _count_values(self, replies: list[Reply]) -> None:
        """Count what reads found, as `ReadSegment.replies`."""
        for reply in replies:
            found = reply if type(reply) is list else [reply] if type(reply) is bytes or reply is None else []
            missing = found.count(None)
            self.misses += missing
            self.hits += len(found) - missing


def in_groups(segment: Segment, places: Sequence[tuple[int, int]]) -> Segment:
    """The `segment`, in parts if its items are of several groups. `places` has the group and size of each."""
    owners, _ = zip(*places, strict=True)
    segment.group = owners[0]
    if owners.count(owners[0]) == len(owners):
        return segment
    parts: dict[int, Segment] = {}
    for item, (owner, size) in zip(segment.items, places, strict=True):
        part = parts.get(owner)
        if part is None:
            part = parts[owner] = type(segment)(segment.started, group=owner)
        part.items.append(item)
        part.size += size
    return GroupsSegment(
        segment.started, segment.requests, segment.specs, segment.items, segment.settled, segment.shapes,
        segment.group, segment.size, owners=list(owners), parts=parts,
    )  # fmt: skip


def of_one_group(segment: Segment) -> "AllGroupsSegment":
    """The `segment` of a write that concerns all groups, planned while there is one."""
    part = type(segment)(
        segment.started,
        items=segment.items,
        shapes=segment.shapes,
        group=segment.group,
        size=segment.size,
    )
    return AllGroupsSegment(
        segment.started, segment.requests, segment.specs, segment.items, segment.settled,
        group=segment.group, size=segment.size, parts={segment.group: part},
        rule=segment.specs[-1].all_groups,
    )  # fmt: skip


class AllGroupsSegment(GroupsSegment):
    """A command that concerns all groups, a segment by itself: reads at once, writes one after the other.

    A write that is done looks whether groups were created meanwhile, of which the node had not heard.
    """

    rule: AllGroups | None = None
    cover: SlotCover = field(default_factory=SlotCover)
    total: int = 0  # groups that the node knew when it was asked

    def ask(self, host: NodeHost, state: SessionState, done: Callable[[Any], None]) -> None:
        """`done` gets the reply, in a list."""
        self.total = host.slots.groups
        if ReadSegment in map(type, self.parts.values()):
            super().ask(host, state, partial(self._merged, host, done))
        elif self._rule.keys:
            write, flushed = partial(self._write, host, state), partial(self._flushed, done)
            flush = FlushRounds(self.parts, self.total, write, host, state, flushed)
            flush.look(flush.begin)
        else:
            self._write(host, state, partial(self._written, host, state, done))

    def _flushed(self, done: Callable[[Any], None], outcome: Any) -> None:
        if outcome is GROWN:
            lock = self.specs[-1].lock  # a lock is of one group: it is not planned again
            self.moved = not lock
            outcome = [partly_done(sorted(self.parts), self.total, Error(GUARD_ALL)) if lock else SLOT_MOVED]
        done(outcome)

    def _written(
        self, host: NodeHost, state: SessionState, done: Callable[[Any], None], outcome: Any
    ) -> None:
        if isinstance(outcome, Exception) or type(outcome[0]) is Error:
            done(outcome)
        else:
            host.read(0, partial(self._counted, host, done, outcome), state.fresh)

    def _counted(
        self, host: NodeHost, done: Callable[[Any], None], outcome: Any, view: View | Exception
    ) -> None:
        """Bring what was done to groups that were created meanwhile."""
        if isinstance(view, Exception):
            done(Uncertain())  # there may be groups in which it is not done
        else:
            total = host.slots.founded + created_count(view.keyspace.ledger)
            self._copy(host, list(range(self.total, total)), done, outcome, None)

    def _copy(
        self,
        host: NodeHost,
        left: list[int],
        done: Callable[[Any], None],
        outcome: Any,
        problem: Exception | None,
    ) -> None:
        if problem is not None:
            done(Uncertain())
        elif left:
            copied = partial(self._copy, host, left[1:], done, outcome)
            host.moves.copy_scripts(left[0], host.read, copied)
        else:
            done(outcome)

    def _write(self, host: NodeHost, state: SessionState, done: Callable[[Any], None]) -> None:
        self.answers = {}
        self._ask_next(list(self.parts.values()), host, state, done)

    def _merged(self, host: NodeHost, done: Callable[[Any], None], outcome: Any) -> None:
        if isinstance(outcome, Exception):
            done(outcome)
            return
        reply = self._merge()
        everywhere = len(self.parts) == self.total  # else other nodes answer for the rest
        if self._rule.keys and everywhere and type(reply) is not Error:
            self.moved = not self.cover.is_exact(host.slots, ALL_SLOTS)
        done([SLOT_MOVED if self.moved else reply])

    def take(self, part: Segment, host: NodeHost, outcome: Any) -> list[Reply]:
        if isinstance(outcome, View):
            self.cover.saw(part.group, outcome.keyspace)
        return super().take(part, host, outcome)

    def _ask_next(
        self, left: list[Segment], host: NodeHost, state: SessionState, done: Callable[[Any], None]
    ) -> None:
        left[0].ask(host, state, partial(self._done_in_one, left, host, state, done))

    def _done_in_one(
        self,
        left: list[Segment],
        host: NodeHost,
        state: SessionState,
        done: Callable[[Any], None],
        outcome: Any,
    ) -> None:
        part, *others = left
        before = list(self.answers)
        replies = self.take(part, host, outcome)
        failed = isinstance(outcome, Exception) or (self._rule.stops and Error in map(type, replies))
        if self.failure is not None:
            done(self.failure)
        elif failed and before and isinstance(replies[0], Error):
            done([partly_done(before, part.group, replies[0])])
        elif failed:
            done(replies)
        elif others:
            self._ask_next(others, host, state, done)
        else:
            done([self._merge()])

    @property
    def _rule(self) -> AllGroups:
        if self.rule is None:
            raise LookupError("a command in all groups has a rule")
        return self.rule

    def _merge(self) -> Reply:
        return self._rule.merge([self.answers[group][0] for group in sorted(self.answers)])

    def replies(self, outcome: Any) -> list[Reply]:
        """The one reply."""
        replies: list[Reply] = outcome
        return replies
