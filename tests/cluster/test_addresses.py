"""`kraft status` with every address that a person might type, against real nodes."""

import json
import subprocess
import sysconfig
from pathlib import Path

import pytest

pytestmark = pytest.mark.slow
KRAFT = Path(sysconfig.get_path("scripts")) / "kraft"


def kraft(*words, folder=None):
    """Run `kraft`; status, output, and errors."""
    ended = subprocess.run([KRAFT, *words], cwd=folder, capture_output=True, text=True, timeout=60)
    assert "Traceback" not in ended.stderr
    return ended.returncode, ended.stdout, ended.stderr


def test_another_port_of_a_node_is_recognised_and_its_http_port_asked(make_cluster):
    """The client port and the peer port of a node lead to its status; a note names the right port."""
    [node] = make_cluster(1)
    node.start()
    node.wait_serving()
    right = f"127.0.0.1:{node.http_port}"
    for port, kind in ((node.client_port, "client"), (node.peer_port, "peer")):
        status, output, _ = kraft("status", f"127.0.0.1:{port}")
        assert status == 0, output
        assert f"127.0.0.1:{port} is the {kind} port of K1; its HTTP port is {right}" in output
        assert output.splitlines()[1].split()[:2] == ["K1", "serving"]
    status, output, _ = kraft("status", "--json", f"redis://127.0.0.1:{node.client_port}")
    assert status == 0
    [answer] = json.loads(output)["nodes"]
    assert (answer["node"], answer["address"]) == ("K1", right)
    assert kraft("status", f"http://{right}/status")[0] == 0
    assert kraft("status", "K1", folder=node.folder)[0] == 0


def test_a_port_that_is_no_node_is_told_in_one_line(make_cluster, tmp_path):
    """A name that is nowhere, a closed port, and words that are no address."""
    status, output, _ = kraft("status", "K7", folder=tmp_path)
    assert status == 1
    assert "K7:10021: " in output
    assert "no configuration here" in output
    for word in ("a" * 64, "db1:70000", "ftp://127.0.0.1/", "/run/http.sock", b"\xff:1"):
        status, output, errors = kraft("status", word)
        assert (status, output) == (2, "")
        assert len(errors.splitlines()) == 1
        assert errors.startswith("kraft: ")
