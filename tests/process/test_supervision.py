"""What started the process, from what it finds in its environment and file system."""

import socket

import pytest

from kraft.node.supervisor import CONTAINER, DEMO, DOCKER, HAND, KUBERNETES, PODMAN, SYSTEMD, Supervisor
from kraft.process.supervision import DEMO_VARIABLE, supervisor_of

UNIT = {"INVOCATION_ID": "c0ffee", "SYSTEMD_EXEC_PID": "77"}
CGROUP_V2 = "0::/system.slice/system-kraft.slice/kraft@K1.service\n"
CGROUP_V1 = "12:memory:/a\n1:name=systemd:/system.slice/kraft@K1.service\n0::/\n"


def found(tmp_path, environment, cgroup="", *marks, pids=(77, 76)):
    (tmp_path / "proc/self").mkdir(parents=True)
    (tmp_path / "proc/self/cgroup").write_text(cgroup)
    for mark in marks:
        (tmp_path / mark).parent.mkdir(exist_ok=True)
        (tmp_path / mark).touch()
    return supervisor_of(environment, pids, "/bin/twistd", "/etc/K1.yaml", tmp_path)


def told(kind, name=""):
    return Supervisor(kind, name, "/bin/twistd", "/etc/K1.yaml")


@pytest.mark.parametrize("cgroup", [CGROUP_V2, CGROUP_V1])
@pytest.mark.parametrize("own", [{"SYSTEMD_EXEC_PID": "77"}, {"NOTIFY_SOCKET": "/run/systemd/notify"}])
def test_a_unit_is_named_by_its_control_group(tmp_path, cgroup, own):
    assert found(tmp_path, {"INVOCATION_ID": "c0ffee", **own}, cgroup) == told(SYSTEMD, "kraft@K1")


def test_a_unit_whose_control_group_is_hidden(tmp_path):
    assert found(tmp_path, UNIT, "0::/\n") == told(SYSTEMD)


@pytest.mark.parametrize(
    "environment", [{}, {"INVOCATION_ID": "c0ffee"}, {"INVOCATION_ID": "c0ffee", "SYSTEMD_EXEC_PID": "1"}]
)
def test_a_terminal_that_a_unit_has_opened_is_no_unit(tmp_path, environment):
    """A desktop's terminal inherits the variables of the unit of the desktop."""
    cgroup = "0::/user.slice/user-1000.slice/user@1000.service/app.slice/gnome-terminal.service\n"
    assert found(tmp_path, environment, cgroup) == told(HAND)


@pytest.mark.parametrize(
    ("environment", "marks", "kind"),
    [
        ({}, ["run/.containerenv"], PODMAN),
        ({}, [".dockerenv"], DOCKER),
        ({"KUBERNETES_SERVICE_HOST": "10.0.0.1"}, [".dockerenv"], KUBERNETES),
        ({"container": "oci"}, [], CONTAINER),
        ({"NOTIFY_SOCKET": "/run/notify"}, ["run/.containerenv"], PODMAN),  # podman run --sdnotify=container
    ],
)
def test_a_container_is_named_by_its_host(tmp_path, environment, marks, kind):
    """It is started as the first process there, or by a small init that is."""
    name = socket.gethostname()
    assert found(tmp_path / "a", environment, "0::/\n", *marks, pids=(1, 0)) == told(kind, name)
    assert found(tmp_path / "b", environment, "0::/\n", *marks, pids=(7, 1)) == told(kind, name)
    assert found(tmp_path / "c", environment, "0::/\n", *marks) == told(HAND)


def test_a_unit_in_a_container_is_a_unit(tmp_path):
    assert found(tmp_path, UNIT, CGROUP_V2, "run/.containerenv") == told(SYSTEMD, "kraft@K1")


def test_the_demo_says_so_wherever_it_runs(tmp_path):
    environment = {DEMO_VARIABLE: "/tmp/kraft-demo"}
    assert found(tmp_path, environment, "0::/\n", ".dockerenv") == told(DEMO, "/tmp/kraft-demo")


def test_a_system_without_control_groups(tmp_path):
    assert supervisor_of(UNIT, (77, 76), "t", "", tmp_path) == Supervisor(SYSTEMD, "", "t", "")
