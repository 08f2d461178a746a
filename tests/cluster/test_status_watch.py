"""`kraft status --watch` at a terminal, while a real node dies and comes back."""

import sysconfig
from pathlib import Path

import pytest

from tests.cluster.terminal import Terminal

pytestmark = [pytest.mark.slow, pytest.mark.timeout(300)]

KRAFT = Path(sysconfig.get_path("scripts")) / "kraft"
SECONDS = 90.0


def test_watching_a_node_die_and_return(cluster):
    """From its own address; the others are known by then. Ctrl-C ends with the last view and status 0."""
    address = f"127.0.0.1:{cluster['K1'].http_port}"
    shown = Terminal([KRAFT, "status", "--watch", address], {})
    try:
        shown.wait("all well: 3 nodes", deadline=SECONDS)
        cluster["K1"].kill()
        shown.wait("K1: Connection refused", deadline=SECONDS)
        shown.wait("K1 is missing: the cluster must not lose another voter", deadline=SECONDS)
        cluster["K1"].start()
        shown.wait("all well: 3 nodes", deadline=SECONDS)
        shown.interrupt()
        assert shown.end() == 0
    finally:
        shown.close()
    assert b": 3 nodes answer" in shown.raw.partition(b"\x1b[?1049l")[2]
