"""Segments: runs of neighbouring requests of one kind, which are done together.

`Validation.gather` fills a segment from a session's queue; the segment asks the host and turns the outcome
into replies. It knows no connection.
"""

from collections import Counter
from collections.abc import Callable
from operator import itemgetter
from typing import Any, ClassVar

from kraft.host.requests.read_rounds import View
from kraft.kv.commands import Command
from kraft.kv.replies import CommandFailure
from kraft.kv.replies import Reply as Outcome
from kraft.node.admin import AdminCommand, AdminResult
from kraft.resp.render import payload_bytes
from kraft.resp.values import Error, Reply, Request
from kraft.server import errors
from kraft.server.commands.spec import AdminSpec, AnySpec, LocalSpec, ReadSpec, SwitchSpec, WriteSpec
from kraft.server.port import ClientPort
from kraft.server.ports import NodeHost
from kraft.server.session_state import SessionState
from kraft.server.statistics import LATENCY_BITS

REPLY_BYTES = 1 << 20  # of reads in one round; the rest waits for the next one, after other connections

Entry = tuple[AnySpec, Request]
"""A request with the specification of its command."""

_SPEC: Callable[[Entry], AnySpec] = itemgetter(0)


class Segment:
    """A run of requests of one `kind`.

    `entries` are the requests. `items` are what is to be done, one for each of them that passed validation.
    All items belong to one `group`: a plan for several groups is a list of items for each of them.
    """

    __slots__ = ("entries", "failed", "group", "hits", "items", "misses", "shapes", "size", "started")

    kind: ClassVar[str] = LocalSpec.kind

    def __init__(self, started: float) -> None:
        self.started = started  # `Clock.seconds`
        self.group = 0
        self.size = 0  # bytes of the items
        self.entries: list[Entry] = []
        self.items: list[Any] = []
        self.failed: dict[int, Error] = {}  # by place in `entries`, in their order
        self.shapes: dict[int, Callable[[Any], Reply]] = {}  # by place in `items`
        self.hits = self.misses = 0  # values that reads found, and keys without one

    def ask(self, host: NodeHost, state: SessionState, done: Callable[[Any], None]) -> None:
        """Ask the host for the items; `done` gets the outcome."""
        raise NotImplementedError

    def replies(self, outcome: Any) -> list[Reply]:
        """The replies to the items, or to the first few of them: the others are then to be asked again."""
        raise NotImplementedError

    def failures(self, failure: Exception, host: NodeHost) -> list[Reply]:
        """The replies to the items when the host refused them or lost track of them."""
        return [errors.host_error(failure, host.obstacle(self.group))] * len(self.items)

    def complete(self, replies: list[Any]) -> list[Reply]:
        """The items' `replies` in the client's form, and the errors of validation in their places."""
        whole = len(replies) == len(self.items)
        replies = list(replies)
        for place, shape in self.shapes.items():
            if type(replies[place]) is not Error:
                replies[place] = shape(replies[place])
        for place, error in self.failed.items():
            if whole or place < len(replies):
                replies.insert(place, error)
        return replies

    def report(self, port: ClientPort, replies: list[Reply], now: float) -> None:
        """Count the requests that have `replies`, and how long they took, for INFO and the observer."""
        observer, count, seconds = port.observer, len(replies), now - self.started
        statistics = port.statistics
        specs = list(map(_SPEC, self.entries[:count]))
        if Error not in map(type, replies) and specs.count(specs[0]) == count:
            observer.commands(specs[0].name, count, 0)
            row = statistics.commands[
                specs[0].name
            ]  # `Statistics.add` without the call: most segments end here
            row.calls += count
            row.seconds += seconds * count
            microseconds = int(seconds * 1e6)
            cut = max(microseconds.bit_length() - LATENCY_BITS, 0)
            latency = microseconds >> cut << cut
            row.latencies[latency] = row.latencies.get(latency, 0) + count
        else:
            self._report_each(port, specs, replies, seconds)
        statistics.commands_processed += count
        observer.latency(self.kind, seconds, count)
        if self.hits or self.misses:
            observer.lookups(self.hits, self.misses)
            statistics.hits += self.hits
            statistics.misses += self.misses

    def _report_each(
        self, port: ClientPort, specs: list[AnySpec], replies: list[Reply], seconds: float
    ) -> None:
        """Count requests of several names, or with errors among their replies."""
        observer, statistics = port.observer, port.statistics
        names = [spec.name for spec in specs]
        texts = {n: reply.text for n, reply in enumerate(replies) if type(reply) is Error}
        wrong = Counter(names[n] for n in texts)
        rejected = Counter(names[n] for n in self.failed if n < len(names))
        for name, number in Counter(names).items():
            observer.commands(name, number, wrong[name])
            statistics.add(name, number - rejected[name], seconds)
            statistics.add_errors(name, rejected[name], wrong[name] - rejected[name])
        codes = Counter(text.partition(" ")[0] for text in texts.values())
        statistics.errors += codes
        for code, number in codes.items():
            observer.error(code, number)


class LocalSegment(Segment):
    """Local commands: the session runs them."""

    __slots__ = ()

    items: list[tuple[LocalSpec | SwitchSpec, Request]]


class WriteSegment(Segment):
    """Writes: one proposal, in order."""

    __slots__ = ()

    kind = WriteSpec.kind
    items: list[Command]

    def ask(self, host: NodeHost, _: SessionState, done: Callable[[list[Outcome] | Exception], None]) -> None:
        host.write(self.group, self.items, self.size, done)

    def replies(self, outcome: list[Outcome]) -> list[Reply]:
        replies: list[Any] = outcome
        if CommandFailure in map(type, outcome):
            replies = [
                errors.command_error(reply, command) if type(reply) is CommandFailure else reply
                for command, reply in zip(self.items, outcome, strict=True)
            ]
        return replies


class ReadSegment(Segment):
    """Reads: all are answered from the same view, at the level that the connection has chosen."""

    __slots__ = ()

    kind = ReadSpec.kind
    items: list[tuple[ReadSpec, Request]]

    def ask(self, host: NodeHost, state: SessionState, done: Callable[[View | Exception], None]) -> None:
        if state.readonly:
            host.read_stale(self.group, done)
        else:
            host.read(self.group, done, state.fresh)

    def replies(self, outcome: View) -> list[Reply]:
        """Replies up to REPLY_BYTES, and the one that goes beyond."""
        replies: list[Reply] = []
        size = 0
        for spec, request in self.items:
            try:
                reply = spec.run(outcome, request)
            except errors.Rejected as refusal:
                reply = Error(refusal.text)
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


class AdminSegment(Segment):
    """One command of an administrator: the next request waits until it is carried out."""

    __slots__ = ()

    kind = AdminSpec.kind
    items: list[AdminCommand]

    def ask(self, host: NodeHost, _: SessionState, done: Callable[[AdminResult | Exception], None]) -> None:
        host.admin(self.items[0], done)

    def replies(self, outcome: AdminResult) -> list[Reply]:
        result: Any = outcome
        return [result]


SEGMENTS: dict[str, type[Segment]] = {
    LocalSpec.kind: LocalSegment,
    SwitchSpec.kind: LocalSegment,
    ReadSpec.kind: ReadSegment,
    WriteSpec.kind: WriteSegment,
    AdminSpec.kind: AdminSegment,
}
"""The segment for each kind of command."""
