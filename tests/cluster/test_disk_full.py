"""A full disk costs the node that has it, while it is full. The disks here are small tmpfs mounts."""

import os
import subprocess
from functools import partial

import pytest

from tests.cluster.harness import wait_until
from tests.cluster.load import Load
from tests.cluster.wire import Refusal

pytestmark = pytest.mark.slow

DISK_BYTES = 24 << 20  # room for the logs of this test many times over


@pytest.fixture
def mounted(make_cluster, need):
    """Three nodes, each with a file system of its own for its data."""
    if os.geteuid() != 0:
        pytest.skip("needs root, to mount a small file system")
    mount, umount = need("mount"), need("umount")
    cluster = make_cluster()
    mounts = []
    try:
        for server in cluster:
            server.data.mkdir()
            made = subprocess.run(
                [mount, "-t", "tmpfs", "-o", f"size={DISK_BYTES},mode=700", "kraft-test", server.data],
                capture_output=True,
                text=True,
            )
            if made.returncode:
                pytest.skip(f"needs the right to mount: {made.stderr.strip()}")
            mounts.append(server.data)
        yield cluster
    finally:
        cluster.close()
        for folder in mounts:
            subprocess.run([umount, folder], check=True)


def fill(server):
    """Take all space that is left; the path of what takes it."""
    filler = server.data / "filler"  # not "ballast", which is the reserve of the node
    with filler.open("wb", buffering=0) as file:
        for size in (1 << 16, 1 << 12, 1 << 8):
            try:
                while True:
                    file.write(b"\0" * size)
            except OSError:
                continue
    return filler


@pytest.mark.parametrize("role", ["follower", "leader"])
def test_a_full_disk_costs_only_its_node(mounted, role):
    """The others keep serving, a full leader gives way, and with space again the node catches up."""
    cluster = mounted
    cluster.start()
    full = cluster.leader() if role == "leader" else cluster.followers()[0]
    others = [server for server in cluster if server is not full]
    filler = fill(full)
    with Load(others, writers=3) as load:
        wait_until(lambda: (full.status() or {}).get("disk_full"), "the node sees that its disk is full")
        load.advance(300)
        assert full.running
        assert cluster.leader() is not full
        filler.unlink()
        wait_until(lambda: not (full.status() or {"disk_full": True})["disk_full"], "it has space again")
        load.advance(100)
        cluster.wait_serving(full)
    load.check(full)
    assert cluster.leader().ask("SET", "x", "1") == "OK"


def test_the_full_disks_of_a_majority_are_named_to_every_client(mounted):
    """Not that too many writes wait, which is a consequence. With space again all goes on."""
    cluster = mounted
    cluster.start()
    leader = cluster.leader()
    full = cluster.followers()
    fillers = [fill(server) for server in full]
    reason = f"disk full on {full[0].id} and {full[1].id}"

    def told(server):
        answer = server.ask("SET", "x", "y" * 10_000)
        return isinstance(answer, Refusal) and answer.endswith(f": {reason}")

    wait_until(lambda: told(leader), "the leader's clients read the reason")
    for server in full:
        wait_until(partial(told, server), "the others' clients read the reason")
    for filler in fillers:
        filler.unlink()
    cluster.wait_serving(deadline=60.0)
