"""A script that waits at the leader for its keys, and comes back because the leader is gone."""

from kraft.kv.commands import ScriptCall, decode
from kraft.node.admin import TransferLeadership
from kraft.raft.messages import EntryKind
from tests.host.test_groups import Grouped
from tests.simulation.scripts import call

RETURN_ONE = b"return 1"


def test_it_is_evaluated_by_the_node_that_leads_next() -> None:
    """Logged as it is, no replica could apply it, and none could ever start again."""
    cluster = Grouped(groups=1)
    leader = cluster.leader_of(0)
    next_ = next(id_ for id_ in ("K1", "K2", "K3") if id_ != leader)
    outcomes: list[object] = []
    writes = cluster.host(next_).groups[0].requests.writes
    posted = cluster.host(next_)._turns.outbox[leader]
    writes.forward_to_wait(leader, [call(RETURN_ONE, (b"k",), ())], 10, outcomes.append)
    group, message = posted.pop()
    assert group == 0
    assert cluster.order(next_, TransferLeadership(next_)) == next_
    assert not outcomes
    writes.forward_unsent(leader, message)
    assert cluster.run(5, lambda: bool(outcomes))
    assert outcomes == [[1]]
    entries = cluster.checks.committed[0].entries
    logged = [c for entry in entries if entry.kind == EntryKind.COMMANDS for c in decode(entry.data)]
    assert ScriptCall not in map(type, logged)
