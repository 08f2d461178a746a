"""A real Prometheus over a real cluster: the shipped rules, only faster."""

import http.client
import json
import re
import subprocess
import sys
import time
from collections.abc import Collection, Sequence
from functools import partial
from pathlib import Path
from typing import Any
from urllib.parse import urlencode

import yaml

from tests.cluster.harness import Server, free_ports, wait_until

MONITORING = Path(__file__).parents[2] / "monitoring"
CLUSTER = "test"
INTERVAL = "1s"  # of scrapes and rules: a node that makes pages all the time lets a scrape wait that long

# What the shipped durations become. A window holds several scrapes; whoever waits does so for longer than a
# window of rates, so that a single hiccup is not yet a state.
WINDOWS = {"5m": "4s", "10m": "6s", "15m": "8s", "30m": "8s", "2h": "12s"}
WAITS = {"1m": "3s", "2m": "3s", "5m": "5s", "10m": "6s", "15m": "6s", "30m": "8s", "1h": "1m", "6h": "6m"}
WAITS |= {"15s": "3s", "30s": "3s"}
HORIZON = ("4 * 3600", "24")  # of the prediction from 2h: as much shorter as that window


def shortened(rules: str) -> str:
    """The text of the rules with shorter durations; nothing else is changed."""
    faster = re.sub(r"\[(\w+)\]", lambda found: f"[{WINDOWS[found[1]]}]", rules)
    faster = re.sub(r"(?<= for: )(\w+)", lambda found: WAITS[found[1]], faster)
    return faster.replace(*HORIZON)


class Prometheus:
    """The process, its folder, and what can be asked of it.

    `access` is what its job has besides the nodes: how it gets at their pages.
    """

    def __init__(self, program: str, folder: Path, servers: Sequence[Server], **access: object) -> None:
        [self._port] = free_ports(1)
        self._folder = folder
        config = yaml.safe_load((MONITORING / "prometheus/prometheus.yml").read_text())
        config["global"] = dict.fromkeys(config["global"], INTERVAL)
        [job] = config["scrape_configs"]
        job.update(access)
        job["static_configs"] = [
            {
                "targets": [f"127.0.0.1:{server.http_port}"],
                "labels": {"cluster": CLUSTER, "instance": server.id},
            }
            for server in servers
        ]
        (folder / "prometheus.yml").write_text(yaml.safe_dump(config))
        rules = (MONITORING / "prometheus/kraft.rules.yml").read_text()
        (folder / "kraft.rules.yml").write_text(shortened(rules))
        with (folder / "log").open("wb") as log:
            self._process = subprocess.Popen(
                [
                    program,
                    f"--config.file={folder / 'prometheus.yml'}",
                    f"--storage.tsdb.path={folder / 'data'}",
                    f"--web.listen-address=127.0.0.1:{self._port}",
                    "--log.level=warn",
                ],
                cwd=folder,
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=log,
            )

    def close(self) -> None:
        """End it, and print what it complained of."""
        self._process.kill()
        self._process.wait()
        sys.stdout.write((self._folder / "log").read_text())

    def get(self, path: str, **words: str) -> Any:
        """`data` of an answer of its HTTP API; an error of a query fails with its text."""
        connection = http.client.HTTPConnection("127.0.0.1", self._port, timeout=30)
        try:
            connection.request("GET", f"/api/v1/{path}?{urlencode(words)}")
            answer = json.loads(connection.getresponse().read())
        finally:
            connection.close()
        assert answer["status"] == "success", (words, answer)
        return answer["data"]

    def values(self, query: str) -> list[float]:
        """What a query gives now, NaN left out: 0/0 is no data."""
        return [value for value in self.samples(query) if value == value]

    def samples(self, query: str) -> list[float]:
        """What a query gives now."""
        return [float(sample["value"][1]) for sample in self.get("query", query=query)["result"]]

    def wait_up(self, count: int) -> None:
        """Wait until it has got something from so many nodes, often enough for rates."""
        query = "sum(up) and min(count_over_time(kraft_node_info[10s])) > 3"
        wait_until(lambda: self.told(query) == [count], f"Prometheus sees {count} nodes")

    def told(self, query: str) -> list[float]:
        """As `values`; nothing as long as it has only begun."""
        assert self._process.poll() is None, (self._folder / "log").read_text()
        try:
            return self.values(query)
        except (OSError, ValueError):
            return []

    def firing(self) -> set[str]:
        """The names of the alerts that fire now."""
        alerts = self.get("alerts")["alerts"]
        return {alert["labels"]["alertname"] for alert in alerts if alert["state"] == "firing"}

    def wait_silent(self, ignored: Collection[str]) -> None:
        """Wait until nothing fires any more, or is about to."""

        def silent() -> bool:
            return {alert["labels"]["alertname"] for alert in self.get("alerts")["alerts"]} <= set(ignored)

        wait_until(silent, "no alert is left")

    def watch(self, wanted: Collection[str], seconds: float) -> set[str]:
        """All that fires until each of `wanted` has, and for `seconds` from then on."""
        seen: set[str] = set()

        def has_fired(name: str) -> bool:
            seen.update(self.firing())
            return name in seen

        for name in sorted(wanted):
            wait_until(partial(has_fired, name), f"{name} fires")
        end = time.monotonic() + seconds
        while time.monotonic() < end:
            seen.update(self.firing())
            time.sleep(0.2)
        return seen
