"""docs/growing.md as it is written: its commands, on a demo, with its client running."""

import os
import re
import subprocess
import sysconfig
from itertools import pairwise
from pathlib import Path

import pytest

from tests.cluster.harness import wait_until
from tests.cluster.test_demo import base_port
from tests.cluster.wire import Client

pytestmark = [pytest.mark.endurance, pytest.mark.timeout(300)]

__all__ = ["base_port"]  # a fixture
PAGE = Path(__file__).parents[2] / "docs/growing.md"
KRAFT = Path(sysconfig.get_path("scripts")) / "kraft"
KEYS = 1000


@pytest.fixture
def shell(tmp_path, base_port, need):
    """Runs a command of the page in the folder of the demo, with its ports; returns what it prints."""
    need("redis-cli")
    demo = subprocess.Popen(
        [KRAFT, "demo", "--base-port", str(base_port)],
        cwd=tmp_path,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
    )

    def adapted(command):
        ports = re.sub(r"-p 100(\d\d)", lambda found: f"-p {base_port + int(found[1])}", command)
        moves = ports.replace("kraft moves", f"kraft moves -s 127.0.0.1:{base_port + 11}")
        status = moves.replace("kraft status", f"kraft status 127.0.0.1:{base_port + 21}")
        return status.replace(".venv/bin/kraft", str(KRAFT)).replace("seq 1000", f"seq {KEYS}")

    class Shell:
        """Runs commands of the page; `start` one that goes on."""

        def __call__(self, command: str) -> str:
            done = subprocess.run(
                adapted(command), shell=True, cwd=tmp_path, env=os.environ, capture_output=True, text=True,
                timeout=60, check=False,
            )  # fmt: skip
            return done.stdout + done.stderr

        def start(self, command: str) -> subprocess.Popen[str]:
            return subprocess.Popen(
                adapted(command), shell=True, cwd=tmp_path, stdout=subprocess.PIPE, text=True,
                start_new_session=True,
            )  # fmt: skip

    try:
        assert any(line.startswith("ready") for line in demo.stdout or ())
        yield Shell()
    finally:
        demo.terminate()
        demo.communicate(timeout=60)


def test_a_demo_grows_from_one_group_to_six(shell, base_port):
    commands = [
        line[4:] for line in PAGE.read_text().splitlines() if re.match(r"    (\.venv|redis|for|while)", line)
    ]
    start, store, count, *rest = commands
    assert start == ".venv/bin/kraft demo"
    shell(store)
    client = shell.start(count)
    try:
        for command in rest:
            told = shell(command)
            if "merge" in command or "split" in command or command.endswith("rebalance slots"):
                assert "slots" in told, (command, told)
            elif "--scan" in command:
                assert told.split() == [str(KEYS)]
            elif "kill -9" in command:
                wait_until(lambda: "no answer" in shell(".venv/bin/kraft status"), "K2 is down")
                pid = f"--pidfile={Path('kraft-demo/K2/twistd.pid')}"
                again = f"{KRAFT.with_name('twistd')} {pid} --logfile kraft-demo/K2/kraft.log kraft"
                shell(f"{again} --config kraft-demo/K2/kraft.yaml")
            wait_until(lambda: "no slots are about" in shell(".venv/bin/kraft moves"), f"after {command}")
    finally:
        os.killpg(client.pid, 2)
    numbers = [int(line) for line in client.communicate(timeout=20)[0].split() if line.isdecimal()]
    steps = [after - before for before, after in pairwise(numbers)]
    assert set(steps) <= {1, 2}, numbers  # 2: the reply to one was lost when the node died
    assert steps.count(2) <= 1
    assert len(numbers) > 20
    with Client(base_port + 11) as check:
        assert int(check.call("GET", "visits")) - numbers[-1] in (0, 1)
        assert check.call("DBSIZE") == KEYS + 1
