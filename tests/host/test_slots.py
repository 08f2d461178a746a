"""What a node learns of slots from the states of its replicas."""

import pytest

from kraft.host.slots import SlotMap
from kraft.kv import commands as kv
from kraft.kv.machine import Machine
from kraft.kv.slots import SLOTS, slot_of
from kraft.kv.versions import MACHINE_VERSION
from tests.host.trio import Trio

GROUPS = 3
FIRST, LAST = 100, 199  # slots of group 0 that move
EMPTY = bytes(16)


@pytest.fixture
def slots():
    return SlotMap(GROUPS)


def machine(slots, group, *steps):
    found = Machine()
    found.apply(1, steps)
    slots.follow(group, found.keyspace)
    return found


def frozen(slots, number=1, receiver=2):
    return kv.Freeze(number, FIRST, LAST, receiver, slots.share(0))


def activated(slots, group=2, number=1):
    return [
        kv.Open(number, FIRST, LAST, slots.share(group)),
        kv.Activate(number, 0, (), (), 0, 0, 0, EMPTY),
    ]


def test_the_slots_are_divided_evenly_until_one_moves(slots):
    machine(slots, 0, kv.Put(b"a", b"b"))
    assert (slots.view, slots.changes, slots.version) == (None, 0, 0)
    assert slots.ranges() == [(0, 5461, 0), (5462, 10922, 1), (10923, SLOTS - 1, 2)]
    assert [slots.share(group) for group in range(4)] == [(0, 5461), (5462, 10922), (10923, 16383), (0, -1)]
    for first, last, group in slots.ranges():
        assert slots.group_of(first) == slots.group_of(last) == group


def test_a_reply_tells_who_has_the_slots_before_the_replica_here_knows(slots):
    source, heard = machine(slots, 0, frozen(slots)), []
    slots.watchers[0] = lambda: heard.append(slots.group_of(FIRST))
    table = source.keyspace.slots
    keys = [
        next(key for key in map(b"%d".__mod__, range(100_000)) if slot_of(key) == slot)
        for slot in (99, FIRST)
    ]
    assert not slots.taken_from(0, table, keys)
    slots.taken(2, FIRST, LAST, 1)
    assert heard == [2]
    assert slots.taken_from(0, table, keys)
    assert not slots.taken_from(0, table, keys[:1])
    machine(slots, 2, *activated(slots))
    assert heard == [2], "this is no news"
    assert slots.ranges()[:3] == [(0, 99, 0), (100, 199, 2), (200, 5461, 0)]


def test_the_receiver_of_a_move_has_the_slots_once_it_is_active(slots):
    source = machine(slots, 0, frozen(slots))
    assert slots.group_of(FIRST) == 0
    receiver = machine(slots, 2, *activated(slots))
    assert slots.changes == 1
    assert slots.ranges()[:3] == [(0, 99, 0), (100, 199, 2), (200, 5461, 0)]
    source.apply(1, [kv.Release(1, FIRST, LAST, 0)])
    slots.follow(0, source.keyspace)
    slots.follow(2, receiver.keyspace)
    assert slots.changes == 1
    assert [slots.group_of(slot) for slot in (FIRST - 1, FIRST, LAST, LAST + 1)] == [0, 2, 2, 0]


def test_a_replica_that_lags_takes_no_slot_back(slots):
    machine(slots, 2, *activated(slots, number=2))
    machine(slots, 1, *activated(slots, group=1, number=1))
    assert slots.group_of(FIRST) == 2


def test_a_group_that_has_cancelled_a_move_claims_nothing(slots):
    gone = machine(slots, 0, frozen(slots), kv.Release(1, FIRST, LAST, 0))
    machine(slots, 2, *activated(slots))
    gone.apply(1, [kv.Open(2, FIRST, LAST, slots.share(0)), kv.Cancel(2, FIRST, LAST, slots.share(0))])
    slots.follow(0, gone.keyspace)
    assert slots.group_of(FIRST) == 2


def test_a_view_that_somebody_holds_does_not_change(slots):
    machine(slots, 2, *activated(slots))
    held = slots.view
    machine(slots, 1, *activated(slots, group=1, number=2))
    assert held.owners[FIRST] == 2
    assert slots.view.owners[FIRST] == 1


def test_nodes_learn_while_they_run_and_again_when_they_start():
    trio = Trio(groups=2)
    hosts = [process.host for process in trio.processes()]
    machines = [group.state.machine for host in hosts for group in host.groups.values()]
    assert trio.run(20, lambda: all(machine.version == MACHINE_VERSION for machine in machines))
    share = trio.host("K1").slots.share
    for group, step in (
        (0, kv.PlanMove(0, 9, 1, 2)),
        (1, kv.Open(1, 0, 9, share(1))),
        (0, kv.Freeze(1, 0, 9, 1, share(0))),
        (1, kv.Activate(1, 0, (), (), 0, 0, 0, EMPTY)),
        (0, kv.Release(1, 0, 9, 0)),
        (0, kv.EndMove(1, True)),
    ):
        before = len(trio.answers)
        trio.host("K1").transactions.write(group, [step], 20, trio.answers.append)
        assert trio.answered(before + 1)
    expected = [(0, 9, 1), (10, 8191, 0), (8192, 16383, 1)]
    assert trio.run(
        5, lambda: all(host.slots.version == 1 and host.slots.ranges() == expected for host in hosts)
    )
    trio.nodes["K2"].crash()
    trio.nodes["K2"].start()
    assert trio.run(20, lambda: trio.nodes["K2"].process is not None and bool(trio.host("K2").groups))
    slots = trio.host("K2").slots
    assert trio.run(20, lambda: slots.version == 1 and slots.ranges() == expected)
