"""Which groups of a node log a marker in a tick, as their number and their logs grow."""

from types import SimpleNamespace

from kraft.host.checkpoint_budget import PATIENCE_SECONDS, REPLAY_TIMES, UNDER_WAY_MAX, CheckpointBudget

BOUND = 1 << 20


class Group:
    """A group as the budget sees it. It logs a marker by noting when."""

    def __init__(self, id_, *, due=False, size=0, leads=True, awaited=False):
        self.id = id_
        self.raft = SimpleNamespace(state=SimpleNamespace(leads=leads))
        self.checkpoints = SimpleNamespace(due=lambda _: due, busy=False, awaited=awaited, replay_bytes=size)
        self.marker_waits = False

    def log_marker(self):
        assert not self.marker_waits
        self.marker_waits = True


def logged(groups, now=0.0, budget=None, awake=None):
    """The ids of the groups that have logged a marker after one more tick."""
    (budget or CheckpointBudget(BOUND)).tick(now, groups, awake or groups)
    return [group.id for group in groups if group.marker_waits]


def test_one_group_decides_for_itself():
    assert logged([Group(0)]) == []
    assert logged([Group(0, due=True)]) == [0]


def test_two_at_a_time_those_with_the_most_to_replay_first():
    groups = [Group(id_, due=True, size=100 - id_ % 5) for id_ in range(10)]
    budget = CheckpointBudget(BOUND)
    assert logged(groups, budget=budget) == [0, 5]
    assert logged(groups, budget=budget) == [0, 5]

    groups[5].marker_waits, groups[5].checkpoints.busy = False, True  # applied, and being written
    assert logged(groups, budget=budget) == [0]
    groups[5].checkpoints.busy = False
    groups[5].checkpoints.due = lambda _: False
    assert logged(groups, budget=budget) == [0, 1]


def test_a_checkpoint_of_a_group_that_hibernates_counts():
    groups = [Group(id_, due=id_ > 1) for id_ in range(4)]
    for group in groups[:2]:
        group.checkpoints.busy = True
    assert logged(groups, awake=groups[2:]) == []
    groups[0].checkpoints.busy = False
    assert logged(groups, awake=groups[2:]) == [2]


def test_what_an_administrator_waits_for_comes_first():
    groups = [Group(id_, due=True, size=1000, awaited=id_ == 7) for id_ in range(10)]
    assert logged(groups) == [0, 7]


def test_a_marker_that_finds_no_majority_holds_up_the_others_for_a_while_only():
    groups = [Group(id_, due=True) for id_ in range(2 * UNDER_WAY_MAX)]
    budget = CheckpointBudget(BOUND)
    assert logged(groups, 0.0, budget) == [0, 1]
    assert logged(groups, PATIENCE_SECONDS - 0.1, budget) == [0, 1]
    assert logged(groups, PATIENCE_SECONDS, budget) == [0, 1, 2, 3]


def test_a_group_that_another_node_leads_is_left_to_it():
    assert logged([Group(0, due=True, leads=False), Group(1, due=True)]) == [1]


def test_many_logs_that_are_long_together_are_cut_before_their_time():
    """The largest of those led here; a group with next to nothing to replay is left alone."""
    size = BOUND * REPLAY_TIMES // 8
    few = [Group(id_, size=size) for id_ in range(8)]
    assert logged(few) == []
    more = [*few, Group(8, size=size + 1), Group(9, size=1), Group(10, size=size * 2, leads=False)]
    assert logged(more) == [0, 8]
    assert logged([Group(0, size=100, leads=True), Group(1, size=9 * BOUND, leads=False)]) == []
