"""A client port, and one client on it."""

import pytest

from kraft.config.values import LimitsConfig
from tests.server.fakes import Port, Talk
from tests.server.users import Client


@pytest.fixture
def port() -> Port:
    return Port()


@pytest.fixture
def client(port: Port) -> Talk:
    return port.connect()


@pytest.fixture
def admin(port: Port) -> Client:
    """A connection of the default user, who may do everything."""
    return Client(port)


@pytest.fixture
def small() -> Talk:
    """A client of a port with narrow limits."""
    limits = LimitsConfig(key_bytes=8, value_bytes=64, request_bytes=256, arguments=16, connections=2)
    return Port(limits=limits).connect()
