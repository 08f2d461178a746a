"""The vigil fails where it must: with a planted fault in a small cluster, and not without."""

import pytest

from kraft.host.admin.transfers import LeadershipTransfers
from kraft.kv.commands import Put
from tests.host.trio import Trio
from tests.simulation.linearizability import READ, Operation, linearizable
from tests.simulation.vigil import GIVE_WAY_SECONDS
from tests.simulation.violation import Violation

DAY = 86_400_000


def hang(trio, id_):
    trio.vigil.start()
    trio.process(id_).disk.hangs = True
    trio.ask(trio.leader, Put(b"k", b"v"))


def test_a_leader_that_stays_on_a_hung_disk_is_found(monkeypatch):
    monkeypatch.setattr(LeadershipTransfers, "leave", lambda *_, **__: None)
    trio = Trio()
    hang(trio, trio.leader)
    with pytest.raises(Violation, match=f"{trio.leader} leads for .* on a hung disk"):
        trio.run(GIVE_WAY_SECONDS + 1.0)


def test_one_that_gives_way_is_not():
    trio = Trio()
    first = trio.leader
    hang(trio, first)
    trio.run(GIVE_WAY_SECONDS + 1.0)
    assert first not in trio.leaders()


def test_a_hung_follower_or_a_leader_without_a_fit_majority_is_excused():
    trio = Trio()
    hang(trio, trio.followers[0])
    trio.run(GIVE_WAY_SECONDS + 1.0)
    trio.process(trio.leader).disk.hangs = True
    trio.ask(trio.leader, Put(b"k", b"v"))
    trio.run(GIVE_WAY_SECONDS + 1.0)
    assert len(trio.leaders()) == 1


def test_a_hung_write_ends_when_the_disk_hangs_no_more():
    trio = Trio(nodes=1)
    hang(trio, "K1")
    assert not trio.answered(within=5.0)
    assert trio.process("K1").disk.stuck
    trio.process("K1").disk.hangs = False
    assert trio.answered(within=0.1)


@pytest.mark.parametrize(("ahead", "lost"), [(500, False), (5_000, True), (2 * DAY, False)])
def test_an_acknowledged_expiry_that_log_time_had_passed_is_found(ahead, lost):
    """The entry is stamped a day ahead: what is due before that, and after now, was lost."""
    trio = Trio()
    trio.vigil.start()
    trio.run(5.0)
    leader = trio.process(trio.leader)
    now = leader.clock.wall_ms()
    if lost:
        with pytest.raises(Violation, match="a key is set until"):
            trio.vigil.expiry_acknowledged(leader, 0, now + ahead, now + DAY)
    else:
        trio.vigil.expiry_acknowledged(leader, 0, now + ahead, now + DAY)
    trio.process(trio.followers[0]).clock.jump(1)
    trio.vigil.expiry_acknowledged(leader, 0, now + 5_000, now + DAY)  # a clock was stepped just now


def test_a_refused_expiry_has_no_effect():
    refused = Operation("set until", (b"1", 9), 0, 1, 4)
    assert linearizable([refused, Operation(READ, None, 2, 3, None)])
    assert not linearizable([refused, Operation(READ, None, 2, 3, b"1")])
    held = Operation("set until", (b"1", 9), 0, 1, "OK")
    assert linearizable([held, Operation(READ, None, 2, 3, b"1"), Operation(READ, None, 4, 5, None)])
