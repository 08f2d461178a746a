"""A checker is trusted while it catches planted bugs: each of these one-line mutations must be found.

`seeds` is how many runs may be spent on a mutation. It is a few times what is needed today; a mutation that
needs more says that the simulator has become blind to its kind.
"""

from collections.abc import Callable
from typing import Any

import pytest

from kraft.host import reads
from kraft.host.forwarding import Forwarding
from kraft.host.group import Group
from kraft.host.persistence import Persistence
from kraft.host.ports import Busy
from kraft.raft.core import Core
from kraft.raft.errors import InvariantViolation
from kraft.raft.follower import Follower
from kraft.raft.leader import Leader
from kraft.raft.log import Log
from kraft.raft.messages import AppendReply, HardState, VoteReply
from kraft.raft.ready import Persist
from tests.simulation.run import run

Patch = pytest.MonkeyPatch
MUTATIONS: dict[str, tuple[int, Callable[[Patch], None]]] = {}


def mutation(seeds: int) -> Callable[[Callable[[Patch], None]], Callable[[Patch], None]]:
    def register(plant: Callable[[Patch], None]) -> Callable[[Patch], None]:
        MUTATIONS[plant.__name__] = (seeds, plant)
        return plant

    return register


@mutation(seeds=5)
def the_leader_counts_its_log_before_its_disk_has_it(patch: Patch) -> None:
    original = Leader._count

    def count(leader: Leader) -> None:
        durability = leader._core.log.durability
        durable, durability.durable = durability.durable, leader._core.log.last_index
        original(leader)
        durability.durable = durable

    patch.setattr(Leader, "_count", count)


@mutation(seeds=5)
def votes_leave_before_they_are_durable(patch: Patch) -> None:
    send_durable = Core.send_durable

    def send(core: Core, to: str, message: Any) -> None:
        (Core.send if isinstance(message, VoteReply) else send_durable)(core, to, message)

    patch.setattr(Core, "send_durable", send)


@mutation(seeds=5)
def entries_are_acknowledged_before_they_are_durable(patch: Patch) -> None:
    send_durable = Core.send_durable

    def send(core: Core, to: str, message: Any) -> None:
        (Core.send if isinstance(message, AppendReply) else send_durable)(core, to, message)

    patch.setattr(Core, "send_durable", send)


@mutation(seeds=80)
def entries_of_earlier_terms_are_committed_by_counting(patch: Patch) -> None:
    start = Leader.start

    def count_all(leader: Leader) -> None:
        start(leader)
        leader.noop_index = 1

    patch.setattr(Leader, "start", count_all)


@mutation(seeds=20)
def a_follower_believes_the_commit_index_beyond_the_message(patch: Patch) -> None:
    append = Follower.append

    def believe(follower: Follower, sender: str, message: Any) -> None:
        append(follower, sender, message)
        follower._core.commit_to(min(message.commit, follower._core.log.last_index))

    patch.setattr(Follower, "append", believe)


@mutation(seeds=20)
def every_append_truncates(patch: Patch) -> None:
    merge = Log.merge

    def truncating(log: Log, prev_index: int, entries: Any, commit: int) -> None:
        first = max(prev_index, commit) + 1
        if first <= log.last_index:
            log._truncate(first)
        merge(log, prev_index, entries, commit)

    patch.setattr(Log, "merge", truncating)


@mutation(seeds=100)
def reads_do_without_a_round(patch: Patch) -> None:
    confirm = Leader._confirm

    def at_once(leader: Leader) -> None:
        for progress in leader.progress.values():
            progress.round = leader._round
        confirm(leader)

    patch.setattr(Leader, "_confirm", at_once)


@mutation(seeds=60)
def an_answer_to_any_round_confirms_a_read(patch: Patch) -> None:
    confirm = reads.Reads.confirm

    def any_round(self: reads.Reads, ctx: int, index: int, stamp: int = 0) -> Any:
        return confirm(self, self._round.ctx if self._round is not None else ctx, index, stamp)

    patch.setattr(reads.Reads, "confirm", any_round)


@mutation(seeds=5)
def reads_do_not_wait_until_their_index_is_applied(patch: Patch) -> None:
    answer = reads.Reads.answer
    patch.setattr(reads.Reads, "answer", lambda self, applied, *rest: answer(self, 1 << 60, *rest))


@mutation(seeds=20)
def keys_that_are_due_stay_readable(patch: Patch) -> None:
    """On the leader alone: a mutation that is the same on all nodes changes the rules, and breaks none."""
    patch.setattr(Group, "_log_due_expiry", lambda group: 0)
    patch.setattr(reads, "_read_at", lambda stamp, keyspace: stamp)


@mutation(seeds=20)
def a_forwarded_write_is_sent_again_when_the_link_breaks(patch: Patch) -> None:
    lost = Group.link_down

    def again(group: Group, peer: str, closed_by_peer: bool) -> bool:
        sent = group._forwarding._sent
        for request in [r for r, (leader, _) in sent.items() if leader == peer]:
            group._proposals.again(sent.pop(request)[1])
        return lost(group, peer, closed_by_peer)

    patch.setattr(Group, "link_down", again)


@mutation(seeds=20)
def an_uncertain_write_is_called_refused(patch: Patch) -> None:
    lost = Forwarding.lost

    def refuse(forwarding: Forwarding, peer: str) -> int:
        for leader, proposals in forwarding._sent.values():
            for proposal in proposals if leader == peer else ():
                proposal.settle(Busy())
        return lost(forwarding, peer)

    patch.setattr(Forwarding, "lost", refuse)


@mutation(seeds=20)
def the_vote_does_not_reach_the_disk(patch: Patch) -> None:
    add = Persistence.add

    def voteless(persistence: Persistence, writer: Any, persist: Any, after: Any) -> None:
        state = persist.hard_state
        if state is not None and state.vote != writer.node.id:
            state = HardState(state.term)
            persist = Persist(persist.sequence, state, persist.truncate_from, persist.entries, persist.commit)
        add(persistence, writer, persist, after)

    patch.setattr(Persistence, "add", voteless)


@pytest.mark.slow
@pytest.mark.parametrize("name", MUTATIONS)
def test_the_simulator_finds(name, monkeypatch):
    seeds, plant = MUTATIONS[name]
    plant(monkeypatch)
    for seed in range(seeds):
        try:
            run(seed)
        except (AssertionError, InvariantViolation) as found:
            print(f"{name}: seed {seed}, {found}")  # noqa: T201 - the curious ask with -s
            return
    pytest.fail(f"{seeds} seeds do not find it")
