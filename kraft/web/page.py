"""One plain page for people: the status values as tables, and where the rest is. No script, no files."""

from collections.abc import Iterable, Sequence
from html import escape

from kraft.host.status import GroupStatus, MemberStatus, Status

_STYLE = (
    "body{font:15px/1.5 system-ui,sans-serif;margin:2em auto;max-width:60em;padding:0 1em}"
    "table{border-collapse:collapse;margin:.5em 0 2em}th,td{text-align:left;padding:.2em 1.2em .2em 0;"
    "border-bottom:1px solid #ccc}.problem{color:#a00}"
)
_LINKS = ("/status", "/metrics", "/readyz", "/livez")


def render_page(status: Status) -> str:
    """The whole document."""
    title = escape(f"kraft {status.node}")
    links = " · ".join(f'<a href="{path}">{path}</a>' for path in _LINKS)
    problem = f'<p class="problem">{escape(status.problem)}</p>' if status.problem else ""
    return (
        f'<!doctype html><html lang="en"><meta charset="utf-8"><title>{title}</title><style>{_STYLE}</style>'
        f"<h1>{title}</h1>{problem}"
        f"{_table((), _node_rows(status))}"
        f"<h2>Groups</h2>{_table(_GROUP_HEADS, map(_group_row, status.groups))}"
        f"<h2>Members</h2>{_table(_MEMBER_HEADS, map(_member_row, status.members))}"
        f"<p>{links}</p></html>\n"
    )


_GROUP_HEADS = (
    "group",
    "role",
    "term",
    "leader",
    "commit",
    "applied",
    "log",
    "keys",
    "data bytes",
    "pending",
)
_MEMBER_HEADS = ("id", "kind", "peer", "client", "http", "link", "last contact", "lag")


def _node_rows(status: Status) -> Iterable[Sequence[object]]:
    yield "state", status.state
    yield "version", status.version
    yield "cluster", status.cluster or "not formed yet"
    yield "client port", status.client
    yield "up", f"{status.uptime_seconds:.0f} s"


def _group_row(group: GroupStatus) -> Sequence[object]:
    log = f"{group.first_index} to {group.last_index}"
    place = (group.group, group.role, group.term, group.leader or "none", group.commit, group.applied, log)
    return (*place, group.keys, group.dataset_bytes, group.pending_proposals)


def _member_row(member: MemberStatus) -> Sequence[object]:
    kind = "voter" if member.voter else "learner"
    link = "up" if member.connected else "down"
    heard = "" if member.last_contact_seconds is None else f"{member.last_contact_seconds:.1f} s ago"
    lag = "" if member.lag_entries is None else member.lag_entries
    return member.id, kind, member.peer, member.client, member.http, link, heard, lag


def _table(heads: Sequence[str], rows: Iterable[Sequence[object]]) -> str:
    head = "".join(f"<th>{escape(text)}</th>" for text in heads)
    body = "".join(
        "<tr>" + "".join(f"<td>{escape(str(cell))}</td>" for cell in row) + "</tr>" for row in rows
    )
    return f"<table>{f'<tr>{head}</tr>' if head else ''}{body}</table>"
