"""Problems of a cluster and changes under way in it, each as a sentence with the next command to type.

Pure functions of the nodes' reports. The page, `kraft status` and `/readyz` use the same sentences, so that a
search for one of them finds all three.
"""

from collections import Counter
from collections.abc import Iterable, Iterator
from dataclasses import replace

from kraft.node.status import (
    FORMING,
    LEADERLESS,
    STANDBY,
    GroupStatus,
    Status,
)
from kraft.web import next_command, overview, replica_findings, words
from kraft.web.finding import BAD, NOTE, WARN, Diagnosis, Finding
from kraft.web.report import Report
from kraft.web.slot_findings import slot_findings
from kraft.web.view import ClusterView, MemberReport
from kraft.web.vote_findings import vote_findings

DISK_FULL = "its disk is full: it does not vote and accepts no writes until there is space again"
VOTERS_CHANGING = "its voters are being changed; decisions need a majority of the old and of the new ones"
LOG_TIME_AHEAD = (
    "until they have caught up, relative expiries last up to twice as long; near absolute ones are refused"
)
LOG_TIME_LATE = "until it has caught up, keys with an absolute expiry stay longer"
LAG_ENTRIES = 10_000  # as in the alert KraftFollowerLagging
DATASET_SHARE = 0.85  # of the quota, as in the alert KraftQuotaNearlyUsed
DISK_FREE_BYTES = 256 << 20  # enough for a checkpoint and a snapshot of a small data set
EXPIRY_SECONDS = 14 * 86_400  # as in the alert KraftCertificateExpiresSoon
LOCK_SECONDS = 5.0  # as in the alert KraftTransactionStuck
CLOCK_OFFSET_MS = 1000  # from here on, keys expire noticeably early or late when leadership moves


def diagnose(view: ClusterView) -> Diagnosis:
    """The state of the whole cluster."""
    found = sorted(_all(view), key=lambda finding: (BAD, WARN, NOTE).index(finding.severity))
    worst = found[0].severity if found and found[0].severity != NOTE else "good"
    return Diagnosis(worst, _headline(view, worst), tuple(found))


def _headline(view: ClusterView, worst: str) -> str:
    if worst == "good":
        asked = sum(answer.report is not None or bool(answer.error) for answer in view.answers)
        if asked < len(view.answers):
            return f"{view.own.status.node} is healthy; waiting for the other nodes"
        return f"All well: {_nodes(len(view.answers))} and {'knows' if asked == 1 else 'know'} a leader"
    if not view.own.status.cluster:
        return f"{view.own.status.node} does not belong to a cluster yet"
    if overview.left_alone(view):
        return f"{view.own.status.node} was removed from its cluster"
    served = overview.served(view)
    lost = len(view.replicas) - served + len(overview.unheld(view))
    if not served:
        return "The cluster is not serving"
    if lost:
        return f"{lost} of {view.group_count} groups {'does' if lost == 1 else 'do'} not serve"
    if any(_thin(view, group) for group in overview.groups(view)):
        return "The cluster is serving, but must not lose another node"
    return "The cluster is serving, but needs attention"


def _thin(view: ClusterView, group: GroupStatus) -> bool:
    """Whether voters are missing and every remaining voter is needed for a majority."""
    return overview.losses_survived(view, group) == 0 and not set(group.voters) <= overview.working(view)


def _nodes(count: int) -> str:
    return "1 node answers" if count == 1 else f"{count} nodes answer"


def _all(view: ClusterView) -> Iterator[Finding]:
    if overview.left_alone(view):
        yield from _node(view, view.own)
        return
    yield from _merged(replica_findings.unheld(view))
    yield from _merged(finding for group in overview.groups(view) for finding in _group(view, group))
    yield from _lags(view)
    for answer in view.answers:
        if answer.report is not None:
            yield from _node(view, answer.report)
        elif answer.error:
            yield _silent(view, answer)
    yield from _shared(finding for report in view.reports for finding in _of_any_node(report))
    yield from replica_findings.half_removed(view)
    yield from _half_changed(view)
    yield from _links(view)
    yield from _versions(view)
    yield from slot_findings(view)
    yield from vote_findings(view)


def _half_changed(view: ClusterView) -> Iterator[Finding]:
    """A command that changed the members of some groups only. Where the cluster places votes, they differ.

    Members that some groups have removed have a finding of their own.
    """
    if overview.places_votes(view) or any(report.status.settling for report in view.reports):
        return
    leaving = replica_findings.removals(view).keys()
    groups = overview.groups(view)
    settled = {group.group: (*group.voters, *group.learners) for group in groups if not group.joint}
    found = []
    for id_, members in settled.items():
        first = settled.get(0, members)
        if set(members) - leaving != set(first) - leaving:
            own, others = words.names(sorted(members)), words.names(sorted(first))
            text = f"its members are {own}, those of group 0 {others}"
            advice = "repeat the command that changed the members: it finishes what is half done"
            found.append(Finding(WARN, f"group {id_}", text, advice=advice))
    yield from _merged(found)


# -- nodes --------------------------------------------------------------------------------------------


def _silent(view: ClusterView, answer: MemberReport) -> Finding:
    text, where = f"does not answer: {answer.error}", next_command.place(view, answer)
    if answer.id in view.connected:
        look = f"curl http://{answer.address}/livez"
        return Finding(WARN, answer.id, f"{text}; its links to other nodes are up", look)
    if not overview.majority(view):
        command = next_command.start(view, answer)
        return Finding(BAD, answer.id, text, command, where if command else "start it again")
    command = next_command.why(view, answer) or next_command.start(view, answer)
    return Finding(WARN, answer.id, text, command, where if command else "start it again")


def _node(view: ClusterView, report: Report) -> Iterator[Finding]:
    status = report.status
    fenced = any(group.fenced for group in status.groups)
    explained = status.state == LEADERLESS and _explained(view, status)
    if status.problem and not explained:
        severity = WARN if status.state in (FORMING, STANDBY) else BAD
        command = next_command.kraft(view, "reseed", status.node) if fenced else ""
        yield Finding(severity, status.node, status.problem, command)
    elif fenced:
        text = "its data differs from the others'"
        yield Finding(BAD, status.node, text, next_command.kraft(view, "reseed", status.node))
    elif not status.groups and not status.problem:
        yield Finding(BAD, status.node, "no leader known")
    if status.disk_full:
        yield Finding(
            BAD, status.node, DISK_FULL, "df -h", "on its machine, for the file system of node.data"
        )
    elif report.facts.disk_free_bytes is not None and report.facts.disk_free_bytes < DISK_FREE_BYTES:
        free = report.facts.disk_free_bytes >> 20
        yield Finding(WARN, status.node, f"its disk has only {free} MiB left", "df -h", "on its machine")
    yield from _slowness(status)
    if report.facts.memory_full:
        text = f"is near its memory limit of {report.facts.memory_limit >> 20} MiB and refuses writes (-OOM)"
        advice = "delete keys, or raise MemoryMax= or the container's limit"
        yield Finding(BAD, status.node, text, advice=advice)
    admitted, wanted = report.facts.connections_max, report.facts.connections_configured
    if admitted < wanted:
        text = f"may open too few files: it admits {admitted} clients, not limits.connections ({wanted})"
        yield Finding(WARN, status.node, text, "kraft doctor", "on its machine")
    if report.facts.backup_problem:
        text = f"its backups fail: {report.facts.backup_problem}"
        yield Finding(WARN, status.node, text, advice="it is tried again every minute")
    if unshipped := report.facts.backup_unshipped:
        logs = "the log of a group" if unshipped == 1 else f"the logs of {unshipped} groups"
        text = f"does not ship {logs}: {report.facts.backup_unshipped_reason}"
        yield Finding(WARN, status.node, text, advice="docs/runbooks.md#kraftgroupsnotshipped")
    yield from _moved(view, status)
    yield from _transfers(view, report)


def _of_any_node(report: Report) -> Iterator[Finding]:
    """What is often the same on every node; the texts fit one node and several."""
    facts, groups = report.facts, report.status.groups
    yield from _certificates(report)
    data, bound = sum(group.dataset_bytes for group in groups), facts.dataset_bytes_max
    if bound and data > DATASET_SHARE * bound:
        text = f"the data uses {100 * data // bound} % of limits.dataset_bytes; at 100 % writes are refused"
        advice = "delete keys, or raise limits.dataset_bytes and reload"
        yield Finding(WARN, report.status.node, text, advice=advice)
    if facts.paused_connections:
        text = "clients are delayed: writes arrive faster than they can be logged"
        yield Finding(WARN, report.status.node, text)


def _shared(found: Iterable[Finding]) -> Iterator[Finding]:
    """What is said of several nodes in the same words, once."""
    nodes: dict[Finding, list[str]] = {}
    for finding in found:
        nodes.setdefault(replace(finding, subject=""), []).append(finding.subject)
    for finding, ids in nodes.items():
        yield replace(finding, subject=words.names(ids))


def _certificates(report: Report) -> Iterator[Finding]:
    """Certificates that end soon, or have ended."""
    names = {"certificate": "the certificate", "ca": "the CA", "crl": "the revocation list"}
    for use, end in sorted(report.facts.tls_expiry.items()):
        left = end - report.facts.wall_seconds
        if left < EXPIRY_SECONDS:
            when = f"ends in {words.duration(left)}; then" if left > 0 else "has expired:"
            text = f"{names.get(use, use)} {when} no new TLS connection succeeds"
            yield Finding(
                WARN if left > 0 else BAD,
                report.status.node,
                text,
                "kraft certs --renew",
                "docs/tls.md#renew-revoke-replace-the-ca",
            )


def _explained(view: ClusterView, status: Status) -> bool:
    """Whether a node without a leader only suffers from what another finding says: of a group that has no
    leader anywhere, or of the links that the node lacks.
    """
    led = all(overview.leader(view, group.group) is not None for group in status.groups)
    return not led or any(node == status.node for node, _ in _cut_off(view))


def _moved(view: ClusterView, status: Status) -> Iterator[Finding]:
    """A node that is not where the others dial it: its links last until they break."""
    for member in status.members:
        if member.id == status.node and member.announced not in ("", member.peer):
            text = f"announces its peer port at {member.announced}, but the members dial {member.peer}"
            yield Finding(
                WARN, member.id, text, next_command.kraft(view, "address", member.id, member.announced)
            )


def _slowness(status: Status) -> Iterator[Finding]:
    """A node that is too slow to lead, and whether it leads nevertheless."""
    leads = any(group.role == "leader" for group in status.groups)
    then = (
        "it leads, as no majority of the others is faster" if leads else "it leaves leadership to the others"
    )
    if status.disk_slow:
        since = f", one for {status.log_write_seconds:.1f} s by now" if status.log_write_seconds else ""
        text = f"its disk is slow: log writes take more than two election timeouts{since}; {then}"
        yield Finding(WARN, status.node, text, "iostat -x 1", "on its machine")
    if status.loop_slow:
        text = f"its process is held up again and again, by a busy processor or its own work; {then}"
        yield Finding(WARN, status.node, text, "top", "on its machine; docs/runbooks.md#kraftreactorblocked")


def _links(view: ClusterView) -> Iterator[Finding]:
    """Missing links between nodes that both answer; a node that does not answer has a finding anyway."""
    ports = {member.id: member.peer for report in view.reports for member in report.status.members}
    leaderless = {report.status.node for report in view.reports if report.status.state == LEADERLESS}
    for node, others in _cut_off(view):
        checks = "; ".join(next_command.reach(ports[other]) for other in others)
        text = f"is not connected to {words.names(others)}"
        if node in leaderless:
            yield Finding(BAD, node, f"{text}, and knows no leader", checks, "on its machine")
        else:
            yield Finding(WARN, node, text, checks, "on its machine")


def _cut_off(view: ClusterView) -> list[tuple[str, list[str]]]:
    """The missing links between nodes that answer, each once: at the node that lacks the most of them."""
    missing = overview.broken_links(view)
    found: list[tuple[str, list[str]]] = []
    while missing:
        lacking = Counter(node for pair in missing for node in sorted(pair))
        node = min(lacking, key=lambda each: (-lacking[each], each))
        pairs = {pair for pair in missing if node in pair}
        found.append((node, sorted(other for pair in pairs for other in pair if other != node)))
        missing -= pairs
    return found


def _transfers(view: ClusterView, report: Report) -> Iterator[Finding]:
    for group in report.status.groups:
        for transfer in group.transfers:
            if transfer.direction == "receive":
                done, size = transfer.done_bytes / (1 << 20), transfer.size_bytes / (1 << 20)
                of = f" of group {group.group}" if overview.several(view) else ""
                text = f"is receiving a snapshot{of} from {transfer.peer}: {done:.1f} of about {size:.1f} MiB"
                yield Finding(NOTE, report.status.node, text)


def _versions(view: ClusterView) -> Iterator[Finding]:
    versions: dict[str, list[str]] = {}
    for report in view.reports:
        versions.setdefault(report.status.version, []).append(report.status.node)
    if len(versions) > 1:
        text = "; ".join(f"{version} on {', '.join(nodes)}" for version, nodes in sorted(versions.items()))
        yield Finding(NOTE, "cluster", f"runs more than one version: {text}", topic="versions")
    own = view.own.status
    if own.machine_version_supported > own.machine_version > 0:
        yield Finding(NOTE, "cluster", overview.machine_versions(own), topic="versions")


# -- groups -------------------------------------------------------------------------------------------


def _group(view: ClusterView, group: GroupStatus) -> Iterator[Finding]:
    name = overview.name(view, group.group)
    voters, spare = len(group.voters), overview.spare_voters(view, group)
    if spare < 0:
        need = voters // 2 + 1
        text = f"{need + spare} of {voters} voters answer; {need} are needed to write or read"
        yield Finding(
            BAD, name, text, advice="start the others; if they are gone for good: kraft recover DIR"
        )
    leader = overview.leader(view, group.group)
    if leader is None:
        if spare >= 0:
            yield Finding(BAD, name, f"has no leader{_obstacle(view)}")
        return
    if overview.places_votes(view) and overview.several(view):
        yield from replica_findings.lacking_voters(view, leader)
        yield from replica_findings.incoming(view, leader)
    else:
        yield from _learners(view, leader)
    yield from _changes(name, leader)
    if leader.mismatch and not any(_fenced(view, group.group)):
        text = "the data of one replica differs from the others'"
        yield Finding(WARN, name, text, next_command.kraft(view, "verify"))
    yield from _clocks(view, leader)
    yield from _transactions(view, name, leader)


def _transactions(view: ClusterView, name: str, leader: GroupStatus) -> Iterator[Finding]:
    """Transactions over several groups that recovery should have ended by now."""
    seconds, count = leader.transaction_lock_seconds, leader.transactions
    if seconds > LOCK_SECONDS:
        age = words.duration(seconds)
        text = f"a transaction over groups has not ended for {age}; requests for its keys wait"
        if count > 1:
            text = f"{count} transactions over groups have not ended, the oldest for {age}"
            text += "; requests for their keys wait"
        command = next_command.kraft(view, "transactions")
        yield Finding(WARN, name, text, command, "docs/runbooks.md#krafttransactionstuck")


def _merged(found: Iterable[Finding]) -> Iterator[Finding]:
    """What is said of several groups in the same words, once; of a node, what its first group says."""
    subjects: dict[Finding, list[str]] = {}
    told: set[tuple[str, str]] = set()
    for finding in found:
        if finding.subject.startswith("group "):
            subjects.setdefault(replace(finding, subject=""), []).append(finding.subject)
        elif (finding.subject, finding.topic) not in told or finding.topic != "clock":
            told.add((finding.subject, finding.topic))
            subjects.setdefault(finding, [finding.subject])
    for finding, names in subjects.items():
        yield replace(finding, subject=_together(names))


def _together(names: list[str]) -> str:
    """The name of one group, or of several."""
    return words.groups([int(name.removeprefix("group ")) for name in names]) if len(names) > 1 else names[0]


def _lags(view: ClusterView) -> Iterator[Finding]:
    """Voters that lag, each by its largest lag."""
    lags: dict[str, int] = {}
    for group in view.replicas:
        leader = overview.leader(view, group)
        for replica in leader.replicas if leader is not None else ():
            if leader is not None and replica.id not in leader.learners:
                lags[replica.id] = max(replica.lag or 0, lags.get(replica.id, 0))
    for id_, lag in sorted(lags.items()):
        if lag > LAG_ENTRIES and id_ in overview.alive(view):
            yield Finding(WARN, id_, f"lacks {lag} entries")


def _obstacle(view: ClusterView) -> str:
    """What keeps the voters from electing a leader, as far as one of them says."""
    problems = (report.status.problem for report in view.reports if report.status.state == LEADERLESS)
    known = sorted(filter(None, (problem.partition(": ")[2] for problem in problems)))
    return f": {known[0]}" if known else "; an election should end this within seconds"


def _clocks(view: ClusterView, leader: GroupStatus) -> Iterator[Finding]:
    """Voters' clocks, and log time, that are off the median of the voters' clocks."""
    offsets = {
        replica.id: leader.clock_offset_ms + replica.clock_offset_ms
        for replica in leader.replicas
        if replica.id in overview.alive(view) and replica.id not in leader.learners
    }
    offsets[leader.leader] = leader.clock_offset_ms
    for id_, offset_ms in sorted(offsets.items()):
        if abs(offset_ms) > CLOCK_OFFSET_MS:
            text = f"its clock differs from the median of the voters' clocks by {offset_ms / 1000:+.1f} s"
            yield Finding(WARN, id_, text, "timedatectl", "on its machine", "clock")
    if abs(leader.log_time_lead_ms) > CLOCK_OFFSET_MS:
        seconds = words.duration(abs(leader.log_time_lead_ms) / 1000)
        text = f"log time is {seconds} ahead of the voters' clocks: {LOG_TIME_AHEAD}"
        if leader.log_time_lead_ms < 0:
            text = f"log time is {seconds} late by the voters' clocks: {LOG_TIME_LATE}"
        name = overview.name(view, leader.group)
        yield Finding(WARN, name, text, advice="docs/runbooks.md#kraftlogtimeoff", topic="clock")


def _learners(view: ClusterView, leader: GroupStatus) -> Iterator[Finding]:
    lags = {replica.id: replica.lag for replica in leader.replicas}
    for id_ in leader.joining if overview.places_votes(view) else leader.learners:
        kind = (
            "becomes a voter once it has caught up"
            if id_ in leader.joining
            else "is a learner, without a vote"
        )
        lag = f", lacks {lags[id_]} entries" if lags.get(id_) else ""
        yield Finding(NOTE, id_, f"{kind}{lag}")


def _changes(name: str, leader: GroupStatus) -> Iterator[Finding]:
    if leader.joint:
        yield Finding(NOTE, name, VOTERS_CHANGING)
    if leader.transferring:
        yield Finding(NOTE, name, f"leadership is being transferred to {leader.transferring}")


def _fenced(view: ClusterView, group: int) -> Iterator[bool]:
    return (each.fenced for _, each in view.replicas[group])
