"""Commands on all keys, which need an index that may take seconds to build."""

from collections.abc import Callable, Iterator, Mapping
from functools import partial
from typing import Any

from msgspec import field

from kraft.host.requests.round import View
from kraft.resp.render import render_plain
from kraft.resp.values import Error, RenderedArray, Reply
from kraft.server.asked_queries import ALL_BYTES_MAX, Query, decode_answer, encode_query
from kraft.server.commands.scan import WALK_KEYS, AllKeys
from kraft.server.errors import SLOT_MOVED
from kraft.server.indexed_read import IndexedRead
from kraft.server.ports import NodeHost, ReadDone
from kraft.server.routing import Routing
from kraft.server.segments import Segment
from kraft.server.session_state import SessionState
from kraft.server.slot_cover import SlotCover

_TOO_LARGE = Error(f"ERR the reply exceeds {ALL_BYTES_MAX >> 20} MiB: use SCAN")


class IndexSegment(Segment):
    """One command on all keys; `groups` are those for which this node answers: all, unless `partial`.

    A query for some of the keys is answered from one view of each group that it needs. One for all of them
    walks over the keys of one moment of each group in the background, and its reply is rendered on the way,
    piece by piece.

    A group that this node has no replica of is asked at one of its members (`AskedQueries`), which sends the
    keys that match, or what it has counted.

    It is planned again if a slot has moved between two groups in the meantime, so that its keys were met in
    neither of them, or in both.
    """

    items: list[Query] = field(default_factory=list)
    groups: list[int] = field(default_factory=list)
    partial: bool = False
    parts: Mapping[int, Query] = field(default_factory=dict)  # what is asked in each group
    answers: dict[int, Any] = field(default_factory=dict)
    cover: SlotCover = field(default_factory=SlotCover)
    rendered: int = 0  # bytes
    host: Any = None
    state: Any = None
    done: Any = None

    def choose_groups(self, query: Query, routing: Routing) -> None:
        """Choose the groups for which this node answers the query."""
        if isinstance(query, AllKeys) and query.slot is not None:
            self.groups = [routing.slots.group_of(query.slot)]
        else:
            self.groups = routing.groups()
            self.partial = len(self.groups) < routing.slots.groups

    def ask(self, host: NodeHost, state: SessionState, done: Callable[[Any], None]) -> None:
        """`done` gets the reply in a list."""
        self.host, self.state, self.done = host, state, done
        self.parts = self.items[0].parts(self.groups, host.slots)
        for group in self.parts:
            self._prepare(group)

    def _prepare(self, group: int) -> None:
        query, fresh = self.parts[group], self.state.fresh
        if self.host.elsewhere.has(group) and not self.state.readonly:
            self.host.elsewhere.query(group, encode_query(query), partial(self._told, group), fresh=fresh)
            return
        read, viewed = partial(self._read, group), partial(self._viewed, group)
        IndexedRead(self.host, group, query.needs, read, viewed).begin()

    def _read(self, group: int, done: ReadDone) -> None:
        if self.state.readonly:
            self.host.read_stale(group, done)
        elif self.host.elsewhere.has(group):  # by now
            self._prepare(group)
        elif self.host.slots.groups > 1:
            self.host.read_keys(group, list, done, self.state.fresh)
        else:
            self.host.read(group, done, self.state.fresh)

    def _told(self, group: int, outcome: bytes | Exception) -> None:
        """Another node has looked at the group."""
        query = self.parts[group]
        if isinstance(outcome, Exception):
            self._answered(group, outcome)
            return
        found = decode_answer(outcome)
        self.cover.saw_elsewhere(group, found.slots)
        if not isinstance(query, AllKeys):
            self._answered(group, found.answer)
        elif found.answer is None:
            self.rendered = ALL_BYTES_MAX + 1
            self._answered(group, RenderedArray(0, []))
        elif query.counts:
            self._answered(group, RenderedArray(found.answer[0], []))
        else:
            keys = found.answer[1]
            pieces = (keys[place : place + WALK_KEYS] for place in range(0, len(keys), WALK_KEYS))
            self.host.indexes.do(self._render(group, query, pieces))

    def _viewed(self, group: int, outcome: View | Exception) -> None:
        query = self.parts[group]
        if isinstance(outcome, Exception):
            self._answered(group, outcome)
        else:
            self.cover.saw(group, outcome.keyspace)
            try:
                if isinstance(query, AllKeys):
                    self.host.indexes.do(self._render(group, query, query.pieces(outcome.keyspace)))
                    return
                answer: Any = query.answer(outcome.keyspace)
            except Exception as error:  # a bug costs this client alone, and no other part of the turn
                answer = error
            self._answered(group, answer)

    def _render(self, group: int, query: AllKeys, pieces: Iterator[list[bytes]]) -> Iterator[None]:
        """The steps that make an array of all pieces."""
        form = render_plain if self.state.plain else _render_bulk
        chunks: list[bytes] = []
        count = 0
        try:
            for piece in pieces:
                count += len(piece)
                if not query.counts:
                    chunks.append(b"".join(map(form, piece)))
                    self.rendered += len(chunks[-1])
                if self.rendered > ALL_BYTES_MAX:
                    break
                yield
        except Exception as error:
            self._answered(group, error)
        else:
            self._answered(group, RenderedArray(count, chunks))

    def _answered(self, group: int, answer: Any) -> None:
        self.answers[group] = answer
        if len(self.answers) < len(self.parts):
            return
        failed = next((each for each in self.parts if isinstance(self.answers[each], Exception)), None)
        if failed is not None:
            self.group = failed
            self.done(self.answers[failed])
        elif not self._is_whole:
            self.moved = True
            self.done([SLOT_MOVED])
        elif self.rendered > ALL_BYTES_MAX:
            self.done([_TOO_LARGE])
        else:
            try:
                answers = {each: self.answers[each] for each in self.parts}
                reply: Any = [self.items[0].merge(self.groups, self.host.slots, answers)]
            except Exception as error:
                reply = error
            self.done(reply)

    @property
    def _is_whole(self) -> bool:
        wanted = next(iter(self.parts.values())).wanted
        return self.partial or self.cover.is_exact(self.host.slots, wanted)

    def replies(self, outcome: list[Reply]) -> list[Reply]:
        """The one reply."""
        return outcome


def _render_bulk(value: bytes) -> bytes:
    return b"$%d\r\n%b\r\n" % (len(value), value)
