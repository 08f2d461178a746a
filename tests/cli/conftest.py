"""Fixtures of the tests of the command line."""

import pytest

from kraft.cli import local_cluster
from tests.cli.http_nodes import HttpNodes


@pytest.fixture(autouse=True)
def ports(monkeypatch):
    """`ports(function)` decides which ports are free; by default all are, whatever runs on this machine."""

    def put(error):
        monkeypatch.setattr(local_cluster, "port_error", error)

    put(lambda _: None)
    return put


@pytest.fixture
def http_nodes():
    """Nodes that answer on their HTTP port; `http_nodes.start(K1=report, ...)` begins with them."""
    made = HttpNodes()
    yield made
    made.close()
