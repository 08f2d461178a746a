"""Ticks that need no call: who skips them does at each tick what one does that counts them singly."""

import pytest

from kraft.raft.messages import Heartbeat, HeartbeatReply
from kraft.raft.ports import RaftSettings
from tests.raft.builder import lone, lone_leader
from tests.raft.network import Cluster

WIDE = RaftSettings(election_ticks=12, heartbeat_ticks=4)  # the shortest timeout that options allow


def passes(node):
    """Let time pass up to the end of the next call; return how many ticks that took."""
    spare = node.spare_ticks
    if spare:
        node.skip(spare)
    node.tick()
    return spare + 1


def test_a_leader_skips_the_ticks_between_its_heartbeats():
    peer = lone_leader(2)
    peer.answers()
    ticks, beats = 0, []
    while ticks < 7:
        ticks += passes(peer.node)
        if any(isinstance(message, Heartbeat) for _, message in peer.answers()):
            beats.append(ticks)
        for follower in ("K2", "K3"):
            peer.node.step(follower, HeartbeatReply(2, 0, 0))
    assert beats == [2, 4, 6, 8]


def test_heartbeats_come_in_time_after_ticks_that_were_counted_singly():
    peer = lone_leader(2)
    peer.answers()
    peer.node.tick()
    assert peer.node.spare_ticks == 0
    peer.node.tick()
    assert any(isinstance(message, Heartbeat) for _, message in peer.answers())
    assert peer.node.spare_ticks == 1


def test_a_leader_that_hands_over_skips_nothing():
    cluster = Cluster(3)
    cluster.elect("K1")
    leader = cluster["K1"].node
    assert leader.spare_ticks == 1
    cluster["K2"].up = False
    leader.transfer("K2")
    assert leader.spare_ticks == 0


@pytest.mark.parametrize("jitter", range(12))
def test_a_follower_campaigns_at_the_tick_at_which_one_does_that_skips_nothing(jitter):
    single, skipping = (lone(1, 1, settings=WIDE) for _ in range(2))
    counts = []
    for peer in (single, skipping):
        peer.jitter = jitter
        peer.node.step("K1", Heartbeat(1, 1, 0, 1))
        peer.answers()
    for peer, step in ((single, None), (skipping, passes)):
        ticks = 0
        while peer.state.role == "follower":
            assert ticks < 30
            if step is None:
                peer.node.tick()
                ticks += 1
            else:
                ticks += step(peer.node)
        counts.append(ticks)
    assert counts[0] == counts[1] >= 12


def test_who_has_no_leader_skips_nothing():
    peer = lone(1, 1, settings=WIDE)
    assert peer.node.spare_ticks == 0
    peer.node.campaign()
    assert peer.state.role == "precandidate"
    assert peer.node.spare_ticks == 0
