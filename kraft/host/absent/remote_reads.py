"""Reads of one group by a node that has no replica of it: a member confirms each, and sends what it found.

A read has no effect, so a question without an answer is simply put to another member: when the link to the
first one is lost, when that has no replica any more, or when it has been silent for an election timeout. It
may wait for locked keys then, so its answer still counts; whichever comes first is taken.
"""

from collections.abc import Callable
from typing import Any

import msgspec

from kraft.host.absent.member_route import MemberRoute
from kraft.host.context import GroupContext
from kraft.host.ports import QueryDone
from kraft.host.requests.read_refusals import refusal_of
from kraft.host.requests.round import ReadDone, ReadOutcome, View
from kraft.host.requests.timing import Timing
from kraft.kv.excerpt import decode_rows
from kraft.kv.footprint import Name
from kraft.kv.ledger import ledger_key
from kraft.node.errors import NoLeader, Stopping
from kraft.peerwire.messages import READ, QueryKeys, ReadKeys, ReadKeysReply

RemoteOutcome = ReadOutcome | bytes
"""A view of what was read, or the answer to a query; or why there is none."""


class RemoteRead(msgspec.Struct, eq=False):
    """One read: of `names`, of which the first `needed` ones have to be there; or, with a `query`, of what
    that asks. `done` is None once it has its answer.

    It is refused after `deadline` if no member has it, and in any case after `last`. `asked_at` is when a
    member was asked last (monotonic seconds), and `asked` the number of members that have not answered.
    """

    names: tuple[Name, ...]
    needed: int
    fresh: bool
    deadline: float
    last: float
    done: Callable[[Any], None] | None
    query: bytes = b""
    asked_at: float = 0.0
    asked: int = 0


class RemoteReads:
    """The reads of one group. `newest` is the latest stamp that any of them has found."""

    def __init__(
        self, group: int, route: MemberRoute, context: GroupContext, timing: Timing, first_request: int
    ) -> None:
        self.newest = 0
        self._group = group
        self._route = route
        self._clock = context.clock
        self._turns = context.turns
        self._not_taken = context.not_taken
        self._leader_wait = timing.leader_wait
        self._patience = timing.round_timeout
        self._next_request = first_request
        self._questions: dict[RemoteRead, None] = {}
        self._asked: dict[int, tuple[str, RemoteRead]] = {}  # by request

    @property
    def pending(self) -> bool:
        """Whether a read has no answer yet."""
        return bool(self._questions)

    def read(self, names: tuple[Name, ...], done: ReadDone, *, fresh: bool, needed: int | None) -> None:
        """Read `names`, as `Host.read_keys`; `done` is called later."""
        self._begin(names, len(names) if needed is None else needed, fresh, done, b"")

    def query(self, query: bytes, done: QueryDone, *, fresh: bool) -> None:
        """Ask what a command on all keys wants to know; `done` is called later."""
        self._begin((), 0, fresh, done, query)

    def answered(self, peer: str, reply: ReadKeysReply) -> None:
        """A member answers. Raises msgspec.MsgspecError when it cannot be decoded."""
        sent_to, question = self._asked.get(reply.request, ("", None))
        if question is None or sent_to != peer:
            return
        outcome = self._outcome(question, reply)
        del self._asked[reply.request]
        question.asked -= 1
        if outcome is None:
            self._route.refused(peer)
            self._ask(question)
        else:
            self._settle(question, outcome)

    def unsent(self, message: ReadKeys | QueryKeys) -> None:
        """The link did not take a question."""
        peer, question = self._asked.pop(message.request, ("", None))
        if question is not None:
            self._route.refused(peer)
            question.asked -= 1
            self._ask(question)

    def link_down(self, peer: str) -> None:
        """The link to `peer` is gone: ask others what it was asked."""
        for request in [request for request, (asked, _) in self._asked.items() if asked == peer]:
            question = self._asked.pop(request)[1]
            question.asked -= 1
            self._ask(question)

    def tick(self, now: float) -> None:
        """One tick of the host passed: ask again, and refuse who has waited for too long."""
        for question in list(self._questions):
            if now >= question.last or (now >= question.deadline and not question.asked):
                self._settle(question, NoLeader(self._group))
            elif not question.asked or now >= question.asked_at + self._patience:
                self._ask(question)

    def news(self) -> None:
        """The directory has news of the group."""
        for question in self._questions:
            if not question.asked:
                self._ask(question)

    def take(self) -> list[RemoteRead]:
        """Remove and return all reads without an answer."""
        questions, self._questions = list(self._questions), {}
        self._asked.clear()
        return questions

    def abandon(self) -> None:
        """The node stops: refuse everything."""
        for question in self.take():
            self._tell(question, Stopping())

    def _begin(
        self,
        names: tuple[Name, ...],
        needed: int,
        fresh: bool,
        done: Callable[[Any], None],
        query: bytes,
    ) -> None:
        now, wait = self._clock.seconds(), self._leader_wait
        question = RemoteRead(names, needed, fresh, now + wait, now + 2 * wait, done, query)
        self._questions[question] = None
        self._ask(question)

    def _ask(self, question: RemoteRead) -> None:
        """Ask the first member that is not being asked already."""
        if question.done is None:
            return
        busy = {peer for peer, each in self._asked.values() if each is question} if question.asked else ()
        peer = next((each for each in self._route.members() if each not in busy), "")
        if not peer:
            return
        self._next_request += 1
        self._asked[self._next_request] = peer, question
        question.asked += 1
        question.asked_at = self._clock.seconds()
        number, fresh = self._next_request, question.fresh
        if question.query:
            self._turns.post(peer, self._group, QueryKeys(number, question.query, fresh))
        else:
            names = question.names
            rows = tuple([ledger_key(*name) for name in names if isinstance(name, tuple)])
            sent = tuple([name for name in names if not isinstance(name, tuple)])
            needed = sum([not isinstance(name, tuple) for name in names[: question.needed]])
            self._turns.post(peer, self._group, ReadKeys(number, sent, needed, fresh, rows))

    def _outcome(self, question: RemoteRead, reply: ReadKeysReply) -> RemoteOutcome | None:
        """What a member has answered; None if it could not read."""
        if reply.outcome == READ and question.query:
            return reply.rows
        if reply.outcome == READ:
            rows = decode_rows(reply.rows)
            self.newest = max(self.newest, rows.now_ms)
            return View(rows.excerpt(), rows.now_ms, rows.revision)
        return refusal_of(reply.outcome, self._group)

    def _settle(self, question: RemoteRead, outcome: RemoteOutcome) -> None:
        self._questions.pop(question, None)
        if question.asked:  # others were asked as well
            self._asked = {n: asked for n, asked in self._asked.items() if asked[1] is not question}
        self._tell(question, outcome)

    def _tell(self, question: RemoteRead, outcome: RemoteOutcome) -> None:
        done, question.done = question.done, None
        if done is not None:
            try:
                done(outcome)
            except Exception as error:
                self._not_taken(error)
