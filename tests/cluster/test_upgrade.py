"""A rolling upgrade from an earlier release, node by node, under load; and the way back before the raise.

docs/upgrade.md promises what is tested here.
"""

import json
import subprocess
import sysconfig
from pathlib import Path
from typing import Any

import pytest

from kraft.kv.versions import MACHINE_VERSION
from kraft.process.failure import OUTDATED_STATUS
from tests.cluster.harness import Cluster, Server, free_ports, maps, wait_until
from tests.cluster.load import Load
from tests.cluster.wire import Refusal

pytestmark = [pytest.mark.slow, pytest.mark.timeout(300)]

KRAFT = Path(sysconfig.get_path("scripts")) / "kraft"
NEXT = MACHINE_VERSION + 1
SMALL = {"checkpoint_entries": 200, "keep_entries": 20}  # so that snapshots are met


@pytest.fixture
def old_cluster(make_cluster, earlier, tmp_path):
    """Three nodes of the earlier release that serve writes. With a secret, its handshake is another one."""
    secret = tmp_path / "secret"
    secret.write_bytes(b"for tests only, thirty-two bytes\n")
    secret.chmod(0o600)
    cluster = make_cluster(3, snapshot=SMALL, cluster={"secret_file": str(secret)})
    for server in cluster:
        server.library = earlier
    cluster.start()
    return cluster


def roll(server: Server, library: Path | None, cluster: Cluster, load: Load) -> None:
    """Stop one node in order, start it with another program, and wait until it has taken its part."""
    server.terminate()
    load.advance(50)
    server.library = library
    server.start()
    cluster.wait_serving(server)
    load.advance(50)


def safe_step(cluster: Cluster) -> dict[str, Any]:
    """What `kraft upgrade-check` of the new program says, as soon as the next step is safe."""

    def safe() -> dict[str, Any] | None:
        done = subprocess.run(
            [KRAFT, "upgrade-check", "--json", f"127.0.0.1:{cluster['K1'].http_port}"],
            stdin=subprocess.DEVNULL, capture_output=True, text=True, timeout=60,
        )  # fmt: skip
        found: dict[str, Any] = json.loads(done.stdout)
        assert found["safe"] == (done.returncode == 0), (found, done.stderr)
        return found if found["safe"] else None

    return wait_until(safe, "the next step is safe")


def lead(name: str, cluster: Cluster) -> None:
    """Give leadership to this node."""
    cluster.insist("TRANSFER", name, over=lambda: cluster.leader().id == name)


def in_force(server: Server) -> int:
    """The machine version in force, by the word of one node; 0 from one of the earlier release."""
    return int((server.status() or {}).get("machine_version", 0))


def refused(server: Server) -> str:
    """The answer to a command that the earlier release does not have."""
    answer = server.ask("SETRANGE", "upgrade:key", 0, "v")
    assert isinstance(answer, Refusal), answer
    return answer


def test_a_rolling_upgrade_under_load(old_cluster):
    """Nothing exits, nothing acknowledged is lost; a new command is refused until every node knows it.

    The steps are those of docs/upgrade.md. Either program leads while both are there, and a node goes back
    before the last one is upgraded: what it has written meanwhile is read by the program of before.
    """
    cluster = old_cluster
    earlier = cluster["K1"].library
    with Load(list(cluster), writers=6) as load:
        load.advance(100)
        lead("K3", cluster)
        for name in ("K1", "K2"):
            assert safe_step(cluster)["next"] == name
            roll(cluster[name], None, cluster, load)
        for leader in ("K1", "K3"):
            lead(leader, cluster)
            load.advance(100)
            for server in (cluster["K1"], cluster["K2"]):
                told = refused(server)
                assert "needs machine version 2, but version 1 is in force: upgrade K3" in told
                told = server.ask("GETEX", "upgrade:key", "PERSIST")
                assert "needs machine version 3, but version 1 is in force: upgrade K3" in told
                told = server.ask("ACL", "SETUSER", "app", "on")
                assert "needs machine version 4, but version 1 is in force: upgrade K3" in told
            assert "unknown command" in refused(cluster["K3"])
        assert cluster["K1"].ask("GETRANGE", "upgrade:key", 0, -1) == b""
        assert {in_force(server) for server in cluster} == {0, 1}

        roll(cluster["K1"], earlier, cluster, load)
        assert safe_step(cluster)["outdated"] == ["K1", "K3"]
        roll(cluster["K1"], None, cluster, load)
        assert safe_step(cluster)["next"] == "K3"
        pids = {name: cluster[name].pid for name in ("K1", "K2")}
        roll(cluster["K3"], None, cluster, load)
        wait_until(lambda: all(in_force(server) == MACHINE_VERSION for server in cluster), "the raise")
        assert safe_step(cluster)["next"] is None
        for server in cluster:
            assert isinstance(server.ask("SETRANGE", f"upgrade:{server.id}", 3, "new"), int)
            assert server.ask("SETBIT", f"upgrade:bit:{server.id}", 7, 1) == 0
            assert server.ask("ACL", "SETUSER", "app", "on", f"~{server.id}", "+get") == "OK"
        load.advance(100)
        assert pids == {name: cluster[name].pid for name in ("K1", "K2")}
    assert set(load.refusals) <= {"UNCERTAIN"}, load.refusals
    for server in cluster:
        assert server.running
        load.check(server)
        assert server.ask("GETRANGE", "upgrade:K1", 0, -1) == b"\0\0\0new"
        assert all(server.ask("ACL", "DRYRUN", "app", "GET", each.id) == "OK" for each in cluster)
    cluster.wait_equal()


def test_an_old_node_that_comes_back_after_the_raise_is_refused_in_one_line(old_cluster):
    """By its peers, and by its own data directory as soon as that holds a checkpoint of the new version."""
    cluster, earlier = old_cluster, old_cluster["K1"].library
    for server in cluster:
        server.terminate()
        server.library = None
        server.start()
        cluster.wait_serving(server)
    wait_until(lambda: all(in_force(server) == MACHINE_VERSION for server in cluster), "the raise")
    late = next(server for server in cluster.followers())
    late.terminate()
    before = {server.id: len(server.output) for server in cluster}
    for number in range(3 * SMALL["checkpoint_entries"]):
        assert cluster.leader().ask("SETRANGE", "upgrade:key", number % 7, "v") > 0

    late.library = earlier
    late.start()

    told = wait_until(lambda: lines_about_versions(late, before[late.id]), "the old node says why")
    assert all("version" in line for line in told)
    assert all(server.running for server in cluster if server is not late)
    assert not late.serves_writes()
    late.kill()
    late.library = None
    late.start()
    cluster.wait_serving(late)
    cluster.wait_equal()


def lines_about_versions(server: Server, since: int) -> list[str]:
    """What a node has printed about versions that do not fit."""
    lines = server.output[since:].splitlines()
    return [line for line in lines if "machine version" in line or "schema" in line or "newer" in line]


def test_an_old_node_cannot_join_after_the_raise(make_cluster, earlier):
    """The administrator hears where to look, its log says which versions do not fit, the cluster goes on."""
    cluster = make_cluster(3)
    cluster.start()
    wait_until(lambda: all(in_force(server) == MACHINE_VERSION for server in cluster), "the raise")
    members = {member["id"]: member["machine_version"] for member in maps(cluster.order("MEMBERS"))}
    assert members == dict.fromkeys(("K1", "K2", "K3"), MACHINE_VERSION)
    cluster.servers["K4"] = late = Server("K4", cluster["K1"].folder.parent / "K4", free_ports(3))
    late.library = earlier
    cluster.wait_for_addition(late)
    wait_until(lambda: "node_started" in late.output, "the old node waits")

    answer = cluster.order("ADD", "K4", f"127.0.0.1:{late.peer_port}")

    assert isinstance(answer, Refusal), answer
    assert "K4 cannot be reached" in answer
    cluster.wait_voters("K1", "K2", "K3")
    assert lines_about_versions(late, 0)


@pytest.fixture
def later(tmp_path):
    """The library of a later release: this checkout with one machine version more."""
    versions = "import kraft.kv.versions\nkraft.kv.versions.MACHINE_VERSION += 1\n"
    (tmp_path / "sitecustomize.py").write_text(versions)
    return tmp_path


def test_a_node_that_is_too_old_ends_in_one_line_with_a_status_of_its_own(make_cluster, later):
    """It finds the version in its own directory, or meets it when it is to be added. No restart helps."""
    cluster = make_cluster(1)
    [server] = cluster
    server.library = later
    cluster.start()
    wait_until(lambda: in_force(server) == NEXT, "the raise")
    [late] = cluster.standby("K2")
    wait_until(lambda: "node_started" in late.output, "the node waits")

    answer = server.order("ADD", "K2", f"127.0.0.1:{late.peer_port}")

    assert isinstance(answer, Refusal), answer
    assert "K2 cannot be reached" in answer
    assert late.exit_status() == OUTDATED_STATUS
    assert (
        late.output.count(f"K2 supports machine version {MACHINE_VERSION}, but version {NEXT} is in force")
        == 1
    )
    server.terminate()
    server.library = None
    server.start()
    assert server.exit_status() == OUTDATED_STATUS
    told = f"is at machine version {NEXT}, this version of kraft supports up to {MACHINE_VERSION}"
    assert server.output.count(told) == 1
    server.library = later
    server.start()
    cluster.wait_serving(server)
