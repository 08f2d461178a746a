"""Runs of requests: what makes one segment, how it is checked, and what its answers become.

A segment is a run of neighbours of one kind that the host is asked for in one call. Nothing here knows a
connection: queues come in, segments and replies come out.
"""

from collections.abc import Sequence
from typing import Any

from kraft.host.requests.read_rounds import View
from kraft.resp.parser import OversizedRequest
from kraft.resp.values import Error, Reply, Request
from kraft.server import errors
from kraft.server.commands.spec import LOCAL, WRITE, CommandSpec
from kraft.server.errors import Rejected
from kraft.server.port import ClientPort

SEGMENT_COMMANDS = 1024  # longer pipelines are cut, so that others get their turn
SEGMENT_BYTES = 256 << 10  # well below a log entry's batch_bytes
REPLY_BYTES = 1 << 20  # of reads in one go; the rest waits for the next round, behind other connections

_UNKNOWN = CommandSpec("unknown", -1, LOCAL, lambda _, request: Error(errors.unknown_command(request)))


class Segment:
    """A run of requests of one kind. `items` are a write's state machine commands, or a read's requests."""

    __slots__ = ("bytes", "failed", "group", "items", "rows", "shaped", "started")

    def __init__(self, started: float) -> None:
        self.started = started  # monotonic seconds
        self.group = -1
        self.rows: list[CommandSpec] = []
        self.items: list[Any] = []
        self.failed: dict[int, Error] = {}  # by place in `rows`; these have no item
        self.shaped = False
        self.bytes = 0

    def all_replies(self, replies: Sequence[Reply]) -> list[Reply]:
        """`replies` of the items, with those that failed validation in their places."""
        rest = iter(replies)
        return [self.failed[n] if n in self.failed else next(rest) for n in range(len(self.rows))]

    def shape(self, replies: list[Reply]) -> list[Reply]:
        """All replies, in the form that clients expect."""
        if self.failed:
            replies = self.all_replies(replies)
        return list(map(_shaped, self.rows, replies)) if self.shaped else replies

    def split(self, place: int) -> "Segment | None":
        """What stands at `place` and behind it, as a segment of its own; None when that is nothing."""
        if place == len(self.rows):
            return None
        rest = Segment(self.started)
        rest.group = self.group
        done = place - sum(n < place for n in self.failed)
        rest.rows, self.rows = self.rows[place:], self.rows[:place]
        rest.items, self.items = self.items[done:], self.items[:done]
        rest.failed = {n - place: error for n, error in self.failed.items() if n >= place}
        return rest


def row_of(clients: ClientPort, request: Request) -> CommandSpec:
    """The row of a request, of its subcommand where it has one."""
    name = request[0]
    row = clients.table.get(name) or clients.table.get(name.upper()) or _UNKNOWN
    return row.of_subcommand(request) if row.subcommands else row


def check(clients: ClientPort, row: CommandSpec, request: Request) -> None:
    """Raises Rejected for a wrong number of words and for whatever is over a limit."""
    if not row.low <= len(request) <= row.high:
        raise Rejected(errors.wrong_arity(row.name))
    size = sum(map(len, request))
    if size > clients.small_bytes or type(request) is OversizedRequest:
        _check_limits(clients, row, request)


def _check_limits(clients: ClientPort, row: CommandSpec, request: Request) -> None:
    lengths = request.lengths if type(request) is OversizedRequest else list(map(len, request))
    limits = clients.limits
    first, last, step = row.keys
    keys = range(first, last + 1 if last > 0 else len(lengths) + last + 1, step) if first else ()
    for place, length in enumerate(lengths):
        if place in keys:
            if length > limits.key_bytes:
                raise Rejected(errors.over_limit("key", limits.key_bytes))
        elif length > limits.value_bytes:
            raise Rejected(errors.over_limit("value", limits.value_bytes))
    if sum(lengths) > limits.request_bytes:
        raise Rejected(errors.over_limit("request", limits.request_bytes))


def gather(clients: ClientPort, queue: Sequence[Request], at: int, kind: str, *, readonly: bool) -> Segment:
    """The segment of `kind`, READ or WRITE, that begins at place `at` of the queue; it has a row at least.

    `readonly`: the connection reads from this node, whoever leads.
    """
    segment = Segment(clients.clock.seconds())
    routing = None if clients.routing.trivial else clients.routing
    full = kind is WRITE and clients.dataset_full
    rows, items = segment.rows, segment.items
    find, small_bytes = clients.table.get, clients.small_bytes
    group = 0 if routing is None else -1
    total = 0
    for place in range(at, min(len(queue), at + SEGMENT_COMMANDS)):
        request = queue[place]
        row = find(request[0]) or find(request[0].upper())
        if row is None or row.kind is not kind:
            break
        try:
            if not row.low <= len(request) <= row.high:
                raise Rejected(errors.wrong_arity(row.name))
            size = sum(map(len, request))
            if size > small_bytes or type(request) is OversizedRequest:
                _check_limits(clients, row, request)
            if items and total + size > SEGMENT_BYTES:
                break
            if routing is not None:
                owner = routing.group_of(row, request, readonly)
                if group not in (-1, owner):
                    break
                group = owner
            if full and row.grows:
                raise Rejected(errors.OUT_OF_MEMORY)
            items.append(row.function(request) if kind is WRITE else request)
            total += size
        except Rejected as refusal:
            segment.failed[len(rows)] = Error(refusal.text)
        rows.append(row)
        if row.shape is not None:
            segment.shaped = True
    segment.group, segment.bytes = group, total
    return segment


def look(segment: Segment, view: View) -> list[Reply]:
    """Read what was asked, up to REPLY_BYTES and the reply that goes beyond."""
    replies: list[Reply] = []
    items = iter(segment.items)
    size = 0
    for place, row in enumerate(segment.rows):
        failed = segment.failed.get(place)
        reply = row.function(view, next(items)) if failed is None else failed
        replies.append(reply)
        if type(reply) is bytes:
            size += len(reply)
        elif type(reply) is list:
            size += weight(reply)
        if size > REPLY_BYTES:
            break
    return replies


def weight(replies: list[Reply]) -> int:
    """Bytes of values in the replies: counted before they are copied into one output."""
    total = 0
    for reply in replies:
        if type(reply) is bytes:
            total += len(reply)
        elif type(reply) is list:
            total += weight(reply)
    return total


def lookups(replies: list[Reply]) -> tuple[int, int]:
    """Values found and not found by the reads that return them."""
    hits, misses = 0, replies.count(None)
    for reply in replies:
        if type(reply) is bytes:
            hits += 1
        elif type(reply) is list:
            missing = reply.count(None)
            hits, misses = hits + len(reply) - missing, misses + missing
    return hits, misses


def _shaped(row: CommandSpec, reply: Any) -> Reply:
    return reply if row.shape is None or type(reply) is Error else row.shape(reply)
