"""Nodes with as many connections as the benchmark has."""

from pathlib import Path

import pytest

from tests.trace.instructions import CONNECTIONS
from tests.trace.nodes import Nodes


@pytest.fixture(scope="module")
def nodes(tmp_path_factory):
    cluster = Nodes(Path(tmp_path_factory.mktemp("nodes")))
    cluster.connect_more(CONNECTIONS - 1)
    yield cluster
    cluster.close()
