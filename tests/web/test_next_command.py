"""Commands that fit the way in which the nodes were started."""

import shlex
from dataclasses import replace

import pytest

from kraft.node.supervisor import DEMO, DOCKER, HAND, KINDS, KUBERNETES, PODMAN, SYSTEMD, Supervisor
from kraft.telemetry.recent.facts import Facts
from kraft.web import next_command
from tests.web.reports import report, silent, view

TWISTD, DIRECTORY = "/opt/kraft/bin/twistd", "/home/me/my demo"


def seen_from(by, last=None, **changed):
    """K3 is down, and K1, started by `by`, is looked at. `last` is what had started K3, if it is known."""
    own = report("K1", facts=Facts(supervisor=by), **changed)
    before = report("K3", facts=Facts(supervisor=last)) if last else None
    answer = silent("K3", last=before)
    return view(own, answer), answer


@pytest.mark.parametrize(
    ("by", "start", "why"),
    [
        (Supervisor(SYSTEMD, "kraft@K1"), "systemctl start kraft@K3",
         "systemctl status kraft@K3; journalctl -u kraft@K3 -n 50"),
        (Supervisor(DOCKER, "3f2a"), "docker ps --all", "docker ps --all"),
        (Supervisor(PODMAN, "3f2a"), "podman ps --all", "podman ps --all"),
        (Supervisor(KUBERNETES, "kraft-0"), "kubectl get pods", "kubectl get pods"),
        (Supervisor(DEMO, DIRECTORY, TWISTD, f"{DIRECTORY}/K1/kraft.yaml"),
         f"{TWISTD} -n '--pidfile={DIRECTORY}/K3/twistd.pid' kraft --config '{DIRECTORY}/K3/kraft.yaml'",
         ""),
        (Supervisor(HAND, "", TWISTD, "/etc/kraft/K1.yaml"),
         f"{TWISTD} -n --pidfile= kraft --config /etc/kraft/K3.yaml", ""),
        (Supervisor(HAND, "", TWISTD, ""), "", ""),
        (Supervisor("container", "box"), "", ""),
        (Supervisor(), "", ""),
    ],
)  # fmt: skip
def test_a_node_that_never_reported_was_started_like_this_one(by, start, why):
    found, answer = seen_from(by)
    assert (next_command.start(found, answer), next_command.why(found, answer)) == (start, why)


@pytest.mark.parametrize(
    ("by", "start", "why"),
    [
        (Supervisor(SYSTEMD, "store"), "systemctl start store",
         "systemctl status store; journalctl -u store -n 50"),
        (Supervisor(DOCKER, "3f2a"), "docker start 3f2a", "docker logs --tail 50 3f2a"),
        (Supervisor(KUBERNETES, "kraft-2"), "kubectl logs --previous --tail 50 kraft-2",
         "kubectl logs --previous --tail 50 kraft-2"),
        (Supervisor(HAND, "", "/usr/bin/twistd", "/srv/a.yaml"),
         "/usr/bin/twistd -n --pidfile= kraft --config /srv/a.yaml", ""),
    ],
)  # fmt: skip
def test_its_own_last_report_is_better(by, start, why):
    found, answer = seen_from(Supervisor(HAND, "", TWISTD, "/etc/kraft/K1.yaml"), by)
    assert (next_command.start(found, answer), next_command.why(found, answer)) == (start, why)


@pytest.mark.parametrize("kind", KINDS)
def test_what_another_node_says_is_one_word_for_the_shell(kind):
    """Whoever copies a command must not run what a node has put into a name."""
    evil = "x; touch /tmp/owned; $(id) `id` 'a"
    found, answer = seen_from(Supervisor(HAND), Supervisor(kind, evil, evil, evil))
    for command in (next_command.start(found, answer), next_command.why(found, answer)):
        words = {word for part in command.split("; journalctl") for word in shlex.split(part)}
        assert "touch" not in words
        assert "/tmp/owned;" not in words


def test_where_to_type_it():
    here = {"http": "127.0.0.1:10021"}
    found, answer = seen_from(Supervisor(SYSTEMD, "kraft@K1"), **here)
    assert next_command.place(found, answer) == "on its machine"
    assert next_command.place(found, replace(answer, address="127.0.0.1:10023")) == ""
    assert next_command.place(found, replace(answer, address="")) == ""
    found, answer = seen_from(Supervisor(KUBERNETES, "kraft-0"), **here)
    assert next_command.place(found, answer) == ""


def test_an_address_of_ipv6_is_written_as_the_programs_want_it():
    assert next_command.client("[::1]:10011", "get", "k") == "redis-cli -h ::1 -p 10011 get k"
    assert next_command.reach("[::1]:10001") == "nc -z ::1 10001"
