"""How many losses a cluster survives: the voters that work count."""

import pytest

from kraft.node.status import STANDBY
from kraft.web import overview
from tests.web.reports import answer, report, silent, view, without

FOUR = {"voters": ("K1", "K2", "K3", "K4")}


def tolerance(*answers):
    found = view(*answers)
    [group] = overview.groups(found)
    return overview.tolerance(found, group)


def four(*away):
    """K1 to K4, of which some do not answer and have no links."""
    reports = []
    for id_ in FOUR["voters"]:
        told = report(id_, group=FOUR)
        for gone in away:
            told = without(gone, told)
        reports.append(silent(id_) if id_ in away else answer(told))
    return reports


@pytest.mark.parametrize(
    ("answers", "text"),
    [
        ([report("K1"), report("K2"), report("K3")], "the cluster survives the loss of 1"),
        (four(), "the cluster survives the loss of 1"),
        (four("K3"), "K3 is missing: the cluster must not lose another voter"),
        (four("K3", "K4"), "K3 and K4 are missing: the cluster does not serve"),
    ],
)
def test_a_voter_that_is_down_does_not_count(answers, text):
    assert tolerance(*answers) == text


def test_a_learner_does_not_count():
    """It answers, and has no vote."""
    two = {"voters": ("K1", "K2"), "learners": ("K3",)}
    assert tolerance(*(report(id_, group=two) for id_ in ("K1", "K2", "K3"))) == (
        "the cluster must not lose a voter"
    )


def test_a_voter_with_a_full_disk_or_another_directory_does_not_count():
    """It is up, and logs nothing."""
    full = report("K3", disk_full=True)
    assert tolerance(report("K1"), report("K2"), full).startswith("K3 is missing: the cluster must not")
    wiped = report("K3", state=STANDBY)
    assert tolerance(report("K1"), report("K2"), wiped).startswith("K3 is missing: the cluster must not")


@pytest.mark.parametrize("unfit", ["drained", "fenced"])
def test_a_loss_must_leave_a_voter_that_may_lead(unfit):
    """Drained and fenced voters log entries, and do not lead."""
    k2, k3 = (report(id_, group={unfit: True}) for id_ in ("K2", "K3"))
    assert tolerance(report("K1"), k2, report("K3")) == "the cluster survives the loss of 1"
    assert tolerance(report("K1"), k2, k3) == "the cluster must not lose a voter"
    k1 = report("K1", group={unfit: True})
    assert tolerance(k1, k2, k3) == "the cluster must not lose a voter"


def test_both_majorities_count_while_the_voters_are_being_changed():
    """The new voters are those that are down."""
    joint = {"voters": ("K1", "K2", "K3"), "joint": True, "target_voters": ("K1", "K4", "K5")}
    told = [without("K4", report(id_, group=joint)) for id_ in ("K1", "K2", "K3")]
    assert tolerance(*told, silent("K4"), report("K5", group=joint)) == (
        "K4 is missing: the cluster must not lose another voter"
    )


def test_a_silent_node_with_links_counts():
    """Another node is connected to it."""
    assert tolerance(report("K1"), report("K2"), silent("K3")) == "the cluster survives the loss of 1"
