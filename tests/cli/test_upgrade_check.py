"""`kraft upgrade-check`: the next node, and what makes its stop unsafe."""

import pytest

from kraft import __version__
from kraft.cli import upgrade_check
from kraft.cli.status_reply import StatusReply
from kraft.cli.upgrade_check import UpgradePlan, facts
from kraft.kv.versions import MACHINE_VERSION

OLD = "0.0.1"


def node(id_, version=__version__, *, leader="K1", supported=MACHINE_VERSION, **fields):
    group = {
        "group": 0, "leader": leader, "joint": False, "joining": [], "fenced": False,
        "voters": ["K1", "K2", "K3"],
    }  # fmt: skip
    members = [{"id": f"K{n}", "connected": True, "lag_entries": 0} for n in (1, 2, 3)]
    status = {
        "version": version, "problem": "", "disk_full": False, "groups": [group | fields.pop("group", {})],
        "members": [member | fields.get(str(member["id"]), {}) for member in members],
        "machine_version": 2, "machine_version_supported": supported,
        "machine_version_held": False,
    }  # fmt: skip
    known = {name: value for name, value in fields.items() if name in status}
    return StatusReply(id_, f"{id_}:10021", status | known)


def plan(*nodes):
    return UpgradePlan(nodes)


def plain(found):
    """What is printed below the table."""
    return "\n".join(line.text for line in upgrade_check._lines(found))


def test_followers_come_first_and_the_leader_last():
    steps = []
    versions = dict.fromkeys(("K1", "K2", "K3"), OLD)
    while (found := plan(*(node(id_, version) for id_, version in versions.items()))).next:
        assert found.obstacles == []
        steps.append(found.next)
        versions[found.next] = __version__
    assert steps == ["K2", "K3", "K1"]


def test_a_program_that_supports_less_is_outdated_whatever_it_calls_itself():
    assert plan(node("K1"), node("K2", supported=1), node("K3")).next == "K2"


@pytest.mark.parametrize(
    ("first", "text"),
    [
        ({"K2": {"connected": False}}, "K2 is not connected to K1"),
        ({"K3": {"lag_entries": 5000}}, "K3 lacks 5000 entries"),
        ({"group": {"joint": True}}, "a change of the members is under way"),
        ({"group": {"fenced": True}}, "KRAFT RESEED K1"),
        ({"group": {"voters": ["K1", "K2"]}}, "2 voters, and does not serve while one restarts"),
        ({"problem": "no leader is known"}, "K1: no leader is known"),
        ({"disk_full": True}, "its disk is full"),
        ({"machine_version": MACHINE_VERSION + 1}, "it is too old for this cluster"),
    ],
)
def test_what_makes_the_next_step_unsafe(first, text):
    found = plan(node("K1", OLD, **first), node("K2", OLD), node("K3", OLD))
    assert any(text in obstacle for obstacle in found.obstacles), found.obstacles
    assert facts(found)["safe"] is False


def test_a_node_that_does_not_answer():
    found = plan(node("K1"), StatusReply("K2", "K2:10021", error="no answer"), node("K3"))
    assert found.obstacles == ["K2 does not answer: no answer"]


def test_a_program_of_machine_version_1_does_not_tell_its_version():
    old = node("K2")
    for name in ("machine_version", "machine_version_supported"):
        del old.status[name]
    found = plan(node("K1"), old, node("K3"))
    assert (found.next, found.obstacles) == ("K2", [])
    assert "upgrade and restart K2 (it leads nothing)" in plain(found)


def test_a_node_that_holds_the_version_back_is_no_old_one():
    held = node("K2", supported=MACHINE_VERSION - 1, machine_version_held=True)
    found = plan(node("K1"), held, node("K3"))
    assert (found.next, found.holding) == ("", ["K2"])
    told = plain(found)
    assert "nothing to do" in told
    assert "cluster.machine_version_max of K2 keeps the way back open" in told


def test_the_last_node_closes_the_way_back_unless_one_holds_it_open():
    last = node("K3", supported=MACHINE_VERSION - 1)
    assert "there is no way back" in plain(plan(node("K1"), node("K2"), last))
    held = node("K2", supported=MACHINE_VERSION - 1, machine_version_held=True)
    assert "there is no way back" not in plain(plan(node("K1"), held, last))


def test_nothing_is_left_to_do():
    found = plan(node("K1"), node("K2"), node("K3"))
    assert (found.next, found.obstacles, facts(found)["safe"]) == ("", [], True)
