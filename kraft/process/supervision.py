"""Finds out what started this process.

* systemd sets INVOCATION_ID for a unit and all that it starts, a terminal of a desktop included; it is the
  unit's own process that SYSTEMD_EXEC_PID names (since version 248) or that has NOTIFY_SOCKET
  (systemd.exec(5), sd_notify(3)). The unit is the last part of the control group's path.
* Podman and Docker leave a file in the root of a container, and Kubernetes sets KUBERNETES_SERVICE_HOST. They
  start its first process: the node, or a small init that is its parent. What somebody starts in a shell there
  is started by hand. The name of the host is the id of the container, or the name of the pod, unless somebody
  set another one.
* `kraft demo` gives its nodes KRAFT_DEMO, its directory.
"""

import socket
from collections.abc import Mapping
from pathlib import Path, PurePosixPath

from kraft.node.supervisor import (
    CONTAINER,
    DEMO,
    DOCKER,
    HAND,
    KUBERNETES,
    PODMAN,
    SYSTEMD,
    Supervisor,
)
from kraft.process.memory_limit import control_groups

DEMO_VARIABLE = "KRAFT_DEMO"
FIRST = 1  # the number of the first process of a container
_MARKS = {PODMAN: "run/.containerenv", DOCKER: ".dockerenv"}  # files below the root


def supervisor_of(
    environment: Mapping[str, str],
    pids: tuple[int, int],
    program: str,
    config_file: str,
    root: Path = Path("/"),
) -> Supervisor:
    """What started a process, which runs `program`. `pids` are its own and that of its parent, `root` is the
    root of the file system.
    """
    kind, name = HAND, ""
    if folder := environment.get(DEMO_VARIABLE):
        kind, name = DEMO, folder
    elif _is_unit(environment, pids[0]):
        kind, name = SYSTEMD, _unit(root)
    elif FIRST in pids and (container := _container(environment, root)):
        kind, name = container, socket.gethostname()
    return Supervisor(kind, name, program, config_file)


def _is_unit(environment: Mapping[str, str], pid: int) -> bool:
    own = environment.get("SYSTEMD_EXEC_PID") == str(pid) or "NOTIFY_SOCKET" in environment
    return own and "INVOCATION_ID" in environment


def _unit(root: Path) -> str:
    """The unit of the process's control group; '' if the path does not name one."""
    for hierarchy, controllers, path in control_groups(root):
        name = PurePosixPath(path).name
        if (hierarchy == "0" or controllers == "name=systemd") and name.endswith(".service"):
            return name.removesuffix(".service")
    return ""


def _container(environment: Mapping[str, str], root: Path) -> str:
    if "KUBERNETES_SERVICE_HOST" in environment:
        return KUBERNETES
    for kind, mark in _MARKS.items():
        if (root / mark).exists():
            return kind
    return CONTAINER if environment.get("container") else ""
