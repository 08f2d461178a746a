"""Whole clusters under random faults, for many seeds; a seed that has failed once stays here."""

import os
import subprocess
import sys
from itertools import count, islice
from pathlib import Path

import pytest

from tests.simulation.plan import draw
from tests.simulation.run import run, run_moving, run_plan

ROOT = Path(__file__).resolve().parents[2]
# Chunks let pytest-xdist distribute the runs. In some runs the faults leave little to do, so more are run
# than the 27 that have to be full; runs that are calm on purpose have a test of their own.
FIRST_SEED, CHUNKS, SEEDS_PER_CHUNK = 1_000, 9, 5
FULL_RUNS_PER_CHUNK = 3
CALM_RUNS = 12

# Seeds with the bugs they found. A seed becomes a different run whenever the simulator changes, so each bug
# also has a unit test, named after the arrow.
REGRESSIONS = (
    # a batch overtaken in a leader's own log was reported as lost, and executed twice
    # -> host/test_proposals: a_new_batch_at_an_older_ones_index_does_not_free_the_older_one
    18,
    # a key written by an entry not yet applied when the round began was read after its expiry
    # -> host/test_read_rounds: a_view_is_of_a_time_at_which_all_its_keys_live
    100_191,
    # the round of a stale heartbeat, echoed in a new term, confirmed reads of that term
    # -> raft/test_elections: a_stale_leader_is_told_by_the_answer_to_its_heartbeat
    1067,
    # a transferring leader looped while a read waited for a due key that it could no longer log
    # -> world: StandsStill
    36,
    # the checker demanded later leaders' entries of a leader that learned late of its election
    # -> raft/test_invariants: a_leader_that_learns_of_its_election_late_...
    46,
    # a learner whose link had been down never became a voter in a group without writes
    # -> raft/test_progress: a_follower_with_everything_is_not_probed_when_its_link_is_back
    1017,
    1442,
    # the checker demanded that the joint configuration count an entry after its commit had ended it
    # -> raft/test_invariants: what_follows_a_joint_entry_may_be_counted_by_its_target_in_the_same_step
    605,
    # a flipped bit undid a cut of a log, and the model demanded the cut
    # -> test_realdisk: a_cut_that_a_damaged_frame_undid_is_not_missed
    2594,
    # a flipped bit undid the count of a start: peers refuse the directory as an old copy; it is re-admitted
    430,
    # the same, and then a power cut that removed the witness: no disk can survive that
    2403,
    # the start and the end of a drain were swapped during a pause
    # -> test_world: what_was_put_off_keeps_its_order_through_a_pause
    2429,
    # the end of a link was a timer of the process to be notified, and therefore as late as its timers
    1873,
    # a flipped bit undid a checkpoint whose entries were all still in the log
    # -> test_realdisk: a_damaged_checkpoint_is_not_missed_where_the_log_goes_back_to_the_one_before
    11680,
    # the error about a damaged schema named no remedy
    # -> storage/test_damage: a_damaged_schema_is_refused_and_the_way_out_named
    12633,
    # a process that ended because it was too old took the newer one with it that was started meanwhile
    1041,
    # a follower took the commit index of a leader that had just been elected for all that is committed
    # -> raft/test_paper_leaders: a_new_leader_does_not_know_yet_how_far_its_predecessors_committed
    1397,
    # a leader on a hung disk logged a marker at every tick, and kept in memory all that it could not apply
    # -> host/test_group: a_marker_is_not_repeated_while_one_waits_to_be_applied
    # -> raft/test_replication: what_is_committed_without_the_leaders_disk_is_bounded_too
    22_651,
    40_115,
    # log time stood still after a leader's pause, because that time had been stamped at full speed
    # -> host/test_leader_clock: log_time_goes_on_after_a_pause_while_it_is_ahead
    23_419,
    # an old copy of a directory was refused, and accepted when it was started once more
    # -> host/membership/test_objections: a_copy_stays_one_however_often_it_is_started_again
    40_619,
    # the operator wiped a node that the majority to be of an unfinished removal needed
    21_768,
    # a node that group 0 had replaced led another group, and the newcomer there refused its greeting for good
    # -> host/test_groups: a_leader_that_group_0_has_replaced_gives_way_so_that_the_other_groups_can
    5,
    # the operator repeated a removal at the node that one group had removed: it knew no leader of that group
    21,
    # a node was demoted that had replaced another one in some groups only: in the others that one stayed
    # -> raft/test_changes: a_learner_that_is_to_take_the_place_of_a_voter_is_not_demoted
    72_019,
    # a node that one group had taken back lost its link with each repeated command, and was never invited
    # -> host/membership/test_replacing: a_member_that_waits_for_its_invitation_keeps_its_link
    884_425,
    # an administrator's command whose leader was lost was answered after 30 s only
    # -> host/test_groups: an_administrator_hears_soon_of_a_leader_that_is_lost, a_rehearsal_goes_on_...
    61_000,
    63_077,
    # group 0 alone replaced a node with an empty directory: all leaders had known the old copy
    # -> host/test_cluster_command: no_group_is_left_out_because_all_leaders_knew_the_node_of_before
    204_051,
    # the judge gave up: each of 119 scripts without an answer may have done something, or nothing
    # -> test_scripts: the_log_says_which_scripts_without_an_answer_did_nothing
    60_257,
    # a node whose disk was full when the cluster formed began its logs twice
    161_054,
    # the operator wiped the only node that had formed, and put it in standby: the others waited for a founder
    # -> test_formation: the_operator_spares_a_directory_that_alone_knows_the_cluster
    207_026,
    # a node that group 0 had taken back came to lead it: it dialled itself for the other groups, for ever
    # -> host/test_groups: a_node_that_leads_a_group_which_has_taken_it_back_is_taken_back_by_the_others
    327_006,
    # a process met damage in its log while it ran, named KRAFT REPLACE, and was restarted again and again
    # -> test_realdisk: damage_that_a_process_met_is_refused_by_the_next_one
    433_012,
    # the plain disk loaded four large entries below the commit index, more than a node keeps in memory
    910_465,
    # a replaced node that was asked to replace itself in the other groups did not learn who leads them
    # -> host/test_absent_groups: only_those_are_told_who_lack_the_group_and_understand_it
    910_756,
    # entries left after the follower had refused those before them: the check took these for sent twice
    # -> test_resending: entries_that_the_leader_made_before_a_refusal_and_sends_after_it_do_not_count
    970_398,
    # a founder that a member disowned formed in the moment before it ended, and ended nevertheless
    # -> host/test_first_start: a_founder_that_a_member_disowns_goes_on_if_it_is_accepted_meanwhile
    970_577,
    # the operator wiped one of two that had formed: the third formed another cluster with its new directory
    # -> test_formation: the_last_founder_joins_the_cluster_although_another_one_is_wiped_before
    983_097,
    # a command of the operator was lost and repeated after its limit: that of the healed cluster was over
    # -> test_run: replicas_may_wait_for_a_command_that_was_lost
    983_451,
    # a client waited at a node that was slow, as late as its timers, after the node was fast again
    # -> test_lock_waits: one_that_a_slow_node_keeps_waiting_may_be_answered_later
    984_651,
    # a node was demoted, or moved, whose place another one had taken in some groups: these were left out
    # -> host/test_groups: a_member_whose_place_is_taken_group_by_group_is_not_changed_meanwhile
    985_428,
    989_315,
    # a removal that one node had logged in one group was committed after another command: nobody finished it
    # -> test_operator: a_change_is_half_done_although_another_one_was_tried_since
    3_100_196,
)
# The same for runs in which slots move.
MOVING_REGRESSIONS = (
    # a founder that was cut off was removed before it formed: the judge took its end for a fault
    # -> test_formation: a_founder_that_is_removed_before_it_forms_gives_up_rightly
    930_061,
    # a process that stood still for an hour asked for a client afterwards, and was to have its answer at once
    # -> test_lock_waits: one_whose_node_stood_still_may_be_answered_later
    930_166,
    # a voter that had left group 0 and one that had moved did not find each other: the receiver had no leader
    # -> host/test_groups: a_voter_that_has_left_group_0_is_found_by_one_that_has_moved
    930_451,
    # a node dropped a replica that nobody had told anything, and began it again: the model refused that
    # -> test_replicas: a_replica_without_a_number_begins_again_unless_it_has_promised_something
    960_031,
)


@pytest.mark.timeout(300)  # a chunk takes a few seconds, on a busy machine many times longer
@pytest.mark.parametrize("chunk", range(CHUNKS))
def test_nothing_is_lost_done_twice_or_seen_too_early(chunk):
    """A failure prints its seed and the command that repeats it. In every other run slots move."""
    mine = islice(seeds(calm=False), chunk * SEEDS_PER_CHUNK, (chunk + 1) * SEEDS_PER_CHUNK)
    results = [run_plan(draw(seed, moving=bool(seed % 2))) for seed in mine]
    assert sum(result.full for result in results) >= FULL_RUNS_PER_CHUNK


def test_calm_runs_end_well_too():
    for seed in islice(seeds(calm=True), CALM_RUNS):
        run(seed)


def seeds(*, calm):
    """The seeds of such runs, in order."""
    return (seed for seed in count(FIRST_SEED) if draw(seed).calm == calm)


@pytest.mark.parametrize("seed", REGRESSIONS)
def test_what_once_failed_stays_mended(seed):
    run(seed)


@pytest.mark.parametrize("seed", MOVING_REGRESSIONS)
def test_what_once_failed_while_slots_moved_stays_mended(seed):
    run_moving(seed)


@pytest.mark.timeout(300)
@pytest.mark.parametrize(("seed", "options", "again"), [(5, [], run), (798, ["--moves"], run_moving)])
def test_the_same_seed_gives_the_same_trace_whatever_the_hash_seed(seed, options, again):
    """Here, after other runs in this process, and in a new one with another hash seed."""
    runs = 4
    assert {draw(s).disks for s in range(seed, seed + runs)} >= {"plain", "real"}
    here = [f"seed {r.plan.seed} trace {r.trace}" for r in map(again, range(seed, seed + runs))]
    assert len(set(here)) == runs
    hash_seed = "2" if os.environ.get("PYTHONHASHSEED") != "2" else "1"
    assert traces(hash_seed, seed, runs, options) == here


def traces(hash_seed: str, seed: int, runs: int, options: list[str]) -> list[str]:
    """The traces of some runs in a separate process."""
    command = [sys.executable, "-m", "tests.simulation.schedule", "--traces", *options]
    command += ["--seed", str(seed), "--runs", str(runs)]
    environment = os.environ | {"PYTHONHASHSEED": hash_seed}
    output = subprocess.run(command, cwd=ROOT, env=environment, check=True, capture_output=True, text=True)
    return [line for line in output.stdout.splitlines() if line.startswith("seed ")]


def test_a_failure_says_how_to_repeat_it(monkeypatch):
    def broken(*_: object) -> None:
        raise ValueError("planted")

    monkeypatch.setattr("tests.simulation.run.judge", broken)
    with pytest.raises(ValueError, match="planted") as failure:
        run(3)
    assert "python -m tests.simulation.schedule --seed 3 --trace" in "".join(failure.value.__notes__)
