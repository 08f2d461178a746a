"""A client port, and one client on it."""

import pytest

from tests.server.fakes import Port, Talk


@pytest.fixture
def port() -> Port:
    return Port()


@pytest.fixture
def client(port: Port) -> Talk:
    return port.connect()
