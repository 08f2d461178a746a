"""The parts of the page that change, as HTML: they are in the document, and sent again on each change."""

from collections.abc import Collection, Iterable, Iterator, Sequence

from kraft.node.status import REMOVED, SERVING, GroupStatus, Status
from kraft.telemetry.recent.history import Traffic
from kraft.web import overview, words
from kraft.web.charts import WINDOWS, averages
from kraft.web.columns import Column, Rest, table
from kraft.web.event_list import event_list
from kraft.web.finding import Diagnosis, Finding
from kraft.web.glossary import term
from kraft.web.group_sections import group_table, groups
from kraft.web.html import Child, Html, command, element, join
from kraft.web.report import Report
from kraft.web.suggestions import suggestions
from kraft.web.topology import topology
from kraft.web.view import ClusterView, MemberReport

SIGNS = {"good": "✓", "bad": "✕", "warn": "!", "note": "…"}  # for readers who cannot tell the colours apart
_CLASS_WORDS = {
    "read": "reads",
    "write": "writes",
    "index": "commands on all keys",
    "local": "local commands",
    "admin": "administration",
    "sync": "log syncs",
}


def sections(view: ClusterView, verdict: Diagnosis) -> dict[str, Html]:
    """The parts, by the id of the element that holds each."""
    return {
        "verdict": _verdict(verdict),
        "topology": topology(view),
        "groups": groups(view),
        "group-table": group_table(view),
        "nodes": _nodes(view),
        "suggestions": suggestions(view),
        "traffic": _traffic(view),
        "storage": _storage(view),
        "events": event_list(view),
    }


# -- verdict ------------------------------------------------------------------------------------------


def _verdict(verdict: Diagnosis) -> Html:
    sign = element("span", SIGNS[verdict.severity], class_="sign", aria_hidden="true")
    headline = element("p", sign, " ", verdict.text, class_="headline", role="status")
    findings = element("ul", *map(_finding, verdict.findings), class_="findings") if verdict.findings else ""
    return element("div", headline, findings, class_=f"verdict {verdict.severity}")


def _finding(finding: Finding) -> Html:
    sign = element("span", SIGNS[finding.severity], class_=f"sign {finding.severity}", aria_hidden="true")
    said = element("span", element("b", f"{finding.subject}:"), " ", finding.text)
    return element("li", sign, element("div", said, _next(finding)))


def _next(finding: Finding) -> Html | str:
    if not finding.next:
        return ""
    typed = command(finding.command) if finding.command else ""
    advice = element("span", finding.advice, class_="advice") if finding.advice else ""
    return element("div", "next: ", typed, " ", advice, class_="next")


# -- nodes --------------------------------------------------------------------------------------------

_SEARCHES = ("precandidate", "candidate")
_LOOKS = "looks for a leader"
_NODE_COLUMNS = (
    Column("node"),
    Column("group", number=True),  # where there are several
    Column("state"),
    Column("role"),
    Column("term", number=True),
    Column("applied", "log", number=True),
    Column("lag", "log", number=True),
    Column("last contact", "log", number=True),
    Column("uptime", "process", number=True),
    Column("certificate ends in", "process", number=True),  # with TLS
    Column("version", "process"),
)


def _nodes(view: ClusterView) -> Html:
    unused = set() if overview.several(view) else {"group"}
    if not any(report.facts.tls_expiry for report in view.reports):
        unused.add("certificate ends in")
    found = overview.troubled(view) if overview.several(view) else []
    troubled = {group.group for group in found[: overview.GROUPS_SHOWN_MAX]}
    rows = [
        row if isinstance(row[1], Rest) else _without(unused, row)
        for answer in view.answers
        for row in _node_rows(view, answer, troubled)
    ]
    return table([column for column in _NODE_COLUMNS if column.name not in unused], rows)


def _without(unused: Collection[str], row: Sequence[Child | Rest]) -> list[Child | Rest]:
    cells = zip(_NODE_COLUMNS, row, strict=True)
    return [cell for column, cell in cells if column.name not in unused]


def _node_rows(
    view: ClusterView, answer: MemberReport, troubled: Collection[int]
) -> Iterator[list[Child | Rest]]:
    name = node_link(view, answer)
    if answer.report is None:
        yield [name, Rest(_last_report(answer))]
        return
    status = answer.report.status
    state = _badge("good" if status.state == SERVING and not status.problem else "bad", status.state)
    process = words.duration(status.uptime_seconds), _certificate(answer.report), status.version
    several = overview.several(view)
    if several and status.groups:
        yield [name, *_node_summary(view, status, state), *process]
    for group in status.groups:
        if several and group.group not in troubled:
            continue
        leader = overview.leader(view, group.group)
        lag, heard = _lag(leader, answer.id)
        yield [
            name, group.group, state, _role(status.state, group), group.term, words.count(group.applied), lag,
            heard, *process,
        ]  # fmt: skip
    if not status.groups:
        yield [name, words.NOTHING, state, *[words.NOTHING] * 5, *process]


def _certificate(report: Report) -> str:
    """How long the node's certificate, its CA and the revocation list are of use."""
    if not report.facts.tls_expiry:
        return words.NOTHING
    left = min(report.facts.tls_expiry.values()) - report.facts.wall_seconds
    return words.duration(left) if left > 0 else "expired"


def _node_summary(view: ClusterView, status: Status, state: Html) -> list[Child]:
    """The cells of a node with several groups: sums, and the largest lag."""
    id_, groups = status.node, status.groups
    led = sum(group.role == "leader" for group in groups)
    searches = any(group.role in _SEARCHES for group in groups)
    role = _badge("leads", f"leads {led}") if led else _LOOKS if searches else "follower"
    if status.state == REMOVED:
        role = words.NOTHING
    found = (overview.leader(view, group.group) for group in groups)
    followers = [each for leader in found if leader is not None for each in leader.replicas if each.id == id_]
    lag = words.count(max((each.lag for each in followers if each.lag is not None), default=None))
    heard = max((each.last_contact_seconds for each in followers), default=None)
    contact = words.NOTHING if heard is None else f"{heard:.1f} s ago"
    applied = words.count(sum(group.applied for group in groups))
    terms = max(group.term for group in groups)
    held = f"all {words.count(len(groups))}"
    if len(groups) < view.group_count:
        held = f"{words.count(len(groups))} of {words.count(view.group_count)}"
    return [held, state, role, f"up to {terms}", applied, lag, contact]


def _last_report(answer: MemberReport) -> Html:
    """What was last known of a node that does not answer; why it does not is a finding."""
    if not answer.error:
        return _badge("note", "not asked yet")
    away = _badge("note", "no answer")
    if answer.last is None:
        return away
    at = words.clock_time(answer.last.facts.wall_seconds)
    groups = answer.last.status.groups
    applied = f", applied {words.count(groups[0].applied)}" if groups else ""
    return join((away, " last report at ", at, f": {answer.last.status.state}{applied}"))


def _role(state: str, group: GroupStatus) -> Html | str:
    if state == REMOVED:
        return words.NOTHING
    if group.role == "leader":
        return _badge("leads", "leader")
    if group.role in _SEARCHES:
        return _LOOKS
    return f"{group.role} of {group.leader}" if group.leader else group.role


def _lag(leader: GroupStatus | None, id_: str) -> tuple[str, str]:
    """The entries that `id_` lacks and the time since its last message, as its leader sees it."""
    for replica in leader.replicas if leader is not None else ():
        if replica.id == id_:
            return words.count(replica.lag), f"{replica.last_contact_seconds:.1f} s ago"
    return words.NOTHING, words.NOTHING


def node_link(view: ClusterView, answer: MemberReport) -> Html:
    """The name of the node, as a link to its own page unless the reader is on that page."""
    if not answer.address or answer.id == view.own.status.node:
        return element("b", answer.id)
    return element("a", answer.id, href=f"http://{answer.address}/", rel="noreferrer")


def _badge(kind: str, word: str) -> Html:
    return element("span", word, class_=f"badge {kind}")


# -- traffic and storage ------------------------------------------------------------------------------


def _traffic(view: ClusterView) -> Html:
    columns = [Column("commands"), *(column for seconds in WINDOWS for column in _window_columns(seconds))]
    rows = [
        (term(_CLASS_WORDS.get(name, name)), *(cell for window in windows for cell in _traffic_cells(window)))
        for name, windows in averages(view).items()
    ]
    return table(columns, rows)


def _window_columns(seconds: int) -> tuple[Column, ...]:
    span = f"last {seconds} s" if seconds < 60 else f"last {seconds // 60} min"
    return tuple(Column(name, span, number=True) for name in ("per second", "p50 ms", "p99 ms"))


def _traffic_cells(window: Traffic) -> tuple[str, str, str]:
    return words.rate(window.per_second), words.milliseconds(window.p50_ms), words.milliseconds(window.p99_ms)


_STORAGE_COLUMNS = (
    Column("node"),
    Column("address", "clients"),
    Column("open", "clients", number=True),
    Column("commands/s", "clients", number=True),
    Column("entries", "log", number=True),
    Column("size", "log", number=True),
    Column("WAL", "log", number=True),
    Column("at entry", "checkpoint", number=True),
    Column("size", "checkpoint", number=True),
    Column("snapshots"),
    Column("disk free", number=True),
)


def _storage(view: ClusterView) -> Html:
    rows = [_storage_row(view, answer, answer.report) for answer in view.answers if answer.report is not None]
    return join((table(_STORAGE_COLUMNS, rows), *_backups(view)))


def _backups(view: ClusterView) -> Iterator[Html]:
    """A line for each node that keeps backups: how old the newest image is, and the log after it."""
    for answer in view.answers:
        facts = answer.report.facts if answer.report is not None else None
        if facts is not None and facts.backup_made:
            told = f"backup: image of {words.duration(facts.wall_seconds - facts.backup_made)} ago"
            if facts.backup_reaches:
                told += (
                    f", log up to {words.duration(max(0.0, facts.wall_seconds - facts.backup_reaches))} ago"
                )
            yield element("p", node_link(view, answer), f" {told}")


def _storage_row(view: ClusterView, answer: MemberReport, report: Report) -> list[Child]:
    facts, groups = report.facts, report.status.groups
    sizes = facts.storage_bytes
    asked = sum(each.per_second for name, each in facts.traffic.items() if name != "sync")
    return [
        node_link(view, answer),
        report.status.client,
        words.count(sum(facts.connections.values())),
        words.rate(asked),
        words.count(sum(max(0, group.last_index - group.first_index + 1) for group in groups)),
        words.size(sizes.get("log")),
        words.size(sizes.get("wal")),
        _checkpoints(groups),
        words.size(sizes.get("state")),
        _transfers(groups),
        words.size(facts.disk_free_bytes),
    ]


def _checkpoints(groups: Iterable[GroupStatus]) -> str:
    parts = []
    groups = list(groups)
    if len(groups) > 1:
        written = sum(bool(group.checkpoint_index) for group in groups)
        busy = sum(group.checkpoint_busy for group in groups)
        return f"{written} of {len(groups)} groups" + (f", writing {busy}" if busy else "")
    for group in groups:
        at = words.count(group.checkpoint_index) if group.checkpoint_index else "none yet"
        parts.append(at + (", writing" if group.checkpoint_busy else ""))
    return "; ".join(parts) or words.NOTHING


def _transfers(groups: Iterable[GroupStatus]) -> Html:
    parts = []
    for group in groups:
        for transfer in group.transfers:
            way = "from" if transfer.direction == "receive" else "to"
            done = f"{words.size(transfer.done_bytes)} of {words.size(transfer.size_bytes)}"
            parts.append(element("span", f"{way} {transfer.peer}: {done}", class_="transfer"))
    return join(parts) or Html(words.NOTHING)


def _nothing(words_: str) -> Html:
    return element("p", words_, class_="nothing")
