"""Segments: runs of neighbouring requests of one kind, which are done together; most often a single one.

`Validation.gather` makes a segment of what a session's queue begins with; the segment asks the host and turns
the outcome into replies. It knows no connection.
"""

from bisect import bisect_left
from collections import Counter
from collections.abc import Callable
from functools import partial
from typing import Any, ClassVar

import msgspec

from kraft.host.requests.round import View
from kraft.kv.commands import Command, Lock
from kraft.kv.created_groups import created_count
from kraft.kv.excerpt import NotInExcerpt
from kraft.kv.footprint import Name
from kraft.kv.replies import CommandFailure
from kraft.kv.replies import Reply as Outcome
from kraft.node.admin import AdminCommand, AdminResult
from kraft.node.errors import Uncertain
from kraft.node.latencies import BOUNDS
from kraft.resp.render import payload_bytes
from kraft.resp.values import Error, NullArray, Reply, Request
from kraft.server import errors
from kraft.server.commands.execution import Execution
from kraft.server.commands.replica_wait import ReplicaWait
from kraft.server.commands.spec import AnySpec, LocalSpec, ReadSpec, SwitchSpec
from kraft.server.multi_state import Queued
from kraft.server.ports import NodeHost
from kraft.server.session_state import SessionState
from kraft.server.statistics import Statistics

Gather = Callable[[list[Request], SessionState, float], "Segment"]
"""`Validation.gather`."""

REPLY_BYTES = 1 << 20  # of reads in one round; the rest waits for the next one, after other connections


class Segment(msgspec.Struct):
    """A run of requests of one kind, which began at `started` (`Clock.seconds`).

    `specs` are the specifications of the commands in `requests`. `items` are what is to be done, one for each
    of them that passed validation, `size` bytes together. All items belong to one `group`: those of several
    are a `GroupsSegment`. `settled` has the replies to the others by place in `requests`, in their order:
    most often errors. `shapes` has what turns the state machine's reply into the client's, by place in
    `items`. `hits` and `misses` count the values that reads found, and the keys without one. `moved`: some of
    the replies are SLOT_MOVED. `whole`: it is one write that concerns all groups, and there is one.
    """

    started: float
    requests: list[Request] = []
    specs: list[AnySpec] = []
    items: list[Any] = []
    settled: dict[int, Reply] = {}
    shapes: dict[int, Callable[[Any], Reply]] = {}
    group: int = 0
    size: int = 0
    hits: int = 0
    misses: int = 0
    moved: bool = False
    whole: bool = False
    with_replies_before: ClassVar[bool] = False  # these are sent together with its own: one send less

    def ask(self, host: NodeHost, state: SessionState, done: Callable[[Any], None]) -> None:
        """Ask the host for the items; `done` gets the outcome."""
        raise NotImplementedError

    def leave(self) -> None:
        """The client is gone."""

    def replies(self, outcome: Any) -> list[Reply]:
        """The replies to the items, or to the first few of them: the others are then to be asked again."""
        raise NotImplementedError

    def failures(self, failure: Exception, host: NodeHost) -> list[Reply]:
        """The replies to the items when the host refused them or lost track of them."""
        error = errors.host_error(failure, host.obstacle(self.group))
        self.moved = error is errors.SLOT_MOVED
        return [error] * len(self.items)

    def again(self, gather: Gather, requests: list[Request], state: SessionState, now: float) -> "Segment":
        """A segment of the first of these `requests` of this one, which are planned again."""
        return gather(requests, state, now)

    def complete(self, replies: list[Any]) -> list[Reply]:
        """The items' `replies` in the client's form, and the errors of validation in their places."""
        whole = len(replies) == len(self.items)
        replies = list(replies)
        for place, shape in self.shapes.items():
            if type(replies[place]) is not Error:
                replies[place] = shape(replies[place])
        for place, reply in self.settled.items():
            if whole or place < len(replies):
                replies.insert(place, reply)
        return replies

    def report(self, statistics: Statistics, replies: list[Reply], now: float) -> None:
        """Count the requests that have `replies`, and how long they took."""
        specs, count, seconds = self.specs, len(replies), now - self.started
        statistics.commands_processed += count
        statistics.hits += self.hits
        statistics.misses += self.misses
        spec = specs[0]
        if (count == 1 or specs.count(spec) == len(specs)) and Error not in map(type, replies):
            row = statistics.commands.get(spec.name) or statistics.begin(spec.name, spec.counted_as)
            latencies = row.latencies  # `Latencies.add` without the call: most segments end here
            latencies.counts[bisect_left(BOUNDS, seconds)] += count
            latencies.seconds += seconds * count
        else:
            self._report_each(statistics, replies, seconds)

    def _report_each(self, statistics: Statistics, replies: list[Reply], seconds: float) -> None:
        """Count requests of several names, or with errors among their replies."""
        for place, (spec, reply) in enumerate(zip(self.specs, replies, strict=False)):
            row = statistics.commands.get(spec.name) or statistics.begin(spec.name, spec.counted_as)
            row.latencies.add(seconds, 1)
            if type(reply) is Error:
                if place in self.settled:
                    row.rejected += 1
                else:
                    row.failed += 1
        codes = Counter(reply.text.partition(" ")[0] for reply in replies if type(reply) is Error)
        statistics.errors += codes


class LocalSegment(Segment):
    """Local commands: the session runs them."""

    items: list[tuple[LocalSpec | SwitchSpec, Request]] = []


class WriteSegment(Segment):
    """Writes: one proposal, in order."""

    items: list[Command] = []

    def ask(self, host: NodeHost, _: SessionState, done: Callable[[list[Outcome] | Exception], None]) -> None:
        host.write(self.group, self.items, self.size, done)

    def replies(self, outcome: list[Outcome]) -> list[Reply]:
        replies: list[Any] = outcome
        if CommandFailure in map(type, outcome):
            replies = [
                errors.command_error(reply, command) if type(reply) is CommandFailure else reply
                for command, reply in zip(self.items, outcome, strict=True)
            ]
            self.moved = any(reply is errors.SLOT_MOVED for reply in replies)
        return replies


class ScriptSegment(WriteSegment):
    """Calls of scripts: one proposal, in order, whose commands the leader replaces."""

    def complete(self, replies: list[Any]) -> list[Reply]:
        """As of `Segment`. A script's reply that is no list has the client's form already."""
        return super().complete(replies) if self.settled or list in map(type, replies) else list(replies)


class ReadSegment(Segment):
    """Reads: all are answered from the same view, at the level that the connection has chosen.

    `checked`: there were several groups when they were asked, so that the host asks who owns the keys.
    """

    items: list[tuple[ReadSpec, Request]] = []
    checked: bool = False

    def ask(self, host: NodeHost, state: SessionState, done: Callable[[View | Exception], None]) -> None:
        self.checked = host.slots.groups > 1
        if state.readonly:
            host.read_stale(self.group, done, self._keys)
        elif self.checked:
            needed = len(self._keys_of(0)) if len(self.items) > 1 else None
            host.read_keys(self.group, self._keys, done, state.fresh, needed)
        else:
            host.read(self.group, done, state.fresh)

    def _keys(self) -> list[Name]:
        return [name for place in range(len(self.items)) for name in self._keys_of(place)]

    def _keys_of(self, place: int) -> list[Name]:
        """The keys of an item, and kinds of rows beside the keys."""
        spec, request = self.items[place]
        if not spec.rows:
            return [*spec.keys_of(request)]
        return [*spec.keys_of(request), *spec.rows, *spec.rows_of(request)]

    def replies(self, outcome: View) -> list[Reply]:
        """Replies up to REPLY_BYTES, and the one that goes beyond; or as far as the keys were read."""
        replies: list[Reply] = []
        size = 0
        if outcome.keyspace.slots is not None and not self.checked:  # groups were created meanwhile
            self.moved = True
            return [errors.SLOT_MOVED] * len(self.items)
        for spec, request in self.items:
            try:
                reply = spec.run(outcome, request)
            except errors.Rejected as refusal:
                reply = Error(refusal.text)
            except NotInExcerpt:
                break
            replies.append(reply)
            if type(reply) is bytes:
                size += len(reply)
                self.hits += 1
            elif reply is None:
                self.misses += 1
            elif type(reply) is list:
                size += payload_bytes(reply)
                missing = reply.count(None)
                self.misses += missing
                self.hits += len(reply) - missing
            if size > REPLY_BYTES:
                break
        return replies


class WaitSegment(Segment):
    """One command that waits for a lock: the next request waits, too."""

    items: list[tuple[Lock, float]] = []
    leaves: Callable[[], None] | None = None

    def ask(self, host: NodeHost, _: SessionState, done: Callable[[list[Outcome] | Exception], None]) -> None:
        command, seconds = self.items[0]
        self.leaves = host.wait_for_lock(self.group, command, seconds, done)

    def leave(self) -> None:
        if self.leaves is not None:
            self.leaves()

    def replies(self, outcome: list[Outcome]) -> list[Reply]:
        result: Any = [
            errors.command_error(reply, self.items[0][0]) if type(reply) is CommandFailure else reply
            for reply in outcome
        ]
        self.moved = result[0] is errors.SLOT_MOVED
        return list(result)

    def again(self, gather: Gather, requests: list[Request], state: SessionState, now: float) -> Segment:
        segment = super().again(gather, requests, state, now)
        if segment.items:
            command, seconds = segment.items[0]
            segment.items[0] = command, max(0.0, seconds - (now - self.started))
        return segment


class ReplicaSegment(Segment):
    """One command that waits for replicas: the next request waits, too."""

    items: list[ReplicaWait] = []

    def ask(self, host: NodeHost, _: SessionState, done: Callable[[Any], None]) -> None:
        self.items[0].ask(host, done)

    def leave(self) -> None:
        if self.items:
            self.items[0].leave()

    def replies(self, outcome: int) -> list[Reply]:
        return [self.items[0].reply(outcome)]


class AdminSegment(Segment):
    """One command of an administrator: the next request waits until it is carried out."""

    items: list[AdminCommand] = []

    def ask(self, host: NodeHost, _: SessionState, done: Callable[[AdminResult | Exception], None]) -> None:
        host.admin(self.items[0], done)

    def replies(self, outcome: AdminResult) -> list[Reply]:
        result: Any = outcome
        return [result]


class QueueSegment(Segment):
    """Commands after MULTI: queued or refused. What is queued counts when it is executed.

    Most often MULTI itself comes first, because it arrived with them.
    """

    def complete(self, _: list[Any]) -> list[Reply]:
        return list(self.settled.values())

    def report(self, statistics: Statistics, replies: list[Reply], now: float) -> None:
        if replies[0] == "OK" and replies.count("QUEUED") == len(replies) - 1:  # most often
            statistics.add(self.specs[0].name, self.specs[0].counted_as, 1, now - self.started)
            return
        done = [place for place, reply in enumerate(replies) if reply != "QUEUED"]
        if done:
            specs = [self.specs[place] for place in done]
            said = [replies[place] for place in done]
            errors_: dict[int, Reply] = {n: reply for n, reply in enumerate(said) if type(reply) is Error}
            Segment(self.started, specs=specs, settled=errors_).report(statistics, said, now)


class WatchSegment(Segment):
    """WATCH: a read that remembers the revisions of keys."""

    items: list[dict[int, list[bytes]]] = []  # the keys by group
    failure: Exception | None = None

    def ask(self, host: NodeHost, state: SessionState, done: Callable[[Any], None]) -> None:
        left = len(self.items[0])

        def viewed(keys: list[bytes], outcome: View | Exception) -> None:
            nonlocal left
            if isinstance(outcome, View):
                state.watch(keys, outcome.keyspace, outcome.revision)
            else:
                self.failure = outcome
            left -= 1
            if not left:
                done(self.failure)

        for group, keys in self.items[0].items():
            if host.slots.groups > 1:
                host.read_keys(group, keys.copy, partial(viewed, keys), state.fresh)
            else:
                host.read(group, partial(viewed, keys), state.fresh)

    def replies(self, _: None) -> list[Reply]:
        return ["OK"]


class CrossGroupSegment(Segment):
    """One command with keys in several groups: a transaction that has no other command."""

    items: list[Execution] = []

    def ask(self, host: NodeHost, _: SessionState, done: Callable[[Any], None]) -> None:
        self.items[0].ask(host, done)

    def replies(self, outcome: list[Reply] | CommandFailure) -> list[Reply]:
        execution = self.items[0]
        if isinstance(outcome, CommandFailure):
            self.moved = outcome is CommandFailure.NOT_OWNER
            return [errors.command_error(outcome, execution.transaction)]
        self.hits, self.misses = execution.hits, execution.misses
        return outcome


class ExecSegment(Segment):
    """EXEC: all that was queued, as one."""

    with_replies_before = True
    items: list[Execution] = []

    def ask(self, host: NodeHost, _: SessionState, done: Callable[[Any], None]) -> None:
        execution = self.items[0]
        self.group = execution.group
        if execution.writes and host.slots.groups == 1 and any(map(_writes_everywhere, execution.commands)):
            done = partial(self._done_in_one, host, done)
        execution.ask(host, done)

    def _done_in_one(self, host: NodeHost, done: Callable[[Any], None], outcome: Any) -> None:
        """A command of it concerns all groups: were others created meanwhile?"""
        if type(outcome) is list:
            host.read(0, partial(self._counted, host, done, outcome))
        else:
            done(outcome)

    def _counted(
        self, host: NodeHost, done: Callable[[Any], None], outcome: Any, view: View | Exception
    ) -> None:
        alone = isinstance(view, View) and host.slots.founded + created_count(view.keyspace.ledger) == 1
        done(outcome if alone else Uncertain())

    def replies(self, outcome: list[Reply] | CommandFailure | None) -> list[Reply]:
        if type(outcome) is CommandFailure:
            self.moved = outcome is CommandFailure.NOT_OWNER
            return [errors.command_error(outcome, self.items[0].transaction)]
        return [NullArray() if outcome is None else outcome]

    def again(self, _: Gather, requests: list[Request], __: SessionState, now: float) -> Segment:
        """The session has forgotten what was queued and watched: the execution knows it."""
        segment = ExecSegment(now, requests[:1], self.specs, group=self.group)
        try:
            segment.items = [self.items[0].again()]
        except errors.Rejected as refusal:
            segment.settled = {0: Error(refusal.text)}
        return segment

    def report(self, statistics: Statistics, replies: list[Reply], now: float) -> None:
        """Count EXEC, and each command that it executed."""
        for execution in self.items:
            self.hits, self.misses = execution.hits, execution.misses
            inner: Any = replies[0]
            if type(inner) is list and inner:
                spec = execution.spec
                if spec is not None and Error not in map(type, inner):
                    statistics.add(spec.name, spec.counted_as, len(inner), now - self.started)
                else:
                    specs = [queued.spec for queued in execution.commands]
                    Segment(self.started, specs=specs).report(statistics, inner, now)
        super().report(statistics, replies, now)


def _writes_everywhere(queued: Queued) -> bool:
    """Whether a command of a transaction changes something in every group."""
    return queued.spec.all_groups is not None and type(queued.spec) is not ReadSpec
