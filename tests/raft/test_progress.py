"""A follower's progress: probing, pipelining within a window, and never leaking it."""

import pytest

from kraft.raft.progress import Progress, ProgressState


@pytest.fixture
def progress():
    return Progress("K2", 11, 0, max_messages=3, max_bytes=100)


def replicating(progress, match=10):
    progress.sent(match, 1, 0)
    progress.accepted(match, 0)
    assert progress.state is ProgressState.REPLICATE
    return progress


def test_probing_sends_one_message_at_a_time_and_stays_where_it_is(progress):
    assert progress.may_send
    progress.sent(15, 10, 0)
    assert not progress.may_send
    assert progress.next == 11


def test_an_accepted_probe_starts_the_pipeline(progress):
    progress.sent(15, 10, 0)
    assert progress.accepted(15, 0)
    assert (progress.state, progress.match, progress.next) == (ProgressState.REPLICATE, 15, 16)


def test_replicating_runs_ahead_until_the_window_is_full_of_messages(progress):
    replicating(progress)
    for last in (11, 12, 13):
        assert progress.may_send
        progress.sent(last, 1, 0)
    assert not progress.may_send
    assert (progress.next, progress.match) == (14, 10)
    progress.accepted(11, 0)
    assert progress.may_send


def test_replicating_runs_ahead_until_the_window_is_full_of_bytes(progress):
    replicating(progress)
    progress.sent(11, 60, 0)
    assert progress.may_send
    progress.sent(12, 60, 0)
    assert not progress.may_send
    progress.accepted(11, 0)
    assert progress.may_send
    assert progress.inflight_bytes == 60


def test_one_answer_frees_every_message_it_covers(progress):
    replicating(progress)
    for last in (11, 12, 13):
        progress.sent(last, 10, 0)
    progress.accepted(12, 0)
    assert (progress.inflight, progress.inflight_bytes) == (1, 10)


def test_a_rejected_probe_goes_back_to_the_hint_but_not_below_match(progress):
    progress.sent(15, 1, 0)
    assert progress.rejected(10, 4, 0)
    assert (progress.next, progress.may_send) == (5, True)
    progress.match = 3
    progress.sent(15, 1, 0)
    assert progress.rejected(4, 0, 0)
    assert progress.next == 4


def test_an_old_rejection_is_ignored(progress):
    progress.sent(15, 1, 0)
    assert not progress.rejected(8, 2, 0)
    assert progress.next == 11
    replicating(progress, 15)
    assert not progress.rejected(15, 2, 0)
    assert progress.state is ProgressState.REPLICATE


def test_a_rejection_in_the_pipeline_probes_after_the_hint_with_an_empty_window(progress):
    replicating(progress)
    for last in (11, 12, 13):
        progress.sent(last, 10, 0)
    assert progress.rejected(12, 11, 0)
    assert (progress.state, progress.next, progress.inflight, progress.inflight_bytes) == (
        ProgressState.PROBE,
        12,
        0,
        0,
    )
    assert not progress.rejected(13, 11, 0)  # the second rejection of the same pipeline


def test_a_rejection_in_the_pipeline_never_goes_back_before_match(progress):
    replicating(progress)
    for last in (11, 12, 13):
        progress.sent(last, 10, 0)
    assert progress.rejected(12, 0, 0)
    assert progress.next == 11


def test_an_old_acceptance_does_not_end_a_probe(progress):
    progress.match = 5
    progress.sent(15, 1, 0)
    assert not progress.accepted(5, 0)
    assert progress.state is ProgressState.PROBE
    assert not progress.may_send


def test_match_never_goes_back(progress):
    replicating(progress)
    progress.sent(12, 1, 0)
    progress.accepted(12, 0)
    assert not progress.accepted(11, 0)
    assert (progress.match, progress.next) == (12, 13)


def test_what_is_unanswered_for_long_is_overdue_and_nothing_in_flight_is_not(progress):
    assert not progress.overdue(100, 2)
    progress.sent(15, 1, 5)
    assert not progress.overdue(6, 2)
    assert progress.overdue(7, 2)
    progress.accepted(15, 7)
    assert not progress.overdue(100, 2)


def test_any_answer_proves_that_the_pipeline_moves(progress):
    replicating(progress)
    progress.sent(11, 1, 0)
    progress.sent(12, 1, 1)
    progress.accepted(11, 3)
    assert not progress.overdue(4, 2)
    assert progress.overdue(5, 2)


def test_a_probe_in_the_pipeline_changes_nothing_but_the_time_of_the_next_one(progress):
    """What is in flight stays in flight: it may only be slow."""
    replicating(progress)
    progress.sent(11, 60, 0)
    progress.probed(2)
    assert not progress.overdue(3, 2)
    assert progress.overdue(4, 2)
    assert (progress.state, progress.next, progress.inflight_bytes) == (ProgressState.REPLICATE, 12, 60)
    progress.accepted(11, 5)  # the answer to the entries, before that to the probe
    assert not progress.overdue(99, 2)


def test_a_disconnected_follower_gets_nothing_until_it_is_heard_and_is_probed_where_it_may_be(progress):
    """What was sent last may have arrived before the link went down: only the follower knows."""
    replicating(progress)
    progress.sent(12, 1, 0)
    progress.disconnected()
    assert (progress.state, progress.next, progress.may_send) == (ProgressState.PROBE, 13, False)
    assert progress.overdue(0, 2)
    progress.probed(0)
    assert progress.rejected(12, 11, 1)
    assert (progress.next, progress.may_send) == (12, True)


def test_the_answer_to_an_earlier_message_does_not_end_a_probe(progress):
    replicating(progress)
    for last in (11, 12, 13):
        progress.sent(last, 10, 0)
    progress.disconnected()
    assert progress.accepted(11, 1)
    assert (progress.state, progress.match, progress.next) == (ProgressState.PROBE, 11, 14)
    assert progress.accepted(13, 2)
    assert (progress.state, progress.match, progress.next) == (ProgressState.REPLICATE, 13, 14)


def test_while_entries_are_fetched_nothing_else_is_sent(progress):
    progress.fetching = True
    assert not progress.may_send


def test_a_follower_with_everything_is_not_probed_when_its_link_is_back(progress):
    """In a group without writes there would be nothing to probe it with: it would never count as healthy."""
    replicating(progress)
    progress.disconnected()
    progress.complete(12)
    assert progress.state is ProgressState.PROBE
    progress.complete(10)
    assert (progress.state, progress.next, progress.inflight) == (ProgressState.REPLICATE, 11, 0)


def test_a_follower_that_waits_for_a_snapshot_goes_on_waiting(progress):
    progress.snapshot()
    progress.complete(0)
    assert progress.state is ProgressState.SNAPSHOT


def test_progress_through_a_snapshot():
    progress = Progress("K2", 5, 0, max_messages=4, max_bytes=1000)
    progress.sent(7, 10, 0)
    progress.snapshot()
    assert (progress.may_send, progress.inflight, progress.overdue(99, 1)) == (False, 0, False)
    progress.disconnected()
    assert progress.state is ProgressState.SNAPSHOT
    assert not progress.rejected(4, 2, 0)
    progress.snapshot_ended(9)
    assert (progress.state, progress.next, progress.may_send) == (ProgressState.PROBE, 9, True)
    progress.snapshot_ended(11)  # too late
    assert progress.next == 9
    progress.snapshot()
    assert progress.accepted(12, 0)
    assert (progress.state, progress.next) == (ProgressState.REPLICATE, 13)
