"""The reports of the whole cluster: this node's own, and those it requests from the other members.

Requests are sent only while somebody looks. However many look, there is at most one round of requests in
`ROUND_SECONDS`, except for an early one after a change of leader or for a longer time range, and a member
that has not answered yet is not asked the same again. So a browser talks to one node only, and a member that
hangs delays only its own part.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace

from twisted.internet.defer import Deferred, DeferredList, succeed
from twisted.internet.interfaces import IReactorTime
from twisted.python.failure import Failure

from kraft.node.status import REMOVED, MemberStatus
from kraft.telemetry.recent.history import RANGES, TimeRange
from kraft.web.limits import RANGE_WANTED_SECONDS, ROUND_SECONDS
from kraft.web.ports import Fetch
from kraft.web.report import NotAReport, Report, decode
from kraft.web.view import ClusterView, MemberReport

ASKED_PATH = "/status?full"  # the shortest range; followed by `&range=1h` for the others up to that one


@dataclass(frozen=True, slots=True, eq=False)
class ReportRequest:
    """A request for a report with the histories up to `range`. `ended` fires with the answer, or without."""

    range: TimeRange
    ended: Deferred[None]


class Cluster:
    """Requests the reports of the other members with `fetch`, and keeps the last ones."""

    def __init__(self, own: Callable[[], Report], fetch: Fetch, clock: IReactorTime) -> None:
        self._own = own
        self._fetch = fetch
        self._clock = clock
        self._answers: dict[str, MemberReport] = {}  # of the current members, without this node
        self._asked: dict[str, ReportRequest] = {}  # no answer yet
        self._round_at = -ROUND_SECONDS
        self._round_range = RANGES[0]
        self._wanted_at: dict[TimeRange, float] = {}

    def leaders(self) -> Sequence[tuple[int, int, str]]:
        """(group, term, leader) as this node knows them; a change is a reason for an early round."""
        return [(group.group, group.term, group.leader) for group in self._own().status.groups]

    def view(self) -> ClusterView:
        """The cluster as known now."""
        own = self._own()
        status = own.status
        answers = [MemberReport(status.node, status.http, own, last=own)]
        for member in _others(own):
            known = self._answers.get(member.id)
            answers.append(
                replace(known, address=member.http) if known else MemberReport(member.id, member.http)
            )
        return ClusterView(own, tuple(sorted(answers, key=lambda answer: answer.id)))

    def refresh(self, range_: TimeRange = RANGES[0], *, hurry: bool = False) -> Deferred[None]:
        """Ask all others, unless that was done in the last `ROUND_SECONDS` and there is no `hurry`.

        The answers have the histories of the ranges up to `range_`. Fires when the last of the others has
        answered or failed.
        """
        now = self._clock.seconds()
        self._wanted_at[range_] = now
        if hurry or now - self._round_at >= ROUND_SECONDS or range_.step > self._round_range.step:
            self._round_at = now
            wanted = (each for each, at in self._wanted_at.items() if now - at < RANGE_WANTED_SECONDS)
            self._round_range = max(wanted, key=lambda each: each.step)
            self._ask_all()
        if not self._asked:
            return succeed(None)
        all_ended = DeferredList([_also(each.ended) for each in self._asked.values()])
        return all_ended.addCallback(lambda _: None)

    def _ask_all(self) -> None:
        own = self._own()
        members = {member.id: member for member in _others(own)}
        self._answers = {id_: answer for id_, answer in self._answers.items() if id_ in members}
        for id_, member in members.items():
            if not member.http:
                self._failed(id_, "", "its HTTP address is unknown")
            elif id_ not in self._asked or self._asked[id_].range.step < self._round_range.step:
                self._ask(member, own.status.cluster)

    def _ask(self, member: MemberStatus, cluster: str) -> None:
        request = self._asked[member.id] = ReportRequest(self._round_range, Deferred())

        def answered(body: bytes) -> None:
            if self._asked.get(member.id) is not request:
                return  # asked again, for a longer range
            try:
                report = decode(body)
            except NotAReport:
                self._failed(member.id, member.http, "the server at its HTTP address is not a kraft node")
                return
            if (report.status.node, report.status.cluster) != (member.id, cluster):
                self._failed(
                    member.id, member.http, f"node {report.status.node!r} answers at its HTTP address"
                )
                return
            self._answers[member.id] = MemberReport(member.id, member.http, report, last=report)

        def failed(failure: Failure) -> None:
            if self._asked.get(member.id) is request:
                self._failed(member.id, member.http, str(failure.value) or type(failure.value).__name__)

        def ended(_: object) -> None:
            if self._asked.get(member.id) is request:
                del self._asked[member.id]
            request.ended.callback(None)

        path = ASKED_PATH if request.range is RANGES[0] else f"{ASKED_PATH}&range={request.range.name}"
        self._fetch(member.http, path).addCallback(answered).addErrback(failed).addCallback(ended)

    def _failed(self, id_: str, address: str, error: str) -> None:
        before = self._answers.get(id_)
        self._answers[id_] = MemberReport(id_, address, None, error, before.last if before else None)


def _others(own: Report) -> list[MemberStatus]:
    """The members beside this node. A node that was removed has links to none: those it can tell the address
    of.
    """
    status = own.status
    former = status.state == REMOVED
    return [each for each in status.members if each.id != status.node and (each.http or not former)]


def _also(deferred: Deferred[None]) -> Deferred[None]:
    """A deferred that fires when `deferred` does, which other callers wait for too."""
    also: Deferred[None] = Deferred()
    deferred.addCallback(lambda _: also.callback(None))
    return also
