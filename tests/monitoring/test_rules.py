"""Rules and scrape config, as Prometheus' own tool reads them, and their runbooks."""

import re
import subprocess
from collections import Counter
from pathlib import Path

import pytest
import yaml

from kraft.server.commands.table import TABLE
from kraft.telemetry.metrics.declarations import PREFIX, Histogram
from kraft.telemetry.metrics.registry import DECLARATIONS

ROOT = Path(__file__).parents[2]
FOLDER = ROOT / "monitoring" / "prometheus"
RULES = yaml.safe_load((FOLDER / "kraft.rules.yml").read_text())
GROUPS = {group["name"]: group for group in RULES["groups"]}
TESTS = yaml.safe_load((FOLDER / "kraft.tests.yml").read_text())
CASES = TESTS["tests"]
RUNBOOKS = ROOT / "docs" / "runbooks.md"
ALL = [rule for group in RULES["groups"] for rule in group["rules"]]
ALERTS = {rule["alert"]: rule for rule in ALL if "alert" in rule}
LIBRARY = {"process_open_fds", "process_max_fds"}  # what prometheus_client adds
SEVERITIES = {"critical", "warning", "info"}


def series() -> set[str]:
    """The names that a scrape can have."""
    found = set(LIBRARY)
    for declaration in DECLARATIONS:
        name = PREFIX + declaration.name
        suffixes = ("_bucket", "_count", "_sum") if isinstance(declaration, Histogram) else ("",)
        found.update(name + suffix for suffix in suffixes)
    return found


@pytest.mark.parametrize(
    "arguments",
    [
        ("check", "config", "prometheus.yml"),
        ("check", "rules", "--lint-fatal", "kraft.rules.yml"),
    ],
    ids=" ".join,
)
def test_promtool_agrees(need, arguments):
    promtool(need, FOLDER, *arguments)


def promtool(need, folder, *arguments):
    done = subprocess.run([need("promtool"), *arguments], cwd=folder, capture_output=True, text=True)
    assert done.returncode == 0, done.stdout + done.stderr


@pytest.mark.parametrize("name", GROUPS)
def test_alerts_fire_when_they_should_and_are_silent_otherwise(need, tmp_path, name):
    """The cases of one group of rules with these rules alone: promtool evaluates all rules for each case."""
    cases = {"rule_files": ["rules.yml"], "tests": cases_of(name)}
    (tmp_path / "rules.yml").write_text(yaml.safe_dump({"groups": [GROUPS[name]]}, sort_keys=False))
    (tmp_path / "tests.yml").write_text(yaml.safe_dump(TESTS | cases, sort_keys=False))
    promtool(need, tmp_path, "test", "rules", "tests.yml")


def cases_of(name):
    """The cases of the alerts of one group of rules."""
    alerts = {rule["alert"] for rule in GROUPS[name]["rules"] if "alert" in rule}
    return [case for case in CASES if {check["alertname"] for check in case["alert_rule_test"]} <= alerts]


def test_each_case_is_of_one_group():
    assert TESTS["rule_files"] == ["kraft.rules.yml"]
    assert sum(len(cases_of(name)) for name in GROUPS) == len(CASES)


@pytest.mark.parametrize("name", ALERTS)
def test_each_alert_has_a_case_that_fires_and_one_that_does_not(name):
    checks = [
        (case, check) for case in CASES for check in case["alert_rule_test"] if check["alertname"] == name
    ]
    firing = [case["name"] for case, check in checks if check.get("exp_alerts")]
    silent = {case["name"] for case, check in checks if not check.get("exp_alerts")} - set(firing)
    assert firing
    assert silent


@pytest.mark.parametrize("name", [name for name in ALERTS if "for" in ALERTS[name]])
def test_each_waiting_alert_is_shown_to_wait(name):
    """The case that fires has looked a moment before as well, and there was silence."""
    waits = [
        case["name"]
        for case in CASES
        if [bool(check.get("exp_alerts")) for check in case["alert_rule_test"]] == [False, True]
        and case["alert_rule_test"][0]["alertname"] == name
    ]
    assert waits


def test_each_alert_says_what_is_wrong_and_where_to_read_on():
    for name, rule in ALERTS.items():
        assert rule["labels"].keys() == {"severity"}, name
        assert rule["labels"]["severity"] in SEVERITIES, name
        assert rule["annotations"].keys() == {"summary", "description", "runbook_url"}, name
        assert "{{ $labels.cluster }}" in rule["annotations"]["summary"], name


def test_rules_speak_of_metrics_that_exist():
    recorded = {rule["record"] for rule in ALL if "record" in rule}
    used = {name for rule in ALL for name in re.findall(r"(?<![\w:])(?:kraft|process)_\w+", rule["expr"])}
    asked = {name for rule in ALL for name in re.findall(r"\b\w+(?::\w+)+\b", rule["expr"])}
    assert used - series() == set()
    assert asked - recorded == set()
    assert recorded - asked == set(), "recorded for nobody"


def test_each_alert_leads_to_a_heading_and_each_heading_to_an_alert():
    headings = re.findall(r"^### (\w+)$", RUNBOOKS.read_text(), re.MULTILINE)
    urls = {name: rule["annotations"]["runbook_url"] for name, rule in ALERTS.items()}
    assert [name for name, count in Counter(headings).items() if count > 1] == []
    assert set(headings) == set(ALERTS)
    assert urls == {name: f"docs/runbooks.md#{name.lower()}" for name in ALERTS}


def sections() -> list[tuple[str, str]]:
    """(alert, text below its heading)"""
    parts = re.split(r"^### (\w+)$", RUNBOOKS.read_text(), flags=re.MULTILINE)
    return list(zip(parts[1::2], parts[2::2], strict=True))


@pytest.mark.parametrize(("name", "text"), sections(), ids=[name for name, _ in sections()])
def test_each_runbook_has_steps_and_a_command(name, text):
    """A step may send the reader on to another heading, which then has the command."""
    assert re.search(r"^1\. ", text, re.MULTILINE)
    assert re.search(r"`[^`]+ [^`]+`|`KRAFT|\]\(#kraft", text)


def test_runbooks_give_commands_that_exist():
    text = RUNBOOKS.read_text()
    named = set(re.findall(r"`KRAFT ([A-Z]+)", text))
    assert named - {name.decode() for name in TABLE[b"KRAFT"].subcommands} == set()
    assert {"MEMBERS", "VERIFY", "RESEED", "REPLACE", "DRAIN", "TRANSFER"} <= named


def test_runbooks_link_to_headings_that_exist():
    missing = []
    for page, anchor in re.findall(r"\]\(([\w.-]*\.md)?#([\w-]+)\)", RUNBOOKS.read_text()):
        target = RUNBOOKS.parent / page if page else RUNBOOKS
        headings = re.findall(r"^#+ (.+)$", target.read_text(), re.MULTILINE)
        slugs = {re.sub(r"[^\w -]", "", heading.lower()).replace(" ", "-") for heading in headings}
        if anchor not in slugs:
            missing.append(f"{page}#{anchor}")
    assert missing == []


def test_the_scrape_config_names_nodes_for_people():
    """Rules and the dashboard go by these labels."""
    config = yaml.safe_load((FOLDER / "prometheus.yml").read_text())
    [job] = config["scrape_configs"]
    targets = [config["labels"] | {"address": config["targets"]} for config in job["static_configs"]]
    assert job["job_name"] == "kraft"
    assert [target["instance"] for target in targets] == ["K1", "K2", "K3"]
    assert {target["cluster"] for target in targets} == {"main"}
    assert all(len(target["address"]) == 1 for target in targets)
