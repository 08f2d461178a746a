"""The part of a group in commands on all keys, for other nodes that have no replica of the group."""

from collections.abc import Iterator
from functools import partial
from typing import Any

import msgspec

from kraft.host.ports import QueryDone
from kraft.host.requests.round import View
from kraft.kv.slots import SlotRange
from kraft.node.errors import NoLeader
from kraft.server.commands.key_range import KeyRange
from kraft.server.commands.scan import AllKeys, RandomKey, Scan
from kraft.server.indexed_read import IndexedRead
from kraft.server.ports import NodeHost, ReadDone

ALL_BYTES_MAX = 64 << 20  # of a reply with all keys

Query = Scan | RandomKey | AllKeys | KeyRange


class QueryAnswer(msgspec.Struct, frozen=True, array_like=True, gc=False):
    """What a query found in one group: the `answer` of Scan, RandomKey and KeyRange as their methods give it.

    That of AllKeys is their number and the keys, None if they exceed ALL_BYTES_MAX. `slots` are those that
    the group had, None if none has ever moved.
    """

    answer: Any
    slots: list[SlotRange] | None


class AskedQueries:
    """Answers queries on the groups of this node; it is the `KeyQueries` of `kraft.host.ports`."""

    def __init__(self, host: NodeHost) -> None:
        self._host = host

    def answer(self, group: int, query: bytes, done: QueryDone, *, fresh: bool) -> None:
        """Answer an encoded query. `done` gets an encoded `QueryAnswer`, or an exception."""
        wanted = decode_query(query)
        read = partial(self._read, group, fresh)
        IndexedRead(self._host, group, wanted.needs, read, partial(self._viewed, wanted, done)).begin()

    def _read(self, group: int, fresh: bool, done: ReadDone) -> None:
        if self._host.elsewhere.has(group):  # by now
            done(NoLeader(group))
        else:
            self._host.read_keys(group, list, done, fresh)

    def _viewed(self, query: Query, done: QueryDone, outcome: View | Exception) -> None:
        if isinstance(outcome, Exception):
            done(outcome)
            return
        keyspace = outcome.keyspace
        slots = None if keyspace.slots is None else keyspace.slots.ranges
        try:
            if isinstance(query, AllKeys):
                self._host.indexes.do(_collected(query, query.pieces(keyspace), slots, done))
            else:
                done(_encode(QueryAnswer(query.answer(keyspace), slots)))
        except Exception as error:  # a bug costs this question alone, and no other part of the turn
            done(error)


def _collected(
    query: AllKeys, pieces: Iterator[list[bytes]], slots: list[SlotRange] | None, done: QueryDone
) -> Iterator[None]:
    """The steps that gather all pieces."""
    found: list[bytes] = []
    count = size = 0
    try:
        for piece in pieces:
            count += len(piece)
            if not query.counts:
                found += piece
                size += sum(map(len, piece))
            if size > ALL_BYTES_MAX:
                break
            yield
    except Exception as error:
        done(error)
    else:
        done(_encode(QueryAnswer(None if size > ALL_BYTES_MAX else [count, found], slots)))


encode_query = msgspec.msgpack.Encoder().encode
"""The bytes of a query, as another node asks it."""

decode_query = msgspec.msgpack.Decoder(Query).decode
"""Inverse of `encode_query`. Raises msgspec.MsgspecError."""

_encode = msgspec.msgpack.Encoder().encode

decode_answer = msgspec.msgpack.Decoder(QueryAnswer).decode
"""Decodes a `QueryAnswer`. Raises msgspec.MsgspecError."""
