"""Reports of checkpoints, the leader's verdict, and the fence."""

from types import SimpleNamespace
from typing import Any

from kraft.host.applied_state import AppliedState
from kraft.host.consistency.checker import VERIFY_SECONDS, ConsistencyChecker
from kraft.kv.checkpoint import Checkpoint
from kraft.kv.machine import Machine
from kraft.node.errors import NotLeader
from kraft.peerwire.messages import Digest, Fence
from kraft.raft.membership.configuration import Base, Configuration, Member
from tests.host.fakes import Clock

RIGHT, WRONG, OTHER = (bytes([n]) * 16 for n in (1, 2, 3))
TRIO = Configuration.of_voters(tuple(Member(f"K{n}", f"{n:032x}", f"h:{n}") for n in (1, 2, 3)))


def checkpoint(index: int, sum_: bytes) -> Checkpoint:
    return Checkpoint(Base(index, 1), index, 1, 1, sum_)


class FakeRaft:
    """Consensus, as the checker sees it; `drained` collects what it was told."""

    def __init__(self, id_: str, leader: str) -> None:
        self.id, self.leader, self.configuration = id_, leader, TRIO
        self.drained: list[bool] = []

    @property
    def state(self) -> "FakeRaft":
        return self

    @property
    def leads(self) -> bool:
        return self.leader == self.id

    def drain(self, on: bool) -> None:
        self.drained.append(on)


class Replica:
    """`ConsistencyChecker` of the node `id_`, with what it did."""

    def __init__(self, id_: str, leader: str, loaded: Checkpoint | None = None) -> None:
        self.clock = Clock()
        self.raft = FakeRaft(id_, leader)
        self.state = AppliedState(Machine(), 0)
        self.posted: list[tuple[str, object]] = []
        self.events: list[tuple[str, dict[str, Any]]] = []
        self.stored: list[bool] = []
        raft: Any = self.raft
        context: Any = SimpleNamespace(clock=self.clock, observer=self, disk=self, turns=self)
        self.consistency = ConsistencyChecker(0, raft, self.state, context, loaded)

    @property
    def fenced(self) -> list[bool]:
        assert self.state.fenced is bool(self.raft.drained)
        return self.raft.drained

    def post(self, peer: str, group: int, message: object) -> None:
        self.posted.append((peer, message))

    def compared(self, group: int, outcome: str) -> None:
        pass

    def event(self, name: str, **fields: Any) -> None:
        self.events.append((name, fields))

    def fence(self, group: int, fenced: bool, done: Any) -> None:
        self.stored.append(fenced)
        done()

    def tick(self, seconds: float = 0.0) -> None:
        self.clock.advance(seconds)
        self.consistency.tick(self.clock.now)


def test_a_follower_reports_each_checkpoint_once_to_each_leader() -> None:
    follower = Replica("K2", leader="K1")
    follower.consistency.completed(checkpoint(10, RIGHT))
    follower.tick()
    follower.tick()
    assert follower.posted == [("K1", Digest(10, RIGHT))]

    follower.raft.leader = "K3"
    follower.tick()
    assert follower.posted[1:] == [("K3", Digest(10, RIGHT))]


def test_equal_sums_are_not_reported() -> None:
    leader = Replica("K1", leader="K1")
    leader.consistency.completed(checkpoint(10, RIGHT))
    leader.consistency.heard("K2", Digest(10, RIGHT))
    leader.consistency.heard("K3", Digest(10, RIGHT))

    assert not leader.consistency.mismatch
    assert leader.posted == []
    assert leader.events == []


def test_a_difference_is_reported_once_and_the_fence_is_repeated_until_the_replica_is_right() -> None:
    leader = Replica("K1", leader="K1")
    leader.consistency.completed(checkpoint(10, RIGHT))
    leader.consistency.heard("K3", Digest(10, WRONG))
    leader.consistency.heard("K2", Digest(10, RIGHT))
    leader.consistency.heard("K3", Digest(10, WRONG))

    assert leader.consistency.mismatch
    assert leader.posted == [("K3", Fence(10, RIGHT))] * 2
    assert [fields["decided"] for _, fields in leader.events] == [False, False, True]


def test_a_leader_that_is_wrong_fences_itself() -> None:
    leader = Replica("K1", leader="K1")
    leader.consistency.completed(checkpoint(10, WRONG))
    leader.consistency.heard("K2", Digest(10, RIGHT))
    leader.consistency.heard("K3", Digest(10, RIGHT))

    assert leader.fenced == [True]
    assert leader.stored == [True]


def test_without_a_majority_there_is_a_report_and_no_fence() -> None:
    leader = Replica("K1", leader="K1")
    leader.consistency.completed(checkpoint(10, WRONG))
    leader.consistency.heard("K2", Digest(10, RIGHT))
    assert leader.consistency.mismatch
    leader.consistency.heard("K3", Digest(10, OTHER))

    assert leader.fenced == []
    assert leader.posted == []
    assert {name for name, _ in leader.events} == {"replica_differs"}


def test_a_fence_is_believed_only_if_the_own_sum_differs_at_that_very_index() -> None:
    follower = Replica("K2", leader="K1")
    follower.consistency.completed(checkpoint(10, WRONG))
    follower.consistency.fence("K1", Fence(9, RIGHT))
    follower.consistency.fence("K1", Fence(10, WRONG))
    assert follower.fenced == []

    follower.consistency.fence("K1", Fence(10, RIGHT))
    assert follower.fenced == [True]


def test_verify_answers_when_all_have_reported() -> None:
    leader = Replica("K1", leader="K1")
    tables: list[Any] = []
    leader.consistency.completed(checkpoint(10, RIGHT))
    leader.consistency.verify(10, tables.append)
    leader.consistency.heard("K2", Digest(10, RIGHT))
    leader.tick()
    assert tables == []

    leader.consistency.heard("K3", Digest(10, RIGHT))
    leader.tick()
    assert [(row["node"], row["state"]) for row in tables[0]] == [(f"K{n}", "equal") for n in (1, 2, 3)]


def test_verify_does_not_wait_forever() -> None:
    leader = Replica("K1", leader="K1")
    tables: list[Any] = []
    leader.consistency.completed(checkpoint(10, RIGHT))
    leader.consistency.verify(10, tables.append)
    leader.consistency.heard("K2", Digest(10, RIGHT))
    leader.tick(VERIFY_SECONDS)

    assert [row["state"] for row in tables[0]] == ["equal", "equal", "unknown"]


def test_callers_that_wait_at_a_deposed_leader_are_sent_to_its_successor() -> None:
    leader = Replica("K1", leader="K1")
    answers: list[Any] = []
    leader.consistency.completed(checkpoint(10, RIGHT))
    leader.consistency.verify(10, answers.append)
    leader.raft.leader = "K2"
    leader.consistency.follow()
    leader.tick(VERIFY_SECONDS)
    assert [(type(each), each.args) for each in answers] == [(NotLeader, (0, "K2"))]


def test_a_replica_with_a_copy_of_the_leaders_state_is_right_again() -> None:
    leader = Replica("K1", leader="K1")
    leader.consistency.completed(checkpoint(10, RIGHT))
    leader.consistency.heard("K2", Digest(10, RIGHT))
    leader.consistency.heard("K3", Digest(10, WRONG))
    leader.consistency.completed(checkpoint(20, RIGHT))
    leader.consistency.heard("K2", Digest(20, RIGHT))
    assert leader.consistency.mismatch

    leader.consistency.heard("K3", Digest(20, RIGHT))
    assert not leader.consistency.mismatch


def test_a_restarted_replica_knows_the_sum_of_what_it_loaded() -> None:
    follower = Replica("K2", leader="K1", loaded=checkpoint(10, WRONG))
    follower.tick()
    assert follower.posted == [("K1", Digest(10, WRONG))]

    follower.consistency.fence("K1", Fence(10, RIGHT))
    assert follower.fenced == [True]


def test_a_former_member_gives_no_verdict() -> None:
    leader = Replica("K1", leader="K1")
    leader.consistency.completed(checkpoint(10, RIGHT))
    leader.consistency.heard("K2", Digest(10, RIGHT))
    leader.consistency.heard("K3", Digest(10, WRONG))
    assert leader.consistency.mismatch

    leader.raft.configuration = Configuration.of_voters(TRIO.members[:2])
    leader.consistency.completed(checkpoint(20, RIGHT))
    assert not leader.consistency.mismatch


def test_reports_of_another_incarnation_do_not_count() -> None:
    leader = Replica("K1", leader="K1")
    leader.consistency.completed(checkpoint(10, RIGHT))
    leader.consistency.heard("K2", Digest(10, RIGHT))
    leader.consistency.heard("K3", Digest(10, WRONG))

    members = (*TRIO.members[:2], Member("K3", f"{9:032x}", "h:3"))
    leader.raft.configuration = Configuration.of_voters(members)
    leader.consistency.heard("K2", Digest(10, RIGHT))
    assert not leader.consistency.mismatch
