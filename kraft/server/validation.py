"""Validation of requests: everything that is checked between a request's bytes and the host.

`gather` checks in the order of Redis: the number of words, their lengths, the group that owns the keys, the
memory, the arguments, and the machine version that the command needs. A failure becomes an error reply. The
limits that can be checked only later are in `command_limits`.
"""

from itertools import islice
from typing import Any

from kraft.kv import commands as kv
from kraft.resp.values import Error, OversizedRequest, Reply, Request
from kraft.server import errors
from kraft.server.command_limits import COMPLETE, CommandLimits
from kraft.server.commands import once
from kraft.server.commands.spec import (
    SEGMENT_COMMANDS,
    AdminSpec,
    AllGroupsSpec,
    AnySpec,
    CommandContext,
    CommandTable,
    ExecSpec,
    IndexSpec,
    LocalSpec,
    ReadSpec,
    ReplicaSpec,
    ScriptSpec,
    SingleSpec,
    SwitchSpec,
    UserSpec,
    WaitSpec,
    WatchSpec,
    WriteSpec,
    in_all_groups,
)
from kraft.server.errors import Rejected
from kraft.server.groups_segment import AllGroupsSegment, in_groups, of_one_group
from kraft.server.index_segment import IndexSegment
from kraft.server.multi_state import MultiState, Queued
from kraft.server.placement import SEVERAL, Placement
from kraft.server.port import ClientPort
from kraft.server.rights import FREE
from kraft.server.segments import (
    AdminSegment,
    ExecSegment,
    LocalSegment,
    QueueSegment,
    ReadSegment,
    ReplicaSegment,
    ScriptSegment,
    Segment,
    WaitSegment,
    WatchSegment,
    WriteSegment,
)
from kraft.server.session_state import SessionState
from kraft.server.suggestion import closest
from kraft.server.user_segment import UserSegment

SEGMENT_BYTES = 256 << 10  # well below a log entry's batch_bytes

_SEGMENTS: dict[str, type[Segment]] = {
    LocalSpec.kind: LocalSegment,
    SwitchSpec.kind: LocalSegment,
    ReadSpec.kind: ReadSegment,
    IndexSpec.kind: IndexSegment,
    WriteSpec.kind: WriteSegment,
    ScriptSpec.kind: ScriptSegment,
    WaitSpec.kind: WaitSegment,
    ReplicaSpec.kind: ReplicaSegment,
    AdminSpec.kind: AdminSegment,
    WatchSpec.kind: WatchSegment,
    ExecSpec.kind: ExecSegment,
    AllGroupsSpec.kind: AllGroupsSegment,
    UserSpec.kind: UserSegment,
}


def _unknown(context: CommandContext, request: Request) -> Error:
    meant = closest(errors.printable(request[0]), (spec.name for spec in context.table.values()))
    return Error(errors.unknown_command(request) + (f"- did you mean {meant}?" if meant else ""))


UNKNOWN = LocalSpec(name="unknown", arity=-1, run=_unknown)


class Validation:
    """Finds the command of a request in the table, and checks requests against it and the port's limits."""

    def __init__(self, port: ClientPort, table: CommandTable, unlisted: CommandTable) -> None:
        """`unlisted` are commands in addition to `table`, which COMMAND does not show."""
        self.table = table
        self._port = port
        self._groups = 1
        self._placement = Placement(port)
        self.limits = CommandLimits(port)
        self._learn({**table, **unlisted})
        limits = port.limits  # a request of so few bytes has neither a key nor a value over its limit
        self.small_bytes = min(limits.key_bytes, limits.value_bytes, limits.request_bytes)

    def _learn_groups(self) -> None:
        """There are several groups: from the beginning, or by now (see SlotMap)."""
        self._groups = self._port.routing.slots.groups
        self._learn(in_all_groups(self._known))

    def _learn(self, known: CommandTable) -> None:
        """Use the specifications `known`."""
        self._known = known
        # Commands of one kind by their two usual spellings; `spec_of` finds the others.
        plain = {name: spec for name, spec in known.items() if not (spec.subcommands or spec.variants)}
        self.usual = plain | {name.lower(): spec for name, spec in plain.items()}
        self._multi = known.get(b"MULTI")

    def spec_of(self, request: Request) -> AnySpec:
        """The specification of the request's command, of its subcommand if there is one."""
        spec = self._known.get(request[0].upper(), UNKNOWN)
        if spec.subcommands and len(request) > 1:
            spec = spec.subcommands.get(request[1].upper(), spec)
        if spec.variants:
            return spec.variant(request) or spec
        return spec

    def gather(self, queue: list[Request], state: SessionState, now: float) -> Segment:
        """Make a segment of the requests of one kind that `queue` begins with, at least one, and remove them.

        A request that fails is answered in its place, and does not split a run. `state` is that of the
        connection: of READONLY, and of MULTI. The segment begins at `now` (`Clock.seconds`).
        """
        if self._port.routing.slots.groups != self._groups:
            self._learn_groups()
        spec = self.usual.get(queue[0][0]) or self.spec_of(queue[0])
        if state.multi is not None or spec is self._multi:
            transaction = self._transaction(queue, spec, state, now)
            if transaction is not None:
                return transaction
        segment = _SEGMENTS[spec.kind](now)
        places = self._fill(segment, queue, spec, state)
        count = len(segment.specs)
        if not count:  # the first request has keys in several groups
            context = CommandContext(self._port, state, self.table)
            return self._placement.segment(spec, queue.pop(0), context, now, self.limits)
        segment.requests = queue[:count]
        del queue[:count]
        segment = in_groups(segment, places) if places else segment
        return of_one_group(segment) if segment.whole else segment

    def _fill(
        self, segment: Segment, queue: list[Request], spec: AnySpec, state: SessionState
    ) -> list[tuple[int, int]]:
        """Add the requests of the kind of `spec`, that of the first one, as the items of a segment.

        Returns the group and the size of each item where they may be in several groups, else nothing.
        """
        port, usual, rights, kind = self._port, self.usual, state.rights, spec.kind
        items, specs, group, looked_up, match = segment.items, segment.specs, 0, None, None
        trivial, memory = self._groups == 1 and not port.routing.redirect, port.host.memory  # as in Routing
        full = port.memory_full or memory.leader_full or memory.bytes > port.dataset_bytes_max  # `port.full`
        places: list[tuple[int, int]] = []
        for request in islice(queue, spec.segment_max):
            if specs:
                spec = usual.get(request[0]) or self.spec_of(request)
                if spec.kind is not kind:
                    break
            try:
                size = sum(map(len, request))
                passes = spec.low <= len(request) <= spec.high and size <= self.small_bytes
                if rights is not None and passes:
                    if spec is not looked_up:  # a pipeline has one command mostly
                        looked_up, match = spec, rights.permits.get(spec)
                    if match is not FREE and (match is None or not match(request[1])):
                        passes, looked_up = rights.allows(spec, request), None
                if not passes or type(request) is OversizedRequest:
                    self._check(spec, request, size, state)
                if items and segment.size + size > SEGMENT_BYTES:
                    break
                if not trivial:
                    group = self._placement.group_of(spec, request, state)
                    if group == SEVERAL:
                        break
                if type(spec) is WriteSpec:
                    if full and spec.grows:
                        raise Rejected(errors.OUT_OF_MEMORY)
                    command = spec.run(request)
                    if type(command) not in COMPLETE:
                        if spec.all_groups is not None:
                            if items:
                                break
                            segment.whole, kind = True, ""  # a segment by itself
                        command = self.limits.completed(spec, command, group)
                    if spec.shape is not None:
                        segment.shapes[len(items)] = spec.shape
                    items.append(command)
                elif type(spec) is ReadSpec or type(spec) is LocalSpec:
                    items.append((spec, request))
                else:
                    if type(spec) is ScriptSpec and spec.all_groups is not None:
                        if items:
                            break
                        segment.whole, kind = True, ""
                    items.append(self._single(spec, request, segment, group, state))
                segment.size += size
                if not trivial:
                    places.append((group, size))
            except Rejected as refusal:
                segment.settled[len(specs)] = _refused(refusal.text, state)
            specs.append(spec)
        return places

    def _check(self, spec: AnySpec, request: Request, size: int, state: SessionState) -> None:
        """Raise Rejected for the wrong number of words, a lack of rights, or words that are too long."""
        if not spec.low <= len(request) <= spec.high:
            raise Rejected(errors.wrong_arity(spec.name))
        rights = state.rights
        if rights is not None and rights.permits.get(spec) is not FREE and not rights.allows(spec, request):
            self._port.users.check(rights, spec, request, state)
        self.check_size(spec, request, size)

    def _single(
        self, spec: SingleSpec, request: Request, segment: Any, group: int, state: SessionState
    ) -> object:
        """The item of a command that is a segment by itself, or of a call of a script."""
        item: object
        if isinstance(spec, ScriptSpec):
            item = self.limits.completed(spec, self.limits.called(spec.run(request), state), group)
            segment.shapes[len(segment.items)] = spec.shape
            return item
        if isinstance(spec, WatchSpec | ExecSpec | ReplicaSpec | UserSpec):
            return spec.run(CommandContext(self._port, state, self.table), request)
        if isinstance(spec, IndexSpec):
            query = spec.run(request)
            segment.choose_groups(query, self._port.routing)
            return query
        if isinstance(spec, AllGroupsSpec):
            return self._in_all_groups(spec, request, segment, state)
        if isinstance(spec, SwitchSpec):
            return spec, request  # the session runs it
        if isinstance(spec, WaitSpec):
            if self._port.full:
                raise Rejected(errors.OUT_OF_MEMORY)
            command, seconds = spec.run(request)
            item = self.limits.completed(spec, command, group), seconds
        else:
            item = spec.run(request)
        segment.shapes[0] = spec.shape
        return item

    def _in_all_groups(
        self, spec: AllGroupsSpec, request: Request, segment: AllGroupsSegment, state: SessionState
    ) -> object:
        """The item of a command that concerns all groups, in each of which it is a segment."""
        one, rule, routing = spec.one, spec.all_groups, self._port.routing
        if spec.lock:
            raise Rejected(errors.GUARD_ALL)
        segment.rule = rule
        size = sum(map(len, request))
        item: Any = None
        for group in routing.groups() if rule is None or rule.led else range(routing.slots.groups):
            if isinstance(one, ReadSpec):
                item = one, request
            else:
                command = one.run(request)
                if isinstance(one, ScriptSpec):
                    command = self.limits.called(command, state)
                item = self.limits.completed(one, command, group)
            part = _SEGMENTS[one.kind](segment.started, items=[item], group=group, size=size)
            if not isinstance(one, ReadSpec) and one.shape is not None:
                part.shapes[0] = one.shape
            segment.parts[group] = part
        return item

    def _transaction(
        self, queue: list[Request], spec: AnySpec, state: SessionState, now: float
    ) -> Segment | None:
        """MULTI with the requests after it, or requests after an earlier MULTI, as one segment.

        None if the first request, whose command is `spec`, is one to execute.
        """
        if state.multi is not None:
            return None if spec.immediate else self._queue(queue, state, state.multi, QueueSegment(now))
        allowed = state.rights is None or state.rights.permits.get(spec) is FREE
        if len(queue) == 1 or len(queue[0]) > 1 or not allowed:
            return None
        state.multi = MultiState()
        return self._queue(queue, state, state.multi, QueueSegment(now, specs=[spec], settled={0: "OK"}))

    def _queue(
        self, queue: list[Request], state: SessionState, multi: MultiState, segment: QueueSegment
    ) -> Segment:
        """Move requests after MULTI to what EXEC will execute. One that fails aborts that."""
        usual, specs, settled, full = self.usual, segment.specs, segment.settled, self._port.full
        limits, trivial = self._port.limits, self._port.routing.trivial
        small, watched_bytes = self.small_bytes, state.watched_bytes
        plain = trivial and not full and state.rights is None  # then a short write is what it seems
        for request in islice(queue, len(specs), SEGMENT_COMMANDS):
            spec = usual.get(request[0]) or self.spec_of(request)
            if spec.immediate:
                break
            reply: Reply = "QUEUED"
            size = sum(map(len, request))
            try:
                fits = spec.low <= len(request) <= spec.high and size <= small
                if plain and fits and type(spec) is WriteSpec and type(request) is not OversizedRequest:
                    queued = self._queued_command(spec, request, state, 0)
                else:
                    queued = self._queued(request, size, spec, state, multi, trivial=trivial, full=full)
                multi.add(queued, size, limits, watched_bytes)
            except Rejected as refusal:
                multi.aborted = True
                reply = Error(refusal.text)
            settled[len(specs)] = reply
            specs.append(spec)
        segment.requests = queue[: len(specs)]
        del queue[: len(specs)]
        return segment

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
            unknown = spec.run(CommandContext(self._port, state, self.table), request)  # raises otherwise
            raise Rejected(unknown.text if isinstance(unknown, Error) else errors.unknown_subcommand(request))
        if spec.no_multi:
            raise Rejected(errors.NOT_IN_TRANSACTION)
        if state.rights is not None and state.rights.permits.get(spec) is not FREE:
            self._port.users.check(state.rights, spec, request, state)
        if spec.name == once.NAME:
            return _queued_token(request, spec, multi)
        if size > self.small_bytes or type(request) is OversizedRequest:
            self._check_lengths(spec, request)
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
                command = self.limits.called(command, state)
        except Rejected as refusal:
            return Queued(spec, request, Error(refusal.text))
        if group == SEVERAL:
            group = self._placement.first(command, spec.routed_by(request))
        if type(command) not in COMPLETE:
            command = self.limits.completed(spec, command, group)
        return Queued(spec, request, command)

    def check_size(self, spec: AnySpec, request: Request, size: int) -> None:
        """Raise Rejected if a key or a value of the request, or all of its `size` bytes, are too long."""
        if size > self.small_bytes or type(request) is OversizedRequest:
            self._check_lengths(spec, request)

    def _check_lengths(self, spec: AnySpec, request: Request) -> None:
        lengths = request.lengths if type(request) is OversizedRequest else list(map(len, request))
        limits = self._port.limits
        keys = spec.key_places(request)
        for place, length in enumerate(lengths):
            if place in keys:
                if length > limits.key_bytes:
                    raise Rejected(errors.over_limit("key", limits.key_bytes))
            elif length > limits.value_bytes:
                raise Rejected(errors.over_limit("value", limits.value_bytes))
        if sum(lengths) > limits.request_bytes:
            raise Rejected(errors.over_limit("request", limits.request_bytes))


def _refused(text: str, state: SessionState) -> Error:
    """The reply to a request that fails. It aborts the transaction that is queued."""
    if state.multi is not None and text is not errors.WATCH_INSIDE_MULTI:
        state.multi.aborted = True
    return Error(text)


def _queued_token(request: Request, spec: AnySpec, multi: MultiState) -> Queued:
    """KRAFT ONCE token after MULTI: all of the transaction happens once."""
    token = once.token_of(request)
    if len(request) > once.WORDS or multi.token is not None:
        raise Rejected("ERR after MULTI, KRAFT ONCE token is a command of its own, given once")
    multi.token = token
    return Queued(spec, request, "OK")
