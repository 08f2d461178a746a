"""Programs that others wrote for Redis, unchanged, on three nodes; the leader is killed in the middle.

`tox -e programs` installs them and runs these tests; a normal run does not even import them.
"""

import asyncio
import os
import subprocess
from collections.abc import Callable, Coroutine, Iterator
from pathlib import Path
from typing import Any

import pytest

from tests.cluster.harness import Cluster, Server, wait_until

FOLDER = Path(__file__).parent
TEST_SECONDS = 400
PROGRAM_SECONDS = 200.0
# Longer than an election takes on a busy machine, so that a change of leader is a pause for the program.
PATIENCE = {"leader_wait": "20s", "write_timeout": "60s"}


def pytest_ignore_collect(config: pytest.Config) -> bool | None:
    """Leave this folder alone unless it is asked for by `-m programs`: its imports are not installed."""
    return None if config.option.markexpr == "programs" else True


@pytest.hookimpl(tryfirst=True)
def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Mark the tests of this folder. What the programs warn of is their own affair."""
    for item in items:
        if item.path.is_relative_to(FOLDER):
            item.add_marker("programs")
            item.add_marker(pytest.mark.timeout(TEST_SECONDS))
            item.add_marker(pytest.mark.filterwarnings("default"))


class Site:
    """Where a program finds kraft: one node of three, which does not lead while the test begins."""

    def __init__(self, cluster: Cluster) -> None:
        """`cluster` has three nodes that run."""
        self._cluster = cluster
        self.near, self.far = cluster.followers()

    @property
    def port(self) -> int:
        """The client port of the node."""
        return self.near.client_port

    @property
    def url(self) -> str:
        return f"redis://127.0.0.1:{self.port}/0"

    def kill_leader(self) -> None:
        """SIGKILL to the leader, or to another node if the program's own leads by now.

        Returns when the program's node has noticed: what it gets from now on was never sent to the dead one.
        """
        leader = self._cluster.leader()
        dead = self.far if leader is self.near else leader
        dead.kill()
        wait_until(lambda: self.near.group().get("leader") != dead.id, f"{self.near.id} has lost {dead.id}")

    def restore(self) -> None:
        """Start what was killed, and delete all keys."""
        self._cluster.start()
        assert self.near.ask("FLUSHALL") == "OK"

    def run_node(self, program: str, *arguments: object) -> None:
        """Run a program of the folder `node` against this site; it says when the leader is to be killed."""
        modules = Path(os.environ["KRAFT_TEST_NODE_MODULES"]).absolute()
        command = ["node", FOLDER / "node" / program, self.port, *arguments]
        with subprocess.Popen(
            [str(word) for word in command],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
            env=os.environ | {"NODE_PATH": str(modules)},
        ) as process:
            assert process.stdin is not None
            assert process.stdout is not None
            try:
                said = process.stdout.readline()
                assert said == "kill the leader\n", said
                self.kill_leader()
                process.stdin.write("killed\n")
                process.stdin.flush()
                assert process.stdout.read() == "ok\n"
                assert process.wait(PROGRAM_SECONDS) == 0
            finally:
                process.kill()


@pytest.fixture(scope="session")
def cluster(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Cluster]:
    """Three nodes for all tests."""
    cluster = Cluster(tmp_path_factory.mktemp("cluster"), client=PATIENCE)
    try:
        cluster.start()
        yield cluster
    finally:
        cluster.close()


@pytest.fixture
def site(cluster: Cluster) -> Iterator[Site]:
    """A site without keys, whose nodes all run again after the test."""
    site = Site(cluster)
    yield site
    site.restore()


@pytest.fixture
def other(site: Site) -> Server:
    """The other node that does not lead: for a rival of the program, on another machine as it were."""
    return site.far


@pytest.fixture
def run() -> Callable[[Coroutine[Any, Any, None]], None]:
    """Runs a coroutine to its end."""
    return asyncio.run
