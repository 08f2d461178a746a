"""The parts of the page that change, as HTML: they are in the document, and sent again on each change."""

from collections.abc import Iterable, Iterator, Sequence
from itertools import starmap

from kraft.node.status import SERVING, GroupStatus
from kraft.telemetry.recent.history import Traffic
from kraft.telemetry.recent.journal import JournalEntry
from kraft.web import overview, words
from kraft.web.charts import WINDOWS, averages
from kraft.web.findings import Diagnosis, Finding
from kraft.web.glossary import tooltip
from kraft.web.html import Child, Html, element, join
from kraft.web.report import Report
from kraft.web.view import ClusterView, MemberReport

EVENTS_SHOWN = 40
SAME_SECONDS, SAME_LINES = 3.0, 20  # how far apart the entries of several nodes about one event may be
SIGNS = {"good": "✓", "bad": "✕", "warn": "!", "note": "…"}  # for readers who cannot tell the colours apart
_CLASS_WORDS = {
    "read": "reads",
    "write": "writes",
    "local": "local commands",
    "admin": "administration",
    "sync": "log syncs",
}


def sections(view: ClusterView, verdict: Diagnosis) -> dict[str, Html]:
    """The parts, by the id of the element that holds each."""
    return {
        "verdict": _verdict(verdict),
        "groups": join(_group(view, group) for group in overview.groups(view)) or _nothing("no group yet"),
        "nodes": _nodes(view),
        "traffic": _traffic(view),
        "storage": _storage(view),
        "events": _events(view),
    }


# -- verdict ------------------------------------------------------------------------------------------


def _verdict(verdict: Diagnosis) -> Html:
    sign = element("span", SIGNS[verdict.severity], class_="sign", aria_hidden="true")
    headline = element("p", sign, " ", verdict.text, class_=f"headline {verdict.severity}", role="status")
    if not verdict.findings:
        return headline
    return join((headline, element("ul", *map(_finding, verdict.findings), class_="findings")))


def _finding(finding: Finding) -> Html:
    sign = element("span", SIGNS[finding.severity], class_=f"sign {finding.severity}", aria_hidden="true")
    said = element("span", element("b", f"{finding.subject}:"), " ", finding.text)
    command = (
        element("span", "next: ", element("code", finding.command), class_="next") if finding.command else ""
    )
    return element("li", sign, element("div", said, command))


# -- groups -------------------------------------------------------------------------------------------


def _group(view: ClusterView, known: GroupStatus) -> Html:
    leader = overview.leader(view, known.group)
    group = leader or known
    facts = (
        ("leader", leader_name(view, group.group) or "none"),
        ("term", group.term),
        ("voters", ", ".join(group.voters)),
        ("learners", ", ".join(group.learners)),
        ("can lose", _spare(view, group)),
        ("commit", words.count(group.commit)),
        ("keys", words.count(group.keys)),
        ("data", words.size(group.dataset_bytes)),
        ("pending writes", words.count(group.pending_proposals)),
    )
    rows = [
        element(
            "div",
            element("dt", name, title=tooltip(name)),
            element("dd", value, class_=f"fact-{name.split()[-1]}"),
        )
        for name, value in facts
        if value != ""
    ]
    title = element("h3", f"Group {group.group}", title=tooltip("group"))
    return element("article", title, element("dl", *rows), class_="group", data_group=str(group.group))


def _spare(view: ClusterView, group: GroupStatus) -> str:
    spare = overview.losses_survived(view, group)
    return f"{spare} more" if spare > 0 else "no more" if spare == 0 else "too few left"


def leader_name(view: ClusterView, group: int) -> str:
    """The id of the leader of `group`; '' if no node that answers leads it."""
    for report in view.reports:
        for each in report.status.groups:
            if each is overview.leader(view, group):
                return report.status.node
    return ""


# -- tables -------------------------------------------------------------------------------------------


def _nodes(view: ClusterView) -> Html:
    heads: tuple[str, ...] = (
        "node", "group", "state", "role", "term", "leader", "applied", "lag", "last contact", "uptime",
        "version",
    )  # fmt: skip
    rows = [row for answer in view.answers for row in _node_rows(view, answer)]
    if len(overview.groups(view)) <= 1:  # then the column "group" says nothing
        heads, rows = heads[:1] + heads[2:], [row[:1] + row[2:] for row in rows]
    return table(heads, rows)


def _node_rows(view: ClusterView, answer: MemberReport) -> Iterator[list[Child]]:
    name = node_link(view, answer)
    if answer.report is None:
        state = _badge("bad", "no answer") if answer.error else _badge("note", "not asked yet")
        yield [name, words.NOTHING, state, *[words.NOTHING] * 8]
        return
    status = answer.report.status
    state = _badge("good" if status.state == SERVING and not status.problem else "bad", status.state)
    end = words.duration(status.uptime_seconds), status.version
    for group in status.groups:
        leader = overview.leader(view, group.group)
        lag, heard = _lag(leader, answer.id)
        leads = group.role == "leader"
        role = _badge("leads", "leader") if leads else element("span", group.role, title=tooltip(group.role))
        yield [
            name, group.group, state, role, group.term, group.leader or "nobody",
            words.count(group.applied), lag, heard, *end,
        ]  # fmt: skip
    if not status.groups:
        yield [name, words.NOTHING, state, *[words.NOTHING] * 6, *end]


def _lag(leader: GroupStatus | None, id_: str) -> tuple[str, str]:
    """The entries that `id_` lacks and the time since its last message, as its leader sees it."""
    for replica in leader.replicas if leader is not None else ():
        if replica.id == id_:
            return words.count(replica.lag_entries), f"{replica.last_contact_seconds:.1f} s ago"
    return words.NOTHING, words.NOTHING


def node_link(view: ClusterView, answer: MemberReport) -> Html:
    """The name of the node, as a link to its own page unless the reader is on that page."""
    if not answer.address or answer.id == view.own.status.node:
        return element("b", answer.id)
    return element("a", answer.id, href=f"http://{answer.address}/", rel="noreferrer")


def _badge(kind: str, word: str) -> Html:
    return element("span", word, class_=f"badge {kind}")


def _traffic(view: ClusterView) -> Html:
    heads = ("cluster", *(head for seconds in WINDOWS for head in _window_heads(seconds)))
    rows = [
        (_CLASS_WORDS.get(name, name), *(cell for window in windows for cell in _traffic_cells(window)))
        for name, windows in averages(view).items()
    ]
    return table(heads, rows)


def _window_heads(seconds: int) -> tuple[str, str, str]:
    span = f"{seconds} s" if seconds < 60 else f"{seconds // 60} min"
    return f"{span}: /s", "p50 ms", "p99 ms"


def _traffic_cells(window: Traffic) -> tuple[str, str, str]:
    return words.rate(window.per_second), words.milliseconds(window.p50_ms), words.milliseconds(window.p99_ms)


def _storage(view: ClusterView) -> Html:
    heads = (
        "node", "client port", "clients", "commands/s", "log entries", "log", "WAL", "checkpoint", "state",
        "snapshots", "disk free",
    )  # fmt: skip
    rows = [_storage_row(view, answer, answer.report) for answer in view.answers if answer.report is not None]
    return table(heads, rows)


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
    told = []
    for group in groups:
        at = f"at {words.count(group.checkpoint_index)}" if group.checkpoint_index else "none yet"
        told.append(at + (", writing" if group.checkpoint_busy else ""))
    return "; ".join(told) or words.NOTHING


def _transfers(groups: Iterable[GroupStatus]) -> Html:
    told = []
    for group in groups:
        for transfer in group.transfers:
            way = "from" if transfer.direction == "receive" else "to"
            part = f"{words.size(transfer.done_bytes)} of {words.size(transfer.size_bytes)}"
            told.append(element("span", f"{way} {transfer.peer}: {part}", class_="transfer"))
    return join(told) or Html(words.NOTHING)


def table(heads: Sequence[str], rows: Iterable[Sequence[Child]]) -> Html:
    """A table. The first cell of each row is its heading."""
    head = element("tr", *(element("th", name, scope="col", title=tooltip(name)) for name in heads))
    body = [
        element("tr", element("th", row[0], scope="row"), *(element("td", cell) for cell in row[1:]))
        for row in rows
    ]
    return element("table", element("thead", head), element("tbody", *body))


# -- events -------------------------------------------------------------------------------------------


def _events(view: ClusterView) -> Html:
    """The newest entries of all nodes. The same entry on several nodes at about the same time is one line."""
    told = [
        (happening, answer.id)
        for answer in view.answers
        if answer.last is not None
        for happening in answer.last.facts.events
    ]
    told.sort(key=lambda pair: pair[0].at, reverse=True)
    lines: list[tuple[JournalEntry, list[str]]] = []
    for happening, node in told:
        for earlier, nodes in lines[-SAME_LINES:]:
            same = (earlier.text, earlier.times) == (happening.text, happening.times)
            if same and node not in nodes and earlier.at - happening.at < SAME_SECONDS:
                nodes.append(node)
                break
        else:
            lines.append((happening, [node]))
    shown = lines[:EVENTS_SHOWN]
    return element("ol", *starmap(_event, shown)) if shown else _nothing("no events yet")


def _event(happening: JournalEntry, nodes: Sequence[str]) -> Html:
    often = f" ({happening.times} times)" if happening.times > 1 else ""
    said = element("span", element("b", ", ".join(sorted(nodes))), " ", happening.text, often)
    return element("li", words.moment(happening.at), said, class_=_level(happening.level))


def _level(level: str) -> str | None:
    """The CSS class for a level that needs attention, else None."""
    return {"warning": "warn", "error": "bad", "critical": "bad"}.get(level)


def _nothing(words_: str) -> Html:
    return element("p", words_, class_="nothing")
