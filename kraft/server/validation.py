"""Validation of requests: everything that is checked between a request's bytes and the host.

`gather` checks in the order of Redis: the number of words, their lengths, the group that owns the keys, the
memory, the arguments, and the machine version that the command needs. A failure becomes an error reply. The
limits that can be checked only later are in `command_limits`.
"""

from itertools import islice
from typing import Any

from kraft.resp.values import Error, OversizedRequest, Request
from kraft.server import errors
from kraft.server.command_limits import COMPLETE, CommandLimits
from kraft.server.command_lookup import CommandLookup
from kraft.server.commands.spec import (
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
)
from kraft.server.errors import Rejected
from kraft.server.groups_segment import AllGroupsSegment, in_groups, of_one_group
from kraft.server.index_segment import IndexSegment
from kraft.server.multi_queue import MultiQueue
from kraft.server.placement import SEVERAL, Placement
from kraft.server.port import ClientPort
from kraft.server.request_limits import RequestLimits
from kraft.server.rights import FREE
from kraft.server.segments import (
    AdminSegment,
    ExecSegment,
    LocalSegment,
    ReadSegment,
    ReplicaSegment,
    ScriptSegment,
    Segment,
    WaitSegment,
    WatchSegment,
    WriteSegment,
)
from kraft.server.session_state import SessionState
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


class Validation:
    """Finds the command of a request in the table, and checks requests against it and the port's limits."""

    def __init__(self, port: ClientPort, table: CommandTable, unlisted: CommandTable) -> None:
        """`unlisted` are commands in addition to `table`, which COMMAND does not show."""
        self.table = table
        self.lookup = lookup = CommandLookup({**table, **unlisted})
        self.request_limits = RequestLimits(port)
        self.limits = CommandLimits(port)
        self._port = port
        self._groups = 1
        self._placement = Placement(port)
        self._multi_queue = MultiQueue(port, table, lookup, self.request_limits, self.limits, self._placement)

    def gather(self, queue: list[Request], state: SessionState, now: float) -> Segment:
        """Make a segment of the requests of one kind that `queue` begins with, at least one, and remove them.

        A request that fails is answered in its place, and does not split a run. `state` is that of the
        connection: of READONLY, and of MULTI. The segment begins at `now` (`Clock.seconds`).
        """
        lookup = self.lookup
        if self._port.routing.slots.groups != self._groups:
            self._groups = self._port.routing.slots.groups
            lookup.learn_groups()
        spec = lookup.usual.get(queue[0][0]) or lookup.spec_of(queue[0])
        if state.multi is not None or spec is lookup.multi:
            transaction = self._multi_queue.segment(queue, spec, state, now)
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
        port, usual, rights, kind = self._port, self.lookup.usual, state.rights, spec.kind
        items, specs, group, looked_up, match = segment.items, segment.specs, 0, None, None
        small = self.request_limits.small_bytes
        trivial, memory = self._groups == 1 and not port.routing.redirect, port.host.memory  # as in Routing
        full = port.memory_full or memory.leader_full or memory.bytes > port.dataset_bytes_max  # `port.full`
        places: list[tuple[int, int]] = []
        for request in islice(queue, spec.segment_max):
            if specs:
                spec = usual.get(request[0]) or self.lookup.spec_of(request)
                if spec.kind is not kind:
                    break
            try:
                size = sum(map(len, request))
                passes = spec.low <= len(request) <= spec.high and size <= small
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
        self.request_limits.check(spec, request, size)

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


def _refused(text: str, state: SessionState) -> Error:
    """The reply to a request that fails. It aborts the transaction that is queued."""
    if state.multi is not None and text is not errors.WATCH_INSIDE_MULTI:
        state.multi.aborted = True
    return Error(text)
