"""Slots that move between the groups of real hosts, on the simulator's clock, disks and network."""

from functools import partial
from types import SimpleNamespace

import pytest

from kraft.kv.commands import (
    Activate,
    Cancel,
    Close,
    Delete,
    EndMove,
    Exec,
    Flush,
    Freeze,
    Increment,
    Once,
    Open,
    Prepare,
    Put,
    Release,
    RenewMove,
    TransactionId,
)
from kraft.kv.replies import CommandFailure
from kraft.kv.slot_index import SlotWalk
from kraft.kv.slot_map import MapOutcome, MapReply, map_reply
from kraft.kv.slots import SlotState, slot_of
from kraft.kv.versions import MACHINE_VERSION
from kraft.node.errors import NoLeader
from tests.host.trio import Trio

A, B = b"{a}1", b"{a}2"  # of a slot of group 1
SLOT = slot_of(A)


class Movable(Trio):
    """Three nodes with two groups; moves are in force."""

    def __init__(self, groups=2, **tuning):
        super().__init__(groups=groups, **tuning)
        assert self.run(20, self.in_force)

    def in_force(self):
        groups = [group for p in self.processes() for group in p.host.groups.values()]
        led = all(p.host.leader(1) for p in self.processes())
        return led and all(group.state.machine.version == MACHINE_VERSION for group in groups)

    def leads(self, group):
        [id_] = [p.id for p in self.processes() if p.host.groups[group].raft.state.leads]
        return id_

    def write(self, group, *commands, node="K1"):
        before = len(self.answers)
        self.host(node).write(group, list(commands), 20, self.answers.append)
        assert self.answered(before + 1)
        return self.answers[-1]

    def move(self, first=SLOT, last=SLOT, receiver=0, node="K1"):
        before = len(self.answers)
        self.host(node).moves.plan(first, last, receiver, self.answers.append)
        assert self.answered(before + 1)
        return self.answers[-1]

    def spaces(self, group):
        return [p.host.groups[group].state.machine.keyspace for p in self.processes()]

    def over(self):
        """Whether no node knows a move, nor anything that is left of one."""
        if any(p.host.moves.status() for p in self.processes()):
            return False
        tables = [space.slots for group in (0, 1) for space in self.spaces(group)]
        return all(table is None or not (table.moves or table.frozen) for table in tables)

    def has(self, group, key):
        return all(key in space for space in self.spaces(group))


@pytest.fixture
def cluster():
    return Movable()


def test_a_slot_goes_to_another_group_with_its_keys(cluster):
    cluster.write(1, Put(A, b"1"), Put(B, b"2"), Put(b"{b}", b"3"))
    assert map_reply(cluster.move()[0]) == MapReply(MapOutcome.PLANNED, 1)
    assert cluster.run(10, cluster.over)
    for process in cluster.processes():
        assert process.host.slots.group_of(SLOT) == 0
        assert process.host.slots.version == 1
    assert cluster.has(0, A)
    assert cluster.has(0, B)
    assert cluster.spaces(0)[0].get(A) == b"1"
    assert not any(A in space or B in space for space in cluster.spaces(1))
    assert cluster.spaces(1)[0].slots.state(A) == SlotState.GONE
    assert cluster.write(0, Increment(A, 1)) == [2]
    assert cluster.write(1, Increment(A, 1)) == [CommandFailure.NOT_OWNER]


def test_many_keys_go_in_several_imports_while_they_change(cluster):
    for number in range(40):
        cluster.write(1, Put(b"{a}%d" % number, b"v" * 10_000), Put(b"{b}%d" % number, b""))
    cluster.move()
    changed = [number for number in range(40) if change(cluster, number)]
    assert changed
    assert cluster.run(20, cluster.over)
    space = cluster.spaces(0)[0]
    for number in range(40):
        expected = (b"changed" if number % 2 else None) if number in changed else b"v" * 10_000
        assert space.get(b"{a}%d" % number) == expected
    assert len(cluster.spaces(1)[0]) == 40
    assert sum(p.host.moves.counts.moved for p in cluster.processes()) == 1


def change(cluster, number):
    """Change a key, or remove it. Returns whether its group still had it."""
    key = b"{a}%d" % number
    [reply] = cluster.write(1, Put(key, b"changed") if number % 2 else Delete((key,)))
    return reply in ("OK", 1)


def test_a_copy_that_lacks_a_key_is_not_taken_into_use(cluster, monkeypatch):
    """What was sent agrees with itself, so it is compared with what the slots have."""
    piece = SlotWalk.piece
    lost: list[bytes] = []

    def lossy(walk, count):
        found = piece(walk, count)
        if found and not lost:
            lost.append(found.pop())
        return found

    monkeypatch.setattr(SlotWalk, "piece", lossy)
    cluster.write(1, Put(A, b"1"), Put(B, b"2"))
    cluster.move()
    assert cluster.run(20, cluster.over)
    assert lost
    assert cluster.has(0, A)
    assert cluster.has(0, B)
    assert sum(p.host.moves.counts.failed for p in cluster.processes()) == 1


def test_no_increment_is_lost_or_doubled_while_a_slot_goes_there_and_back(cluster):
    count = done = 0
    for receiver in (0, 1, 0):
        cluster.move(receiver=receiver)
        while not cluster.over() or done < 20:
            node = ("K1", "K2", "K3")[count % 3]
            count += 1
            [reply] = cluster.write(cluster.host(node).slots.group_of(SLOT), Increment(A, 1), node=node)
            if isinstance(reply, CommandFailure):
                assert reply in (CommandFailure.NOT_OWNER, CommandFailure.LOCKED)
            else:
                done += 1
                assert reply == done
        assert cluster.host("K1").slots.group_of(SLOT) == receiver
    assert count < 2 * done


@pytest.mark.parametrize("step", [Open, Freeze, Activate, Release, Close, EndMove])
@pytest.mark.parametrize("victim", ["source", "receiver"])
def test_a_leader_that_dies_at_any_step_leaves_one_owner(step, victim):
    cluster = Movable()
    cluster.write(1, Put(A, b"1"), Put(B, b"2"))
    name = cluster.leads(1 if victim == "source" else 0)
    died: list[str] = []
    for process in cluster.processes():
        moves = process.host.moves
        write = moves._requests.write

        def counted(group, commands, size, done, *, waits=False, write=write):
            write(group, commands, size, done, waits=waits)
            if type(commands[0]) is step and not died:
                died.append(name)
                cluster.world.call_later(0.0, cluster.nodes[name].crash)

        moves._requests = SimpleNamespace(write=counted)
    cluster.move(node=next(p.id for p in cluster.processes() if p.id != name))
    assert cluster.run(20, lambda: bool(died) and cluster.nodes[name].process is None)
    cluster.run(2)
    cluster.nodes[name].start()
    assert cluster.run(60, lambda: cluster.known(3) and cluster.in_force() and cluster.over())
    assert cluster.run(10, lambda: all(p.host.slots.group_of(SLOT) == 0 for p in cluster.processes()))
    assert cluster.over()
    assert cluster.write(0, Increment(A, 1)) == [2]


@pytest.mark.parametrize("keys", [0, 1])
def test_an_administrator_cancels_a_move(cluster, keys):
    if keys:
        cluster.write(1, Put(B, b"1"))
    holder(cluster)  # so that the slot is not frozen
    cluster.move()
    assert cluster.run(5, lambda: any(s.state == "copying" for s in cluster.host("K1").moves.status()))
    cluster.host("K2").moves.stop(1, cluster.answers.append)
    assert cluster.run(10, lambda: not cluster.host("K1").moves.status())
    assert cluster.run(10, cluster.over)
    assert cluster.host("K1").slots.group_of(SLOT) == 1
    assert not cluster.has(0, B)
    assert cluster.move()[0] == [MapOutcome.PLANNED, 2]
    assert cluster.run(10, cluster.over)
    assert cluster.has(0, B) == bool(keys)


def test_a_stopped_move_does_not_wait_for_the_one_before_it(cluster):
    """Nor does the one before it fail for that."""
    cluster.write(1, Put(A, b"1"))
    holder(cluster)  # the first move cannot freeze its slot meanwhile
    cluster.move()
    cluster.move(SLOT + 1, SLOT + 9)
    assert cluster.run(5, lambda: any(s.state == "copying" for s in cluster.host("K1").moves.status()))
    cluster.host("K2").moves.stop(2, cluster.answers.append)
    assert cluster.run(3, lambda: [s.id for s in cluster.host("K1").moves.status()] == [1])
    assert cluster.host("K1").moves.status()[0].state == "copying"
    assert cluster.run(10, cluster.over)
    assert [cluster.host("K1").slots.group_of(slot) for slot in (SLOT, SLOT + 1)] == [0, 1]
    counts = [p.host.moves.counts.outcomes for p in cluster.processes()]
    assert {name: sum(each[name] for each in counts) for name in counts[0]} == {
        "moved": 1, "cancelled": 1, "failed": 0,
    }  # fmt: skip


@pytest.mark.parametrize("lost", ["answers", "requests"])
def test_a_move_ends_while_the_step_that_stops_another_one_is_under_way(cluster, lost):
    """The step is not repeated before its answer, and both moves end."""
    cluster.write(1, Put(A, b"1"))
    holder(cluster)
    cluster.move()
    cluster.move(SLOT + 1, SLOT + 9)
    leader = cluster.host(cluster.leads(1))
    write, held = leader.moves._requests.write, []

    def partly(group, commands, size, done, *, waits=False):
        if not isinstance(commands[0], Cancel):
            write(group, commands, size, done, waits=waits)
        elif lost == "requests":
            held.append(partial(write, group, commands, size, done))
        else:
            write(group, commands, size, lambda outcome: held.append(partial(done, outcome)), waits=waits)

    leader.moves._requests = SimpleNamespace(write=partly)
    cluster.host("K2").moves.stop(2, cluster.answers.append)
    assert cluster.run(3, lambda: bool(held))
    assert cluster.run(10, lambda: cluster.host("K1").slots.group_of(SLOT) == 0)
    cluster.run(2)
    assert len(held) == 1
    leader.moves._requests = SimpleNamespace(write=write)
    held[0]()
    assert cluster.run(10, cluster.over)
    assert [cluster.host("K1").slots.group_of(slot) for slot in (SLOT, SLOT + 1)] == [0, 1]


def test_how_many_keys_a_move_has_is_told(cluster):
    """The leader of the source counts them when it copies: all are of one slot here.

    Before that, and on other nodes, it is as many as the share of the slots, until more have arrived.
    """
    for number in range(64):
        cluster.write(1, Put(b"{a}%d" % number, b"1"))
    holder(cluster)  # so that the slots are not frozen
    cluster.move(12288, 16383)
    source = cluster.leads(1)
    other = next(id_ for id_ in ("K1", "K2", "K3") if id_ != source)
    told: dict[str, list[tuple[int, int]]] = {source: [], other: []}

    def all_arrived():
        for id_, lines in told.items():
            lines += [(move.keys, move.keys_total) for move in cluster.host(id_).moves.status()]
        return all(lines[-1:] and lines[-1][0] == 64 for lines in told.values())

    assert cluster.run(5, all_arrived)
    counted = [total for _, total in told[source]]
    assert counted == sorted(counted)
    assert set(counted) <= {32, 64}
    assert (0, 64) in told[source]
    assert all(total == max(32, keys) for keys, total in told[other]), told
    assert cluster.run(10, cluster.over)


def silent(cluster, group):
    """Let no step of a move reach a group. Returns what changes that."""
    answers = [False]
    for process in cluster.processes():
        moves, clock = process.host.moves, process.host._clock
        write = moves._requests.write

        def partly(to, commands, size, done, *, waits=False, write=write, clock=clock):
            if to == group and not answers[0]:
                clock.call_soon(partial(done, NoLeader(to)))
            else:
                write(to, commands, size, done, waits=waits)

        moves._requests = SimpleNamespace(write=partly)
    return partial(answers.__setitem__, 0, True)


def test_a_move_whose_receiver_does_not_answer_holds_up_no_other():
    """The others of its source go on, and it is tried again."""
    cluster = Movable(groups=3)
    heal = silent(cluster, 1)
    cluster.move(0, 0, 1)
    cluster.move(1, 1, 2)
    assert cluster.run(10, lambda: cluster.host("K1").slots.group_of(1) == 2)
    cluster.move(2, 2, 2)
    assert cluster.run(10, lambda: cluster.host("K1").slots.group_of(2) == 2)
    stuck = cluster.host(cluster.leads(0)).moves.status()[0]
    assert (stuck.first, stuck.problem) == (0, "a step was not done: group 1 has no leader")
    heal()
    assert cluster.run(90, lambda: cluster.host("K1").slots.group_of(0) == 1)
    assert cluster.run(20, cluster.over)


def test_a_stopped_move_whose_receiver_does_not_answer_holds_up_no_other():
    cluster = Movable(groups=3)
    heal = silent(cluster, 1)
    cluster.move(0, 0, 1)
    cluster.host("K1").moves.stop(1, cluster.answers.append)
    cluster.move(1, 1, 2)
    assert cluster.run(10, lambda: cluster.host("K1").slots.group_of(1) == 2)
    heal()
    assert cluster.run(10, cluster.over)
    assert cluster.host("K1").slots.group_of(0) == 0


@pytest.mark.parametrize("stopped", [False, True])
def test_a_change_of_the_map_is_not_repeated_at_once_where_group_0_lags(cluster, stopped):
    """Its leader has logged it, and the replica at the node that moves slots does not know yet."""
    leader = cluster.host(cluster.leads(1))
    write, follow = leader.moves._requests.write, leader.slots.follow
    times, lags = [], [True]

    def counted(group, commands, size, done, *, waits=False):
        if isinstance(commands[0], RenewMove | EndMove):
            times.append(cluster.world.now)
        write(group, commands, size, done, waits=waits)

    def late(group, keyspace):
        known = leader.slots.plan is not None and leader.slots.plan.moves[0].stopping == stopped
        if not (lags and group == 0 and known):
            follow(group, keyspace)

    leader.moves._requests, leader.slots.follow = SimpleNamespace(write=counted), late
    cluster.write(0, Cancel(1, SLOT, SLOT, leader.slots.share(0)))
    cluster.move()
    if stopped:
        cluster.host("K1").moves.stop(1, cluster.answers.append)
    assert cluster.run(5, lambda: bool(times))
    cluster.run(5)
    assert 3 <= len(times) <= 6, times
    lags.clear()
    follow(0, cluster.group(leader.id).state.machine.keyspace)
    assert cluster.run(10, cluster.over)
    assert cluster.host("K2").slots.group_of(SLOT) == (1 if stopped else 0)


def test_a_planned_move_wakes_its_source(cluster):
    cluster.write(1, Put(A, b"1"))
    sleeps = [p.host.hibernation.asleep for p in cluster.processes()]
    assert cluster.run(20, lambda: all(1 in asleep for asleep in sleeps))
    cluster.run(1)
    cluster.move()
    assert cluster.run(1, lambda: not any(1 in asleep for asleep in sleeps))
    assert cluster.run(2, cluster.over)
    assert cluster.has(0, A)
    assert cluster.run(10, lambda: all(1 in asleep for asleep in sleeps))


def test_nothing_is_kept_of_a_move_that_is_over(cluster):
    """So a tick has nothing to do for it."""
    moves = [p.host.moves for p in cluster.processes()]
    assert not any(each._movers for each in moves), "nothing was planned"
    cluster.write(1, Put(A, b"1"))
    cluster.move()
    assert cluster.run(10, lambda: any(each._movers for each in moves))
    assert cluster.run(10, cluster.over)
    assert cluster.run(1, lambda: not any(each._movers for each in moves))
    for process in cluster.processes():
        assert process.host.slots.sources == frozenset()
        spaces = [group.state.machine.keyspace for group in process.host.groups.values()]
        assert all(
            type(changes) is dict for space in spaces for changes in (space._changes, space.ledger._changes)
        )


def holder(cluster):
    """A transaction holds a key of the slot until its patience is over."""
    id_ = TransactionId(b"dead", 1, cluster.host("K1").transactions.log_time())
    step = Prepare(id_, 1, 0, Exec((), (Put(A, b"2"),)))
    before = len(cluster.answers)
    cluster.host("K1").transactions.write(1, [step], 20, cluster.answers.append)
    assert cluster.answered(before + 1)


def test_a_move_waits_for_the_end_of_a_transaction(cluster):
    cluster.write(1, Put(A, b"1"))
    holder(cluster)
    cluster.move()
    assert not cluster.run(0.5, cluster.over)
    assert cluster.run(10, cluster.over)
    assert cluster.spaces(0)[0].get(A) == b"1"


def test_how_long_slots_are_frozen_is_shown_and_counted(cluster):
    """From the Freeze until they are in use again, in whichever group that is."""
    cluster.write(1, Put(A, b"1"))
    leader = cluster.host(cluster.leads(1))
    waiting, hold = [], [True]
    write = leader.moves._requests.write

    def held(group, commands, size, done, *, waits=False):
        if hold and isinstance(commands[0], Activate | Cancel):
            waiting.append(lambda: write(group, commands, size, done, waits=waits))
        else:
            write(group, commands, size, done, waits=waits)

    leader.moves._requests = SimpleNamespace(write=held)
    cluster.move()
    assert cluster.run(5, lambda: bool(waiting))
    cluster.run(2)
    shown = [group.frozen_seconds for group in leader.status().groups]
    assert shown == [0, pytest.approx(2, abs=0.1)]
    assert [move.state for move in leader.status().moves] == ["frozen"]
    assert cluster.world.counts["slots frozen"] == 0
    hold.clear()
    waiting[-1]()
    assert cluster.run(10, cluster.over)
    assert leader.moves.frozen_seconds(1) == 0
    assert cluster.world.counts["slots frozen"] == 2, "cancelled, and moved at the second try"
    assert leader.moves.counts.outcomes == {"moved": 1, "cancelled": 0, "failed": 1}
    assert leader.status().map_version == 1


def test_tokens_go_with_their_slot(cluster):
    once = Once(b"token", b"f" * 16, Increment(A, 1), 10**9)
    assert cluster.write(1, once) == [1]
    cluster.move()
    assert cluster.run(10, cluster.over)
    assert cluster.write(0, once) == [1]
    assert cluster.spaces(0)[0].get(A) == b"1"


def test_all_keys_of_the_source_may_go_meanwhile(cluster):
    for number in range(30):
        cluster.write(1, Put(b"{a}%d" % number, b"v" * 3_000))
    cluster.move()
    assert cluster.run(5, lambda: any(status.keys for status in cluster.host("K1").moves.status()))
    cluster.write(1, Flush())
    moves = cluster.host(cluster.leads(1)).moves
    assert cluster.run(1, lambda: any(move.problem for move in moves.status()))
    assert [move.problem for move in moves.status()] == ["something else happened to the slots"]
    assert cluster.run(30, cluster.over)
    assert cluster.host("K1").slots.group_of(SLOT) == 0
    assert [len(space) for space in cluster.spaces(0)] == [0, 0, 0]
    assert cluster.write(0, Put(A, b"1")) == ["OK"]


def test_a_whole_group_moves(cluster):
    cluster.write(1, Put(A, b"1"))
    cluster.move(8192, 16383)
    assert cluster.run(10, cluster.over)
    assert cluster.host("K2").slots.ranges() == [(0, 16383, 0)]
    assert cluster.has(0, A)
