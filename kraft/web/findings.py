"""What is wrong with a cluster or under way in it, in words, each with the command to give next.

Pure functions from what the nodes say. The sentences about a node are those of `kraft status` and of
`/readyz`, so that a search for one of them finds all three.
"""

from collections.abc import Iterator
from dataclasses import dataclass

from kraft.node.status import GroupStatus
from kraft.web import overview
from kraft.web.report import Report
from kraft.web.view import ClusterView, MemberReport

DISK_FULL = "its disk is full: it neither votes nor takes writes; with room again it goes on by itself"
BAD, WARN, NOTE = "bad", "warn", "note"  # does not serve; serves, but look; is under way
LAG_ENTRIES = 10_000  # as the alert KraftFollowerLagging
DATASET_SHARE = 0.85  # of the quota, as the alert KraftQuotaNearlyUsed
DISK_FREE_BYTES = 256 << 20  # a checkpoint and a snapshot of a small data set still fit
CLOCK_OFFSET_MS = 1000  # a key then expires noticeably early or late when leadership moves


@dataclass(frozen=True, slots=True)
class Finding:
    """`text` is about `subject`, a node or a group; `command` is '' when there is nothing to do but wait.

    `topic` is clock or versions where that is what it is about, else cluster.
    """

    severity: str
    subject: str
    text: str
    command: str = ""
    topic: str = "cluster"


@dataclass(frozen=True, slots=True)
class Diagnosis:
    """The one line for a tired person, and everything behind it, worst first."""

    severity: str  # 'good', or that of the worst finding that is not a note
    text: str
    findings: tuple[Finding, ...]


def diagnose(view: ClusterView) -> Diagnosis:
    """Of the whole cluster."""
    found = sorted(_all(view), key=lambda finding: (BAD, WARN, NOTE).index(finding.severity))
    worst = found[0].severity if found and found[0].severity != NOTE else "good"
    return Diagnosis(worst, _headline(view, worst), tuple(found))


def _headline(view: ClusterView, worst: str) -> str:
    if worst == "good":
        asked = sum(answer.report is not None or bool(answer.error) for answer in view.answers)
        if asked < len(view.answers):
            return f"{view.own.status.node} is well; the other nodes are being asked"
        return f"All well: {_nodes(len(view.answers))} and {'knows' if asked == 1 else 'know'} a leader"
    serving = [group for group in overview.groups(view) if overview.leader(view, group.group) is not None]
    if not view.own.status.cluster:
        return f"{view.own.status.node} belongs to no cluster yet"
    if not serving or not overview.majority(view):
        return "The cluster does not serve"
    if any(_thin(view, group) for group in overview.groups(view)):
        return "The cluster serves, but must not lose another node"
    return "The cluster serves, but look at this"


def _thin(view: ClusterView, group: GroupStatus) -> bool:
    """Fewer voters are there than there should be, and each that is left is needed."""
    return overview.spare_voters(view, group) == 0 and not set(group.voters) <= overview.alive(view)


def _nodes(count: int) -> str:
    return "1 node answers" if count == 1 else f"{count} nodes answer"


def _all(view: ClusterView) -> Iterator[Finding]:
    for group in overview.groups(view):
        yield from _group(view, group)
    for answer in view.answers:
        if answer.report is not None:
            yield from _node(view, answer.report)
        elif answer.error:
            yield _silent(view, answer)
    yield from _versions(view)


# -- nodes --------------------------------------------------------------------------------------------


def _silent(view: ClusterView, answer: MemberReport) -> Finding:
    severity = WARN if overview.majority(view) else BAD
    text = f"does not answer: {answer.error}"
    if answer.id in overview.connected(view):
        look = f"curl http://{answer.address}/livez"
        return Finding(WARN, answer.id, f"{text}; its links to other nodes are up", look)
    command = f"systemctl status kraft@{answer.id}; journalctl -u kraft@{answer.id} -n 50"
    return Finding(severity, answer.id, text, command)


def _node(view: ClusterView, report: Report) -> Iterator[Finding]:
    status = report.status
    fenced = any(group.fenced for group in status.groups)
    if status.problem:
        severity = WARN if status.state == "forming" else BAD
        command = kraft_command(view, f"reseed {status.node}") if fenced else ""
        yield Finding(severity, status.node, status.problem, command)
    elif fenced:
        text = "its data differs from the others'"
        yield Finding(BAD, status.node, text, kraft_command(view, f"reseed {status.node}"))
    elif not status.groups:
        yield Finding(BAD, status.node, "no leader known")
    if status.disk_full:
        yield Finding(BAD, status.node, DISK_FULL, "df -h, on its machine, for the file system of node.data")
    elif report.facts.disk_free_bytes is not None and report.facts.disk_free_bytes < DISK_FREE_BYTES:
        free = report.facts.disk_free_bytes >> 20
        yield Finding(WARN, status.node, f"its disk has only {free} MiB left", "df -h, on its machine")
    data, bound = sum(group.dataset_bytes for group in status.groups), report.facts.dataset_bytes_max
    if bound and data > DATASET_SHARE * bound:
        text = f"its data fills {100 * data // bound} % of limits.dataset_bytes; beyond, writes are refused"
        yield Finding(WARN, status.node, text, "delete keys, or raise limits.dataset_bytes and reload")
    if report.facts.paused_connections:
        yield Finding(WARN, status.node, "its clients wait: writes come faster than they are logged")
    yield from _links(view, report)
    yield from _transfers(report)


def _links(view: ClusterView, report: Report) -> Iterator[Finding]:
    """Between nodes that both answer; a silent one is told of anyway."""
    answering = {each.status.node for each in view.reports}
    for member in report.status.members:
        if not member.connected and member.id in answering and member.id > report.status.node:
            port = f"nc -z {member.peer.replace(':', ' ')}"
            yield Finding(WARN, report.status.node, f"has no link to {member.id}", f"{port}, on its machine")


def _transfers(report: Report) -> Iterator[Finding]:
    for group in report.status.groups:
        for transfer in group.transfers:
            if transfer.direction == "receive":
                done, size = transfer.done_bytes / (1 << 20), transfer.size_bytes / (1 << 20)
                text = f"receives a snapshot from {transfer.peer}, {done:.1f} of about {size:.1f} MiB"
                yield Finding(NOTE, report.status.node, text)


def _versions(view: ClusterView) -> Iterator[Finding]:
    versions: dict[str, list[str]] = {}
    for report in view.reports:
        versions.setdefault(report.status.version, []).append(report.status.node)
    if len(versions) > 1:
        text = "; ".join(f"{', '.join(nodes)} run {version}" for version, nodes in sorted(versions.items()))
        yield Finding(NOTE, "cluster", f"runs more than one version: {text}", topic="versions")


# -- groups -------------------------------------------------------------------------------------------


def _group(view: ClusterView, group: GroupStatus) -> Iterator[Finding]:
    name = f"group {group.group}"
    voters, spare = len(group.voters), overview.spare_voters(view, group)
    if spare < 0:
        need = voters // 2 + 1
        text = f"{need + spare} of {voters} voters answer, {need} are needed to write or read"
        start = "; ".join(f"systemctl start kraft@{answer.id}" for answer in view.answers if answer.error)
        yield Finding(BAD, name, text, f"{start or 'kraft status'} (gone for good: kraft recover DIR)")
    leader = overview.leader(view, group.group)
    if leader is None:
        if spare >= 0:
            yield Finding(BAD, name, "has no leader: an election should end this within seconds")
        return
    yield from _changes(name, leader)
    if leader.mismatch and not any(_fenced(view, group.group)):
        text = "the data of a replica differs from the others'"
        yield Finding(WARN, name, text, kraft_command(view, "verify"))
    for replica in leader.replicas:
        if replica.id in overview.alive(view):
            if replica.lag_entries > LAG_ENTRIES and replica.id not in leader.learners:
                yield Finding(WARN, replica.id, f"is {replica.lag_entries} entries behind")
            if abs(replica.clock_offset_ms) > CLOCK_OFFSET_MS:
                text = f"its clock is {replica.clock_offset_ms / 1000:+.1f} s from the leader's"
                yield Finding(WARN, replica.id, text, "timedatectl, on its machine", "clock")


def _changes(name: str, leader: GroupStatus) -> Iterator[Finding]:
    lags = {replica.id: replica.lag_entries for replica in leader.replicas}
    for id_ in leader.learners:
        kind = "becomes a voter once it has caught up" if id_ in leader.joining else "is a learner"
        behind = f", {lags[id_]} entries behind" if lags.get(id_) else ""
        yield Finding(NOTE, id_, f"{kind}{behind}")
    if leader.joint:
        yield Finding(NOTE, name, "its voters are being changed; decisions need old and new ones")
    if leader.transferring:
        yield Finding(NOTE, name, f"leadership is being given to {leader.transferring}")


def _fenced(view: ClusterView, group: int) -> Iterator[bool]:
    return (each.fenced for report in view.reports for each in report.status.groups if each.group == group)


def kraft_command(view: ClusterView, words: str) -> str:
    """An administrator's command, for any node that has a client port; the first that answers."""
    host, _, port = view.own.status.client.rpartition(":")
    return f"redis-cli -h {host.strip('[]')} -p {port} kraft {words}"
