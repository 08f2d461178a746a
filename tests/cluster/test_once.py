"""KRAFT ONCE on real nodes: every increment counts once, however often its reply was lost."""

import json
import os
import re
import shutil
import subprocess
import sys
import threading
import time
from collections import Counter
from concurrent.futures import ThreadPoolExecutor
from contextlib import closing
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import pytest

from tests.cluster.faults import cut_off, kill, pause, under_faults
from tests.cluster.harness import Cluster, Server, wait_until
from tests.cluster.load import PAUSE_SECONDS
from tests.cluster.proxy import Cuts
from tests.cluster.wire import Client, Refusal

pytestmark = pytest.mark.slow

PAGE = Path(__file__).parents[2] / "docs/once.md"
CALL_SECONDS = 15.0
AGAIN = ("UNCERTAIN", "CLUSTERDOWN", "BUSY", "MISCONF", "LOADING")
MOST_SECONDS = 60.0  # for one increment, in however many attempts


INCREMENT = "return redis.call('INCR', KEYS[1])"


class Worker:
    """Increments one counter, by a plain command, a script, and both in transactions, and repeats each until
    there is a reply.
    """

    again: tuple[str, ...] = AGAIN  # errors after which it tries again

    def __init__(self, servers: list[Server], number: int) -> None:
        self._servers = servers
        self._number = self._place = number
        self._client: Client | None = None
        self.replies: list[int] = []
        self.attempts: Counter[str] = Counter()  # by why the one before failed

    def run(self, stop: threading.Event) -> None:
        try:
            while not stop.wait(PAUSE_SECONDS):
                self._increment(f"{self._number}:{len(self.replies)}")
        finally:
            self._leave()

    def _increment(self, token: str) -> None:
        until = time.monotonic() + MOST_SECONDS
        while time.monotonic() < until:
            try:
                reply = self._attempt(token)
            except OSError:
                self.attempts["lost"] += 1
                self._move()
                continue
            if isinstance(reply, Refusal):
                assert reply.prefix in self.again or "scripts.time" in reply, reply
                self.attempts[reply.prefix] += 1
                self._move()
                continue
            self.replies.append(reply)
            return
        raise AssertionError(f"no reply to {token} in {MOST_SECONDS:g} s")

    def _connected(self) -> Client:
        if self._client is None:
            server = self._servers[self._place % len(self._servers)]
            self._client = server.client(CALL_SECONDS)
        return self._client

    def _attempt(self, token: str) -> Any:
        client = self._connected()
        kind = len(self.replies) % 4
        words = ("EVAL", INCREMENT, 1, "counter") if kind >= 2 else ("INCR", "counter")
        if kind % 2:
            return client.call("KRAFT", "ONCE", token, *words)
        assert client.call("MULTI") == "OK"
        assert client.call(*words) == "QUEUED"
        reply = client.call("KRAFT", "ONCE", token, "EXEC")
        return reply[0] if isinstance(reply, list) else reply

    def _move(self) -> None:
        """Go on at the next node."""
        self._leave()
        self._place += 1
        time.sleep(0.02)  # the node may be down

    def _leave(self) -> None:
        if self._client is not None:
            self._client.close()
        self._client = None


def test_a_counter_is_exact_while_leaders_fail(make_cluster: Any) -> None:
    """Each reply is a number of its own, and the last one is how many there were."""
    cluster = make_cluster()
    workers = [Worker([*cluster], number) for number in range(6)]
    runs = [worker.run for worker in workers]
    with closing(Cuts(cluster, snapshot={"checkpoint_entries": 200, "keep_entries": 50})) as cuts:
        cluster.start()
        faults = (kill, pause, cut_off(cuts))
        under_faults(cluster, runs, lambda: sum(len(worker.replies) for worker in workers), faults)
        check_counter(cluster, workers)


def check_counter(cluster: Cluster, workers: list[Worker]) -> None:
    """What every node has is what the workers were told."""
    replies = sorted(reply for worker in workers for reply in worker.replies)
    assert replies == list(range(1, len(replies) + 1))
    lost = sum((worker.attempts for worker in workers), Counter())
    assert lost["lost"] + lost["UNCERTAIN"] > 0, "no reply was ever lost"
    cluster.wait_equal(*[server.id for server in cluster])
    for server in cluster:
        assert server.ask("GET", "counter") == b"%d" % len(replies)
        # every token is known on every node: an old one gets its old reply
        worker = workers[0]
        assert len(worker.replies) > 3
        assert server.ask("KRAFT", "ONCE", "0:1", "INCR", "counter") == worker.replies[1]
        script = ("EVAL", INCREMENT, 1, "counter")
        assert server.ask("KRAFT", "ONCE", "0:3", *script) == worker.replies[3]


def test_tokens_outlive_a_restart_of_all_and_a_snapshot(cluster: Cluster) -> None:
    """From the checkpoint, from the log, and on a node that was away while the log was cut."""
    away = cluster.followers()[0]
    assert away.ask("KRAFT", "ONCE", "before", "INCR", "n") == 1
    away.kill()
    leader = cluster.leader()
    assert leader.ask("KRAFT", "ONCE", "cut", "INCR", "n") == 2
    assert isinstance(leader.ask("KRAFT", "SNAPSHOT"), int)
    leader.ask("KRAFT", "COMPACT", "KEEP", 0)
    assert leader.ask("KRAFT", "ONCE", "logged", "INCR", "n") == 3
    script = ("EVAL", "return {redis.call('INCR', 'n'), redis.status_reply('DONE')}", 0)
    assert leader.ask("KRAFT", "ONCE", "script", *script) == [4, "DONE"]
    away.start()
    cluster.wait_serving(away)
    cluster.wait_equal(*[server.id for server in cluster])
    cluster.kill_all()
    for server in cluster:
        server.start()
    cluster.wait_serving()
    for server in cluster:
        for reply, token in enumerate(("before", "cut", "logged"), 1):
            assert server.ask("KRAFT", "ONCE", token, "INCR", "n") == reply
        assert server.ask("KRAFT", "ONCE", "script", *script) == [4, "DONE"]
    assert cluster.leader().ask("GET", "n") == b"4"
    assert len(set(cluster.verify().values())) == 1


def test_a_full_memory_of_tokens_says_so(make_cluster: Any) -> None:
    """Nothing is executed; SIGHUP takes another limit over, and metrics show the tokens."""
    cluster = make_cluster(1, once={"tokens": 2})
    cluster.start()
    (server,) = cluster
    wait_until(lambda: server.ask("KRAFT", "ONCE", "0", "INCR", "n") == 1, "its version is in force")
    assert server.ask("KRAFT", "ONCE", "1", "INCR", "n") == 2
    refusal = server.ask("KRAFT", "ONCE", "2", "INCR", "n")
    assert isinstance(refusal, Refusal)
    assert refusal.prefix == "ONCEFULL"
    assert server.ask("KRAFT", "ONCE", "1", "INCR", "n") == 2
    assert server.ask("GET", "n") == b"2"


def code(language: str, heading: str) -> str:
    """The code of one section of the page."""
    section = PAGE.read_text().partition(f"## {heading}\n")[2].partition("\n## ")[0]
    (found,) = re.findall(rf"```{language}\n(.*?)```", section, re.DOTALL)
    return str(found)


def test_the_code_for_redis_py_runs(cluster: Cluster) -> None:
    """Its operations happen once while the leader is killed."""
    server = cluster.followers()[0]
    program: dict[str, Any] = {}
    exec(code("python", "redis-py").replace("10011", str(server.client_port)), program)  # our own page
    assert program["once"]("INCR", "n", token="a") == 1
    assert program["once"]("INCR", "n", token="a") == 1
    leader = cluster.leader()
    leader.kill()
    assert program["once"]("INCR", "n") == 2
    assert program["transfer"](5, "one", "two") == [-5, 5]
    with pytest.raises(Exception, match="not an integer"):
        program["once"]("INCRBY", "n", "text")
    for other in cluster:
        if other is not server:
            other.kill()
    with ThreadPoolExecutor(1) as thread:
        waiting = thread.submit(program["once"], "INCR", "n")
        wait_until(lambda: isinstance(server.ask("INCR", "other"), Refusal), "CLUSTERDOWN")
        cluster.start()
        assert waiting.result(MOST_SECONDS) == 3
    program["client"].close()


@pytest.mark.skipif(find_spec("glide") is None, reason="needs valkey-glide")
def test_the_code_for_valkey_glide_runs(shared_cluster: Cluster, tmp_path: Path) -> None:
    """In a process of its own: it warns in others."""
    port = next(iter(shared_cluster)).client_port
    main = (
        f"async def main():\n    client = await connect({port})\n"
        "    assert await once(client, 'INCR', 'glide', token='g') == 1\n"
        "    assert await once(client, 'INCR', 'glide', token='g') == 1\n"
        "    assert await transfer(client, 5, 'g:one', 'g:two') == [-5, 5]\n"
        "    await client.close()\n    print('ok')\n\nasyncio.run(main())\n"
    )
    program = tmp_path / "program.py"
    program.write_text(code("python", "valkey-glide (Python)") + "\n\n" + main)
    found = subprocess.run(
        [sys.executable, str(program)], capture_output=True, text=True, timeout=60, check=False
    )
    assert found.stdout == "ok\n", found.stderr


@pytest.mark.parametrize(("heading", "library"), [("ioredis", "ioredis"), ("node-redis", "redis")])
def test_the_code_for_node_runs(shared_cluster: Cluster, tmp_path: Path, heading: str, library: str) -> None:
    """The same story with each library."""
    node = shutil.which("node")
    modules = Path(os.environ.get("KRAFT_TEST_NODE_MODULES", "node_modules")).absolute()
    if node is None or not (modules / library).is_dir():
        pytest.skip(f"needs {library} from npm (KRAFT_TEST_NODE_MODULES names the folder)")
    port = str(next(iter(shared_cluster)).client_port)
    (tmp_path / "page.js").write_text(code("js", heading).replace("10011", port))
    (tmp_path / "main.js").write_text(
        "const page = require('./page.js');\n"
        "const client = page.redis || page.client;\n"
        "async function main() {\n"
        "  if (page.client) await client.connect();\n"
        f"  const key = '{library}';\n"
        "  const first = await page.once('INCR', key);\n"
        "  const moved = await page.transfer(5, key + ':1', key + ':2');\n"
        "  let error = '';\n"
        "  try { await page.once('INCRBY', key, 'text'); } catch (e) { error = e.message; }\n"
        "  console.log(JSON.stringify([Number(first), moved.map(Number), error]));\n"
        "  if (page.client) await client.close(); else await client.quit();\n"
        "}\n"
        "main().catch((e) => { console.error(e); process.exit(1); });\n"
    )
    found = subprocess.run(
        [node, str(tmp_path / "main.js")],
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
        env={**os.environ, "NODE_PATH": str(modules)},
    )
    assert found.returncode == 0, found.stderr
    assert json.loads(found.stdout) == [1, [-5, 5], "ERR value is not an integer or out of range"]


def test_wait_counts_the_followers_that_have_a_write(cluster: Cluster) -> None:
    """All of them soon; one less when one is dead; and a follower tells what it can prove."""
    leader, (near, far) = cluster.leader(), cluster.followers()
    with leader.client(CALL_SECONDS) as client:
        assert client.call("SET", "a", "1") == "OK"
        assert client.call("WAIT", 2, 10_000) == 2
        assert client.call("WAITAOF", 1, 2, 10_000) == [1, 2]
        far.kill()
        assert client.call("SET", "a", "2") == "OK"
        began = time.monotonic()
        assert client.call("WAIT", 2, 300) == 1
        assert time.monotonic() - began >= 0.3
        assert client.call("PING") == "PONG"
    assert near.ask("WAIT", 2, 0) == 1
