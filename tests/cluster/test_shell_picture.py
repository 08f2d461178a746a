"""The picture of docs/shell.md: `make screenshots` keeps it, and this test looks whether it can be taken."""

import sysconfig
import xml.etree.ElementTree as ElementTree
from pathlib import Path

import pytest

from tests.cluster.picture import svg
from tests.cluster.terminal import Terminal

pytestmark = [pytest.mark.slow, pytest.mark.timeout(300)]

LINES, COLUMNS = 22, 96
BYTES_MAX = 20_000


def test_a_picture_of_a_failover(cluster, tmp_path, request):
    """A conversation with the leader, its death, and the conversation going on."""
    folder = Path(request.config.getoption("--screenshots") or tmp_path)
    folder.mkdir(parents=True, exist_ok=True)
    leader = cluster.leader()
    kraft = Path(sysconfig.get_path("scripts")) / "kraft"
    terminal = Terminal(
        [kraft, "shell", f"127.0.0.1:{cluster['K2'].client_port}"],
        {"XDG_STATE_HOME": str(tmp_path)},
        size=(LINES, COLUMNS),
    )
    try:
        terminal.wait(f"{leader.id} leads")
        for line, answer in (
            ('set greeting "good morning" EX 3600', "OK"),
            ("incr visits", "(integer) 1"),
            ("mget greeting visits nothing", "3) (nil)"),
            ("incr greeting", "not an integer"),
        ):
            terminal.wait_last(f"{leader.id}>")
            terminal.type(line)
            terminal.wait(answer)
        terminal.wait_last(f"{leader.id}>")
        leader.kill()
        terminal.type("incr visits")
        terminal.wait("(integer) 2")
        terminal.wait_prompt(but=leader.id)
        terminal.send("set session 4711 ")
        terminal.wait("Sets the value of a key")
        picture = svg(terminal.screen, LINES)
    finally:
        terminal.close()
    (folder / "shell.svg").write_text(picture)
    assert len(picture) < BYTES_MAX
    shown = [
        element.text or ""
        for element in ElementTree.fromstring(picture).iter()
        if element.tag.endswith("text")
    ]
    assert any("the node closed the connection" in line for line in shown)
    assert any("SET key value [NX|XX" in line for line in shown)
