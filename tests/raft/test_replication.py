"""The leader's side of replication: windows, losses, slow followers, bounds."""

from collections import deque
from dataclasses import replace

import pytest

from kraft.raft.errors import InvariantViolation, LogFull
from kraft.raft.log.log import ENTRY_OVERHEAD_BYTES, entry_bytes
from kraft.raft.messages import Append, AppendReply, EntryKind, Heartbeat, HeartbeatReply, Message
from tests.raft.network import Cluster
from tests.raft.values import SETTINGS, past


def appends(cluster: Cluster, to: str) -> list[Append]:
    return [m for _, receiver, m in cluster.wires if receiver == to and isinstance(m, Append)]


def is_append(sender: str, to: str, message: Message) -> bool:
    return isinstance(message, Append)


def test_proposals_are_pipelined_without_waiting_for_answers():
    cluster = Cluster(3)
    leader = cluster.elect("K1")
    for _ in range(4):
        leader.propose()
        leader.ready()
    assert [[e.index for e in m.entries] for m in appends(cluster, "K2")] == [[3], [4], [5], [6]]


def test_the_pipeline_stops_at_its_bound_in_messages_and_goes_on_with_answers():
    cluster = Cluster(3, settings=replace(SETTINGS, inflight_messages=2))
    leader = cluster.elect("K1")
    for _ in range(5):
        leader.propose()
        leader.ready()
    assert [len(m.entries) for m in appends(cluster, "K2")] == [1, 1]
    leader.node.step("K2", AppendReply(2, 3))
    leader.ready()
    assert [len(m.entries) for m in appends(cluster, "K2")] == [1, 1, 3]


def test_the_pipeline_stops_at_its_bound_in_bytes():
    cluster = Cluster(3, settings=replace(SETTINGS, inflight_bytes=3000))
    leader = cluster.elect("K1")
    for _ in range(5):
        leader.propose(b"x" * 1000)
        leader.ready()
    assert len(appends(cluster, "K2")) == 3


def test_a_message_holds_a_bounded_number_of_bytes_but_a_large_entry_travels_alone():
    cluster = Cluster(3, settings=replace(SETTINGS, message_bytes=3000))
    leader = cluster.elect("K1")
    for size in (1000, 1000, 1000, 9000, 10):
        leader.propose(b"x" * size)
    leader.ready()
    assert [len(m.entries) for m in appends(cluster, "K2")] == [2, 1, 1, 1]
    cluster.settle()
    assert leader.state.commit == leader.state.log.last_index


def test_a_lost_append_is_noticed_by_the_answer_to_a_later_one():
    cluster = Cluster(3)
    leader = cluster.elect("K1")
    leader.propose(b"lost")
    leader.ready()
    cluster.drop(is_append)
    leader.propose(b"next")
    cluster.settle()
    assert (
        cluster["K2"].state.log.last_index == cluster["K3"].state.log.last_index == leader.state.commit == 4
    )


def test_a_lost_last_append_is_sent_again_after_a_heartbeat_or_two():
    cluster = Cluster(3)
    leader = cluster.elect("K1")
    leader.propose(b"lost")
    leader.ready()
    cluster.drop(is_append)
    cluster.tick(4)
    assert leader.state.commit == 3


def test_a_lost_answer_does_not_leak_the_window():
    cluster = Cluster(3, settings=replace(SETTINGS, inflight_messages=2))
    leader = cluster.elect("K1")
    for _ in range(5):
        for _ in range(2):
            leader.propose()
        leader.ready()
        for _ in range(len(cluster.wires)):
            cluster.deliver(*cluster.wires.popleft())
        for name in ("K2", "K3"):
            cluster[name].ready()
            while cluster[name].writes:
                cluster[name].finish_write()
        cluster.drop(lambda a, b, m: isinstance(m, AppendReply))
    cluster.tick(6)
    assert leader.state.commit == leader.state.log.last_index == 12
    assert all(f.inflight == 0 for f in leader.node.progress())


def test_read_rounds_do_not_make_the_leader_repeat_what_is_on_its_way():
    """Only time tells that an answer is lost; many heartbeats in one tick do not."""
    cluster = Cluster(3)
    leader = cluster.elect("K1")
    cluster["K2"].auto_disk = False
    leader.propose()
    cluster.settle()
    for ctx in range(5):
        leader.node.read(ctx)
        cluster.settle()
    assert len(cluster["K2"].writes) == 1
    assert len(leader.reads) == 5


def test_an_unreachable_follower_gets_nothing_but_heartbeats_until_it_answers():
    cluster = Cluster(3)
    leader = cluster.elect("K1")
    cluster.disconnect("K1", "K2")
    leader.node.unreachable("K2")
    for _ in range(3):
        leader.propose()
        cluster.settle()
    cluster.heal()
    leader.propose()
    leader.ready()
    assert appends(cluster, "K2") == []
    assert {f.peer: f.state for f in leader.node.progress()} == {"K2": "probe", "K3": "replicate"}
    cluster.tick(2)
    assert cluster["K2"].state.log.last_index == leader.state.log.last_index
    assert {f.peer: f.state for f in leader.node.progress()} == {"K2": "replicate", "K3": "replicate"}


def test_commit_progress_costs_no_message_of_its_own_and_travels_with_the_heartbeat():
    cluster = Cluster(3)
    leader = cluster.elect("K1")
    leader.propose()
    cluster.settle()
    assert cluster["K2"].state.commit < leader.state.commit
    assert not cluster.wires
    cluster.tick(2)
    assert cluster["K2"].state.commit == leader.state.commit


def test_a_heartbeat_never_commits_what_the_follower_is_not_known_to_hold():
    cluster = Cluster(3)
    leader = cluster.elect("K1")
    cluster["K3"].auto_disk = False
    leader.propose()
    cluster.settle()
    leader.node.read(1)
    leader.ready()
    commits = {to: m.commit for _, to, m in cluster.wires if isinstance(m, Heartbeat)}
    assert commits == {"K2": 3, "K3": 2}


@pytest.mark.parametrize(
    ("mine", "theirs"),
    [
        ((2, 2, 2, 2), ()),
        ((2, 2, 3, 3, 5), (2, 2, 2, 2, 2, 2)),
        ((2, 3, 5, 5), (2, 2, 4, 4, 4, 4)),
        ((5,), (2, 2, 2, 3, 3, 4, 4)),
        ((2, 2, 2), (2, 2, 2, 2, 2)),
    ],
)
def test_a_new_leader_repairs_every_log_of_figure_7(mine, theirs):
    logs = {
        "K1": past(6, *mine),
        "K2": past(6, *mine),
        "K3": past(6, *theirs),
    }
    cluster = Cluster(3, restored=logs)
    leader = cluster.elect("K1")
    cluster.tick(2)
    assert cluster["K3"].disk.entries == leader.disk.entries
    assert cluster["K3"].applied == leader.applied


def test_repair_takes_one_message_for_each_conflicting_term():
    mine = [2] * 50 + [4] * 50
    theirs = [2] * 50 + [3] * 200
    logs = {n: past(5, *mine) for n in ("K1", "K2")} | {"K3": past(5, *theirs)}
    cluster = Cluster(3, restored=logs)
    cluster["K3"].up = False
    leader = cluster.elect("K1")
    cluster["K3"].up = True
    rejections = 0
    for _ in range(20):
        for name in ("K1", "K3"):
            cluster[name].node.tick()
            cluster[name].ready()
            while cluster[name].writes:
                cluster[name].finish_write()
        rejections += sum(isinstance(m, AppendReply) and m.rejected for _, _, m in cluster.wires)
        for _ in range(len(cluster.wires)):
            cluster.deliver(*cluster.wires.popleft())
    assert cluster["K3"].state.log.last_index == leader.state.log.last_index
    assert rejections <= 2


def test_a_follower_that_lacks_much_gets_entries_from_disk():
    cluster = Cluster(3, settings=replace(SETTINGS, tail_bytes=10 * ENTRY_OVERHEAD_BYTES, message_bytes=4000))
    leader = cluster.elect("K1")
    cluster["K3"].crash()
    for i in range(100):
        leader.propose(b"%d" % i)
        cluster.settle()
    assert leader.state.log.tail_bytes < 12 * ENTRY_OVERHEAD_BYTES
    cluster["K3"].restart()
    for _ in range(40):
        cluster.tick()
        while leader.fetches:
            leader.answer_fetch()
            cluster.settle()
    assert cluster["K3"].applied == leader.applied
    assert len(leader.applied) == leader.state.log.last_index


def test_few_entries_stay_in_memory_that_all_followers_have():
    """A leader keeps more while somebody lacks them, even after he has returned, until he has them."""
    most = 80 * ENTRY_OVERHEAD_BYTES
    cluster = Cluster(3, settings=replace(SETTINGS, tail_bytes=most))
    leader = cluster.elect("K1")

    def tails():
        return [cluster[name].state.log.tail_bytes for name in ("K1", "K2", "K3")]

    for _ in range(60):
        leader.propose()
        cluster.settle()
    cluster.tick()
    assert max(tails()) <= most // 8
    cluster["K3"].crash()
    for _ in range(60):
        leader.propose()
        cluster.settle()
        cluster.tick()
    first, second, _ = tails()
    assert first >= 60 * ENTRY_OVERHEAD_BYTES
    assert second <= most // 8
    cluster["K3"].restart()
    cluster.tick(8)
    assert not leader.fetches
    assert cluster["K3"].applied == leader.applied
    assert max(tails()) <= most // 8


def test_fetched_entries_that_nobody_wants_any_more_are_dropped():
    cluster = Cluster(3, settings=replace(SETTINGS, tail_bytes=0))
    leader = cluster.elect("K1")
    cluster["K3"].crash()
    for _ in range(10):
        leader.propose()
        cluster.settle()
    cluster["K3"].restart()
    cluster.tick(4)
    fetch = leader.fetches[0]
    assert (fetch.peer, fetch.last) == ("K3", leader.state.log.last_index)
    leader.node.fetched("K3", leader.disk.entries[3:5])  # not what was asked for
    leader.node.fetched("K9", leader.disk.entries)
    leader.ready()
    assert appends(cluster, "K3") == []
    assert leader.fetches[1] == fetch
    cluster["K2"].node.fetched("K3", leader.disk.entries)
    assert cluster["K2"].ready() is None


def test_the_uncommitted_log_is_bounded_in_bytes_and_opens_again():
    cluster = Cluster(3, settings=replace(SETTINGS, uncommitted_bytes=4000))
    leader = cluster.elect("K1")
    cluster.isolate("K1")
    leader.propose(b"x" * 1000)
    leader.propose(b"x" * 2000)
    with pytest.raises(LogFull):
        leader.propose(b"x" * 1000)
    assert leader.state.log.last_index == 4
    cluster.settle()
    cluster.heal()
    cluster.tick(4)
    assert leader.state.log.bytes_after(leader.state.commit) == 0
    leader.propose(b"x" * 9000)  # larger than the bound, but alone
    with pytest.raises(LogFull):
        leader.propose(b"")


def test_what_is_committed_without_the_leaders_disk_is_bounded_too():
    """Its disk hangs, and the followers commit: it keeps in memory what it cannot apply."""
    cluster = Cluster(3, settings=replace(SETTINGS, uncommitted_bytes=4000))
    leader = cluster.elect("K1")
    cluster.settle()
    leader.auto_disk = False
    for _ in range(3):
        leader.propose(b"x" * 1000)
        cluster.settle()
    assert leader.state.commit == leader.state.log.last_index > leader.state.applied
    with pytest.raises(LogFull):
        leader.propose(b"x" * 1000)
    leader.auto_disk = True
    cluster.settle()
    leader.propose(b"x" * 1000)


def test_stamps_never_go_back_along_the_log():
    cluster = Cluster(1)
    leader = cluster.elect("K1")
    leader.node.propose(EntryKind.COMMANDS, 500, b"")
    assert leader.state.log.last_stamp == 500
    with pytest.raises(InvariantViolation):
        leader.node.propose(EntryKind.COMMANDS, 499, b"")


def test_the_no_op_of_a_new_leader_keeps_the_stamp_of_the_log():
    cluster = Cluster(3)
    cluster.elect("K1").node.propose(EntryKind.COMMANDS, 500, b"")
    cluster.settle()
    for name in ("K2", "K3"):
        cluster[name].node.leader_lost("K1")
    cluster.isolate("K1")
    assert cluster.elect("K2").state.log.last_stamp == 500


def test_a_configuration_cannot_be_proposed():
    cluster = Cluster(1)
    leader = cluster.elect("K1")
    with pytest.raises(InvariantViolation):
        leader.node.propose(EntryKind.CONFIGURATION, 0, leader.state.configuration.encode())


def test_progress_tells_how_each_follower_stands():
    cluster = Cluster(3)
    leader = cluster.elect("K1")
    cluster["K3"].up = False
    cluster.tick(3)
    first, second = leader.node.progress()
    assert (first.peer, first.match, first.next, first.state) == ("K2", 2, 3, "replicate")
    assert (second.peer, second.silent_ticks) == ("K3", 3)
    assert cluster["K2"].node.progress() == ()


def test_nothing_is_sent_again_while_its_first_copy_may_be_on_its_way():
    """Heartbeats overtake entries on a link: that they are answered says nothing about the entries."""
    cluster = Cluster(3)
    leader = cluster.elect("K1")
    leader.propose(b"x" * 100_000)
    leader.ready()
    on_their_way = deque(w for w in cluster.wires if w[1] == "K2")
    cluster.drop(lambda a, b, m: b == "K2")
    probes = 0
    for _ in range(100):
        leader.node.tick()
        leader.node.step("K2", HeartbeatReply(2, 0, 0))
        leader.node.step("K3", HeartbeatReply(2, 0, 0))
        leader.ready()
        assert not [m for m in appends(cluster, "K2") if m.entries]
        probes += len(appends(cluster, "K2"))
        on_their_way.extend(w for w in cluster.wires if w[1] == "K2")
        cluster.drop(lambda a, b, m: b == "K2")
    assert 0 < probes <= 50  # one for each heartbeat at most
    cluster.wires = on_their_way
    cluster.settle()
    assert leader.state.commit == cluster["K2"].state.log.last_index == 3
    assert leader.observer.resent == 0


def test_entries_that_the_link_did_not_take_are_sent_again_after_the_next_answer():
    cluster = Cluster(3)
    leader = cluster.elect("K1")
    leader.propose(b"refused by the queue")
    leader.ready()
    cluster.drop(lambda a, b, m: b == "K2")
    leader.node.unreachable("K2")
    cluster.settle()
    assert cluster["K2"].state.log.last_index == 2
    cluster.tick(2)
    assert cluster["K2"].state.log.last_index == 3
    assert leader.observer.resent == 20 + ENTRY_OVERHEAD_BYTES


def test_what_arrived_before_a_link_went_down_is_not_sent_again():
    """The acknowledgement was lost with the link, and the follower alone knows what it holds."""
    cluster = Cluster(3)
    leader = cluster.elect("K1")
    for _ in range(5):
        leader.propose(b"x" * 10_000)
        leader.ready()
    for _ in range(len(cluster.wires)):
        cluster.deliver(*cluster.wires.popleft())
    cluster["K2"].answers()
    leader.node.unreachable("K2")
    cluster.tick(4)
    assert {f.peer: (f.state, f.match) for f in leader.node.progress()}["K2"] == ("replicate", 7)
    assert leader.observer.resent == 0


def test_only_what_was_lost_is_sent_again():
    """The answer to a message after the gap says where the gap begins."""
    cluster = Cluster(3)
    leader = cluster.elect("K1")
    for _ in range(5):
        leader.propose(b"x" * 10_000)
        leader.ready()
    lost = [w for w in cluster.wires if w[1] == "K2"][3]
    cluster.wires.remove(lost)
    cluster.settle()
    assert cluster["K2"].state.log.last_index == 7
    assert leader.observer.resent == 2 * (10_000 + ENTRY_OVERHEAD_BYTES)


def test_a_large_entry_is_not_sent_before_the_logs_are_known_to_meet():
    """A probe that is refused costs hardly a byte."""
    cluster = Cluster(3)
    cluster["K3"].crash()
    leader = cluster.elect("K1")
    leader.propose(b"x" * 100_000)
    cluster.settle()
    cluster["K3"].restart()
    while cluster["K3"].state.log.last_index < 3:
        leader.node.tick()
        leader.ready()
        assert [len(m.entries) for m in appends(cluster, "K3")] in ([], [0], [2])
        cluster.settle()


def test_what_is_in_flight_follows_the_link():
    """Twice what the link carries: the rest waits in the log, and not before the heartbeats."""
    cluster = Cluster(3)
    leader = cluster.elect("K1")
    leader.node.tick({"K2": 10_000})
    leader.ready()
    cluster.wires.clear()
    for _ in range(100):
        leader.propose(b"x" * 1000)
    leader.ready()
    in_flight = {to: sum(len(e.data) for m in appends(cluster, to) for e in m.entries) for to in ("K2", "K3")}
    assert 15_000 <= in_flight["K2"] <= 30_000
    assert in_flight["K3"] == 100_000
    assert all(sum(entry_bytes(e) for e in m.entries) <= 10_000 for m in appends(cluster, "K2"))
    cluster.settle()
    assert cluster["K2"].state.log.last_index == leader.state.log.last_index


def test_an_entry_larger_than_the_link_carries_goes_alone_and_whole():
    cluster = Cluster(3)
    leader = cluster.elect("K1")
    leader.node.tick({"K2": 1_000, "K3": 1_000})
    for _ in range(3):
        leader.propose(b"x" * 50_000)
    leader.ready()
    assert [len(m.entries) for m in appends(cluster, "K2") if m.entries] == [1]
    cluster.settle()
    assert leader.state.commit == leader.state.log.last_index


def test_a_window_opens_when_the_link_becomes_wider():
    cluster = Cluster(3)
    leader = cluster.elect("K1")
    leader.node.tick({"K2": 1_000})
    for _ in range(10):
        leader.propose(b"x" * 1_000)
    leader.ready()
    before = len(appends(cluster, "K2"))
    leader.node.tick({"K2": 1 << 20})
    leader.ready()
    assert len(appends(cluster, "K2")) > before
    cluster.settle()
    assert leader.observer.resent == 0


@pytest.mark.parametrize(
    ("links", "pace"),
    [
        ({}, SETTINGS.inflight_bytes),
        ({"K2": 1_000}, SETTINGS.inflight_bytes),  # K3 is enough
        ({"K2": 1_000, "K3": 5_000}, 10_000),
        ({"K2": 1 << 40, "K3": 1 << 40}, SETTINGS.inflight_bytes),
    ],
)
def test_proposals_are_paced_by_the_links_of_the_fastest_majority(links, pace):
    cluster = Cluster(3)
    leader = cluster.elect("K1")
    leader.node.tick(links)
    assert leader.state.pace == pace
