"""The state of a cluster as `kraft status` shows it: a table, then notes, warnings, and problems by node."""

import json
from collections.abc import Iterator, Sequence
from typing import Any

from kraft.cli.output.blocks import (
    BAD,
    COMMAND,
    EMPTY,
    GOOD,
    NEWS,
    PLAIN,
    STRONG,
    WARN,
    Block,
    Line,
    Meter,
    Span,
    TableColumn,
    TextTable,
    line,
)
from kraft.cli.status_reply import StatusReply, view_of
from kraft.node.status import REMOVED, SERVING
from kraft.web import finding, overview, replica_findings
from kraft.web.findings import DISK_FULL, VOTERS_CHANGING, diagnose
from kraft.web.report import decode

COLUMNS = (
    TableColumn("NODE"),
    TableColumn("STATE"),
    TableColumn("GROUP", number=True, spare=1),
    TableColumn("ROLE"),
    TableColumn("TERM", number=True, spare=2),
    TableColumn("LEADER"),
    TableColumn("COMMIT", number=True, spare=3),
    TableColumn("APPLIED", number=True, spare=5),
    TableColumn("KEYS", number=True, spare=4),
    TableColumn("HTTP", spare=6),
)
ABSENT = "-"
MOVED = ("slots", "votes", replica_findings.TOPIC)
MIB = 1 << 20


def blocks(answers: Sequence[StatusReply], *, every_group: bool = False) -> list[Block]:
    """The output of `kraft status`, from the replies of the nodes.

    A node with many groups has one row, and one for each group with a problem; or a row for `every_group`.
    """
    warnings = _warnings(answers)
    notes: list[Block] = [line(Span(each.note, NEWS)) for each in answers if each.note]
    notes += [note for answer in answers for note in _notes(answer)]
    notes += _moves(answers)
    commands = _next_commands(answers)
    troubles = [
        line(
            Span(each.name or each.address, STRONG), ": ", Span(trouble, BAD),
            *_in_brackets(commands.get(each.name, "")),
        )
        for each in answers
        if (trouble := _trouble(each))
    ]  # fmt: skip
    return [
        _table(answers, every_group=every_group),
        EMPTY,
        *map(line, _version(answers)),
        *notes,
        *(line(Span(text, WARN)) for text in _tolerances(answers)),
        *warnings,
        *(troubles or [_summary(len(answers), bool(warnings))]),
    ]


def _summary(count: int, attention: bool) -> Line:
    well = "1 node answers and knows" if count == 1 else f"{count} nodes answer and know"
    head = Span("needs attention", WARN) if attention else Span("all well", GOOD)
    return line(head, f": {well} a leader")


def _table(answers: Sequence[StatusReply], *, every_group: bool) -> TextTable:
    rows = (row for answer in answers for row in _rows(answer, every_group=every_group))
    return TextTable(COLUMNS, tuple(rows))


def _rows(answer: StatusReply, *, every_group: bool) -> Iterator[tuple[Span, ...]]:
    """One row per group of a node, or one for all; a node without groups has one row."""
    address, status = Span(answer.address or "?"), answer.status
    absent = (Span(ABSENT),) * 7
    if status is None:
        yield Span(answer.name or "?", STRONG), Span("no answer", BAD), *absent, address
        return
    start = Span(status["node"], STRONG), Span(status["state"], GOOD if status["state"] == SERVING else WARN)
    many = len(status["groups"]) > overview.GROUPS_SHOWN_MAX and not every_group
    removed = status["state"] == REMOVED  # it looks for a leader in vain, and its problem says so
    if many:
        count = max(status.get("group_count", 0), len(status["groups"]))
        yield *start, *_sums(status["groups"], count, removed=removed), address
    for group in status["groups"]:
        troubled = not (group["leader"] or removed) or group.get("fenced") or group.get("mismatch")
        if not many or troubled:
            yield *start, *_cells(group, removed=removed), address
    if not status["groups"]:
        yield *start, *absent, address


def _sums(groups: Sequence[dict[str, Any]], count: int, *, removed: bool) -> Iterator[Span]:
    """The cells of a node with many of the `count` groups. LEADER is how many of them know one."""
    led, known = (
        sum(group["role"] == "leader" for group in groups),
        sum(bool(group["leader"]) for group in groups),
    )
    yield Span(f"all {count}" if len(groups) == count else f"{len(groups)} of {count}")
    yield Span(ABSENT) if removed else Span(f"leads {led}", STRONG) if led else Span("follower")
    yield Span(str(max(group["term"] for group in groups)))
    if removed:
        yield Span(ABSENT)
    else:
        yield Span("all") if known == len(groups) else Span(f"{known} of {len(groups)}", BAD)
    for key in ("commit", "applied", "keys"):
        yield Span(str(sum(group[key] for group in groups)))


def _cells(group: dict[str, Any], *, removed: bool) -> Iterator[Span]:
    yield Span(str(group["group"]))
    role = Span(str(group["role"]), STRONG if group["role"] == "leader" else PLAIN)
    yield Span(ABSENT) if removed else role
    yield Span(str(group["term"]))
    leader = Span(group["leader"]) if group["leader"] else Span("none", BAD)
    yield Span(ABSENT) if removed else leader
    for key in ("commit", "applied", "keys"):
        yield Span(str(group[key]))


def _version(answers: Sequence[StatusReply]) -> list[str]:
    """The machine version in force, as the first node says that reports one."""
    statuses = [
        decode(json.dumps(each.status).encode()).status for each in answers if each.status is not None
    ]
    return [overview.machine_versions(status) for status in statuses if status.machine_version][:1]


def _tolerances(answers: Sequence[StatusReply]) -> Iterator[str]:
    """How many more losses the cluster survives, for each group that has a leader and lacks voters.

    Where the cluster places votes that is among the warnings.
    """
    view = view_of(answers)
    if view is None or (overview.places_votes(view) and overview.several(view)):
        return
    working, alike = overview.working(view), dict[str, list[int]]()
    for group in overview.groups(view):
        if group.leader and not set(group.voters) <= working:
            alike.setdefault(overview.tolerance(view, group), []).append(group.group)
    for text, groups in alike.items():
        yield f"{_named(groups)}: {text}"


def _warnings(answers: Sequence[StatusReply]) -> list[Line]:
    """The page's warnings about the cluster, nodes that serve, and groups that no node has.

    Each comes with the next command to type.
    """
    view = view_of(answers)
    if view is None:
        return []
    found = diagnose(view).findings
    explained = {each.name for each in answers if not each.healthy}  # in the table
    lost = [each for each in found if (each.severity, each.topic) == (finding.BAD, replica_findings.TOPIC)]
    told = [each for each in found if each.severity == finding.WARN and each.subject not in explained]
    return [
        line(
            Span(each.subject, STRONG), ": ", Span(each.text, BAD if each in lost else WARN),
            *_in_brackets(each.next),
        )
        for each in (*lost, *told)
    ]  # fmt: skip


def _moves(answers: Sequence[StatusReply]) -> list[Line]:
    """What the page says of slots, votes and replicas that move."""
    view = view_of(answers)
    found = () if view is None else diagnose(view).findings
    told = [each for each in found if each.topic in MOVED and each.severity == finding.NOTE]
    return [line(Span(f"{each.subject}: {each.text}", NEWS), *_in_brackets(each.next)) for each in told]


def _next_commands(answers: Sequence[StatusReply]) -> dict[str, str]:
    """What the page proposes to do about each node, if anything."""
    view = view_of(answers)
    found = () if view is None else diagnose(view).findings
    return {each.subject: each.next for each in reversed(found)}


def _in_brackets(command: str) -> tuple[str | Span, ...]:
    return (" (", Span(command, COMMAND), ")") if command else ()


def _notes(answer: StatusReply) -> Iterator[Block]:
    """Changes under way, as the leader of a group reports them; snapshots as their receiver reports them."""
    groups = (answer.status or {}).get("groups", ())
    told = "learners"
    if (answer.status or {}).get("replication"):  # learners are no news, and of several groups `_moves` tells
        told = "joining" if len(groups) == 1 else ""
    alike: dict[str, list[int]] = {}
    for group in groups:
        for text in _changes(group, told) if group["role"] == "leader" else ():
            alike.setdefault(text, []).append(group["group"])
    for text, ids in alike.items():
        yield line(Span(f"{_named(ids)}: {text}", NEWS))
    for group in groups:
        for transfer in group.get("transfers", ()):
            if transfer["direction"] == "receive":
                yield _snapshot(f"group {group['group']}", answer.name, transfer)


def _named(groups: Sequence[int]) -> str:
    return f"group {groups[0]}" if len(groups) == 1 else f"{len(groups)} groups"


def _snapshot(group: str, receiver: str, transfer: dict[str, Any]) -> Meter:
    sender, done, size = transfer["peer"], transfer["done_bytes"], transfer["size_bytes"]
    text = f"{group}: {receiver} is receiving a snapshot from {sender}:"
    text += f" {done / MIB:.1f} of about {size / MIB:.1f} MiB"
    return Meter(line(text), f"{receiver}: snapshot from {sender}", done, size, transfer.get("seconds", 0.0))


def _changes(group: dict[str, Any], told: str) -> Iterator[str]:
    """What changes in a group, with its learners if there are any of the field `told`."""
    if told and group[told]:
        joining = set(group.get("joining", ()))
        learners = ", ".join(f"{id_} (to be a voter)" if id_ in joining else id_ for id_ in group["learners"])
        yield f"voters {', '.join(group['voters'])}; learners {learners}"
    if group.get("joint"):
        yield VOTERS_CHANGING
    if group.get("transferring"):
        yield f"leadership is being transferred to {group['transferring']}"


def _trouble(answer: StatusReply) -> str:
    if answer.status is None:
        return answer.error
    if answer.healthy:
        return ""
    if answer.fenced and not answer.status["problem"]:
        return "its data differs from the others'"
    if answer.status["disk_full"] and not answer.status["problem"]:
        return DISK_FULL
    return str(answer.status["problem"]) or "no leader known"
