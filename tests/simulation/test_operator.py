"""What the operator of the simulated cluster remembers of its commands."""

from kraft.node import admin
from kraft.raft.membership.configuration import Configuration
from tests.host.trio import Trio
from tests.simulation.operator import Operator


def test_a_change_is_half_done_although_another_one_was_tried_since():
    """One node has the removal in its log of one group, where it is committed at last."""
    trio = Trio(groups=2)
    operator, leader = Operator(trio), trio.process(trio.leader)
    leader.host.admin = lambda *_: None
    operator.start()
    assert operator.change_alone(leader, demote=False)
    [removal] = operator._errands.waiting
    operator._errands._answered(removal, ConnectionError())
    addition = admin.Add("K4", "10.0.0.4:10001")
    operator._errands.tell(leader, addition, lambda c: c.member("K4") is not None, changes=True)
    operator._errands._answered(operator._errands.waiting[0], ConnectionError())
    assert operator.half_done is None
    committed = trio.checks.committed[1]
    assert isinstance(removal.command, admin.Remove)
    members = tuple(m for m in committed.configuration.members if m.id != removal.command.id)
    committed.configurations.append(Configuration.of_voters(members))
    assert operator.half_done is removal
