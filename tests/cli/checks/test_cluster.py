"""What `kraft doctor` says about the node and its cluster."""

from kraft.cli.checks import cluster
from kraft.cli.checks.result import OK, PROBLEM, WARNING
from kraft.cli.checks.subject import Subject
from kraft.config import parse
from tests.cli.checks.subjects import HTTP, SECTIONS, first, only
from tests.web.reports import group, placed, report, silent, view


def test_a_stopped_node(stopped):
    found = only(cluster.node(stopped()))
    assert (found.level, found.text) == (OK, "K1 is not running")
    assert only(cluster.cluster(stopped())).level == OK
    assert only(cluster.versions(stopped())).level == OK


def test_a_node_that_does_not_answer(stopped):
    without_http = only(cluster.node(stopped(pid=5)))
    assert (without_http.level, "http.listen is empty" in without_http.text) == (WARNING, True)
    config = parse(SECTIONS.format(data="d").replace('http: {listen: ""}\n', HTTP), "K1.yaml")
    found = only(cluster.node(Subject("K1.yaml", config, 5, silence="timed out")))
    assert (found.level, found.text) == (PROBLEM, "K1 runs as process 5, but does not answer: timed out")


def test_a_cluster_that_is_well(stopped):
    seen = view(report("K1"), report("K2"), report("K3"))
    assert only(cluster.cluster(stopped(view=seen))).text == (
        "All well: 3 nodes answer and know a leader; K1 leads group 0 in term 7"
    )
    assert "runs as process 5, up 1 min 30 s, serving" in only(cluster.node(stopped(pid=5, view=seen))).text


def test_what_the_page_finds_is_found(stopped):
    """Bad is a problem; what is under way is well."""
    seen = view(
        report("K1", group={"learners": ("K4",), "joint": True}),
        report("K2", group={"fenced": True}),
        silent("K3"),
    )
    found = {each.text.partition(":")[0]: each.level for each in cluster.cluster(stopped(view=seen))}
    assert found == {"K2": PROBLEM, "K3": WARNING, "K4": OK, "cluster": OK}


def test_groups_on_some_of_the_nodes(stopped):
    """Of many groups it is not said who leads each."""
    found = [(each.level, each.text) for each in cluster.cluster(stopped(view=placed("K4", "K5", "K6")))]
    assert (PROBLEM, "group 3: 0 of 3 voters answer; 2 are needed to write or read") in found
    assert any(text.startswith("group 2: K4 is missing") for level, text in found if level == WARNING)
    assert (OK, "K1 has replicas of 2 of 4 groups") in found
    many = report("K1", groups=tuple(group("K1", group=id_) for id_ in range(20)))
    told = only(cluster.cluster(stopped(view=view(many)))).text
    assert told.endswith("; the leaders of 20 of its 20 groups are known")


def test_versions(stopped, monkeypatch):
    monkeypatch.setattr(cluster, "__version__", "0.1")
    same = view(report("K1"), report("K2"))
    assert only(cluster.versions(stopped(view=same))).text == "all nodes that answer (2) run 0.1"

    skewed = view(report("K1"), report("K2", version="0.2"))
    found = only(cluster.versions(stopped(view=skewed)))
    assert (found.level, found.text[:26]) == (WARNING, "K2 runs 0.2, K1 runs 0.1: ")
    assert "version" not in " ".join(each.text for each in cluster.cluster(stopped(view=skewed)))

    held = view(report("K1", machine_version=1, machine_version_supported=2), report("K2"))
    found = first(cluster.versions(stopped(view=held)))
    assert (found.level, found.text[:37]) == (WARNING, "machine version 1 is in force, not 2:")

    monkeypatch.setattr(cluster, "__version__", "0.3")
    assert "0.3 is installed" in first(cluster.versions(stopped(view=same))).text
