"""What an operator is shown and woken by: the shipped rules and dashboard against real nodes in real trouble.

A p99 over a few seconds is the worst of a few moments: whether this machine is fast is not the question here,
so alerts on slowness may come or not. `promtool` shows that they wait for as long as they should.
"""

import json
import os
import re
import subprocess
import threading
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass
from functools import partial
from typing import Any

import pytest
import yaml

from tests.cluster.certificates import Certificates, sections
from tests.cluster.harness import Cluster, Server, wait_until
from tests.cluster.prometheus import CLUSTER, MONITORING, Prometheus
from tests.cluster.test_disk_full import fill
from tests.cluster.wire import Client
from tests.monitoring.test_rules import series

pytestmark = pytest.mark.slow

DISK_BYTES = 64 << 20  # of the node whose disk is filled; of this the others' load takes a few in a minute
PAUSE_SECONDS = 0.02  # of each client of the load, after a command
QUIET_SECONDS = 8.0  # longer than any alert waits here, but for the two that wait for hours
SETTLE_SECONDS = 2.0  # longer than it takes the rules to see what a scrape has seen
TRIES = 3  # on a busy machine another alert may fire now and then; what the trouble does comes each time

SLOWNESS = {
    "KraftCommandLatencyHigh", "KraftLogFsyncSlow", "KraftLogFsyncVerySlow", "KraftPeerRoundTripSlow",
    "KraftReactorBlocked",
}  # fmt: skip
WRITES_IN_DOUBT = {"KraftUncertainWrites", "KraftProposalsFailing"}  # those under way at that moment
NODE_LOST = {"KraftNodeDown", "KraftQuorumAtRisk", "KraftPeerDisconnected"}

RULES = yaml.safe_load((MONITORING / "prometheus/kraft.rules.yml").read_text())
ALERTS = {
    rule["alert"]: rule["expr"] for group in RULES["groups"] for rule in group["rules"] if "alert" in rule
}
DASHBOARD = json.loads((MONITORING / "grafana/kraft.json").read_text())
QUERIES = [
    (panel["title"], target["expr"]) for panel in DASHBOARD["panels"] for target in panel.get("targets", ())
]
CHOSEN = {
    "$cluster": CLUSTER, "$instance": ".+", "$group": ".+", "$__rate_interval": "1m", "$__range": "1h",
}  # fmt: skip
IN_TROUBLE = {"Alerts"}  # panels that are empty as long as all is well
IN_MOVES = {"Slots frozen"}  # those that show no number while no slots move


class Trickle:
    """For each node a client that writes and one that reads, a little, until told to stop."""

    def __init__(self, servers: Iterable[Server]) -> None:
        self._stop = threading.Event()
        self._threads = [
            threading.Thread(target=self._run, args=(server, call))
            for server in servers
            for call in (self._write, self._read)
        ]
        for thread in self._threads:
            thread.start()

    def stop(self) -> None:
        self._stop.set()
        for thread in self._threads:
            thread.join()

    def _run(self, server: Server, call: Callable[[Client], Any]) -> None:
        while not self._stop.is_set():
            try:
                with server.client() as client:
                    while not self._stop.wait(PAUSE_SECONDS):
                        call(client)
            except OSError:
                self._stop.wait(PAUSE_SECONDS)

    def _write(self, client: Client) -> None:
        client.call("SET", "trickle", "x" * 100, "EX", 60)

    def _read(self, client: Client) -> None:
        client.call("MGET", "trickle", "missing")


@dataclass
class Scene:
    """A cluster, its watcher, and the node whose disk can be filled."""

    cluster: Cluster
    prometheus: Prometheus
    small: Server

    def heal(self) -> None:
        """All nodes run, and no alert is left."""
        self.cluster.start()
        self.prometheus.wait_silent(SLOWNESS)


@pytest.fixture(scope="module")
def scene(tmp_path_factory, need) -> Iterator[Scene]:
    """Three nodes under a little load that have written checkpoints; one has been started from its own."""
    if os.geteuid() != 0:
        pytest.skip("needs root, to mount a small file system")
    program, mount, umount = need("prometheus"), need("mount"), need("umount")
    folder = tmp_path_factory.mktemp("cluster")
    cluster = Cluster(folder)
    certificates = Certificates(folder / "certificates")
    backup = {"directory": str(folder / "backups"), "ship": True}
    for server in cluster:  # with links over TLS and with backups, so that their alerts have data
        certificates.node(server.id)
        ports = sections(certificates, server, client={}, http={})
        server.configure(cluster.members, backup=backup, **ports)
    small = cluster["K3"]
    small.data.mkdir()
    made = subprocess.run(
        [mount, "-t", "tmpfs", "-o", f"size={DISK_BYTES},mode=700", "kraft-test", small.data],
        capture_output=True,
    )
    if made.returncode:
        pytest.skip(f"needs the right to mount: {made.stderr.decode().strip()}")
    trickle = prometheus = None
    try:
        cluster.start()
        with_a_past(cluster)
        trickle = Trickle(cluster)
        prometheus = Prometheus(program, tmp_path_factory.mktemp("prometheus"), list(cluster))
        prometheus.wait_up(3)
        yield Scene(cluster, prometheus, small)
    finally:
        if trickle is not None:
            cluster.kill_all()  # its clients wait for no answer
            trickle.stop()
        if prometheus is not None:
            prometheus.close()
        cluster.close()
        subprocess.run([umount, small.data], check=True)


def with_a_past(cluster: Cluster) -> None:
    """What panels show of the past: checkpoints of log and data, a log that was cut, a node started again."""
    with cluster.leader().client() as client:
        for number in range(6):
            assert client.call("SET", f"large:{number}", b"x" * 1_000_000) == "OK"
    cluster.order("SNAPSHOT")
    for server in cluster:
        wait_until(partial(has_checkpoint, server), f"{server.id} has a checkpoint")
        server.order("COMPACT", "KEEP", 0)
        wait_until(partial(has_cut, server), f"the log of {server.id} is cut")
    restarted = cluster.followers()[0]
    restarted.terminate()
    cluster.start()


def has_checkpoint(server: Server) -> bool:
    return bool(server.group().get("checkpoint_index"))


def has_cut(server: Server) -> bool:
    return int(server.group().get("first_index", 1)) > 1


@pytest.fixture
def healthy(scene: Scene) -> Scene:
    """Whole, whatever the test before has broken."""
    scene.heal()
    return scene


def only(scene: Scene, expected: set[str], trouble: Callable[[], set[str]]) -> None:
    """Make trouble, which returns what fired, until nothing fired but what is expected."""
    surprises = []
    for _ in range(TRIES):
        scene.heal()
        surprises.append(trouble() - expected - SLOWNESS - WRITES_IN_DOUBT)
        if not surprises[-1]:
            return
    raise AssertionError(f"each time more fired than {sorted(expected)}: {surprises}")


def overflow(full: Server, others: Sequence[Server]) -> bool:
    """One large write for the cluster; whether `full` has used up even what its own files had left."""
    others[0].ask("SET", "large:0", b"x" * 1_000_000)
    return bool((full.status() or {}).get("disk_full"))


def asked(expression: str) -> str:
    """A query of a panel as Grafana would send it, with everything chosen."""
    for word, meaning in CHOSEN.items():
        expression = expression.replace(word, meaning)
    return expression


def answered(expression: str) -> str:
    """The expression of an alert, saying 0 or 1 instead of being empty while all is well.

    `unless` becomes `and`: then both sides must be there, and have the same labels.
    """
    return re.sub(r" (==|<=|>=|<|>) ", r" \1 bool ", expression).replace(" unless ", " and ")


def test_all_is_well_and_nothing_fires(healthy):
    """Every rule can be carried out, and every metric is there."""
    prometheus = healthy.prometheus
    rules = [rule for group in prometheus.get("rules")["groups"] for rule in group["rules"]]
    assert [rule for rule in rules if rule["health"] != "ok" or rule.get("lastError")] == []
    assert {rule["name"] for rule in rules if rule["type"] == "alerting"} == set(ALERTS)

    def lacking() -> set[str]:
        return series() - set(prometheus.get("label/__name__/values"))

    wait_until(lambda: not lacking(), "every metric is there")  # the first backup takes a moment
    assert prometheus.values('sum(rate(kraft_commands_total{command="set", outcome="ok"}[10s]))') > [0]
    wait_until(lambda: prometheus.watch((), QUIET_SECONDS) <= SLOWNESS, "nothing fires")  # but by a hiccup


def test_every_query_of_the_dashboard_returns_data(healthy):
    healthy.cluster.order("SNAPSHOT")
    for title, expression in QUERIES:
        if title not in IN_TROUBLE:
            found = healthy.prometheus.samples if title in IN_MOVES else healthy.prometheus.values
            wait_until(partial(found, asked(expression)), f"{title}: {expression}")


def test_every_alert_has_data_to_decide_on(healthy):
    for name, expression in ALERTS.items():
        wait_until(partial(healthy.prometheus.values, answered(expression)), f"{name}: {expression}")


def test_a_disk_that_fills(scene: Scene) -> None:
    """One node of three; the others serve."""
    prometheus = scene.prometheus
    wanted = {"KraftDiskFillsIn4Hours", "KraftDiskFull", "KraftStorageErrors"}
    others = [server for server in scene.cluster if server is not scene.small]

    def fills() -> set[str]:
        filler = fill(scene.small)
        try:
            wait_until(partial(overflow, scene.small, others), "there is no room in its files either")
            seen = prometheus.watch(wanted, SETTLE_SECONDS)
            in_trouble = [asked(expression) for title, expression in QUERIES if title in IN_TROUBLE]
            assert all(prometheus.values(expression) for expression in in_trouble)
            return seen
        finally:
            filler.unlink()

    only(scene, wanted, fills)


def test_a_failover(scene: Scene) -> None:
    """The leader dies; another one takes over before anybody would be woken for want of one."""

    def fails_over() -> set[str]:
        scene.cluster.leader().kill()
        return scene.prometheus.watch(NODE_LOST, SETTLE_SECONDS)

    only(scene, NODE_LOST, fails_over)


def test_a_majority_that_is_lost(scene: Scene) -> None:
    """Clients go on asking, and are refused."""
    wanted = NODE_LOST | {"KraftQuorumLost", "KraftNoLeader", "KraftProposalsFailing"}

    def loses() -> set[str]:
        for server in scene.cluster.followers():
            server.kill()
        return scene.prometheus.watch(wanted, SETTLE_SECONDS)

    only(scene, wanted, loses)
