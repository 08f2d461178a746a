"""One connection: its state, and the order of its replies.

Requests wait in a queue and are done one *segment* at a time: the longest run of neighbours of one kind. A
run of writes is one `Host.write`, a run of reads one `Host.read` whose requests are then all answered from
the same view; local commands are answered on the spot; a command of an administrator is a run by itself. The
next segment begins when the last is answered, so replies keep the order of requests, a read sees the writes
before it, and a pipeline costs one proposal and one send. A request that fails validation is answered in its
place and does not split its run. Local commands that take long together are cut into turns, so that a
pipeline of them holds up nobody else. Nothing more is done for a client that leaves much unread.
"""

from collections import Counter
from collections.abc import Callable
from typing import Any, Protocol

from twisted.logger import Logger

from kraft.host.requests.read_rounds import View
from kraft.kv.replies import Reply as Outcome
from kraft.node.admin import AdminResult
from kraft.resp.parser import Parser
from kraft.resp.render import render_many, render_plain
from kraft.resp.values import Error, Reply, Request
from kraft.server import errors, segments
from kraft.server.commands.spec import ADMIN, LOCAL, READ, WRITE
from kraft.server.errors import Rejected
from kraft.server.port import ClientPort
from kraft.server.segments import Segment

QUEUE_REQUESTS = 4096  # waiting behind the segment under way; then reading pauses
QUEUE_BYTES = 1 << 20
LOCAL_SECONDS = 0.005  # of local commands in one go; then others get their turn
UNREAD_BYTES = 1 << 20  # not read by the client yet; then its requests wait until it has read everything
OUTPUT_BYTES = 64 << 20  # not read by the client yet; fixed by the client port's contract

# These change how replies are written, their own included, so they are a segment by themselves.
_SWITCHING = frozenset({"hello", "reset", "kraft|output", "client|reply"})
_OK = b"+OK\r\n"
_log = Logger()


class Connection(Protocol):
    """The socket as a session sees it. Nothing here calls back at once."""

    @property
    def unsent_bytes(self) -> int:
        """How many bytes wait unsent in this process."""

    def send(self, data: bytes) -> int:
        """Send in order; returns how many bytes wait unsent in this process."""

    def when_sent(self, call: Callable[[], None]) -> None:
        """Run `call` once nothing waits unsent any more; never, when the connection is lost before."""

    def close(self) -> None:
        """After everything was sent."""

    def abort(self) -> None:
        """Now."""

    def pause(self) -> None:
        """Stop reading."""

    def resume(self) -> None:
        """Read again."""


class Session:
    """The state of one connection; `peer` and `local` are addresses for CLIENT LIST."""

    def __init__(self, clients: ClientPort, connection: Connection, peer: str = "", local: str = "") -> None:
        self.clients = clients
        self.peer = peer
        self.local = local
        self.protocol = 2
        self.protocol_name = "resp2"
        self.plain = False
        self.readonly = False  # reads are answered from this node as it is
        self.fresh = False  # reads never rest on a lease
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
        self._held: Segment | None = None  # the one under way, when it waits for the client to read
        self._unread = False  # the client has to read first
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
    def unsent_bytes(self) -> int:
        """Answers that wait for the client to take them."""
        return 0 if self._lost else self._connection.unsent_bytes

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
        queue, clients = self._queue, self.clients
        until = clients.clock.seconds() + LOCAL_SECONDS
        while self._segment is None and self._at < len(queue) and not self._unread:
            kind = segments.row_of(clients, queue[self._at]).kind
            if kind is LOCAL:
                self._run_locals(until)
            elif kind is ADMIN:
                self._begin_admin()
            else:
                self._begin(kind)
        if self._segment is None and self._at == len(queue):
            queue.clear()
            self._at = self._queued_bytes = 0
        self._flush()
        self._balance_input()

    def _run_locals(self, until: float) -> None:
        clients, queue = self.clients, self._queue
        clock = clients.clock
        segment = Segment(clock.seconds())
        replies: list[Reply] = []
        while self._at < len(queue):
            request = queue[self._at]
            row = segments.row_of(clients, request)
            switching = row.name in _SWITCHING
            if row.kind is not LOCAL or (replies and switching):
                break
            self._at += 1
            segment.rows.append(row)
            try:
                segments.check(clients, row, request)
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

    def _begin(self, kind: str) -> None:
        """Gather a segment of reads or writes and hand it to the host."""
        segment = segments.gather(self.clients, self._queue, self._at, kind, readonly=self.readonly)
        self._at += len(segment.rows)
        self._segment = segment
        if not segment.items:
            self._finish(kind, segment, segment.all_replies([]))
        elif kind is WRITE:
            self.clients.host.write(segment.group, segment.items, segment.bytes, self._written)
        else:
            self._ask(segment)

    def _ask(self, segment: Segment) -> None:
        """A view for a segment of reads, at the level that the connection has chosen."""
        host = self.clients.host
        if self.readonly:
            host.read_stale(segment.group, self._viewed)
        else:
            host.read(segment.group, self._viewed, self.fresh)

    def _begin_admin(self) -> None:
        """Hand one command of an administrator to the host."""
        request = self._queue[self._at]
        self._at += 1
        row = segments.row_of(self.clients, request)
        segment = Segment(self.clients.clock.seconds())
        segment.rows.append(row)
        segment.shaped = row.shape is not None
        try:
            segments.check(self.clients, row, request)
            command = row.function(request)
        except Rejected as refusal:
            self._finish(ADMIN, segment, [Error(refusal.text)])
        else:
            self._segment = segment
            segment.items.append(command)
            self.clients.host.admin(command, self._administered)

    # Answers

    def _written(self, outcome: list[Outcome] | Exception) -> None:
        self._answered(self._answer, WRITE, outcome)

    def _administered(self, outcome: AdminResult | Exception) -> None:
        self._answered(self._answer, ADMIN, outcome if isinstance(outcome, Exception) else [outcome])

    def _viewed(self, outcome: View | Exception) -> None:
        if isinstance(outcome, Exception):
            self._answered(self._answer, READ, outcome)
        else:
            self._answered(self._answer_reads, READ, outcome)

    def _answered(self, answer: Callable[[str, Segment, Any], None], kind: str, outcome: Any) -> None:
        """The host's answer. A mistake of ours on the way to the client costs this client alone."""
        segment = self._segment
        if self._lost or segment is None:
            return
        try:
            answer(kind, segment, outcome)
        except Exception:
            _log.failure("a client could not be answered")
            self._segment = None
            self.abort("internal_error")

    def _answer(self, kind: str, segment: Segment, outcome: list[Any] | Exception) -> None:
        """The replies of all items, in a form that `segment` still has to shape; or one error for all."""
        if isinstance(outcome, Exception):
            outcome = [errors.outcome(outcome)] * len(segment.items)
        self._finish(kind, segment, segment.shape(outcome))
        self._run()

    def _answer_reads(self, kind: str, segment: Segment, view: View) -> None:
        replies = segments.look(segment, view)
        rest = segment.split(len(replies))
        self._finish(kind, segment, replies)
        if rest is None:
            self._run()
            return
        self._segment = rest
        self._flush()
        if self._unread:
            self._held = rest
        else:
            self._ask(rest)

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
        elif segments.weight(replies) > OUTPUT_BYTES:
            self.abort("output_limit")
        elif self.plain:
            self._output.extend(map(render_plain, replies))
        else:
            self._output.append(render_many(replies, self.protocol))

    def _flush(self) -> None:
        if self._lost:
            return
        clients = self.clients
        closing = self._ended and self._segment is None and not self._unread
        if closing and self._farewell:
            self._output.append(self._farewell)
            self._farewell = b""
        if self._output:
            data = self._output[0] if len(self._output) == 1 else b"".join(self._output)
            self._output.clear()
            clients.bytes_sent += len(data)
            clients.observer.bytes_sent(len(data))
            unread = self._connection.send(data)
            if unread > OUTPUT_BYTES:
                self.abort("output_limit")
                return
            if unread > UNREAD_BYTES and not self._unread and not closing:
                self._unread = True
                self._connection.when_sent(self._all_sent)
        if closing:
            self._connection.close()

    def _all_sent(self) -> None:
        """The client has read what it got: go on with its requests."""
        if self._lost:
            return
        self._unread = False
        self.last_input_at = self.clients.clock.seconds()  # whoever reads is not idle
        held, self._held = self._held, None
        if held is not None:
            self._ask(held)
        if self._segment is None:
            self._run()
        else:
            self._balance_input()

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
        if kind is READ:
            observer.lookups(*segments.lookups(replies))
        clients.commands_processed += count
        self.last_command = rows[-1].name
        observer.latency(kind, clients.clock.seconds() - segment.started, count)

    # Backpressure

    def _balance_input(self) -> None:
        """Pause reading while too much waits, here or in the host; resume when it does not."""
        waiting = len(self._queue) - self._at
        behind = (self._segment is not None or self._unread) and (
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
