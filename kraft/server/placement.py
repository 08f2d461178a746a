"""Where a request belongs: the group of its keys, or a transaction of its own over several groups."""

from collections.abc import Sequence

from kraft.kv import commands as kv
from kraft.resp.values import Error, Request
from kraft.server import errors
from kraft.server.command_limits import CommandLimits
from kraft.server.commands.computation import check_computable
from kraft.server.commands.execution import Execution
from kraft.server.commands.spec import AnySpec, CommandContext, ReadSpec, ScriptSpec, WatchSpec, WriteSpec
from kraft.server.errors import CrossSlot, Rejected
from kraft.server.multi_state import MultiState, Queued
from kraft.server.port import ClientPort
from kraft.server.segments import CrossGroupSegment, Segment, WatchSegment
from kraft.server.session_state import SessionState

SEVERAL = -1  # in place of a group


_TRANSACTED = frozenset({ReadSpec, WriteSpec, ScriptSpec, WatchSpec})  # whose keys may be in several groups


class Placement:
    """Places the requests of one client port. Most methods raise Rejected, with -CROSSSLOT or -MOVED."""

    def __init__(self, port: ClientPort) -> None:
        self._port = port

    def group_of(
        self, spec: AnySpec, request: Request, state: SessionState, *, anywhere: bool = False
    ) -> int:
        """The group that owns the request's keys; SEVERAL for a command that may have keys in several.

        `anywhere` as of `Routing.group_of`.
        """
        anywhere = anywhere or (state.readonly and isinstance(spec, ReadSpec | WatchSpec))
        try:
            return self._port.routing.group_of(spec.routed_by(request), anywhere=anywhere)
        except CrossSlot:
            if type(spec) not in _TRANSACTED or not self._transacts:
                raise
            return SEVERAL

    def group_queued(self, spec: AnySpec, request: Request, state: SessionState, multi: MultiState) -> int:
        """As `group_of`, for a request after MULTI.

        In redirect mode the first one with keys decides on the node, if others may have keys in other groups.
        """
        group = self.group_of(spec, request, state, anywhere=multi.keyed and self._transacts)
        multi.keyed = multi.keyed or bool(spec.routed_by(request))
        return group

    def first(self, command: kv.Command, keys: Sequence[bytes]) -> int:
        """The group of the first of the `keys` of a write, which may be in several groups."""
        check_computable(command, self._port.routing.group_of_key)
        return self._port.routing.group_of_key(keys[0])

    def segment(
        self, spec: AnySpec, request: Request, context: CommandContext, now: float, limits: CommandLimits
    ) -> Segment:
        """A segment of one command with keys in several groups."""
        segment: Segment = WatchSegment(now) if isinstance(spec, WatchSpec) else CrossGroupSegment(now)
        segment.requests.append(request)
        segment.specs.append(spec)
        try:
            if isinstance(spec, WatchSpec):
                segment.items.append(spec.run(context, request))
            else:
                segment.items.append(self._transaction(spec, request, context, limits))
        except Rejected as refusal:
            segment.settled[0] = Error(refusal.text)
        return segment

    def _transaction(
        self, spec: AnySpec, request: Request, context: CommandContext, limits: CommandLimits
    ) -> Execution:
        """The transaction that a single command with keys in several groups becomes."""
        port, keys = self._port, spec.routed_by(request)
        anywhere = context.state.readonly and isinstance(spec, ReadSpec)
        group = port.routing.group_of(keys[:1], anywhere=anywhere)  # of the node that coordinates
        step: kv.Command | kv.Look = kv.Look(tuple(keys))
        if isinstance(spec, WriteSpec):
            if spec.grows and port.full:
                raise Rejected(errors.OUT_OF_MEMORY)
            step = limits.added(spec.run(request))
        elif isinstance(spec, ScriptSpec):
            step = limits.called(spec.run(request), context.state)
        once = limits.added(step) if type(step) is kv.Once else None
        if isinstance(once, kv.Once):
            step = once.command
        execution = Execution(
            context,
            (Queued(spec, request, step),),
            (),
            group,
            sum(map(len, request)),
            port.routing.group_of_key,
        )
        if isinstance(once, kv.Once):
            execution.use_token(once)
        obstacle = execution.obstacle(port.host)
        if obstacle:
            raise Rejected(f"ERR '{spec.name}' {obstacle}")
        return execution

    @property
    def _transacts(self) -> bool:
        return self._port.config.client.cross_group == "transact"
