"""Plans of votes: what every plan keeps, with generated clusters, and how large ones may be."""

import time
from dataclasses import replace

import pytest
from hypothesis import given
from hypothesis import strategies as st

from kraft.host.placement.replica_plan import (
    DropStep,
    PlacedGroup,
    PlacedNode,
    ReplicaPlan,
    ReplicaStep,
    VoteStep,
)
from kraft.raft.membership.configuration import Joining

ALL = 1 << 20


@st.composite
def clusters(draw):
    """Nodes in zones, some not available or leaving, and groups with any voters."""
    count = draw(st.integers(1, 9))
    zones = draw(st.integers(1, 4))
    nodes = [
        PlacedNode(
            f"K{number}",
            f"z{draw(st.integers(1, zones))}",
            available=draw(st.integers(0, 5)) > 0,
            leaving=draw(st.integers(0, 5)) == 0,
        )
        for number in range(1, count + 1)
    ]
    ids = [node.id for node in nodes]
    wanted = draw(st.integers(1, 5))
    groups = []
    for group in range(draw(st.integers(0, 8))):
        voters = tuple(sorted(draw(st.sets(st.sampled_from(ids), min_size=1))))
        fixed = draw(st.integers(0, 7)) == 0
        groups.append(PlacedGroup(group, voters, wanted, draw(st.sampled_from(voters)), fixed=fixed))
    return nodes, groups


@st.composite
def scattered(draw):
    """The same where nodes lack replicas, some are on their way, and some have one without a vote."""
    nodes, groups = draw(clusters())
    ids = [node.id for node in nodes]
    lost = draw(st.sets(st.sampled_from(ids), max_size=2))
    nodes = [
        replace(node, available=node.available and node.id not in lost, lost=node.id in lost)
        for node in nodes
    ]
    placed = []
    for group in groups:
        more = draw(st.sets(st.sampled_from(ids)))
        without = sorted(set(ids).difference(group.voters))
        coming: tuple[Joining, ...] = ()
        if without and draw(st.integers(0, 3)) == 0:
            replaces = draw(st.sampled_from(["", *group.voters]))
            coming = (Joining(draw(st.sampled_from(without)), replaces),)
        replicas = tuple(sorted({*group.voters, *more, *(each.id for each in coming)}))
        fixed = group.fixed or bool(coming)
        placed.append(replace(group, replicas=replicas, coming=coming, fixed=fixed))
    return nodes, placed


def computed(nodes, groups, *, balance, most=ALL):
    """The plan, made in all its parts."""
    plan = ReplicaPlan(nodes, groups)
    for _ in plan.compute(most, balance=balance):
        pass
    return plan


def planned(nodes, groups, *, balance, most=ALL):
    """The steps, and the groups after them."""
    steps = computed(nodes, groups, balance=balance, most=most).moves
    return steps, after(groups, steps)


def after(groups, steps):
    changed = {step.group: step.voters for step in steps}
    return [
        PlacedGroup(g.group, changed.get(g.group, g.voters), g.wanted, g.leader, fixed=g.fixed)
        for g in groups
    ]


def most_in_a_zone(nodes, voters):
    zones = {node.id: node.zone for node in nodes}
    counts: dict[str, int] = {}
    for id_ in voters:
        counts[zones[id_]] = counts.get(zones[id_], 0) + 1
    return max(counts.values())


@given(clusters(), st.booleans())
def test_every_step_is_one_that_its_group_can_take(cluster, balance):
    nodes, groups = cluster
    known = {node.id: node for node in nodes}
    steps, _ = planned(nodes, groups, balance=balance)
    before = {group.group: group for group in groups}
    assert [step.group for step in steps] == sorted({step.group for step in steps})
    for step in steps:
        assert step.before == before[step.group].voters != step.voters
        assert not before[step.group].fixed
        assert step.voters == tuple(sorted(set(step.voters)))
        assert step.voters
        for id_ in set(step.voters) - set(step.before):
            assert known[id_].available
            assert not known[id_].leaving


@given(clusters(), st.booleans())
def test_no_group_ends_with_too_many_voters_or_with_fewer_than_before_and_wanted(cluster, balance):
    nodes, groups = cluster
    staying = sum(not node.leaving for node in nodes)
    _, ended = planned(nodes, groups, balance=balance)
    for group, result in zip(groups, ended, strict=True):
        if not group.fixed:
            wanted = max(1, min(group.wanted, staying))
            assert len(result.voters) <= wanted
            assert len(result.voters) >= min(wanted, len(group.voters))


@given(clusters(), st.booleans())
def test_a_plan_that_was_carried_out_leaves_nothing_to_do(cluster, balance):
    nodes, groups = cluster
    _, ended = planned(nodes, groups, balance=balance)
    assert planned(nodes, ended, balance=balance)[0] == []


@given(clusters(), st.integers(1, 3))
def test_a_plan_in_small_parts_comes_to_an_end(cluster, most):
    nodes, groups = cluster
    for _ in range(200):
        steps, groups = planned(nodes, groups, balance=True, most=most)
        assert len(steps) <= most
        if not steps:
            break
    assert planned(nodes, groups, balance=True)[0] == []


@given(clusters())
def test_balance_makes_no_zone_more_crowded(cluster):
    nodes, groups = cluster
    _, repaired = planned(nodes, groups, balance=False)
    _, balanced = planned(nodes, repaired, balance=True)
    for before, then in zip(repaired, balanced, strict=True):
        assert most_in_a_zone(nodes, then.voters) <= most_in_a_zone(nodes, before.voters)


def taken(group, step):
    """A group after a step, which it must be able to take."""
    assert step.before == group.voters
    if isinstance(step, VoteStep):
        assert not group.fixed
        assert step.voters
        assert set(step.voters) <= set(group.replicas), "a node without a replica cannot vote"
        return replace(group, voters=step.voters)
    if isinstance(step, ReplicaStep):
        assert not group.fixed
        assert step.node not in group.replicas
        assert step.replaces in ("", *group.voters)
        replicas = tuple(sorted([*group.replicas, step.node]))
        return replace(group, replicas=replicas, coming=(Joining(step.node, step.replaces),), fixed=True)
    assert step.node not in group.voters
    assert step.coming == (step.node in [each.id for each in group.coming])
    replicas = tuple(id_ for id_ in group.replicas if id_ != step.node)
    coming = tuple(each for each in group.coming if each.id != step.node)
    return replace(group, replicas=replicas, coming=coming, fixed=bool(coming))


def caught_up(group):
    """The group once its new replicas vote, and those in whose place they do are gone."""
    gone = {each.replaces for each in group.coming}
    replicas = tuple(id_ for id_ in group.replicas if id_ not in gone)
    return replace(group, voters=tuple(sorted(group.expected)), replicas=replicas, coming=(), fixed=False)


@given(scattered(), st.integers(1, 4), st.booleans())
def test_replicas_come_and_go_until_only_voters_have_one(cluster, most, balance):
    """Also one step after the other, and with nodes that are lost while replicas are on their way to them."""
    nodes, groups = cluster
    known = {node.id: node for node in nodes}
    by_id = {group.group: group for group in groups}
    busy = {group.group for group in groups if group.fixed and not group.coming}
    for _ in range(300):
        plan = computed(nodes, by_id.values(), balance=balance, most=most)
        assert len(plan.steps) <= most + sum(bool(group.coming) for group in by_id.values())
        assert [step.group for step in plan.steps].count(plan.steps[0].group if plan.steps else -1) <= 1
        for step in plan.steps:
            if isinstance(step, ReplicaStep):
                assert known[step.node].available
                assert not known[step.node].leaving
            by_id[step.group] = taken(by_id[step.group], step)
        waiting = [group for group in by_id.values() if group.coming and group.group not in busy]
        for group in waiting:
            if not any(known[each.id].lost or known[each.id].leaving for each in group.coming):
                by_id[group.group] = caught_up(group)
        if not plan.steps and not waiting:
            break
    assert computed(nodes, by_id.values(), balance=balance).steps == []
    for group in by_id.values():
        if not group.fixed and group.group not in plan.stuck:
            assert set(group.replicas) == set(group.voters)


def test_a_node_without_a_replica_gets_one_in_the_place_of_a_voter():
    group = PlacedGroup(1, ("K1", "K3", "K5"), 3, replicas=("K1", "K3", "K5"))
    plan = computed(nodes_of(ZONES, leaving=("K3",)), [group], balance=False)
    assert plan.moves == [VoteStep(1, ("K1", "K3", "K5"), ("K1", "K4", "K5"))]
    assert plan.steps == [ReplicaStep(1, ("K1", "K3", "K5"), "K4", "K3")]


def test_a_node_that_has_a_replica_is_preferred():
    group = PlacedGroup(1, ("K1", "K3", "K5"), 3, replicas=("K1", "K3", "K5", "K6"))
    nodes = [PlacedNode(id_, "z", leaving=id_ == "K3") for id_ in ZONES]
    plan = computed(nodes, [group], balance=False)
    assert plan.steps == [VoteStep(1, ("K1", "K3", "K5"), ("K1", "K5", "K6"))]


def test_votes_move_at_once_where_there_are_replicas_and_one_after_the_other_elsewhere():
    """K5 takes the vote of a node that leaves, K3 and K4 that of others later."""
    zones = {"K1": "a", "K2": "a", "K3": "b", "K4": "b", "K5": "c", "K6": "c"}
    nodes = nodes_of(zones, leaving=("K1", "K2"))
    group = PlacedGroup(1, ("K1", "K2"), 2, replicas=("K1", "K2", "K5"))
    first = computed(nodes, [group], balance=False)
    assert first.moves == [VoteStep(1, ("K1", "K2"), ("K3", "K5"))]
    assert first.steps == [VoteStep(1, ("K1", "K2"), ("K1", "K5"))]
    second = computed(nodes, [taken(group, first.steps[0])], balance=False)
    assert second.steps == [ReplicaStep(1, ("K1", "K5"), "K3", "K1")]


def test_a_replica_without_a_vote_is_dropped_where_nothing_else_is_to_be_done():
    nodes = nodes_of(ZONES, leaving=())
    idle = PlacedGroup(1, ("K1", "K3", "K5"), 3, replicas=tuple(ZONES))
    assert computed(nodes, [idle], balance=True).steps == [DropStep(1, idle.voters, "K2", coming=False)]
    for busy in (replace(idle, fixed=True), replace(idle, wanted=4), replace(idle, replicas=None)):
        steps = computed(nodes, [busy], balance=False).steps
        assert not [step for step in steps if isinstance(step, DropStep)]


@pytest.mark.parametrize("change", [{"lost": True}, {"leaving": True}, None])
def test_no_group_waits_for_a_replica_on_a_node_that_is_gone(change):
    voters = ("K1", "K3", "K5")
    coming = (Joining("K4", "K3"),)
    group = PlacedGroup(1, voters, 3, replicas=("K1", "K3", "K4", "K5"), coming=coming, fixed=True)
    nodes = nodes_of(ZONES, leaving=())
    assert computed(nodes, [group], balance=True).steps == []
    if change is None:
        nodes = [node for node in nodes if node.id != "K4"]
    else:
        nodes = [replace(node, **change) if node.id == "K4" else node for node in nodes]
    assert computed(nodes, [group], balance=True).steps == [DropStep(1, voters, "K4", coming=True)]


def test_a_replica_on_its_way_counts_as_a_vote():
    """Else each of them would draw further ones to its node."""
    nodes = [PlacedNode(id_, id_) for id_ in ("K1", "K2", "K3")]
    coming = (Joining("K3", "K1"),)
    ours = [PlacedGroup(g, ("K1",), 1, replicas=("K1", "K3"), coming=coming, fixed=True) for g in (1, 2)]
    more = [PlacedGroup(g, (f"K{g - 2}",), 1, replicas=(f"K{g - 2}",)) for g in (3, 4)]
    plan = computed(nodes, [*ours, *more], balance=True)
    assert plan.votes == {"K1": 1, "K2": 1, "K3": 2}
    assert plan.steps == []


@given(st.integers(3, 12), st.integers(3, 5), st.integers(1, 30), st.integers(1, 5))
def test_with_zones_of_one_size_votes_are_even_and_zones_differ(width, zones, groups, wanted):
    """Every zone has the same number of nodes; at first all nodes vote in all groups."""
    nodes = [PlacedNode(f"K{number:02}", f"z{number % zones}") for number in range(width * zones)]
    ids = tuple(node.id for node in nodes)
    plan = computed(nodes, [PlacedGroup(group, ids, wanted, ids[0]) for group in range(groups)], balance=True)
    steps = plan.moves
    assert len(steps) == groups
    assert max(plan.votes.values()) - min(plan.votes.values()) <= 1
    for step in steps:
        assert len(step.voters) == wanted
        assert most_in_a_zone(nodes, step.voters) == -(-wanted // zones)


def nodes_of(zones, **changes):
    return [
        PlacedNode(id_, zone, **{word: id_ in ids for word, ids in changes.items()})
        for id_, zone in zones.items()
    ]


ZONES = {"K1": "a", "K2": "a", "K3": "b", "K4": "b", "K5": "c", "K6": "c"}


def test_a_node_that_leaves_hands_its_vote_to_one_of_its_zone():
    groups = [PlacedGroup(1, ("K1", "K3", "K5"), 3)]
    steps, _ = planned(nodes_of(ZONES, leaving=("K3",)), groups, balance=False)
    assert steps == [VoteStep(1, ("K1", "K3", "K5"), ("K1", "K4", "K5"))]


def test_a_node_that_leaves_keeps_its_vote_while_nobody_can_take_it():
    nodes = [PlacedNode(id_, zone, available=id_ in ("K1", "K3", "K5"), leaving=id_ == "K3")
             for id_, zone in ZONES.items()]  # fmt: skip
    assert planned(nodes, [PlacedGroup(1, ("K1", "K3", "K5"), 3)], balance=True)[0] == []


def test_the_last_nodes_but_one_that_leaves_go_on_with_fewer_voters():
    nodes = [PlacedNode(id_, id_, leaving=id_ == "K3") for id_ in ("K1", "K2", "K3")]
    steps, _ = planned(nodes, [PlacedGroup(1, ("K1", "K2", "K3"), 3)], balance=False)
    assert steps == [VoteStep(1, ("K1", "K2", "K3"), ("K1", "K2"))]


def test_a_voter_that_is_down_is_the_first_to_go():
    nodes = [PlacedNode(id_, id_, available=id_ != "K1") for id_ in ("K1", "K2", "K3", "K4")]
    steps, _ = planned(nodes, [PlacedGroup(1, ("K1", "K2", "K3", "K4"), 3)], balance=False)
    assert steps[0].voters == ("K2", "K3", "K4")


def test_a_voter_that_is_down_keeps_its_vote_otherwise():
    nodes = [PlacedNode(id_, id_, available=id_ != "K1") for id_ in ("K1", "K2", "K3", "K4")]
    assert planned(nodes, [PlacedGroup(1, ("K1", "K2", "K3"), 3)], balance=True)[0] == []


def test_two_voters_in_a_zone_part_when_another_zone_has_a_node():
    steps, _ = planned(nodes_of(ZONES, leaving=()), [PlacedGroup(1, ("K1", "K2", "K3"), 3)], balance=False)
    assert steps == [VoteStep(1, ("K1", "K2", "K3"), ("K1", "K3", "K5"))]


@pytest.mark.parametrize("balance", [False, True])
def test_a_group_gets_no_vote_of_a_node_that_it_is_to_avoid(balance):
    nodes = [PlacedNode(id_, "z") for id_ in ("K1", "K2", "K3", "K4")]
    groups = [PlacedGroup(g, ("K1", "K2"), 3, avoid=frozenset({"K3"})) for g in range(6)]
    steps, _ = planned(nodes, groups, balance=balance)
    assert [step.voters for step in steps] == [("K1", "K2", "K4")] * 6


def test_a_leader_keeps_its_vote_where_votes_are_even():
    nodes = [PlacedNode(id_, "z") for id_ in ZONES]
    groups = [PlacedGroup(1, tuple(ZONES), 3, leader="K6")]
    assert "K6" in planned(nodes, groups, balance=True)[0][0].voters


def test_a_member_that_is_gone_votes_no_more():
    nodes = [PlacedNode(id_, id_) for id_ in ("K1", "K2", "K4")]
    steps, _ = planned(nodes, [PlacedGroup(1, ("K1", "K2", "K9"), 3)], balance=False)
    assert steps == [VoteStep(1, ("K1", "K2", "K9"), ("K1", "K2", "K4"))]


def test_a_group_without_a_node_for_its_vote_is_stuck():
    zones = {id_: id_ for id_ in ("K1", "K2", "K3", "K4")}
    nodes = [PlacedNode(id_, zone, available=id_ != "K4") for id_, zone in zones.items()]
    groups = [
        PlacedGroup(1, ("K1", "K2"), 3),
        PlacedGroup(2, ("K1", "K2"), 3, avoid=frozenset({"K3"})),
        PlacedGroup(3, ("K1", "K2", "K3"), 3),
        PlacedGroup(4, ("K1", "K2"), 3, fixed=True),
    ]
    plan = computed(nodes, groups, balance=True)
    assert [step.group for step in plan.steps] == [1]
    assert plan.stuck == [2]


def test_a_large_plan_is_made_in_parts():
    """As many nodes and groups as there can be, with the votes on a half of the nodes."""
    nodes = [PlacedNode(f"K{number:02}", f"z{number % 3}") for number in range(64)]
    ids = [node.id for node in nodes[:32]]
    groups = [PlacedGroup(g, tuple(sorted(ids[(g + 11 * n) % 32] for n in range(3))), 3) for g in range(1024)]
    plan = ReplicaPlan(nodes, groups)
    begun = parts = 0
    for _ in plan.compute(64, balance=True):
        begun = begun or len(plan.moves)
        parts += 1
    assert begun == 0, "no step is told before the plan is made"
    assert len(plan.steps) == 64
    assert parts >= 1024 + 64


@pytest.mark.slow
def test_a_hundred_nodes_with_ten_thousand_groups_are_planned_in_five_seconds():
    """CPU seconds of this process, as other programs may run: three nodes of ten zones are added."""
    nodes = [PlacedNode(f"K{number:03}", f"z{number % 10}") for number in range(100)]
    ids = [node.id for node in nodes]
    groups = [
        PlacedGroup(g, tuple(sorted((ids[g % 100], ids[(g + 1) % 100], ids[(g + 2) % 100]))), 3)
        for g in range(10_000)
    ]
    more = [*nodes, *(PlacedNode(f"N{number}", f"z{number}") for number in range(3))]
    gone = [PlacedNode(n.id, n.zone, leaving=n.id in ("K001", "K002", "K003")) for n in nodes]
    for changed in (more, gone):
        begun = time.process_time()
        plan = computed(changed, groups, balance=True)
        steps = plan.moves
        assert time.process_time() - begun < 5
        votes = [plan.votes[node.id] for node in changed if not node.leaving]
        moved = sum(len(set(step.voters) - set(step.before)) for step in steps)
        assert 850 < moved < 950, "about 900 votes are those of three nodes"
        assert max(votes) - min(votes) <= 1
