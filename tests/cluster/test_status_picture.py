"""The pictures of `kraft status` in the documents: `make screenshots` keeps them."""

import sysconfig
import xml.etree.ElementTree as ElementTree
from pathlib import Path

import pytest

from tests.cluster.harness import wait_until
from tests.cluster.picture import svg
from tests.cluster.terminal import Terminal

pytestmark = [pytest.mark.slow, pytest.mark.timeout(300)]

KRAFT = Path(sysconfig.get_path("scripts")) / "kraft"
LINES, COLUMNS = 16, 96
BYTES_MAX = 20_000


def test_pictures_of_the_status(cluster, tmp_path, request):
    """All is well; then a look at what is left while a node is dead."""
    folder = Path(request.config.getoption("--screenshots") or tmp_path)
    folder.mkdir(parents=True, exist_ok=True)
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
        watching.wait("Connection refused")
        keep(folder / "status-watch.svg", watching, "no answer")
    finally:
        watching.close()


def keep(file, terminal, words):
    """Write the picture of a screen, which shows these words."""
    picture = svg(terminal.screen, terminal.height)
    file.write_text(picture)
    assert len(picture) < BYTES_MAX
    texts = [each.text or "" for each in ElementTree.fromstring(picture).iter() if each.tag.endswith("text")]
    assert words in "".join(texts)
