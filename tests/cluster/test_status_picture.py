"""The pictures of `kraft status` in the documents: `make screenshots` keeps them."""

import socket
import sysconfig
import xml.etree.ElementTree as ElementTree
from pathlib import Path

import pytest

from tests.cluster.harness import maps, wait_until
from tests.cluster.picture import svg
from tests.cluster.terminal import Terminal

pytestmark = [pytest.mark.slow, pytest.mark.timeout(300)]

KRAFT = Path(sysconfig.get_path("scripts")) / "kraft"
LINES, COLUMNS = 16, 96
BYTES_MAX = 20_000


@pytest.fixture
def units(tmp_path, monkeypatch):
    """Nodes that start now take themselves for units of systemd, so that pictures show no paths."""
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as told:
        told.bind(str(tmp_path / "notify"))
        monkeypatch.setenv("NOTIFY_SOCKET", str(tmp_path / "notify"))
        monkeypatch.setenv("INVOCATION_ID", "1")
        yield


@pytest.mark.usefixtures("units")
def test_pictures_of_the_status(make_cluster, tmp_path, request):
    """All is well; then a look at what is left while a node is dead."""
    folder = Path(request.config.getoption("--screenshots") or tmp_path)
    folder.mkdir(parents=True, exist_ok=True)
    cluster = make_cluster()
    cluster.start()
    address = f"127.0.0.1:{cluster['K1'].http_port}"
    client = cluster.leader()
    for number in range(1000):
        client.ask("SET", f"key:{number}", "x" * 100)
    wait_until(lambda: len({each.status()["groups"][0]["keys"] for each in cluster}) == 1, "all have them")

    once = Terminal([KRAFT, "status", address], {}, size=(LINES, COLUMNS))
    assert once.end() == 0
    keep(folder / "status.svg", once, "all well: 3 nodes answer and know a leader")

    watching = Terminal([KRAFT, "status", "--watch", address], {}, size=(LINES, COLUMNS))
    try:
        watching.wait("all well")
        cluster.followers()[0].kill()
        watching.wait("systemctl status kraft@")
        keep(folder / "status-watch.svg", watching, "no answer")
    finally:
        watching.close()


def test_picture_of_moves(make_cluster, tmp_path, request):
    """Two groups give slots away, at a pace that leaves time to look."""
    folder = Path(request.config.getoption("--screenshots") or tmp_path)
    folder.mkdir(parents=True, exist_ok=True)
    cluster = make_cluster(cluster={"groups": 3}, snapshot={"bytes_per_second": 64 << 10})
    cluster.start()
    with cluster["K1"].client() as client:
        for number in range(2_000):
            assert client.call("SET", f"key:{number}", b"x" * 10_000) == "OK"
        for first, last, receiver in ((0, 2047, 2), (2048, 2303, 1), (5462, 7000, 0)):
            assert client.call("KRAFT", "MOVE", "SLOTS", str(first), str(last), "TO", str(receiver))
    wait_until(lambda: all(row["keys"] for row in copied(cluster["K1"])), "both sources copy")

    address = f"127.0.0.1:{cluster['K1'].client_port}"
    shown = Terminal([KRAFT, "moves", "-s", address], {}, size=(6, COLUMNS))
    assert shown.end() == 0
    keep(folder / "moves.svg", shown, "planned")


def copied(server):
    """The moves under way that are not waiting for another one."""
    return [row for row in maps(server.order("MOVES")) if row["state"] != "planned"] or [{"keys": 0}]


def keep(file, terminal, words):
    """Write the picture of a screen, which shows these words."""
    picture = svg(terminal.screen, terminal.height)
    file.write_text(picture)
    assert len(picture) < BYTES_MAX
    texts = [each.text or "" for each in ElementTree.fromstring(picture).iter() if each.tag.endswith("text")]
    assert words in "".join(texts)
