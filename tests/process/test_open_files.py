"""The limit of open files, and what clients get of it."""

import resource

import pytest

from kraft.process import open_files
from kraft.process.failure import CannotStart
from kraft.server.factory import REFUSED_MAX
from kraft.tcp.accept_limit import ACCEPTS_MAX
from kraft.transport.limits import LinkLimits
from kraft.web.limits import CONNECTIONS_MAX

INFINITE = resource.RLIM_INFINITY


class System:
    """The limit of a process, and the most that the system grants."""

    def __init__(self, monkeypatch, soft, hard, most=None):
        self.limits = (soft, hard)
        self._most = most
        monkeypatch.setattr(resource, "getrlimit", lambda _: self.limits)
        monkeypatch.setattr(resource, "setrlimit", self.set)

    def set(self, _, limits):
        if self._most is not None and (limits[0] == INFINITE or limits[0] > self._most):
            raise ValueError("current limit exceeds maximum limit")
        self.limits = limits


@pytest.mark.parametrize(
    ("soft", "hard", "most", "raised"),
    [
        (256, 4096, None, 4096),
        (1024, 1024, None, 1024),
        (256, INFINITE, 1 << 20, 1 << 20),
        (256, INFINITE, 10_240, 10_240),
        (256, 4096, 256, 256),
    ],
)
def test_the_soft_limit_becomes_the_hard_one(monkeypatch, soft, hard, most, raised):
    """As far as the system lets it: macOS calls the hard limit infinite and has a bound all the same."""
    system = System(monkeypatch, soft, hard, most)
    assert open_files.raise_limit() == raised
    assert system.limits == (raised, hard)


def test_a_filter_of_system_calls_may_forbid_it(monkeypatch):
    def forbidden(*_):
        raise PermissionError

    System(monkeypatch, 1024, 4096)
    monkeypatch.setattr(resource, "setrlimit", forbidden)
    assert open_files.room_for_clients()(1) == 736


@pytest.mark.parametrize(
    ("limit", "clients"), [(65_536, 65_248), (1024, 736), (576, 288), (512, 256), (128, 64)]
)
def test_clients_get_what_a_node_does_not_need(monkeypatch, limit, clients):
    System(monkeypatch, limit, limit)
    assert open_files.room_for_clients()(1) == clients


@pytest.mark.parametrize(("groups", "clients"), [(2, 733), (64, 547), (128, 547)])
def test_every_group_has_a_state_file_and_64_are_open(monkeypatch, groups, clients):
    System(monkeypatch, 1024, 1024)
    assert open_files.room_for_clients()(groups) == clients


def test_too_low_a_limit_is_told_in_one_line(monkeypatch):
    System(monkeypatch, 64, 127)
    with pytest.raises(
        CannotStart, match=r"may open 127 files, and a node needs 128 or more: raise the hard limit"
    ):
        open_files.room_for_clients()(1)


def test_the_reserve_is_the_sum_of_its_parts():
    """As the module explains it."""
    parts = [int(line.split()[0]) for line in open_files.__doc__.splitlines() if line[4:5].isdigit()]
    assert sum(parts) == open_files.RESERVED_FILES
    unread = 2 * ACCEPTS_MAX  # of one port; see `tcp.accept_limit`
    assert parts[-3:] == [
        LinkLimits().greeting_links + unread + 4 * 9,
        CONNECTIONS_MAX + unread,
        REFUSED_MAX,
    ]
