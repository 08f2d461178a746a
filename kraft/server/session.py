"""One connection: its state, and the order of its replies.

Requests wait in a queue and are done one *segment* at a time: the longest run of neighbours of one kind. A
run of writes is one `Host.write`, a run of reads one `Host.read` whose requests are then all answered from
the same view; local commands are answered on the spot. The next segment begins when the last is answered, so
replies keep the order of requests, a read sees the writes before it, and a pipeline costs one proposal and
one send. A request that fails validation is answered in its place and does not split its run. Local commands
that take long together are cut into turns, so that a pipeline of them holds up nobody else.
"""

from collections import Counter
from collections.abc import Sequence
from typing import Any, Protocol

from twisted.logger import Logger

from kraft.host.reads import View
from kraft.kv.commands import Reply as Outcome
from kraft.resp.parser import OversizedRequest, Parser
from kraft.resp.render import render_many, render_plain
from kraft.resp.values import Error, Reply, Request
from kraft.server import errors
from kraft.server.clients import Clients
from kraft.server.errors import Rejected
from kraft.server.table import LOCAL, READ, WRITE, Row

SEGMENT_COMMANDS = 1024  # longer pipelines are cut, so that others get their turn
SEGMENT_BYTES = 256 << 10  # well below a log entry's batch_bytes
REPLY_BYTES = 1 << 20  # of reads in one go; the rest waits for the next round, behind other connections
QUEUE_REQUESTS = 4096  # waiting behind the segment under way; then reading pauses
QUEUE_BYTES = 1 << 20
LOCAL_SECONDS = 0.005  # of local commands in one go; then others get their turn
OUTPUT_BYTES = 64 << 20  # not read by the client yet; fixed by the client port's contract

_UNKNOWN = Row("unknown", -1, LOCAL, lambda _, request: Error(errors.unknown_command(request)))
# These change how replies are written, their own included, so they are a segment by themselves.
_SWITCHING = frozenset({"hello", "reset", "kraft", "client"})
_OK = b"+OK\r\n"
_log = Logger()


class Connection(Protocol):
    """The socket as a session sees it. Nothing here calls back at once."""

    def send(self, data: bytes) -> int:
        """Send in order; returns how many bytes wait unsent in this process."""

    def close(self) -> None:
        """After everything was sent."""

    def abort(self) -> None:
        """Now."""

    def pause(self) -> None:
        """Stop reading."""

    def resume(self) -> None:
        """Read again."""


class Segment:
    """A run of requests of one kind. `items` are a write's state machine commands, or a read's requests."""

    __slots__ = ("bytes", "failed", "group", "items", "rows", "shaped", "started")

    def __init__(self, started: float) -> None:
        self.started = started  # monotonic seconds
        self.group = -1
        self.rows: list[Row] = []
        self.items: list[Any] = []
        self.failed: dict[int, Error] = {}  # by place in `rows`; these have no item
        self.shaped = False
        self.bytes = 0

    def all_replies(self, replies: Sequence[Reply]) -> list[Reply]:
        """`replies` of the items, with those that failed validation in their places."""
        rest = iter(replies)
        return [self.failed[n] if n in self.failed else next(rest) for n in range(len(self.rows))]


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


class Session:
    """The state of one connection; `peer` and `local` are addresses for CLIENT LIST."""

    def __init__(self, clients: Clients, connection: Connection, peer: str = "", local: str = "") -> None:
        self.clients = clients
        self.peer = peer
        self.local = local
        self.protocol = 2
        self.protocol_name = "resp2"
        self.plain = False
        self.readonly = False
        self.silent = False  # CLIENT REPLY OFF
        self.skipping = 0  # replies still to be left out, after CLIENT REPLY SKIP
        self.name = b""
        self.library: dict[str, bytes] = {}
        self.last_command = ""
        self.requests_received = 0
        self.opened_at = self.last_input_at = clients.clock.seconds()
        self._connection = connection
        self._parser = Parser(clients.parser_limits)
        self._queue: list[Request] = []
        self._at = 0  # the next request in the queue
        self._queued_bytes = 0
        self._segment: Segment | None = None
        self._output: list[bytes] = []
        self._farewell = b""  # the last words after a protocol error
        self._ended = False  # no more input: close when all is answered
        self._lost = False  # nothing can be sent any more
        self._waits_for_relief = False
        self._paused = False
        self.id = clients.opened(self)

    @property
    def inline(self) -> bool:
        """The last request was a line of text."""
        return self._parser.inline

    @property
    def idle(self) -> bool:
        """Nothing is being done for it."""
        return self._segment is None

    def received(self, data: bytes) -> None:
        """Bytes from the client."""
        if self._ended:
            return
        clients = self.clients
        self.last_input_at = clients.clock.seconds()
        clients.bytes_received += len(data)
        clients.observer.bytes_received(len(data))
        requests = self._parser.feed(data)
        if requests:
            if not self.requests_received or self._parser.inline != (self.protocol_name == "inline"):
                self.name_protocol()
            self.requests_received += len(requests)
            self._forget_done()
            self._queue.extend(requests)
            self._queued_bytes += len(data)
        if self._segment is None:
            self._run()
        else:
            self._balance_input()
        if self._parser.error is not None and not self._ended:
            clients.rejected("protocol_error")
            self._farewell = f"-{self._parser.error}\r\n".encode()
            self.input_ended()

    def input_ended(self) -> None:
        """The client sends no more, or is to be let go: answer what was received, then close."""
        self._ended = True
        if self._segment is None:
            self._run()

    def lost(self) -> None:
        """The connection is gone. What is under way goes on, and its answer is dropped."""
        self._lost = self._ended = True
        self._queue.clear()
        self._at = 0
        self._balance_input()
        self.clients.closed(self)

    def abort(self, reason: str) -> None:
        """Close without another word, and count why."""
        if self._lost:
            return
        self.clients.rejected(reason)
        self._lost = self._ended = True
        self._queue.clear()
        self._at = 0
        self._output.clear()
        self._connection.abort()

    def quit(self) -> None:
        """Drop what is queued and close once the present reply is sent."""
        del self._queue[self._at :]
        self._ended = True

    def name_protocol(self) -> None:
        """Tell the observer when the connection's protocol changed."""
        name = "inline" if self._parser.inline else f"resp{self.protocol}"
        if name != self.protocol_name:
            self.clients.observer.connection_switched(self.protocol_name, name)
            self.protocol_name = name

    def _forget_done(self) -> None:
        del self._queue[: self._at]
        self._at = 0
        if not self._queue:
            self._queued_bytes = 0

    # Segments

    def _run(self) -> None:
        """Begin segments until one has to be waited for, then send what there is."""
        queue, table = self._queue, self.clients.table
        until = self.clients.clock.seconds() + LOCAL_SECONDS
        while self._segment is None and self._at < len(queue):
            name = queue[self._at][0]
            row = table.get(name) or table.get(name.upper()) or _UNKNOWN
            if row.kind is LOCAL:
                self._run_locals(until)
            else:
                self._begin(row.kind)
        if self._segment is None:
            queue.clear()
            self._at = self._queued_bytes = 0
        self._flush()
        self._balance_input()

    def _run_locals(self, until: float) -> None:
        clock = self.clients.clock
        segment = Segment(clock.seconds())
        queue = self._queue
        table = self.clients.table
        replies: list[Reply] = []
        while self._at < len(queue):
            request = queue[self._at]
            row = table.get(request[0]) or table.get(request[0].upper()) or _UNKNOWN
            switching = row.name in _SWITCHING
            if row.kind is not LOCAL or (replies and switching):
                break
            self._at += 1
            row = row.of_subcommand(request)
            segment.rows.append(row)
            try:
                self._check(row, request)
                replies.append(row.function(self, request))
            except Rejected as refusal:
                replies.append(Error(refusal.text))
            if switching or clock.seconds() >= until:
                break
        self._render(replies)
        self._account(LOCAL, segment, replies)
        if self._at < len(queue) and clock.seconds() >= until:
            self._segment = segment  # keeps the place of the rest
            clock.call_later(0, self._go_on)

    def _go_on(self) -> None:
        """The rest of local commands that were cut off."""
        self._segment = None
        if not self._lost:
            self._run()

    def _check(self, row: Row, request: Request) -> None:
        """Raises Rejected for a wrong number of words and for whatever is over a limit."""
        if not row.low <= len(request) <= row.high:
            raise Rejected(errors.wrong_arity(row.name))
        size = sum(map(len, request))
        if size > self.clients.small_bytes or type(request) is OversizedRequest:
            _check_limits(self.clients, row, request)

    def _begin(self, kind: str) -> None:
        """Gather a segment of reads or writes and hand it to the host."""
        segment = self._gather(kind)
        self._segment = segment
        host = self.clients.host
        if not segment.items:
            self._finish(kind, segment, segment.all_replies([]))
        elif kind is WRITE:
            host.write(segment.group, segment.items, segment.bytes, self._written)
        else:
            host.read(segment.group, self._viewed)

    def _gather(self, kind: str) -> Segment:
        clients = self.clients
        segment = Segment(clients.clock.seconds())
        routing = None if clients.routing.trivial else clients.routing
        full = kind is WRITE and clients.dataset_full
        queue, rows, items = self._queue, segment.rows, segment.items
        find, small_bytes = clients.table.get, clients.small_bytes
        group = 0 if routing is None else -1
        total = 0
        at = self._at
        end = min(len(queue), at + SEGMENT_COMMANDS)
        while at < end:
            request = queue[at]
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
                    owner = routing.group_of(row, request, self.readonly)
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
            at += 1
        self._at = at
        segment.group, segment.bytes = group, total
        return segment

    def _written(self, outcome: list[Outcome] | Exception) -> None:
        """The host's answer. A mistake of ours on the way to the client costs this client alone."""
        segment = self._segment
        if self._lost or segment is None:
            return
        try:
            self._answer_writes(segment, outcome)
        except Exception:
            self._broke()

    def _viewed(self, outcome: View | Exception) -> None:
        """As `_written`, for reads."""
        segment = self._segment
        if self._lost or segment is None:
            return
        try:
            self._answer_reads(segment, outcome)
        except Exception:
            self._broke()

    def _broke(self) -> None:
        _log.failure("a client could not be answered")
        self._segment = None
        self.abort("internal_error")

    def _answer_writes(self, segment: Segment, outcome: list[Outcome] | Exception) -> None:
        if isinstance(outcome, Exception):
            replies: list[Reply] = [errors.outcome(outcome)] * len(segment.items)
        else:
            replies = outcome  # type: ignore[assignment]  # Failure is shaped below
        if segment.failed:
            replies = segment.all_replies(replies)
        if segment.shaped:
            replies = list(map(_shaped, segment.rows, replies))
        self._finish(WRITE, segment, replies)
        self._run()

    def _answer_reads(self, segment: Segment, outcome: View | Exception) -> None:
        if isinstance(outcome, Exception):
            replies: list[Reply] = [errors.outcome(outcome)] * len(segment.items)
            self._finish(READ, segment, segment.all_replies(replies))
            self._run()
            return
        replies = _look(segment, outcome)
        rest = segment.split(len(replies))
        self._finish(READ, segment, replies)
        if rest is None:
            self._run()
            return
        self._segment = rest
        self._flush()
        self.clients.host.read(rest.group, self._viewed)

    def _finish(self, kind: str, segment: Segment, replies: list[Reply]) -> None:
        self._segment = None
        self._render(replies)
        self._account(kind, segment, replies)

    # Output

    def _render(self, replies: list[Reply]) -> None:
        if self.silent:
            return
        if self.skipping:
            skipped = min(self.skipping, len(replies))
            self.skipping -= skipped
            replies = replies[skipped:]
            if not replies:
                return
        if replies.count("OK") == len(replies) and not self.plain:
            self._output.append(_OK * len(replies))
        elif _weight(replies) > OUTPUT_BYTES:
            self.abort("output_limit")
        elif self.plain:
            self._output.extend(map(render_plain, replies))
        else:
            self._output.append(render_many(replies, self.protocol))

    def _flush(self) -> None:
        if self._lost:
            return
        clients = self.clients
        closing = self._ended and self._segment is None
        if closing and self._farewell:
            self._output.append(self._farewell)
            self._farewell = b""
        if self._output:
            data = self._output[0] if len(self._output) == 1 else b"".join(self._output)
            self._output.clear()
            clients.bytes_sent += len(data)
            clients.observer.bytes_sent(len(data))
            if self._connection.send(data) > OUTPUT_BYTES:
                self.abort("output_limit")
                return
        if closing:
            self._connection.close()

    def _account(self, kind: str, segment: Segment, replies: list[Reply]) -> None:
        clients, rows = self.clients, segment.rows
        count = len(rows)
        if not count:
            return
        observer, first = clients.observer, rows[0]
        failed = [n for n, reply in enumerate(replies) if type(reply) is Error]
        if not failed and rows.count(first) == count:
            observer.commands(first.name, count, 0)
        else:
            wrong = Counter(rows[n].name for n in failed)
            for name, number in Counter(row.name for row in rows).items():
                observer.commands(name, number, wrong[name])
            texts = (reply.text for reply in replies if type(reply) is Error)
            for code, number in Counter(text.partition(" ")[0] for text in texts).items():
                observer.error(code, number)
            clients.errors_replied += len(failed)
        clients.commands_processed += count
        self.last_command = rows[-1].name
        observer.latency(kind, clients.clock.seconds() - segment.started, count)

    # Backpressure

    def _balance_input(self) -> None:
        """Pause reading while too much waits, here or in the host; resume when it does not."""
        waiting = len(self._queue) - self._at
        behind = self._segment is not None and (
            waiting > QUEUE_REQUESTS or (waiting > 0 and self._queued_bytes > QUEUE_BYTES)
        )
        host = self.clients.host
        if host.saturated and not self._waits_for_relief and not self._lost:
            self._waits_for_relief = True
            host.on_relief(self._relieved)
        pause = not self._lost and (behind or self._waits_for_relief)
        if pause != self._paused:
            self._paused = pause
            self.clients.paused(1 if pause else -1)
            if not self._lost:
                (self._connection.pause if pause else self._connection.resume)()

    def _relieved(self) -> None:
        self._waits_for_relief = False
        self._balance_input()


def _look(segment: Segment, view: View) -> list[Reply]:
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
            size += _weight(reply)
        if size > REPLY_BYTES:
            break
    return replies


def _check_limits(clients: Clients, row: Row, request: Request) -> None:
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


def _shaped(row: Row, reply: Any) -> Reply:
    return reply if row.shape is None or type(reply) is Error else row.shape(reply)


def _weight(replies: list[Reply]) -> int:
    """Bytes of values in the replies: counted before they are copied into one output."""
    total = 0
    for reply in replies:
        if type(reply) is bytes:
            total += len(reply)
        elif type(reply) is list:
            total += _weight(reply)
    return total
