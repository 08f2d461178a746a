"""Requests between MULTI and EXEC: checked like others, and queued in the `MultiState` of their connection.

A run of neighbours is queued at once, as one segment. Most of them are writes that need no look at anything
but their words; these are queued without a call for each. If nothing else stands between MULTI and EXEC, and
all of it has arrived together, nothing is queued at all: see `TransactionSegment`.
"""

from itertools import chain, islice
from typing import Any

from kraft.kv import commands as kv
from kraft.resp.values import Error, OversizedRequest, Request
from kraft.server import errors
from kraft.server.command_limits import COMPLETE, CommandLimits
from kraft.server.command_lookup import UNKNOWN, CommandLookup
from kraft.server.commands import once
from kraft.server.commands.execution import plain_sets
from kraft.server.commands.spec import (
    SEGMENT_COMMANDS,
    AnySpec,
    CommandContext,
    CommandTable,
    LocalSpec,
    ReadSpec,
    ScriptSpec,
    WriteSpec,
)
from kraft.server.errors import Rejected
from kraft.server.multi_state import MultiState, Queued
from kraft.server.placement import SEVERAL, Placement
from kraft.server.port import ClientPort
from kraft.server.request_limits import RequestLimits
from kraft.server.rights import FREE
from kraft.server.segments import QueueSegment, Segment
from kraft.server.session_state import SessionState
from kraft.server.transaction_segment import TransactionSegment

_PUTS = frozenset({kv.Put})
_EXEC = ([[b"EXEC"]], [[b"exec"]])


class MultiQueue:
    """Queues the requests of all connections of one client port."""

    def __init__(
        self,
        port: ClientPort,
        table: CommandTable,
        lookup: CommandLookup,
        request_limits: RequestLimits,
        command_limits: CommandLimits,
        placement: Placement,
    ) -> None:
        self._port = port
        self._table = table
        self._lookup = lookup
        self._request_limits = request_limits
        self._command_limits = command_limits
        self._placement = placement

    def segment(self, queue: list[Request], spec: AnySpec, state: SessionState, now: float) -> Segment | None:
        """MULTI with the requests after it, or requests after an earlier MULTI, as one segment.

        None if the first request, whose command is `spec`, is one to execute.
        """
        if state.multi is not None:
            return None if spec.immediate else self._queue(queue, state, state.multi, QueueSegment(now))
        allowed = state.rights is None or state.rights.permits.get(spec) is FREE
        if len(queue) == 1 or len(queue[0]) > 1 or not allowed:
            return None
        if not (state.watched or state.rights or self._port.full) and self._port.routing.trivial:
            transaction = self._transaction(queue, spec, now)
            if transaction is not None:
                return transaction
        state.multi = MultiState()
        return self._queue(queue, state, state.multi, QueueSegment(now, specs=[spec], settled={0: "OK"}))

    def _transaction(self, queue: list[Request], multi: AnySpec, now: float) -> TransactionSegment | None:
        """Move MULTI, writes and EXEC to one segment. None if anything else comes, or needs another look."""
        plain = self._lookup.transacted
        specs: list[AnySpec] = [multi]
        steps: list[Any] = []
        for request in islice(queue, 1, SEGMENT_COMMANDS):
            spec = plain.get(request[0])
            if spec is None or spec.all_groups is not None or not spec.low <= len(request) <= spec.high:
                break
            try:
                step = spec.run(request)
            except Rejected:
                return None
            if type(step) not in COMPLETE:
                return None
            specs.append(spec)
            steps.append(step)
        count = len(steps)
        if not count or queue[count + 1 : count + 2] not in _EXEC:
            return None
        requests = queue[: count + 2]
        command: kv.SetMany | kv.Exec
        command = plain_sets(steps) if _PUTS.issuperset(map(type, steps)) else kv.Exec((), tuple(steps))
        size = self._size(requests[1:-1])
        if not size or self._port.host.version_obstacle(0, kv.Exec.since):
            return None
        specs.append(self._lookup.usual[requests[-1][0]])
        del queue[: count + 2]
        return TransactionSegment(now, requests, specs, [command], size=size, steps=steps)

    def _size(self, requests: list[Request]) -> int:
        """The bytes of all words, 0 if one or all of the requests may be over a limit."""
        limits = self._port.limits
        size = sum(map(len, chain.from_iterable(requests)))
        small = size <= self._request_limits.small_bytes and OversizedRequest not in map(type, requests)
        few = len(requests) <= limits.multi_commands and sum(map(len, requests)) <= limits.arguments
        return size if small and few else 0

    def _queue(
        self, queue: list[Request], state: SessionState, multi: MultiState, segment: QueueSegment
    ) -> Segment:
        """Move requests after MULTI to what EXEC will execute. One that fails aborts that."""
        lookup, port = self._lookup, self._port
        usual, specs, settled, full = lookup.usual, segment.specs, segment.settled, port.full
        small, trivial = self._request_limits.small_bytes, port.routing.trivial
        plain = lookup.transacted if trivial and not full and state.rights is None else {}
        queued: list[Queued] = []
        total = 0
        spec: AnySpec
        for request in islice(queue, len(specs), SEGMENT_COMMANDS):
            size, command = sum(map(len, request)), None
            write = plain.get(request[0]) if type(request) is not OversizedRequest else None
            if write is None or not write.low <= len(request) <= write.high or size > small:
                spec = usual.get(request[0]) or lookup.spec_of(request)
                if spec.immediate:
                    break
            else:
                spec = write
                try:
                    command = write.run(request)
                except Rejected:  # `_queued` has the reply
                    command = None
            place = len(specs)
            specs.append(spec)
            if type(command) in COMPLETE:
                queued.append(Queued(spec, request, command))
            else:
                try:
                    each = self._queued(request, size, spec, state, multi, trivial=trivial, full=full)
                    queued.append(each)
                except Rejected as refusal:
                    multi.aborted = True
                    settled[place] = Error(refusal.text)
                    continue
            settled[place] = "QUEUED"
            total += size
        try:
            multi.add(queued, total, port.limits, state.watched_bytes)
        except Rejected:
            self._add_each(queued, multi, segment, state)
        segment.requests = queue[: len(specs)]
        del queue[: len(specs)]
        return segment

    def _add_each(
        self, queued: list[Queued], multi: MultiState, segment: QueueSegment, state: SessionState
    ) -> None:
        """Queue those that the transaction has room for, and refuse the others: that aborts it."""
        places = [place for place, reply in segment.settled.items() if reply == "QUEUED"]
        for place, each in zip(places, queued, strict=True):
            size = sum(map(len, each.request))
            try:
                multi.add([each], size, self._port.limits, state.watched_bytes)
            except Rejected as refusal:
                multi.aborted = True
                segment.settled[place] = Error(refusal.text)

    def _queued(
        self,
        request: Request,
        size: int,
        spec: AnySpec,
        state: SessionState,
        multi: MultiState,
        *,
        trivial: bool,
        full: bool,
    ) -> Queued:
        """A request of `size` bytes after MULTI, checked like others. Wrong arguments: its reply in EXEC."""
        if not spec.low <= len(request) <= spec.high:
            raise Rejected(errors.wrong_arity(spec.name))
        if type(spec) is LocalSpec and (spec is UNKNOWN or (spec.subcommands and len(request) > 1)):
            unknown = spec.run(CommandContext(self._port, state, self._table), request)  # raises otherwise
            raise Rejected(unknown.text if isinstance(unknown, Error) else errors.unknown_subcommand(request))
        if spec.no_multi:
            raise Rejected(errors.NOT_IN_TRANSACTION)
        if state.rights is not None and state.rights.permits.get(spec) is not FREE:
            self._port.users.check(state.rights, spec, request, state)
        if spec.name == once.NAME:
            return _queued_token(request, spec, multi)
        self._request_limits.check(spec, request, size)
        group = 0 if trivial else self._placement.group_queued(spec, request, state, multi)
        if type(spec) is ReadSpec:
            return Queued(spec, request, kv.Look(tuple(spec.keys_of(request))))
        if type(spec) is not WriteSpec and type(spec) is not ScriptSpec:
            return Queued(spec, request, None)
        if full and type(spec) is WriteSpec and spec.grows:
            raise Rejected(errors.OUT_OF_MEMORY)
        return self._queued_command(spec, request, state, group)

    def _queued_command(
        self, spec: WriteSpec | ScriptSpec, request: Request, state: SessionState, group: int
    ) -> Queued:
        """A command that the state machine is to execute, of `group`."""
        if spec.no_multi:
            raise Rejected(errors.NOT_IN_TRANSACTION)
        try:
            command = spec.run(request)
            if type(spec) is ScriptSpec:
                command = self._command_limits.called(command, state)
        except Rejected as refusal:
            return Queued(spec, request, Error(refusal.text))
        if group == SEVERAL:
            group = self._placement.first(command, spec.routed_by(request))
        if type(command) not in COMPLETE:
            command = self._command_limits.completed(spec, command, group)
        return Queued(spec, request, command)


def _queued_token(request: Request, spec: AnySpec, multi: MultiState) -> Queued:
    """KRAFT ONCE token after MULTI: all of the transaction happens once."""
    token = once.token_of(request)
    if len(request) > once.WORDS or multi.token is not None:
        raise Rejected("ERR after MULTI, KRAFT ONCE token is a command of its own, given once")
    multi.token = token
    return Queued(spec, request, "OK")
