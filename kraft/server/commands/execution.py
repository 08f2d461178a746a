"""One EXEC: the transaction that it asks the host for, and the replies to its commands afterwards.

Writes and reads are steps of one logged command; without a write, a linearizable read of the keyspace is
enough. With keys in several groups each group has a part of the steps (`partition`). The replies are made
here, on the node of the client: a read looks at the excerpt of the keyspace that came back, and local
commands run now, in their places. Both may take long, so other connections get their turn in between: nothing
that happens there can change a reply, except to a local command.
"""

from collections.abc import Callable, Collection, Iterable, Iterator, Mapping, Sequence
from functools import partial
from itertools import chain, islice
from operator import attrgetter
from typing import Any

from msgspec import UNSET

from kraft.host.requests.round import View
from kraft.host.transactions.token_use import Remembered, TokenUse
from kraft.kv import commands as kv
from kraft.kv.excerpt import EXCERPT_BYTES, Excerpt, examined, excerpt
from kraft.kv.footprint import declared, first_key
from kraft.kv.replies import CommandFailure
from kraft.kv.replies import Reply as Outcome
from kraft.kv.transaction_reply import needs_revision
from kraft.kv.versions import MACHINE_VERSION
from kraft.node.errors import NotOwner
from kraft.resp.render import payload_bytes, render
from kraft.resp.values import Encoded, Error, Reply
from kraft.server import errors
from kraft.server.commands import once
from kraft.server.commands.computation import StepComputation
from kraft.server.commands.partition import GroupOf, Partition, divided, divides, joined, parts_of, united
from kraft.server.commands.spec import CommandContext
from kraft.server.multi_state import Queued
from kraft.server.ports import NodeHost

SLICE_SECONDS = 0.005  # of replies in one go; then other connections get their turn
SLICE_REPLIES = 256  # of writes, between two looks at the clock

_NO_STEPS = frozenset({type(None), Error, str})  # `Queued.step` of what is no step of the logged command
_READ_OR_NO_STEP = _NO_STEPS | {kv.Look}
_PUTS = frozenset({kv.Put})
_STEP, _SPEC, _PAIR = attrgetter("step"), attrgetter("spec"), attrgetter("key", "value")
_SHORT = frozenset({str, int})  # of replies that count for nothing in the limit of their size
_LONG = frozenset({kv.Look, type(None)})  # of the commands whose replies may take long to make
REVISION = "kraft|rev"  # the name of the only read that shows a revision

Done = Callable[[Any], None]
"""Gets the replies, None after an abort, a `CommandFailure` of the whole transaction, or the host's error."""


class Execution:
    """Executes `commands` in `group`, if the `watched` keys have not changed.

    With `group_of` their keys are in several groups, and `group` is any of these. `size` is the bytes of all
    words. If it `writes`, it has to be logged. `hits` and `misses` count what reads found, as `Segment` does.
    `again` makes an execution of the same in the groups that own the keys by then, for EXEC.
    Raises Rejected if one of them cannot have keys in several groups.

    Plain SETs alone are logged as one MSET. `spec` is that of all commands, None if they differ.
    """

    again: "Callable[[], Execution]"
    hits = misses = _reply_bytes = 0
    _shares: Sequence[Partition] | None = None  # of each step, if there are several groups
    _left: Iterator[Partition] = iter(())  # those whose replies are not made
    _computation: StepComputation | None = None  # of steps that see several groups at once
    _use: TokenUse | None = None  # of KRAFT ONCE, if there are several groups

    def __init__(
        self,
        context: CommandContext,
        commands: Sequence[Queued],
        watched: Sequence[kv.Watched],
        group: int,
        size: int,
        group_of: GroupOf | None = None,
    ) -> None:
        self.commands = commands
        self.group = group
        steps: list[Any] = list(map(_STEP, commands))
        kinds = set(map(type, steps))
        if not kinds.isdisjoint(_NO_STEPS):
            steps = [step for step in steps if type(step) not in _NO_STEPS]
        self.transaction = kv.Exec(tuple(watched), tuple(steps))
        self.command: kv.Command = self.transaction
        self.writes = not kinds <= _READ_OR_NO_STEP
        self._only_writes = kinds.isdisjoint(_READ_OR_NO_STEP) and len(steps) <= SLICE_REPLIES
        specs = list(map(_SPEC, commands))
        self.spec = specs[0] if specs and specs.count(specs[0]) == len(specs) else None
        if (
            kinds == _PUTS
            and not watched
            and group_of is None
            and self.spec is not None
            and self.spec.shape is None
        ):
            self.command = plain_sets(steps)
        self._context = context
        self._size = size
        self._replies: list[Reply] = []
        self._outcomes: dict[int, Iterator[Any]] = {}  # by group, as the next two
        self._records: dict[int, Sequence[Any]] = {}
        self._stamps: dict[int, int] = {}
        self._group_of = group_of
        self.parts = {group: self.transaction}
        if group_of is not None:
            _check_revisions(commands)
            self._divide(steps, group_of)

    def _divide(self, steps: Sequence[Any], group_of: GroupOf) -> None:
        """Find what each group has to do, or what has to be computed first."""
        computed = [place for place, step in enumerate(steps) if not divides(step, group_of)]
        if computed:
            self._shares = ()
            evaluator = self._context.port.evaluator
            if evaluator is None:
                raise LookupError("a client port has an evaluator")
            limit = self._context.port.limits.request_bytes
            self._computation = StepComputation(
                self.transaction, computed, self.group, group_of, evaluator, limit
            )
        else:
            self._shares = [divided(step, group_of, self.group) for step in steps]
            self.parts = parts_of(self._shares, self.transaction.watched, group_of)

    def once(self, token: bytes) -> None:
        """Execute it, as EXEC, at most once for this token. Raises Rejected."""
        requests = [each.request for each in self.commands if not isinstance(each.step, str)]
        fingerprint = once.fingerprint(requests, transaction=True)
        users = {step.user for step in self.transaction.steps if isinstance(step, kv.ScriptCall)}
        for user in sorted(users - {b""}):
            fingerprint = once.fingerprint_of(user, fingerprint)
        limits = once.limits(self._context.port.config.once)
        self.use_token(kv.Once(token, fingerprint, self.transaction, *limits))

    def use_token(self, command: kv.Once) -> None:
        """Execute it at most once for the token of this command, which it is.

        Raises Rejected if that is not possible over several groups.
        """
        self.command, self.writes = command, True
        if self._group_of is None:
            return
        key = first_key(command.command)
        if key is None:
            raise errors.CrossSlot(errors.ONCE_WATCHED)
        if needs_revision(self.transaction):
            raise errors.CrossSlot(errors.ONCE_REVISION)
        self._use = TokenUse(
            kv.OnceToken(
                command.token, command.fingerprint, key, command.ttl_ms, command.tokens_max, command.bytes_max
            ),
            self._group_of(key),
            self._united,
            self._context.port.limits.request_bytes,
        )

    def obstacle(self, host: NodeHost) -> str:
        """Why this may not be logged yet in one of its groups, empty when it may."""
        if not self.writes:
            return ""
        groups = self.parts if self._computation is None else self._computation.groups
        lacking = [group for group in groups if host.version_obstacle(group, MACHINE_VERSION)]
        if not lacking:
            return ""
        needed = kv.needed_version((self.command, self.transaction))
        if self._shares is not None:
            needed = max(needed, kv.Prepare.since if self._use is None else kv.CommitOnce.since)
        obstacles = [host.version_obstacle(group, needed) for group in lacking]
        return next(filter(None, obstacles), "")

    def ask(self, host: NodeHost, done: Done) -> None:
        """Ask the host; `done` gets the outcome, never before this returns."""
        state = self._context.state
        ended = partial(self._took_place, done)
        if not (self.writes or self.transaction.steps or self.transaction.watched):
            self._context.port.clock.call_soon(partial(ended, {self.group: [0, [], []]}))
        elif state.readonly and not self.writes:
            replies: dict[int, Any] = {}
            for group, part in self.parts.items():
                keys = partial(_keys, part)
                host.read_stale(group, partial(self._viewed, replies, done, group), keys)
        elif self._computation is not None:
            host.transactions.compute(self._computation, self._size, ended, self._use)
        elif self._shares is not None and self.writes:
            host.transactions.execute(self.parts, self._size, ended, self._use)
        elif self._shares is not None:
            host.transactions.cut(self.parts, self._size, ended, fresh=state.fresh)
        elif self.writes:
            host.write(self.group, [self.command], self._size, partial(self._written, done))
        elif host.slots.groups > 1:
            keys = partial(_keys, self.transaction)
            host.read_keys(self.group, keys, partial(self._viewed, {}, done, self.group), state.fresh)
        else:
            host.read(self.group, partial(self._viewed_alone, done), state.fresh)

    def _written(self, done: Done, outcome: list[Outcome] | Exception) -> None:
        reply: Any = outcome
        if type(self.command) is kv.SetMany and reply == ["OK"]:
            done(reply * len(self.commands))
        else:
            self._took_place(done, reply if isinstance(reply, Exception) else {self.group: reply[0]})

    def _viewed_alone(self, done: Done, outcome: View | Exception) -> None:
        """Of the only group. Others may have been created meanwhile, and may have its slots."""
        if isinstance(outcome, View) and outcome.keyspace.slots is not None:
            outcome = NotOwner()
        self._viewed({}, done, self.group, outcome)

    def _viewed(self, replies: dict[int, Any], done: Done, group: int, outcome: View | Exception) -> None:
        if isinstance(outcome, Exception):
            replies[group] = outcome
        else:
            replies[group] = examined(outcome.keyspace, outcome.now_ms, self.parts[group])
        if len(replies) == len(self.parts):
            self._took_place(done, replies)

    def _took_place(self, done: Done, outcome: Any) -> None:
        """Make the replies from those of the groups. Anything else than these is the client's outcome."""
        if isinstance(outcome, Remembered):
            outcome = self._recalled(outcome.reply)
        elif self._computation is not None:
            self._shares = self._computation.shares
        if not isinstance(outcome, dict):
            done(outcome)
            return
        refused = [reply for reply in outcome.values() if not isinstance(reply, list)]
        if refused:
            done(refused[0])
            return
        if self._only_writes and self._shares is None:
            done(self._written_replies(outcome[self.group][2]))
            return
        self._left = iter(self._shares or ())
        for group, (stamp, records, replies) in outcome.items():
            self._stamps[group], self._records[group] = stamp, records
            self._outcomes[group] = iter(replies)
        self._go_on(done)

    def _united(self, replies: Mapping[int, Any]) -> Outcome:
        """What a token remembers: the reply to its command, or to EXEC, as in one group."""
        shares = self._computation.shares if self._computation is not None else self._shares
        whole = joined(self.transaction.steps, shares or (), replies)
        each: Any = whole[2]
        return whole if self._is_exec else each[0]

    def _recalled(self, reply: Any) -> Any:
        """What a token has remembered, in place of the outcome."""
        self._shares = None
        if not self._is_exec:
            return {self.group: [0, [], [reply]]}
        return {self.group: reply} if isinstance(reply, list) else reply

    @property
    def _is_exec(self) -> bool:
        return isinstance(self.command, kv.Once) and self.command.command is self.transaction

    def _written_replies(self, outcomes: Sequence[Any]) -> list[Reply] | Exception:
        """The replies to writes that are all in one group."""
        try:
            return written_replies(map(_SPEC, self.commands), map(_STEP, self.commands), outcomes)
        except Exception as error:
            return error

    def _go_on(self, done: Done) -> None:
        """Make replies for a while; the rest waits for the next turn. A bug costs this client alone."""
        port, replies = self._context.port, self._replies
        if self._context.state.id not in port.sessions:
            return  # the connection is gone
        until = port.clock.seconds() + SLICE_SECONDS
        try:
            for queued in islice(self.commands, len(replies), None):
                replies.append(self._reply(queued))
                due = type(queued.step) in _LONG or not len(replies) % SLICE_REPLIES
                if due and port.clock.seconds() >= until:
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
        steps: Mapping[int, Any]
        if self._shares is None:
            outcome: Any = next(self._outcomes[self.group])
            steps, outcomes = {self.group: step}, {self.group: outcome}
        else:
            share = next(self._left)
            steps = share.steps
            outcomes = {group: next(self._outcomes[group]) for group in steps}
            outcome = united(outcomes) if share.reply is UNSET else share.reply
        if type(step) is kv.Look:
            return self._limited(self._read(queued, steps, outcomes))
        return self._written_reply(queued, outcome)

    def _written_reply(self, queued: Queued, outcome: Any) -> Reply:
        """The reply to a write with this outcome."""
        if type(outcome) is CommandFailure:
            step: Any = queued.step
            return errors.command_error(outcome, step)
        return self._limited(outcome if queued.spec.shape is None else queued.spec.shape(outcome))

    def _limited(self, reply: Reply) -> Reply:
        """The reply, or an error if all replies together become too large by it."""
        if type(reply) in _SHORT:
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

    def _read(self, queued: Queued, share: Mapping[int, Any], outcomes: Mapping[int, Any]) -> Reply:
        if CommandFailure in map(type, outcomes.values()):
            return Error(errors.TRANSACTION_REPLY)
        found = [excerpt(look, outcomes[group], self._records[group]) for group, look in share.items()]
        keyspace = found[0] if len(found) == 1 else _together(found)
        view = View(keyspace, max(self._stamps[group] for group in share))
        try:
            reply: Reply = queued.spec.run(view, queued.request)
        except errors.Rejected as refusal:
            return Error(refusal.text)
        values = reply if type(reply) is list else [reply]
        missing = values.count(None)
        self.misses += missing
        if type(reply) in (bytes, list):
            self.hits += len(values) - missing
        return reply


def plain_sets(steps: Iterable[kv.Put]) -> kv.SetMany:
    """Plain SETs as one MSET, which takes less to log and to apply, and replies "OK" for all of them."""
    return kv.SetMany(tuple(chain.from_iterable(map(_PAIR, steps))))


def written_replies(specs: Iterable[Any], steps: Iterable[Any], outcomes: Sequence[Any]) -> list[Reply]:
    """The replies to writes of one group with these outcomes. An error in place of each that is too large."""
    replies: list[Reply] = []
    size = 0
    for spec, step, outcome in zip(specs, steps, outcomes, strict=True):
        if type(outcome) is CommandFailure:
            replies.append(errors.command_error(outcome, step))
            continue
        reply = outcome if spec.shape is None else spec.shape(outcome)
        if type(reply) not in _SHORT:
            added = payload_bytes([reply])
            if size + added > EXCERPT_BYTES:
                reply, added = Error(errors.TRANSACTION_REPLY), 0
            size += added
        replies.append(reply)
    return replies


def _keys(work: kv.Exec) -> Collection[bytes]:
    """The keys of a transaction that only looks at some."""
    looked = [key for step in work.steps if type(step) is kv.Look for key in step.keys]
    return [*looked, *(watched.key for watched in work.watched)]


def _check_revisions(commands: Sequence[Queued]) -> None:
    """Refuse KRAFT REV of a key that was written before it: a participant does not know the revision yet."""
    written: set[Any] = set()
    for queued in commands:
        step: Any = queued.step
        if type(step) in _NO_STEPS:
            continue
        if queued.spec.name == REVISION and not written.isdisjoint(step.keys):
            raise errors.Rejected(errors.OWN_REVISION)
        written.update(declared(step).written)


def _together(excerpts: Sequence[Excerpt]) -> Excerpt:
    records = {key: record for each in excerpts for key, record in each.records.items()}
    return Excerpt(sum(map(len, excerpts)), records)
