"""Checks of the node's process and of the cluster; the latter are the findings of the status page."""

from collections.abc import Iterator

from kraft import __version__
from kraft.cli.checks.result import OK, PROBLEM, WARNING, CheckResult
from kraft.cli.checks.subject import Subject
from kraft.web import overview, words
from kraft.web.finding import BAD, NOTE, WARN
from kraft.web.findings import diagnose

_LEVELS = {BAD: PROBLEM, WARN: WARNING, NOTE: OK}


def node(subject: Subject) -> Iterator[CheckResult]:
    """Whether the node runs, and answers on its HTTP port."""
    if subject.hidden:
        text = f"cannot tell whether {subject.id} runs: it does not answer, and its directory is not readable"
        yield CheckResult(WARNING, text, f"sudo kraft doctor {subject.file}")
        return
    if not subject.running:
        command = f"systemctl start {subject.unit}; or twistd -n --pidfile= kraft --config {subject.file}"
        yield CheckResult(OK, f"{subject.id} is not running", command)
        return
    process = f"process {subject.pid}" if subject.pid else "a process"
    if subject.view is not None:
        status = subject.view.own.status
        text = f"{subject.id} runs as {process}, up {words.duration(status.uptime_seconds)}, {status.state}"
        yield CheckResult(OK, f"{text}, version {status.version}")
    elif not subject.config.http.listen:
        yield CheckResult(
            WARNING, f"{subject.id} runs as {process}, but cannot be queried: http.listen is empty"
        )
    else:
        text = f"{subject.id} runs as {process}, but does not answer: {subject.silence}"
        yield CheckResult(PROBLEM, text, subject.mend or f"journalctl -u {subject.unit} -n 50")


def cluster(subject: Subject) -> Iterator[CheckResult]:
    """Quorum, leader, members that do not answer, have wrong data or lag, and changes under way."""
    if subject.view is None:
        why = "does not answer" if subject.running or subject.hidden else "is not running"
        yield CheckResult(OK, f"unknown, because this node {why}: ask another one", "kraft status HOST:PORT")
        return
    found = diagnose(subject.view)
    if not any(each.severity == BAD for each in found.findings):
        yield CheckResult(OK, f"{found.text}{_leaders(subject)}")
    own = subject.view.own.status
    if own.group_count > len(own.groups) > 0:
        text = f"{own.node} has replicas of {len(own.groups)} of {own.group_count} groups"
        yield CheckResult(OK, text, "kraft groups")
    for each in found.findings:
        if each.topic in ("cluster", "slots", "votes", "replicas"):
            yield CheckResult(_LEVELS[each.severity], f"{each.subject}: {each.text}", each.next)


def _leaders(subject: Subject) -> str:
    own = subject.view.own.status if subject.view is not None else None
    groups = own.groups if own is not None else ()
    if len(groups) > overview.GROUPS_SHOWN_MAX:
        known = sum(bool(each.leader) for each in groups)
        return f"; the leaders of {known} of its {len(groups)} groups are known"
    led = [f"{each.leader} leads group {each.group} in term {each.term}" for each in groups if each.leader]
    return f"; {', '.join(led)}" if led else ""


def versions(subject: Subject) -> Iterator[CheckResult]:
    """Whether all nodes and this command have the same version; they differ only during an upgrade."""
    if subject.view is None:
        yield CheckResult(OK, f"this is kraft {__version__}; the versions of the nodes are unknown")
        return
    told = {report.status.node: report.status.version for report in subject.view.reports}
    own = told.pop(subject.id)
    if own != __version__:
        text = f"{subject.id} runs {own}, but {__version__} is installed: restart it to use that"
        yield CheckResult(WARNING, text, f"systemctl restart {subject.unit}")
    for id_, version in sorted(told.items()):
        if version != own:
            text = f"{id_} runs {version}, {subject.id} runs {own}: upgrade the older ones, one at a time"
            yield CheckResult(WARNING, text, f"systemctl restart kraft@{id_}, on its machine")
    status = subject.view.own.status
    held_back = 0 < status.machine_version < status.machine_version_supported
    if held_back:
        yield CheckResult(WARNING, overview.machine_versions(status))
    if set(told.values()) <= {own}:
        yield CheckResult(OK, f"all nodes that answer ({1 + len(told)}) run {own}")
    if status.machine_version and not held_back:
        yield CheckResult(OK, overview.machine_versions(status))
