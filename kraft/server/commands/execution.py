"""One EXEC: the transaction that it asks the host for, and the replies to its commands afterwards.

Writes and reads are steps of one logged command; without a write, a linearizable read of the keyspace is
enough. The replies are made here, on the node of the client: a read looks at the excerpt of the keyspace that
came back, and local commands run now, in their places. Both may take long, so other connections get their
turn in between: nothing that happens there can change a reply, except to a local command.
"""

from collections.abc import Callable, Iterator, Sequence
from functools import partial
from typing import Any

from kraft.host.requests.round import View
from kraft.kv import commands as kv
from kraft.kv.excerpt import EXCERPT_BYTES, examined, excerpt
from kraft.kv.replies import CommandFailure
from kraft.kv.replies import Reply as Outcome
from kraft.resp.render import payload_bytes, render
from kraft.resp.values import Encoded, Error, Reply
from kraft.server import errors
from kraft.server.commands import once
from kraft.server.commands.spec import CommandContext
from kraft.server.multi_state import Queued
from kraft.server.ports import NodeHost

SLICE_SECONDS = 0.005  # of replies in one go; then other connections get their turn

_NO_STEPS = frozenset({type(None), Error, str})  # `Queued.step` of what is no step of the logged command
_LOOK = frozenset({kv.Look})

Done = Callable[[Any], None]
"""Gets the replies, None after an abort, a `CommandFailure` of the whole transaction, or the host's error."""


class Execution:
    """Executes `commands` in `group`, if the `watched` keys have not changed.

    `size` is the bytes of all words. If it `writes`, it has to be logged. `hits` and `misses` count what
    reads found, as `Segment` does.
    """

    def __init__(
        self,
        context: CommandContext,
        commands: Sequence[Queued],
        watched: Sequence[kv.Watched],
        group: int,
        size: int,
    ) -> None:
        self.commands = commands
        self.group = group
        self.hits = self.misses = 0
        steps: list[Any] = [each.step for each in commands if type(each.step) not in _NO_STEPS]
        self.transaction = kv.Exec(tuple(watched), tuple(steps))
        self.command: kv.Command = self.transaction
        self.writes = not _LOOK.issuperset(map(type, steps))
        self._context = context
        self._size = size
        self._replies: list[Reply] = []
        self._reply_bytes = 0
        self._outcomes: Iterator[Any] = iter(())
        self._records: Sequence[Any] = ()
        self._stamp = 0

    def once(self, token: bytes) -> None:
        """Execute it at most once for this token."""
        requests = [each.request for each in self.commands if not isinstance(each.step, str)]
        self.command = kv.Once(
            token,
            once.fingerprint(requests, transaction=True),
            self.transaction,
            *once.limits(self._context.port.config.once),
        )
        self.writes = True

    def ask(self, host: NodeHost, done: Done) -> None:
        """Ask the host; `done` gets the outcome, never before this returns."""
        state = self._context.state
        if self.writes:
            host.write(self.group, [self.command], self._size, partial(self._written, done))
        elif not (self.transaction.steps or self.transaction.watched):
            self._context.port.clock.call_soon(partial(self._took_place, done, [0, [], []]))
        elif state.readonly:
            host.read_stale(self.group, partial(self._viewed, done))
        else:
            host.read(self.group, partial(self._viewed, done), state.fresh)

    def _written(self, done: Done, outcome: list[Outcome] | Exception) -> None:
        if isinstance(outcome, Exception):
            done(outcome)
        else:
            self._took_place(done, outcome[0])

    def _viewed(self, done: Done, outcome: View | Exception) -> None:
        if isinstance(outcome, Exception):
            done(outcome)
        else:
            self._took_place(done, examined(outcome.keyspace, outcome.now_ms, self.transaction))

    def _took_place(self, done: Done, reply: Any) -> None:
        if not isinstance(reply, list):
            done(reply)
            return
        self._stamp, self._records, outcomes = reply
        self._outcomes = iter(outcomes)
        self._go_on(done)

    def _go_on(self, done: Done) -> None:
        """Make replies for a while; the rest waits for the next turn. A bug costs this client alone."""
        port, replies = self._context.port, self._replies
        if self._context.state.id not in port.sessions:
            return  # the connection is gone
        until = port.clock.seconds() + SLICE_SECONDS
        try:
            while len(replies) < len(self.commands):
                replies.append(self._reply(self.commands[len(replies)]))
                if port.clock.seconds() >= until:
                    port.clock.call_soon(partial(self._go_on, done))
                    return
        except Exception as error:
            done(error)
        else:
            done(replies)

    def _reply(self, queued: Queued) -> Reply:
        step: Any = queued.step
        if step is None:
            return self._local(queued)
        if type(step) in _NO_STEPS:
            settled: Reply = step
            return settled
        outcome = next(self._outcomes)
        if type(step) is kv.Look:
            reply = self._read(queued, step, outcome)
        elif type(outcome) is CommandFailure:
            return errors.command_error(outcome, step)
        else:
            reply = outcome if queued.spec.shape is None else queued.spec.shape(outcome)
        if type(reply) is str:
            return reply
        size = payload_bytes([reply])
        if self._reply_bytes + size > EXCERPT_BYTES:
            return Error(errors.TRANSACTION_REPLY)
        self._reply_bytes += size
        return reply

    def _local(self, queued: Queued) -> Reply:
        state, protocol = self._context.state, self._context.state.protocol
        try:
            reply: Reply = queued.spec.run(self._context, queued.request)
        except errors.Rejected as refusal:
            return Error(refusal.text)
        if state.protocol != protocol and not state.plain:  # HELLO: the replies before it are as they were
            self._replies[:] = [Encoded(render(reply, protocol)) for reply in self._replies]
        return reply

    def _read(self, queued: Queued, look: kv.Look, outcome: Any) -> Reply:
        if type(outcome) is CommandFailure:
            return Error(errors.TRANSACTION_REPLY)
        view = View(excerpt(look, outcome, self._records), self._stamp)
        try:
            reply: Reply = queued.spec.run(view, queued.request)
        except errors.Rejected as refusal:
            return Error(refusal.text)
        found = reply if type(reply) is list else [reply]
        missing = found.count(None)
        self.misses += missing
        if type(reply) in (bytes, list):
            self.hits += len(found) - missing
        return reply
