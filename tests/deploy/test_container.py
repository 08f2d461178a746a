"""The Compose file without an engine: what it mounts exists, its nodes are one cluster, no port twice."""

import re
from pathlib import Path
from typing import Any

import pytest
import yaml

from kraft import config
from kraft.listen_address import split_address, split_endpoint

FOLDER = Path(__file__).resolve().parents[2] / "deploy/container"
NODES = ("K1", "K2", "K3")


@pytest.fixture(scope="module")
def services() -> dict[str, Any]:
    """Name to what it is, as YAML's merge keys make it."""
    read = yaml.safe_load((FOLDER / "compose.yaml").read_text())["services"]
    return dict(read)


def mounts(service: dict[str, Any]) -> dict[str, str]:
    """Target to source of what is mounted from this checkout."""
    pairs = [volume.split(":")[:2] for volume in service["volumes"]]
    return {target: source for source, target in pairs if source.startswith(".")}


def test_what_is_mounted_exists(services):
    sources = {source for service in services.values() for source in mounts(service).values()}
    assert [source for source in sources if not (FOLDER / source).exists()] == []


def test_published_ports_differ_and_stay_on_this_machine(services):
    published = [port.split(":")[:2] for service in services.values() for port in service.get("ports", ())]
    assert {address for address, _ in published} == {"127.0.0.1"}
    ports = [port for _, port in published]
    assert len(set(ports)) == len(ports)


@pytest.mark.parametrize("name", NODES)
def test_a_node_is_where_the_others_and_its_clients_look(services, name):
    service = services[name.lower()]
    node = config.load(str(FOLDER / mounts(service)["/etc/kraft/kraft.yaml"]))
    assert node.node.id == name
    assert set(node.cluster.members) == set(NODES)
    assert {split_address(address)[0] for address in node.cluster.members.values()} <= set(services)
    assert split_address(node.peer.advertise) == (name.lower(), split_endpoint(node.peer.listen).port)
    assert split_address(node.http.advertise) == (name.lower(), split_endpoint(node.http.listen).port)
    clients, pages = service["ports"]
    assert clients == f"{node.client.advertise}:{split_endpoint(node.client.listen).port}"
    assert pages.endswith(f":{split_endpoint(node.http.listen).port}")
    assert node.node.data.startswith("/var/lib/kraft/")
    assert [volume for volume in service["volumes"] if volume.endswith(":/var/lib/kraft")]


def test_prometheus_scrapes_the_nodes(services):
    scrape = yaml.safe_load((FOLDER / "prometheus.yml").read_text())
    [job] = scrape["scrape_configs"]
    targets = [target for each in job["static_configs"] for target in each["targets"]]
    assert {split_address(target)[0] for target in targets} == {name.lower() for name in NODES}
    rules = [f"/etc/prometheus/{name}" for name in scrape["rule_files"]]
    assert set(rules) <= set(mounts(services["prometheus"]))


def test_grafana_is_told_all_that_its_provisioning_asks(services):
    """Every variable in the shipped files, and the folder where the dashboard is."""
    folder = FOLDER / mounts(services["grafana"])["/etc/grafana/provisioning"]
    asked = {name for path in folder.glob("*/*.yaml") for name in re.findall(r"\$(\w+)", path.read_text())}
    given = services["grafana"]["environment"]
    assert asked <= set(given)
    assert f"{given['KRAFT_DASHBOARDS']}/kraft.json" in mounts(services["grafana"])


def test_the_image_is_of_files_that_exist_and_runs_as_nobody_special():
    text = (FOLDER / "Containerfile").read_text()
    copied = " ".join(re.findall(r"^COPY (?!--)(.+) \S+$", text, re.MULTILINE)).split()
    assert copied
    assert [name for name in copied if not (FOLDER / "../.." / name).exists()] == []
    user = re.search(r"^USER (\d+):(\d+)$", text, re.MULTILINE)
    assert user is not None
    assert "0" not in user.groups()
