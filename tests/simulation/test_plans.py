"""Plans of runs, parts of plans, and the shrinking of a failing plan."""

import pytest

from tests.simulation.coverage import Coverage
from tests.simulation.fault_kinds import DESTRUCTIVE, FAMILIES, KINDS, MOVES, OPTIONAL, REPLICAS, VOTES
from tests.simulation.faults import ACTS
from tests.simulation.plan import FAMILIES_MIN, FOR_ALL_GROUPS, Plan, draw
from tests.simulation.run import Result, run, run_plan
from tests.simulation.schedule import main
from tests.simulation.shrink import command_of, shrink

SEEDS = range(200)


def test_every_kind_of_fault_can_happen_and_is_drawn():
    drawn = {fault.kind for seed in SEEDS for fault in draw(seed, moving=True, placing=True).faults}
    drawn |= {fault.kind for seed in SEEDS for fault in draw(seed, replicas=True).faults}
    assert set(ACTS) == set(KINDS) == drawn


def test_runs_that_are_not_calm_mix_families():
    for plan in map(draw, SEEDS):
        assert plan.calm or len({fault.family for fault in plan.faults}) >= FAMILIES_MIN
    assert {fault.family for seed in SEEDS for fault in draw(seed).faults} == set(FAMILIES) - set(OPTIONAL)


def test_moves_leave_the_other_faults_as_they_were():
    for plan, moving in ((draw(seed), draw(seed, moving=True)) for seed in SEEDS):
        assert moving.without(f.index for f in moving.faults if f.family == MOVES).faults == plan.faults
        assert moving.moving
        if plan.groups == 1:
            assert next(f.kind for f in moving.faults if f.family == MOVES) == "split"


def test_votes_leave_the_other_faults_as_they_were():
    for plan, placing in ((draw(seed), draw(seed, placing=True)) for seed in SEEDS):
        assert placing.without(f.index for f in placing.faults if f.family == VOTES).faults == plan.faults
        assert placing.placing == (plan.nodes > 1)


def test_replicas_leave_the_other_faults_as_they_were():
    """But for those that concern the members of all groups."""
    for plan, moving in ((draw(seed), draw(seed, replicas=True)) for seed in SEEDS):
        left = [fault for fault in moving.faults if fault.family != REPLICAS]
        gone = {fault.kind for fault in plan.faults if fault not in left}
        assert [fault for fault in plan.faults if fault in left] == left
        assert gone <= {*DESTRUCTIVE, *FOR_ALL_GROUPS}
        assert moving.replicas == (plan.nodes > 1)
        assert moving.groups > 1 or plan.nodes == 1


def test_the_faults_of_a_plan_have_numbers_of_their_own():
    for seed in SEEDS:
        for plan in (draw(seed, moving=True, replicas=True), draw(seed, placing=True, replicas=True)):
            assert len({fault.index for fault in plan.faults}) == len(plan.faults)


def test_where_the_cluster_places_replicas_nobody_else_does():
    plans = [draw(seed, placing=True, replicas=True) for seed in SEEDS]
    assert not [fault for plan in plans for fault in plan.faults if fault.family == REPLICAS]
    assert all(plan.groups > 1 for plan in plans if plan.nodes > 1)
    for plan in plans:
        others = [fault for fault in plan.faults if fault.family != VOTES]
        assert others == list(draw(plan.seed).faults)


def test_faults_come_in_their_order_within_the_time_of_the_plan():
    for plan in map(draw, SEEDS):
        times = [fault.at for fault in plan.faults]
        assert times == sorted(times)
        assert all(0 <= time <= plan.seconds for time in times)
        assert len({fault.index for fault in plan.faults}) == len(times)


def test_a_fault_left_out_leaves_the_others_as_they_were():
    plan = draw(1)
    gone = plan.faults[3]
    assert plan.without([gone.index]).faults == tuple(f for f in plan.faults if f is not gone)


def test_a_shortened_plan_has_no_later_faults():
    plan = draw(1).until(5.0)
    assert plan.seconds == 5.0
    assert all(fault.at <= 5.0 for fault in plan.faults)


def test_what_is_left_out_does_not_happen():
    plan = draw(1)
    crashes = [fault.index for fault in plan.faults if fault.family != "network"]
    result = run_plan(plan.without(crashes))
    assert result.families <= {"network"}
    assert not result.counts["crash"]


def test_shrinking_finds_the_two_faults_that_matter():
    plan = draw(1)
    needed = {plan.faults[4].index, plan.faults[-1].index}

    def fails_with_both(smaller: Plan) -> Exception | None:
        left = {fault.index for fault in smaller.faults}
        return ValueError("planted") if needed <= left else None

    smaller, error = shrink(plan, run=fails_with_both)
    assert {fault.index for fault in smaller.faults} == needed
    assert str(error) == "planted"
    assert smaller.clients == 1
    assert smaller.seconds < 2 * plan.faults[-1].at


def test_a_plan_whose_reads_rely_on_leases_is_repeated_as_such():
    plans = [draw(seed, leasing=True) for seed in range(12)]
    assert all(plan.leases for plan in plans)
    assert not all(draw(plan.seed).leases for plan in plans)
    assert "--leases" in command_of(plans[0])


@pytest.mark.parametrize("replicas", [False, True])
def test_the_command_of_a_smaller_plan_makes_the_same_plan(capsys, replicas):
    plan = draw(1, replicas=replicas)
    smaller = plan.without(f.index for f in plan.faults[3:]).until(9.5).of_clients(2)
    command = command_of(smaller).split()
    assert command[:3] == ["python", "-m", "tests.simulation.schedule"]
    assert main([*command[3:], "--plan"]) == 0
    shown = capsys.readouterr().out.splitlines()
    assert shown[1:] == [str(fault) for fault in smaller.faults]
    assert "2 clients, 9.5 seconds" in shown[0]


def test_plans_with_several_groups_can_be_chosen(capsys):
    assert main(["--plan", "--seed", "5", "--runs", "4", "--groups", "2"]) == 0
    shown = [line for line in capsys.readouterr().out.splitlines() if line.startswith("seed ")]
    seeds = [seed for seed in SEEDS if seed >= 5 and draw(seed).groups > 1][:4]
    assert [line.partition(":")[0] for line in shown] == [f"seed {seed}" for seed in seeds]


def test_coverage_adds_up_what_runs_met():
    coverage = Coverage()
    results: list[Result] = [run(seed) for seed in (5, 6)]
    for result in results:
        coverage.add(result)
    table = coverage.table()
    assert all(f"{kind.family}: {name}" in table for name, kind in KINDS.items())
    assert f"{sum(r.done for r in results):10} {2:6}  operation done" in table
    assert "2 runs are full" in table
