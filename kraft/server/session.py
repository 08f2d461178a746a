"""One connection: its requests in, one segment at a time, and its replies out in their order.

Requests wait in a queue and are done one *segment* at a time: the longest run of neighbours of one kind. A
run of writes is one `NodeHost.write`; a run of reads is one `NodeHost.read`, and all are answered from the
same view; local commands are answered on the spot; an administrator's command is a run by itself. The next
segment begins when the last one is answered. So replies keep the order of requests, a read sees the writes
before it, and a pipeline costs one proposal and one send. A request that fails validation is answered in its
place and does not split its run.

Three facts describe a session, and each has one owner:

    the work    idle: no segment is under way. Waiting (`_segment`): the host has one, or long local commands
                let other connections go on. When it ends, the next one begins.
    the output  open; blocked (`Output.blocked`): the client has to read first, a segment under way goes on
                but no other begins; closed after the last reply; or lost (`Output.lost`): the outcome of a
                segment under way is dropped.
    the input   open; paused (`_paused`): too much is queued or waits in the host; or ended (`_ended`): the
                client half-closed, sent QUIT or broke the protocol, or the node drains. Then the connection
                closes as soon as the queue is empty and no segment is under way.
"""

from typing import Any

from twisted.logger import Logger

from kraft.resp.parser import Parser
from kraft.resp.values import Error, Reply, Request
from kraft.server.commands.spec import CommandContext
from kraft.server.errors import Rejected
from kraft.server.moved_segment import MovedSegment
from kraft.server.output import Output
from kraft.server.port import ClientPort
from kraft.server.ports import Connection
from kraft.server.segments import LocalSegment, QueueSegment, Segment, WaitSegment
from kraft.server.session_state import SessionState
from kraft.server.validation import Validation

QUEUE_REQUESTS = 4096  # waiting after the segment under way; then reading pauses
QUEUE_BYTES = 1 << 20
LOCAL_SECONDS = 0.005  # of local commands in one go; then other connections get their turn

_log = Logger()


class Session:
    """The requests of one connection; `peer` and `local` are addresses for CLIENT LIST."""

    def __init__(
        self,
        port: ClientPort,
        validation: Validation,
        connection: Connection,
        peer: str = "",
        local: str = "",
    ) -> None:
        now = port.clock.seconds()
        self.state = SessionState(port.next_id(), peer, local, opened_at=now, last_input_at=now)
        self.output = Output(port, connection, self.state)
        self._port = port
        self._validation = validation
        self._context = CommandContext(port, self.state, validation.table)
        self._connection = connection
        self._parser = Parser(port.parser_limits)
        self._queue: list[Request] = []
        self._queued_bytes = 0  # received since the queue was last empty
        self._segment: Segment | None = None
        self._final_error = b""  # the last reply, after a protocol error
        self._ended = False
        self._waits_for_relief = False
        self._paused = False
        port.opened(self)

    @property
    def unsent_bytes(self) -> int:
        """The bytes of replies that wait in this process for the client to read."""
        return self.output.unsent_bytes

    @property
    def unfinished_bytes(self) -> int:
        """The bytes of a request that has not arrived completely."""
        return self._parser.buffered

    @property
    def waiting_bytes(self) -> int:
        """The bytes received for the requests that wait, and for those done since nothing waited."""
        return self._queued_bytes if self._queue else 0

    @property
    def fd(self) -> int:
        """The number of the socket in this process, -1 if it has none."""
        return self._connection.fd

    @property
    def idle(self) -> bool:
        """Whether no segment is under way."""
        return self._segment is None

    # Input

    def received(self, data: bytes) -> None:
        """Take bytes from the client."""
        if self._ended or self.output.lost:
            return
        port, state, queue = self._port, self.state, self._queue
        state.last_input_at = now = port.clock.seconds()
        port.statistics.bytes_received += len(data)
        requests = self._parser.feed(data)
        if requests:
            if self._parser.inline is not state.inline:
                state.inline = self._parser.inline
                self._port.report_protocol(self.state)
            state.requests_received += len(requests)
            self._queued_bytes = len(data) + (self._queued_bytes if queue else 0)
            queue += requests
        if self._segment is None:
            self._run(now)
        if port.host.backpressure.saturated and not self._waits_for_relief:
            self._waits_for_relief = True
            port.host.backpressure.on_relief(self._relieved)
        if queue or self._waits_for_relief:
            self._balance_input()
        if self._parser.error is not None and not self._ended:
            port.rejected("protocol_error")
            self._final_error = f"-{self._parser.error}\r\n".encode()
            self.input_ended()

    def input_ended(self) -> None:
        """Take no more input: answer the requests that were received, then close.

        A client that closed its socket looks like one that half-closed it, so it waits for no lock any more.
        """
        self._ended = True
        if self._segment is not None:
            self._segment.leave()
        if self._segment is None:
            self._run(self._port.clock.seconds())

    def sent(self) -> None:
        """The client has read everything: go on with its requests."""
        if self.output.lost:
            return
        self.output.sent()
        self.state.last_input_at = now = self._port.clock.seconds()  # a client that reads is not idle
        if self._segment is None:
            self._run(now)
        else:
            self._balance_input()

    def lost(self) -> None:
        """The connection is gone. The host finishes the segment under way; its outcome is dropped."""
        self.output.drop()
        if self._segment is not None:
            self._segment.leave()
        self._ended = True
        self._queue.clear()
        self._balance_input()
        self._port.closed(self)

    def abort(self, reason: str) -> None:
        """Close at once and count `reason` as the cause."""
        self._ended = True
        self._queue.clear()
        self.output.abort(reason)

    def rights_changed(self) -> None:
        """The client has other rights: it waits for no lock that they do not allow.

        Its connection ends, as in Redis that of a subscriber who may not hear a channel any more.
        """
        segment, rights = self._segment, self.state.rights
        if isinstance(segment, MovedSegment):
            segment = segment.current
        if rights is None or not isinstance(segment, WaitSegment):
            return
        if not rights.allows(segment.specs[0], segment.requests[0]):
            self.abort("rights_revoked")

    # Segments

    def _run(self, now: float) -> None:
        """Begin segments until one has to be waited for, then send what there is."""
        queue, output, port = self._queue, self.output, self._port
        local_until = 0.0
        while queue and self._segment is None and not output.blocked:
            segment = self._validation.gather(queue, self.state, now)
            self.state.last_command = segment.specs[-1].name
            if not segment.items:
                if output.chunks and type(segment) is QueueSegment:
                    output.flush()  # an EXEC may hold up the replies to what is queued, and no others
                self._finish(segment, [], port.clock.seconds())
            elif isinstance(segment, LocalSegment):
                local_until = local_until or port.clock.seconds() + LOCAL_SECONDS
                self._run_locals(segment, local_until)
            else:
                self._segment = segment
                segment.ask(port.host, self.state, self._answered)
                if self._ended:
                    segment.leave()
        if self._ended and self._segment is None and not output.blocked:
            output.close(self._final_error)
            self._final_error = b""
        elif output.chunks and not (self._segment is not None and self._segment.with_replies_before):
            output.flush()
        if queue or self._paused:
            self._balance_input()

    def _run_locals(self, segment: LocalSegment, until: float) -> None:
        """Run local commands; after `until` the rest goes back to the queue and waits for the next turn."""
        queue, clock, state = self._queue, self._port.clock, self.state
        replies: list[Reply] = []
        for spec, request in segment.items:
            state.last_command = spec.name
            try:
                replies.append(spec.run(self._context, request))
            except Rejected as refusal:
                replies.append(Error(refusal.text))
            now = clock.seconds()
            if now >= until:
                break
        self._port.report_protocol(state)
        self._finish(segment, replies, now)
        if state.closing:
            self._ended = True
            queue.clear()
        if queue and now >= until:
            self._segment = segment  # keeps the place of the rest
            clock.call_soon(self._go_on)

    def _go_on(self) -> None:
        """Go on after other connections had their turn."""
        self._segment = None
        if not self.output.lost:
            self._run(self._port.clock.seconds())

    def _answered(self, outcome: Any) -> None:
        """The host's outcome of the segment under way. A bug in answering costs this client alone."""
        segment = self._segment
        if segment is None or self.output.lost:
            return
        self._segment = None
        try:
            now = self._port.clock.seconds()
            failed = isinstance(outcome, Exception)
            replies = segment.failures(outcome, self._port.host) if failed else segment.replies(outcome)
            if segment.moved:
                self._plan_again(segment, segment.complete(replies), now)
                return
            if not self._finish(segment, replies, now):
                self.output.flush()  # the rest waits for the client to read
            if self.state.closing:  # by a command in EXEC
                self._ended = True
                self._queue.clear()
            if self._queue or self._ended or self._paused:
                self._run(now)
            else:
                self.output.flush()
        except Exception:
            _log.failure("a client could not be answered")
            self.abort("internal_error")

    def _plan_again(self, first: Segment, known: list[Reply], now: float) -> None:
        """Some requests of `first` came to a group that has lost their slots; `known` has these replies."""
        until = now + self._port.config.client.leader_wait
        gather, clock = self._validation.gather, self._port.clock
        self._segment = segment = MovedSegment(
            now,
            first.requests,
            first.specs,
            first=first,
            known=known,
            until=until,
            gather=gather,
            clock=clock,
        )
        segment.ask(self._port.host, self.state, self._answered)
        if self._ended:
            segment.leave()

    def _finish(self, segment: Segment, replies: list[Reply], now: float) -> bool:
        """Answer the requests of a segment whose items have `replies`, and put the others back.

        Returns whether all requests of the segment are answered.
        """
        if segment.settled or segment.shapes:
            replies = segment.complete(replies)
        self.output.add(replies)
        segment.report(self._port.statistics, replies, now)
        requests, count = segment.requests, len(replies)
        if count == len(requests):
            return True
        self._queue[:0] = requests[count:]
        return False

    # Backpressure

    def _balance_input(self) -> None:
        """Pause reading while too much waits, here or in the host; resume when it does not."""
        lost, waiting = self.output.lost, len(self._queue)
        full = waiting > QUEUE_REQUESTS or (waiting > 0 and self._queued_bytes > QUEUE_BYTES)
        busy = self._segment is not None or self.output.blocked
        pause = not lost and ((full and busy) or self._waits_for_relief)
        if pause != self._paused:
            self._paused = pause
            self._port.paused(1 if pause else -1)
            if not lost:
                (self._connection.pause if pause else self._connection.resume)()

    def _relieved(self) -> None:
        self._waits_for_relief = False
        self._balance_input()
