"""The command to type next, as it fits the way in which the nodes were started.

The last report of a node that is down says how it was started. Without one it is taken to be like the node
that is looked at, with its own id in the same places. What is unknown is left out, so that a command can be
typed as it is shown. Names come from other nodes, so all of them are quoted for the shell.
"""

import shlex
from dataclasses import replace
from pathlib import PurePosixPath

from kraft.node.supervisor import DEMO, DOCKER, HAND, KUBERNETES, PODMAN, SYSTEMD, Supervisor
from kraft.web.view import ClusterView, MemberReport

_LINES = "50"  # of a log


def kraft(view: ClusterView, *words: str) -> str:
    """Sends a KRAFT command to the client port of the node that is looked at."""
    return client(view.own.status.client, "kraft", *words)


def client(address: str, *words: str) -> str:
    """Sends a command to that client port."""
    host, _, port = address.rpartition(":")
    return shlex.join(["redis-cli", "-h", host.strip("[]"), "-p", port, *words])


def shell(address: str) -> str:
    """Opens a shell at that client port."""
    return shlex.join(["kraft", "shell", address])


def reach(address: str) -> str:
    """Shows whether that port can be reached."""
    host, _, port = address.rpartition(":")
    return shlex.join(["nc", "-z", host.strip("[]"), port])


def start(view: ClusterView, answer: MemberReport) -> str:
    """Starts a node that is down; '' if it is unknown how."""
    by = _supervisor(view, answer)
    if by.kind == SYSTEMD:
        return shlex.join(["systemctl", "start", by.name])
    if by.kind in (DOCKER, PODMAN) and by.name:
        return shlex.join([by.kind, "start", by.name])
    if by.kind in (DEMO, HAND) and by.program and by.config_file:
        pid_file = f"{by.name}/{answer.id}/twistd.pid" if by.kind == DEMO else ""
        return shlex.join([by.program, "-n", f"--pidfile={pid_file}", "kraft", "--config", by.config_file])
    return why(view, answer)


def why(view: ClusterView, answer: MemberReport) -> str:
    """Shows why a node is down; '' if there is no such command, or it is unknown."""
    by = _supervisor(view, answer)
    if by.kind == SYSTEMD:
        log = shlex.join(["journalctl", "-u", by.name, "-n", _LINES])
        return f"{shlex.join(['systemctl', 'status', by.name])}; {log}"
    if by.kind in (DOCKER, PODMAN):
        return shlex.join(
            [by.kind, "logs", "--tail", _LINES, by.name] if by.name else [by.kind, "ps", "--all"]
        )
    if by.kind == KUBERNETES:
        rest = ["logs", "--previous", "--tail", _LINES, by.name] if by.name else ["get", "pods"]
        return shlex.join(["kubectl", *rest])
    return ""


def place(view: ClusterView, answer: MemberReport) -> str:
    """Where to type it: `on its machine`, or '' if that is this machine or any."""
    host, own = (address.rpartition(":")[0] for address in (answer.address, view.own.status.http))
    here = host in ("", own) or _supervisor(view, answer).kind in (DEMO, KUBERNETES)
    return "" if here else "on its machine"


def _supervisor(view: ClusterView, answer: MemberReport) -> Supervisor:
    """What started the node, with the unit's usual name if it is unknown."""
    by = answer.last.facts.supervisor if answer.last is not None else Supervisor()
    if not by.kind:
        by = _like(view.own.facts.supervisor, view.own.status.node, answer.id)
    return replace(by, name=by.name or f"kraft@{answer.id}") if by.kind == SYSTEMD else by


def _like(by: Supervisor, own: str, other: str) -> Supervisor:
    """What probably started node `other`, from what started node `own`."""
    file = PurePosixPath(by.config_file)
    parts = (
        other + part[len(own) :] if part in (own, f"{own}{file.suffix}") else part for part in file.parts
    )
    name = by.name if by.kind == DEMO else ""
    return replace(by, name=name, config_file=str(PurePosixPath(*parts)) if by.config_file else "")
