"""One node of a cluster, with a past, whose other nodes are played by the test."""

from kraft.raft.messages import PreVoteReply, VoteReply
from kraft.raft.ports import RaftSettings, Restored
from tests.raft.network import Cluster, Peer
from tests.raft.values import SETTINGS, past


def lone(
    term: int = 1,
    *terms: int,
    name: str = "K2",
    commit: int = 1,
    vote: str = "",
    size: int = 3,
    settings: RaftSettings = SETTINGS,
    restored: Restored | None = None,
) -> Peer:
    """`name` of the nodes K1 to K`size`, restarted with the past of these arguments, or with `restored`."""
    if restored is None:
        restored = past(term, *terms, commit=commit, vote=vote)
    cluster = Cluster(size, restored={name: restored}, settings=settings)
    cluster.checker.sees_all = False
    for other, peer in cluster.peers.items():
        peer.up = other == name
    return cluster[name]


def lone_leader(term: int, *terms: int, name: str = "K1") -> Peer:
    """One of three, which leads `term` by the vote of K2.

    Its log has the first entry, entries of `terms` and its no-op, which it has not sent yet.
    """
    peer = lone(term - 1, *terms, name=name)
    peer.node.campaign()
    peer.answers()
    peer.node.step("K2", PreVoteReply(term, True))
    peer.answers()
    peer.node.step("K2", VoteReply(term, True, 0))
    assert (peer.state.role, peer.state.term) == ("leader", term)
    return peer
