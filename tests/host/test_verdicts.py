"""Sums of checkpoints at equal indexes: which replicas are wrong, and when that cannot be known."""

import random

import pytest

from kraft.host.consistency.verdicts import CheckpointSums, ReplicaSum, Verdict

A, B, C = b"\x0a" * 16, b"\x0b" * 16, b"\x0c" * 16
THREE = ("K1", "K2", "K3")


@pytest.fixture
def leader():
    return CheckpointSums("K1")


def report(divergence, index, **sums):
    """The sums of replicas at `index`, reported in the order given."""
    for replica, sum_ in sums.items():
        if replica == divergence._node:
            divergence.own(index, sum_)
        else:
            divergence.heard(replica, index, sum_)


def states(divergence, electors=THREE, replicas=THREE):
    return {row.node: row.state for row in divergence.table(electors, replicas)}


# -- judging ------------------------------------------------------------------------------------------


def test_equal_sums_give_no_verdict(leader):
    report(leader, 10, K1=A, K2=A, K3=A)
    assert leader.judge(THREE) == ()


def test_a_replica_with_another_sum_than_the_majority_is_wrong(leader):
    report(leader, 10, K1=A, K2=B, K3=A)
    assert leader.judge(THREE) == (Verdict(10, A, (("K2", B),)),)


def test_the_leader_itself_can_be_wrong(leader):
    report(leader, 10, K1=B, K2=A, K3=A)
    [verdict] = leader.judge(THREE)
    assert verdict.decided
    assert verdict.differing == (("K1", B),)


def test_several_replicas_can_be_wrong_each_in_its_own_way(leader):
    electors = ("K1", "K2", "K3", "K4", "K5")
    report(leader, 10, K1=A, K2=B, K3=A, K4=C, K5=A)
    assert leader.judge(electors) == (Verdict(10, A, (("K2", B), ("K4", C))),)


def test_two_that_differ_are_an_alarm_before_the_third_has_reported(leader):
    report(leader, 10, K1=A, K2=B)
    [alarm] = leader.judge(THREE)
    assert not alarm.decided
    assert alarm == Verdict(10, b"", (("K1", A), ("K2", B)))

    report(leader, 10, K3=B)
    assert leader.judge(THREE) == (Verdict(10, B, (("K1", A),)),)


@pytest.mark.parametrize("electors", [("K1", "K2"), ("K1", "K2", "K3", "K4")])
def test_half_of_the_electors_is_no_majority(leader, electors):
    report(leader, 10, K1=A, K2=B)
    report(leader, 10, **dict.fromkeys(electors[2:3], A), **dict.fromkeys(electors[3:], B))
    assert [verdict.decided for verdict in leader.judge(electors)] == [False]


def test_a_learner_is_judged_but_does_not_count(leader):
    report(leader, 10, K1=A, K2=A, K4=B, K5=B, K6=B)
    assert leader.judge(THREE) == (Verdict(10, A, (("K4", B), ("K5", B), ("K6", B))),)


def test_only_equal_indexes_are_compared(leader):
    report(leader, 10, K1=A)
    report(leader, 20, K2=B)
    report(leader, 30, K3=C)
    assert leader.judge(THREE) == ()
    assert set(states(leader).values()) == {"unknown"}


def test_a_late_report_of_an_old_index_is_judged_by_what_was_right_there(leader):
    report(leader, 10, K1=A, K2=A)
    report(leader, 20, K1=B, K2=B)
    report(leader, 30, K1=C, K2=C)
    report(leader, 10, K3=B)
    assert leader.judge(THREE) == (Verdict(10, A, (("K3", B),)),)


def test_a_report_that_comes_late_says_nothing_against_a_newer_one(leader):
    """Messages overtake one another; the newest index describes the replica's present state."""
    report(leader, 10, K1=A, K2=A)
    report(leader, 20, K1=B, K2=B, K3=B)
    report(leader, 10, K3=C)
    assert leader.judge(THREE) == ()


def test_a_replica_that_got_the_right_state_is_right_again_by_its_next_report(leader):
    report(leader, 10, K1=A, K2=A, K3=B)
    report(leader, 20, K1=C, K2=C)
    assert [v.differing for v in leader.judge(THREE)] == [(("K3", B),)]

    report(leader, 20, K3=C)
    assert leader.judge(THREE) == ()


def test_the_last_report_of_an_index_counts(leader):
    """A replica reports the index at which it was reseeded again."""
    report(leader, 10, K1=A, K2=A, K3=B)
    report(leader, 10, K3=A)
    assert leader.judge(THREE) == ()


def test_a_wrong_replica_gives_no_second_verdict_where_others_have_not_reported_yet(leader):
    report(leader, 10, K1=A, K2=A, K3=B)
    report(leader, 20, K1=A, K3=B)
    assert leader.judge(THREE) == (Verdict(10, A, (("K3", B),)),)


def test_an_old_alarm_ends_when_all_are_equal_again(leader):
    report(leader, 10, K1=A, K2=B)
    report(leader, 20, K1=C, K2=C, K3=C)
    assert leader.judge(THREE) == ()


# -- memory -------------------------------------------------------------------------------------------


def test_only_the_newest_indexes_are_remembered():
    leader = CheckpointSums("K1", remembered=3)
    for index in (10, 20, 30, 40):
        report(leader, index, K1=A, K2=A)
    report(leader, 10, K3=B)
    assert leader.judge(THREE) == ()
    report(leader, 20, K3=B)
    assert leader.judge(THREE) == (Verdict(20, A, (("K3", B),)),)
    assert len(leader._sums) == 3


def test_a_new_leader_goes_on_with_its_own_sums():
    """As a follower it kept them; the reports of others come only now."""
    successor = CheckpointSums("K2")
    for index in (10, 20):
        successor.own(index, A)
    report(successor, 10, K1=A, K3=B)
    assert successor.judge(THREE) == (Verdict(10, A, (("K3", B),)),)


def test_a_former_leader_forgets_the_reports_of_others(leader):
    """Their states may be replaced while they report elsewhere."""
    report(leader, 10, K1=A, K2=A, K3=B)
    leader.follow()
    assert leader.judge(THREE) == ()
    assert leader.newest == (10, A)


def test_a_departed_replica_is_forgotten(leader):
    report(leader, 10, K1=A, K2=A, K3=B)
    leader.forget("K3")
    assert leader.judge(THREE) == ()


def test_the_newest_own_checkpoint_is_known():
    divergence = CheckpointSums("K2")
    assert divergence.newest is None
    divergence.own(10, A)
    divergence.own(20, B)
    divergence.heard("K1", 30, C)
    assert divergence.newest == (20, B)


def test_no_peer_reports_for_this_replica(leader):
    leader.own(10, A)
    leader.heard("K1", 10, B)
    assert leader.newest == (10, A)


# -- fencing ------------------------------------------------------------------------------------------


def test_a_replica_is_fenced_only_by_its_own_sum_at_that_very_index():
    replica = CheckpointSums("K3")
    replica.own(10, B)
    replica.heard("K1", 20, B)

    assert replica.disproved(10, A)
    assert not replica.disproved(10, B)
    assert not replica.disproved(20, A)
    assert not replica.disproved(30, A)


def test_after_its_state_was_replaced_old_fences_are_void():
    replica = CheckpointSums("K3")
    replica.own(10, B)
    replica.own(20, B)
    replica.restored(15, A)

    assert not replica.disproved(10, A)
    assert not replica.disproved(20, A)
    assert replica.newest == (15, A)


# -- the table ----------------------------------------------------------------------------------------


def test_the_table_has_a_row_for_every_replica(leader):
    report(leader, 10, K1=A, K2=A, K3=B)
    report(leader, 20, K1=C, K2=C)
    assert leader.table(THREE, ("K4", *THREE)) == (
        ReplicaSum("K1", 20, C.hex(), "equal"),
        ReplicaSum("K2", 20, C.hex(), "equal"),
        ReplicaSum("K3", 10, B.hex(), "different"),
        ReplicaSum("K4", 0, "", "unknown"),
    )


def test_without_a_majority_the_table_knows_sums_but_no_state(leader):
    report(leader, 10, K1=A, K2=B)
    assert leader.table(THREE, ("K1", "K2")) == (
        ReplicaSum("K1", 10, A.hex(), "unknown"),
        ReplicaSum("K2", 10, B.hex(), "unknown"),
    )


def test_a_single_node_agrees_with_itself(leader):
    leader.own(10, A)
    assert leader.table(("K1",), ("K1",)) == (ReplicaSum("K1", 10, A.hex(), "equal"),)


# -- a dumb twin --------------------------------------------------------------------------------------


@pytest.mark.parametrize("seed", range(50))
def test_with_all_reports_of_one_index_in_any_order_the_plain_count_decides(seed):
    dice = random.Random(seed)
    everyone = [f"K{i}" for i in range(1, dice.randrange(2, 8))]
    electors = everyone[: dice.randrange(1, len(everyone) + 1)]
    sums = {replica: dice.choice([A, A, B, C]) for replica in everyone}
    leader = CheckpointSums("K1")
    report(leader, 10, **dict(dice.sample(sorted(sums.items()), len(sums))))

    votes = [sums[e] for e in electors]
    winner = next((s for s in (A, B, C) if votes.count(s) > len(electors) / 2), None)
    if winner is not None:
        odd = tuple((r, s) for r, s in sorted(sums.items()) if s != winner)
        expected = (Verdict(10, winner, odd),) if odd else ()
    else:
        expected = (Verdict(10, b"", tuple(sorted(sums.items()))),)
    assert leader.judge(electors) == expected
