"""The dashboard as a file: it is what its generator writes, and has what Grafana needs."""

import json
import re
import subprocess
import sys
from collections import Counter
from pathlib import Path

import pytest
import yaml

from kraft.telemetry.metrics.status import ROLES
from tests.monitoring.test_rules import series

ROOT = Path(__file__).parents[2]
FOLDER = ROOT / "monitoring" / "grafana"
TEXT = (FOLDER / "kraft.json").read_text()
DASHBOARD = json.loads(TEXT)
PANELS = [panel for panel in DASHBOARD["panels"] if panel["type"] != "row"]
EXPRESSIONS = [target["expr"] for panel in PANELS for target in panel["targets"]]
FREE = {"none", "short"}  # units of what is only counted


def test_the_file_is_what_the_generator_writes():
    """After a change: `python -m monitoring.grafana.generate`. It is of the checkout, not of the package."""
    script = "from monitoring.grafana import generate; print(generate.text(), end='')"
    made = subprocess.run([sys.executable, "-c", script], cwd=ROOT, capture_output=True, text=True)
    assert made.stdout == TEXT, made.stderr


def test_ids_are_unique_and_the_dashboards_own_is_fixed():
    ids = [panel["id"] for panel in DASHBOARD["panels"]]
    assert len(set(ids)) == len(ids)
    assert DASHBOARD["uid"] == "kraft-cluster"


def test_there_are_five_sections_and_titles_are_told_apart():
    rows = [panel["title"] for panel in DASHBOARD["panels"] if panel["type"] == "row"]
    assert rows == ["Overview", "Traffic", "Consensus", "Peers and disk", "Process"]
    assert [title for title, count in Counter(panel["title"] for panel in PANELS).items() if count > 1] == []


def test_panels_lie_in_the_grid_and_not_on_each_other():
    taken: Counter[tuple[int, int]] = Counter()
    for panel in DASHBOARD["panels"]:
        place = panel["gridPos"]
        for x in range(place["x"], place["x"] + place["w"]):
            for y in range(place["y"], place["y"] + place["h"]):
                taken[x, y] += 1
    assert max(taken.values()) == 1
    assert max(x for x, _ in taken) == 23


def test_the_variables_are_those_that_queries_use():
    names = [variable["name"] for variable in DASHBOARD["templating"]["list"]]
    used = {name for text in EXPRESSIONS for name in re.findall(r"\$(?!__)(\w+)", text)}
    assert names == ["datasource", "cluster", "instance", "group"]
    assert used == {"cluster", "instance", "group"}
    assert {panel["datasource"]["uid"] for panel in PANELS} == {"${datasource}"}


@pytest.mark.parametrize("panel", PANELS, ids=lambda panel: panel["title"])
def test_each_panel_has_queries_and_the_unit_of_what_they_give(panel):
    unit = panel["fieldConfig"]["defaults"]["unit"]
    texts = [target["expr"] for target in panel["targets"]]
    assert len({target["refId"] for target in panel["targets"]}) == len(texts) > 0
    for text in texts:
        if "_timestamp_seconds" in text or "_start_time_seconds" in text:
            assert unit == ("s" if "time() -" in text else "dateTimeFromNow")
        elif re.search(r"cpu_seconds_total|quota", text):
            assert unit == "percentunit"
        elif re.search(r"_bytes(_total)?\{", text):
            assert unit == ("Bps" if "rate(" in text else "bytes")
        elif "_seconds" in text and "_seconds_count" not in text:
            assert unit == "s"
        elif re.search(r"(?<!increase)\(?rate\(", text) and "/" not in text and "quantile" not in text:
            assert unit == "ops"
        else:
            assert unit in {*FREE, "bytes", "ops", "s"}


def test_queries_speak_of_metrics_that_exist():
    used = {name for text in EXPRESSIONS for name in re.findall(r"\b(?:kraft|process|python)_\w+", text)}
    library = {
        "process_cpu_seconds_total", "process_resident_memory_bytes", "process_start_time_seconds",
        "python_gc_collections_total",
    }  # fmt: skip
    assert used - series() - library == set()


def test_nearly_every_metric_can_be_seen_somewhere():
    """On a panel or in an alert; those left out are covered by others beside them."""
    rules = (ROOT / "monitoring/prometheus/kraft.rules.yml").read_text()
    seen = set(re.findall(r"\bkraft_\w+", " ".join(EXPRESSIONS) + rules))
    stems = {re.sub(r"_(bucket|sum|count)$", "", name) for name in series() if name.startswith("kraft_")}
    unseen = {stem for stem in stems if not any(name.startswith(stem) for name in seen)}
    assert unseen == {
        "kraft_backup_shipped_index",  # the time that the shipped log reaches to is shown
        "kraft_beats_total",  # of use with several groups alone: docs/groups.md
        "kraft_config_reloads_total",  # the time of the last one is shown
        "kraft_group_leaders",  # with several groups alone: docs/groups.md
        "kraft_http_refused_total",  # of use with a token or certificates alone: docs/users.md
        "kraft_keys_expired_total",
        "kraft_lock_waiters",  # of use to programs with locks alone: docs/locks.md
        "kraft_machine_version",  # of use during an upgrade, when `kraft status` shows it
        "kraft_machine_version_supported",
        "kraft_map_version",  # of use with several groups alone: docs/groups.md
        "kraft_node_info",  # the choice of the cluster rests on it
        "kraft_once_bytes",  # of use to programs with KRAFT ONCE alone: docs/once.md
        "kraft_once_repeats_total",
        "kraft_once_tokens",
        "kraft_peer_connects_total",  # the links are shown
        "kraft_raft_first_index",  # log_entries
        "kraft_raft_last_index",
        "kraft_raft_peer_last_contact_timestamp_seconds",  # the links are shown
        "kraft_scripts_stopped_total",  # of use to programs with scripts alone: docs/lua.md
        "kraft_snapshots_total",
        "kraft_tls_connections_total",  # of use while a cluster changes to TLS: docs/tls.md
        "kraft_tls_reloads_total",  # the end of what was loaded is shown
        "kraft_transaction_locks",  # their age has an alert
    }


def test_runbooks_name_panels_that_exist():
    text = (ROOT / "docs/runbooks.md").read_text()
    named = {" ".join(title.split()) for title in re.findall(r'"([^"]+)"', text)}
    assert named
    assert named - {panel["title"] for panel in PANELS} == set()


def test_roles_are_those_that_nodes_tell():
    [panel] = [panel for panel in PANELS if panel["title"] == "Roles"]
    [mapping] = panel["fieldConfig"]["defaults"]["mappings"]
    shown = {int(number): said["text"] for number, said in mapping["options"].items()}
    asked = re.findall(r'(\d) \* sum .*?state="(\w+)"', panel["targets"][0]["expr"])
    assert shown == {int(number): role for number, role in asked}
    assert set(shown.values()) == set(ROLES)


def test_provisioning_names_the_dashboard_and_its_source():
    folder = FOLDER / "provisioning"
    [source] = yaml.safe_load((folder / "datasources/kraft.yaml").read_text())["datasources"]
    [provider] = yaml.safe_load((folder / "dashboards/kraft.yaml").read_text())["providers"]
    assert (source["type"], source["url"]) == ("prometheus", "$PROMETHEUS_URL")
    assert (provider["type"], provider["options"]) == ("file", {"path": "$KRAFT_DASHBOARDS"})
