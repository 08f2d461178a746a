"""`kraft doctor` at a real cluster: a node that runs, one that does not answer, one that was killed."""

import json
import subprocess
import sysconfig
from pathlib import Path
from typing import Any

from tests.cluster.harness import Cluster, Server

KRAFT = Path(sysconfig.get_path("scripts")) / "kraft"


def doctor(server: Server) -> tuple[int, dict[str, list[dict[str, Any]]]]:
    """Its exit status, and what each check found."""
    command = [str(KRAFT), "doctor", "--json", str(server.config)]
    done = subprocess.run(command, capture_output=True, timeout=60, check=False)
    found: dict[str, list[dict[str, Any]]] = {}
    for finding in json.loads(done.stdout)["findings"]:
        found.setdefault(finding["check"], []).append(finding)
    return done.returncode, found


def problems(found: dict[str, list[dict[str, Any]]]) -> set[str]:
    return {name for name, each in found.items() if any(one["level"] == "problem" for one in each)}


def test_a_node_that_runs_and_one_that_was_killed(cluster: Cluster) -> None:
    """Nobody is disturbed, and a node that was looked at while it was down starts again."""
    follower, other = cluster.followers()
    status, found = doctor(follower)
    # A busy machine may have a slow disk; everything else is known.
    assert problems(found) <= {"fsync"}, found
    assert status == bool(problems(found))
    assert f"runs as process {follower.pid}, up" in found["node"][0]["text"]
    assert [each["text"].partition(": ")[2] for each in found["ports"]] == [
        f"port {port} is held by the node"
        for port in (follower.peer_port, follower.client_port, follower.http_port)
    ]
    assert all("is connected" in each["text"] for each in found["peers"])
    assert "All well: 3 nodes answer" in found["cluster"][0]["text"]
    assert found["versions"][0]["text"].startswith("all nodes that answer (3) run ")

    follower.pause()
    _, found = doctor(follower)
    assert {"node"} <= problems(found) <= {"node", "fsync"}, found
    assert "does not answer" in found["node"][0]["text"]
    follower.resume()

    follower.kill()
    _, found = doctor(follower)
    assert problems(found) <= {"fsync"}, found
    assert found["node"][0]["text"] == f"{follower.id} is not running"
    assert "the log of group 0 ends at index" in found["directory"][0]["text"]
    assert all("is free" in each["text"] for each in found["ports"])
    assert all("can be reached" in each["text"] for each in found["peers"])

    _, seen = doctor(other)
    assert any(each["text"].startswith(f"{follower.id}: does not answer") for each in seen["cluster"])
    follower.start()
    cluster.wait_serving()
