"""A leader and a follower on a network without sockets, for the tests of this folder."""

import pytest

from tests.host.fakes import Clock
from tests.host.snapshot_files import (
    ROWS,
    File,
    Follower,
    Leader,
    Network,
)


@pytest.fixture
def clock():
    return Clock()


@pytest.fixture
def network(clock):
    return Network(clock)


@pytest.fixture
def leader(clock, network):
    return Leader(clock, network, File(100, ROWS))


@pytest.fixture
def follower(clock, network, leader):
    return Follower(clock, network, leaders=[leader])
