"""MULTI, writes and EXEC that have arrived together: one command, without a queue.

Client libraries send a transaction in one piece. If it consists of writes that need no check but that of
their words, `MultiQueue` makes this segment of it. Any other one is queued, and an `ExecSegment` executes it.
"""

from collections.abc import Callable
from typing import Any

from msgspec import field

from kraft.kv.commands import Exec, SetMany
from kraft.kv.replies import CommandFailure
from kraft.kv.replies import Reply as Outcome
from kraft.resp.values import Reply, Request
from kraft.server import errors
from kraft.server.commands.execution import written_replies
from kraft.server.multi_state import MultiState, Queued
from kraft.server.ports import NodeHost
from kraft.server.segments import Gather, Segment
from kraft.server.session_state import SessionState
from kraft.server.statistics import Statistics


class TransactionSegment(Segment):
    """MULTI, writes and EXEC. `steps` are those of the writes; the only item is what is logged for them."""

    items: list[Exec | SetMany] = field(default_factory=list)
    steps: list[Any] = field(default_factory=list)

    def ask(self, host: NodeHost, _: SessionState, done: Callable[[list[Outcome] | Exception], None]) -> None:
        host.write(self.group, self.items, self.size, done)

    def replies(self, outcome: list[Any]) -> list[Reply]:
        [reply] = outcome
        if type(reply) is CommandFailure:
            self.moved = reply is CommandFailure.NOT_OWNER
            return self._with_exec(errors.command_error(reply, self.items[0]))
        if type(self.items[0]) is SetMany:
            return self._with_exec([reply] * len(self.steps))
        return self._with_exec(written_replies(self.specs[1:-1], self.steps, reply[2]))

    def failures(self, failure: Exception, host: NodeHost) -> list[Reply]:
        return self._with_exec(super().failures(failure, host)[0])

    def _with_exec(self, reply: Reply) -> list[Reply]:
        return ["OK", *["QUEUED"] * len(self.steps), reply]

    def again(self, gather: Gather, requests: list[Request], state: SessionState, now: float) -> Segment:
        """EXEC, which is planned again, with everything else as if it had been queued."""
        each = zip(self.specs[1:-1], self.requests[1:-1], self.steps, strict=True)
        words = sum(map(len, self.requests[1:-1]))
        state.multi = MultiState([Queued(*parts) for parts in each], words, self.size)
        return gather(requests, state, now)

    def report(self, statistics: Statistics, replies: list[Reply], now: float) -> None:
        """Count MULTI, each write if it was executed, and EXEC."""
        multi, *writes, exec_ = self.specs
        statistics.add(multi.name, multi.counted_as, 1, 0.0)
        inner = replies[-1]
        if type(inner) is list:
            Segment(self.started, specs=writes).report(statistics, inner, now)
        Segment(self.started, specs=[exec_]).report(statistics, [inner], now)
