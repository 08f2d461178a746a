"""How long a healed cluster may take until its replicas are equal."""

import pytest

from tests.host.trio import Trio
from tests.simulation.errands import PATIENCE_SECONDS
from tests.simulation.faults import Faults
from tests.simulation.plan import draw
from tests.simulation.run import HEAL_SECONDS, replicas_meet


@pytest.fixture
def trio():
    return Trio()


@pytest.fixture
def faults(trio):
    return Faults(trio, draw(0).without(fault.index for fault in draw(0).faults))


def settle_after(monkeypatch, trio, seconds):
    """The replicas are equal so many seconds from now."""
    end = trio.world.now + seconds
    monkeypatch.setattr("tests.simulation.run.settled", lambda _: trio.world.now >= end)


def test_replicas_may_wait_for_a_command_that_was_lost(trio, faults, monkeypatch):
    """It is answered after its limit, and only what is repeated then makes them equal."""
    for process in trio.processes():
        monkeypatch.setattr(process.host, "admin", lambda *_: None)
    assert faults.compact({"who": trio.leader, "keep": 1})
    assert faults.command_waits
    settle_after(monkeypatch, trio, PATIENCE_SECONDS + 1)
    assert replicas_meet(trio, faults)
    assert not faults.command_waits


def test_replicas_have_their_own_limit_where_no_command_waits(trio, faults, monkeypatch):
    settle_after(monkeypatch, trio, HEAL_SECONDS + 1)
    assert not replicas_meet(trio, faults)
