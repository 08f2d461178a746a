"""After the process of a node that led many groups is gone: who asks first, in how few messages."""

from collections import Counter

import pytest

from kraft.host.admin.leader_spread import leader_order
from kraft.raft.messages import PreVote, Vote
from tests.host.test_groups import Grouped
from tests.simulation.process import Process

MANY = 12


@pytest.mark.parametrize("nodes", [1, 2, 3, 5])
def test_the_order_of_a_group_has_each_voter_once_and_the_preferred_leader_first(nodes):
    voters = tuple(f"K{n + 1}" for n in range(nodes))
    for group in range(50):
        order = leader_order(group, voters)
        assert order[0] == voters[group % nodes]
        assert sorted(order) == sorted(voters)
    assert leader_order(0, ()) == ()


@pytest.mark.parametrize("nodes", [3, 5])
def test_the_survivors_of_a_node_are_next_for_equally_many_of_its_groups(nodes):
    voters = tuple(f"K{n + 1}" for n in range(nodes))
    lost = range(0, nodes * (nodes - 1) * 4, nodes)
    shares = Counter(leader_order(group, voters)[1] for group in lost)
    assert shares == dict.fromkeys(voters[1:], 4)


def led(cluster, id_):
    return [group for group in range(cluster.group_count) if cluster.leaders(group) == [id_]]


@pytest.fixture
def many():
    """Twelve groups, each led by its preferred leader."""
    cluster = Grouped(groups=MANY, spares=0)
    for group in range(MANY):
        [leader] = cluster.leaders(group)
        preferred = f"K{group % 3 + 1}"
        if leader != preferred:
            cluster.host(leader).groups[group].transfer_leadership(preferred)
    assert cluster.run(2, lambda: all(cluster.leaders(g) == [f"K{g % 3 + 1}"] for g in range(MANY)))
    cluster.run(1)  # all followers know it
    return cluster


@pytest.mark.parametrize("nodes", [3, 5])
def test_each_group_elects_its_preferred_leader_at_first(nodes):
    """Else two thirds of the leaders would be handed over, one after the other, while nobody can write."""
    cluster = Grouped(nodes, groups=MANY, spares=0)
    assert [cluster.leaders(group) for group in range(MANY)] == [[f"K{g % nodes + 1}"] for g in range(MANY)]
    assert cluster.world.counts["leader elected"] == MANY


def test_after_a_start_of_all_the_next_in_order_leads_for_one_that_is_missing(many):
    orders = {group: leader_order(group, ("K1", "K2", "K3")) for group in range(MANY)}
    for node in many.nodes.values():
        node.crash()
    many.nodes["K2"].start()
    many.nodes["K3"].start()
    assert many.run(5, lambda: all_led(many))
    remaining = {group: [id_ for id_ in order if id_ != "K1"] for group, order in orders.items()}
    assert [many.leaders(group) for group in range(MANY)] == [remaining[group][:1] for group in range(MANY)]


def all_led(cluster):
    return all(cluster.leaders(group) for group in range(MANY))


def test_survivors_share_the_groups_of_a_dead_node_and_ask_for_them_in_one_frame(many, monkeypatch):
    frames: Counter[tuple[str, type]] = Counter()
    send = Process.send

    def counted(self, peer, messages):
        kinds = {type(message) for _, message in messages} & {PreVote, Vote}
        frames.update((self.id, kind) for kind in kinds if peer != "K1")
        return send(self, peer, messages)

    commits: Counter[str] = Counter()
    for id_ in ("K2", "K3"):
        disk = many.nodes[id_].process.disk
        commit = disk.commit

        def counted_commit(transaction, done, id_=id_, commit=commit):
            commits[id_] += 1
            commit(transaction, done)

        monkeypatch.setattr(disk, "commit", counted_commit)
    monkeypatch.setattr(Process, "send", counted)
    assert led(many, "K1") == [0, 3, 6, 9]
    many.nodes["K1"].crash()
    assert many.run(0.3, lambda: all_led(many))
    assert (led(many, "K2"), led(many, "K3")) == ([0, 1, 4, 6, 7, 10], [2, 3, 5, 8, 9, 11])
    assert [frames[id_, Vote] for id_ in ("K2", "K3")] == [1, 1]
    assert max(frames.values()) <= 2  # a node may ask again before it is answered
    assert max(commits.values()) <= 6  # own votes, votes for the other, and the first entries, for all groups


def test_a_drained_survivor_asks_for_no_group(many):
    for group in many.host("K2").groups.values():
        group.drain(True)
    many.run(1)
    many.nodes["K1"].crash()
    assert many.run(0.3, lambda: all_led(many))
    assert led(many, "K3") == [0, 2, 3, 5, 6, 8, 9, 11]


def test_nobody_waits_for_a_survivor_that_cannot_lead(many):
    """The next one asks as early as if it came first, and not a heartbeat interval later."""
    for group in many.host("K2").groups.values():
        group.drain(True)
    many.run(1)
    lost = led(many, "K1")
    many.nodes["K1"].crash()
    assert many.run(0.09, lambda: all(many.leaders(group) == ["K3"] for group in lost))


def test_the_next_in_rank_asks_when_the_first_one_does_not(many):
    """Here nothing is known of what keeps it from that."""
    many.host("K2").groups[0].raft.drain(True)
    many.nodes["K1"].crash()
    assert many.run(0.6, lambda: many.leaders(0) == ["K3"])
