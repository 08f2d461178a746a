"""What administrators ask of slots, at any node: what is planned, and what every refusal tells them to do."""

from types import SimpleNamespace
from typing import Any

import pytest

from kraft.kv.commands import Function, LoadScript, PlanMove, PlanMoves, Put, PutLibrary
from kraft.kv.libraries import library_names
from kraft.kv.scripts import cached_scripts
from kraft.kv.slot_map import MOVES_MAX, MapOutcome
from kraft.kv.versions import MACHINE_VERSION
from kraft.node.admin import (
    CancelMove,
    CreateGroups,
    MergeGroups,
    MoveSlots,
    RebalanceSlots,
    SplitGroup,
)
from kraft.node.errors import AdminRefused, NoLeader, Uncertain
from tests.host.test_mover import SLOT, A, Movable, holder
from tests.host.test_version_raise import Mixed
from tests.host.trio import Trio


@pytest.fixture
def cluster():
    return Movable()


def order(cluster, command, node="K1"):
    """The outcome of an administrator's command."""
    answers: list[Any] = []
    cluster.host(node).admin(command, answers.append)
    assert answers == [], "nothing is answered inside the call"
    assert cluster.run(20, lambda: bool(answers))
    return answers[0]


def refused(cluster, command, node="K1"):
    """Why it was refused."""
    outcome = order(cluster, command, node)
    assert isinstance(outcome, AdminRefused)
    return str(outcome)


@pytest.mark.parametrize("node", ["K1", "K2", "K3"])
def test_a_move_begins_once_it_is_planned_whichever_node_was_asked(cluster, node):
    cluster.write(1, Put(A, b"1"))
    assert order(cluster, MoveSlots(SLOT, SLOT, 0), node) == 1
    assert cluster.run(10, cluster.over)
    assert cluster.has(0, A)
    assert cluster.host(node).slots.group_of(SLOT) == 0
    assert order(cluster, MoveSlots(SLOT, SLOT, 1), node) == 2
    assert cluster.run(10, cluster.over)
    assert cluster.has(1, A)


def test_a_command_that_is_repeated_gets_the_move_that_is_under_way(cluster):
    """As after -UNCERTAIN."""
    cluster.write(1, Put(A, b"1"))
    holder(cluster)  # so that the slot is not frozen
    assert order(cluster, MoveSlots(SLOT, SLOT, 0)) == 1
    for node in cluster.nodes:
        assert order(cluster, MoveSlots(SLOT, SLOT, 0), node) == 1
    assert order(cluster, CancelMove(1)) == "OK"
    assert "KRAFT MOVE CANCEL 1 first" in refused(cluster, MoveSlots(SLOT, SLOT, 0)), "that one is cancelled"


def test_a_command_whose_reply_is_lost_is_uncertain(cluster):
    """To repeat it tells what became of it."""
    leader = cluster.leads(0)
    node = next(p.id for p in cluster.processes() if p.id != leader)
    cluster.network.block([(leader, node)])
    assert isinstance(order(cluster, MoveSlots(SLOT, SLOT, 0), node), Uncertain)
    cluster.network.unblock([(leader, node)])
    assert cluster.run(20, cluster.over)
    assert refused(cluster, MoveSlots(SLOT, SLOT, 0), node).startswith(f"group 0 has slot {SLOT} already")


def test_without_a_leader_nothing_is_planned(cluster):
    cluster.isolate("K1")
    assert cluster.run(5, lambda: not cluster.host("K1").leader(0))
    assert isinstance(order(cluster, MoveSlots(SLOT, SLOT, 0)), NoLeader)


def test_slots_of_several_groups_are_refused_with_their_owners(cluster):
    assert refused(cluster, MoveSlots(8000, 8200, 0)) == (
        "slots 8000-8200 are of several groups, and a move takes those of one: slots 8000-8191 of group 0, "
        "slots 8192-8200 of group 1"
    )
    assert cluster.host("K1").slots.plan is None


def test_slots_that_the_group_has_are_refused(cluster):
    expected = "group 1 has slot 8192 already: KRAFT GROUPS shows who has which slots"
    assert refused(cluster, MoveSlots(8192, 8192, 1)) == expected


def test_slots_of_a_move_that_is_under_way_are_refused_by_its_name(cluster):
    cluster.write(1, Put(A, b"1"))
    holder(cluster)
    assert order(cluster, MoveSlots(SLOT, SLOT, 0)) == 1
    assert refused(cluster, MoveSlots(SLOT - 1, SLOT + 1, 0), "K2") == (
        f"move 1 of slot {SLOT} to group 0 is under way: wait until KRAFT MOVES shows it no more, or "
        "KRAFT MOVE CANCEL 1 first"
    )


def test_an_unknown_group_is_refused(cluster):
    assert refused(cluster, MoveSlots(0, 1, 2)) == "there is no group 2: the groups are 0 to 1"


def test_a_full_map_is_refused(cluster):
    holder(cluster)  # so that the first of them goes on
    slots = (SLOT, *range(SLOT + 1, SLOT + MOVES_MAX))
    cluster.write(0, *(PlanMove(slot, slot, 0, 2) for slot in slots))
    assert refused(cluster, MoveSlots(0, 0, 1)).startswith(f"{MOVES_MAX} moves are planned")


def test_one_group_has_nothing_to_move():
    trio = Trio()
    text = "the cluster has one group, and slots move between groups: KRAFT SPLIT 0 makes another one"
    assert refused(trio, MoveSlots(0, 1, 0)) == text
    assert refused(trio, CancelMove(1)) == text


def test_nodes_that_are_too_old_are_named():
    cluster = Mixed("K3", groups=2)
    cluster.run(5)
    text = "a move of slots needs machine version {}, but version 1 is in force: upgrade K3"
    for id_ in cluster.nodes:
        assert refused(cluster, MoveSlots(0, 1, 1), id_) == text.format(PlanMove.since)
        assert refused(cluster, CancelMove(1), id_) == text.format(PlanMove.since)
        assert refused(cluster, MergeGroups(0, 1), id_) == text.format(PlanMoves.since)
    assert cluster.host("K1").slots.plan is None


def test_a_cancelled_move_ends_and_one_that_is_over_cannot_be_cancelled(cluster):
    cluster.write(1, Put(A, b"1"))
    holder(cluster)
    assert order(cluster, MoveSlots(SLOT, SLOT, 0), "K2") == 1
    assert order(cluster, CancelMove(1), "K3") == "OK"
    assert cluster.run(10, cluster.over)
    assert cluster.host("K1").slots.group_of(SLOT) == 1
    text = "no move 1 is under way: KRAFT MOVES lists those that are"
    assert refused(cluster, CancelMove(1), "K2") == text


def moves(*rows):
    return [{"id": id_, "slots": slots, "from": source, "to": to} for id_, slots, source, to in rows]


def owners(cluster):
    [ranges] = {tuple(p.host.slots.ranges()) for p in cluster.processes()}
    return list(ranges)


def test_a_group_is_merged_into_another_and_split_again(cluster):
    """The group that was merged stays, and takes slots again."""
    cluster.write(1, Put(A, b"1"))
    assert order(cluster, MergeGroups(1, 0), "K2") == moves((1, "8192-16383", 1, 0))
    assert cluster.run(10, cluster.over)
    assert owners(cluster) == [(0, 16383, 0)]
    assert cluster.has(0, A)
    assert order(cluster, SplitGroup(0), "K3") == moves((2, "8192-16383", 0, 1))
    assert cluster.run(10, cluster.over)
    assert owners(cluster) == [(0, 8191, 0), (8192, 16383, 1)]
    assert cluster.has(1, A)


def test_slots_are_spread_evenly_again(cluster):
    order(cluster, MoveSlots(0, 99, 1))
    assert cluster.run(10, cluster.over)
    planned = {"slots": "8192-8291", "from": 1, "to": 0}
    assert order(cluster, RebalanceSlots(dry=True), "K2") == [planned]
    assert not cluster.host("K1").moves.status()
    assert order(cluster, RebalanceSlots(), "K2") == [{"id": 2} | planned]
    assert cluster.run(10, cluster.over)
    assert order(cluster, RebalanceSlots(), "K3") == []


def test_what_cannot_be_divided_is_refused(cluster):
    assert refused(cluster, SplitGroup(2)) == "there is no group 2: the groups are 0 to 1"
    assert refused(cluster, MergeGroups(0, 7)) == "there is no group 7: the groups are 0 to 1"
    assert refused(cluster, SplitGroup(1, 8193)) == "group 1 has 8192 slots, too few for 8193 parts"
    order(cluster, MergeGroups(1, 0))
    assert cluster.run(10, cluster.over)
    text = "group 1 has no slots: KRAFT GROUPS shows who has which slots"
    assert refused(cluster, MergeGroups(1, 0)) == text
    assert refused(cluster, SplitGroup(1)) == text


def test_what_moves_already_is_not_divided_at_the_same_time(cluster):
    cluster.write(1, Put(A, b"1"))
    holder(cluster)
    order(cluster, MoveSlots(SLOT, SLOT, 0))
    wait = "wait until KRAFT MOVES shows them no more, or KRAFT MOVE CANCEL id first"
    for group in (0, 1):
        text = f"moves of group {group} are under way (1): {wait}"
        assert refused(cluster, SplitGroup(group)) == text
        assert refused(cluster, MergeGroups(group, 1 - group)) == text
    assert refused(cluster, RebalanceSlots()) == f"moves are under way (1): {wait}"


def test_of_two_plans_at_the_same_time_the_second_is_made_anew(cluster):
    """Else the second would be of a map that there is no more."""
    order(cluster, MoveSlots(0, 99, 1), "K2")
    assert cluster.run(10, cluster.over)
    answers: list[Any] = []
    for node in ("K1", "K2"):
        cluster.host(node).admin(RebalanceSlots(), answers.append)
    assert cluster.run(5, lambda: len(answers) == 2)
    planned, late = sorted(answers, key=lambda answer: not isinstance(answer, list))
    assert planned == moves((2, "8192-8291", 1, 0))
    assert str(late).startswith("moves are under way (2)") or late == []


def test_a_map_that_changes_all_the_time_cannot_be_planned_on(cluster):
    host = cluster.host("K1")

    def changed(_group, _commands, _size, done):
        host._clock.call_later(0.1, lambda: done([[int(MapOutcome.CHANGED), 0]]))

    host.moves._requests = SimpleNamespace(write=changed)
    assert refused(cluster, MergeGroups(0, 1)) == "the map of slots changes all the time: repeat the command"


SOURCE = b"#!lua name=lib"
LIBRARY = PutLibrary(b"lib", SOURCE, (Function(b"f"),))
SCRIPT = LoadScript(b"5" * 40, b"return 1", 1 << 20)


class Alone(Trio):
    """Three nodes with one group, whose machine version is raised."""

    def __init__(self):
        super().__init__()
        groups = [process.host.groups[0] for process in self.processes()]
        assert self.run(20, lambda: all(g.state.machine.version == MACHINE_VERSION for g in groups))

    def still(self):
        """Whether no move is under way, and all nodes have all groups."""
        hosts = [process.host for process in self.processes()]
        return not any(host.moves.status() for host in hosts) and all(
            len(host.groups) == host.slots.groups for host in hosts
        )


def ledgers(cluster, group):
    return [p.host.groups[group].state.machine.keyspace.ledger for p in cluster.processes()]


def test_the_only_group_is_split():
    """Into groups that are created for it, and know the scripts before they get keys."""
    cluster = Alone()
    cluster.ask("K1", Put(A, b"1"), Put(b"b", b"2"), LIBRARY, SCRIPT)
    assert cluster.answered()
    assert order(cluster, SplitGroup(0, 3), "K2") == moves((1, "5461-10921", 0, 1), (2, "10922-16383", 0, 2))
    assert cluster.run(20, cluster.still)
    assert cluster.run(10, lambda: all(p.host.slots.group_of(SLOT) == 2 for p in cluster.processes()))
    assert owners(cluster) == [(0, 5460, 0), (5461, 10921, 1), (10922, 16383, 2)]
    for process in cluster.processes():
        spaces = [process.host.groups[group].state.machine.keyspace for group in range(3)]
        assert spaces[2].get(A) == b"1"
        assert sum(map(len, spaces)) == 2
    for group in (1, 2):
        for ledger in ledgers(cluster, group):
            assert library_names(ledger) == [b"lib"]
            assert cached_scripts(ledger) == [(SCRIPT.sha, SCRIPT.source)]
    assert order(cluster, MergeGroups(2, 0)) == moves((3, "10922-16383", 2, 0))
    assert cluster.run(20, cluster.still)
    assert order(cluster, SplitGroup(0)) == moves((4, "10922-16383", 0, 2)), "into the one that is empty"


def test_a_split_that_was_interrupted_uses_the_groups_that_it_has_created():
    cluster = Alone()
    assert order(cluster, CreateGroups(3)) == 3
    assert cluster.run(10, cluster.still)
    assert order(cluster, SplitGroup(0, 3)) == moves((1, "5461-10921", 0, 1), (2, "10922-16383", 0, 2))
    assert {p.host.slots.groups for p in cluster.processes()} == {3}


def test_a_group_that_is_created_gets_the_scripts_before_slots_move_there():
    """However they are moved, and also those that are newer than the group."""
    cluster = Alone()
    assert order(cluster, CreateGroups(2)) == 2
    assert cluster.run(10, cluster.still)
    cluster.ask("K1", LIBRARY, SCRIPT)
    assert cluster.answered()
    assert order(cluster, MoveSlots(0, 9, 1), "K3") == 1
    assert cluster.run(10, cluster.still)
    assert [library_names(ledger) for ledger in ledgers(cluster, 1)] == [[b"lib"]] * 3


def test_without_its_scripts_a_group_gets_no_slots():
    cluster = Alone()
    assert order(cluster, CreateGroups(2)) == 2
    assert cluster.run(10, cluster.still)
    cluster.ask("K1", LIBRARY)
    assert cluster.answered()
    requests = cluster.host("K1").moves._requests
    lost = SimpleNamespace(
        write=lambda g, c, s, done: cluster.world.call_later(0.1, lambda: done(Uncertain()))
    )
    cluster.host("K1").moves._requests = lost
    assert refused(cluster, SplitGroup(0)).startswith("group 1 did not get the scripts of group 0; repeat it")
    assert cluster.host("K2").slots.plan is None
    cluster.host("K1").moves._requests = requests
    assert order(cluster, SplitGroup(0)) == moves((1, "8192-16383", 0, 1))


def test_what_hinders_new_groups_hinders_a_split():
    cluster = Mixed("K3")
    cluster.run(5)
    assert refused(cluster, SplitGroup(0), "K2").startswith("groups can be created from machine version ")
    assert {p.host.slots.groups for p in cluster.processes()} == {1}


def test_a_split_into_more_parts_than_can_be_planned_creates_no_group():
    cluster = Alone()
    assert refused(cluster, SplitGroup(0, MOVES_MAX + 2)).startswith(f"{MOVES_MAX} moves are planned")
    assert {p.host.slots.groups for p in cluster.processes()} == {1}
