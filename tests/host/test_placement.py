"""Votes that the cluster places itself, on the simulator's clock, disks and network."""

from collections import Counter
from dataclasses import replace
from itertools import pairwise

import pytest

from kraft.host.placement.placement_commands import ALL, OWN, RETURNING
from kraft.host.placement.placer import INCOMING_MAX, LEAVING_SECONDS, LOOK_SECONDS, STEPS_MAX
from kraft.host.placement.replica_plan import VoteStep
from kraft.kv import commands as kv
from kraft.kv.placement import saved_placement
from kraft.kv.versions import REPLICA_NUMBERS
from kraft.node import admin
from kraft.node.errors import AdminRefused
from tests.host.test_created_groups import Growing
from tests.simulation.cluster import SimulatedCluster
from tests.simulation.network import Weather
from tests.simulation.world import World

NODES = [f"K{number}" for number in range(1, 7)]
ZONES = dict(zip([*NODES, "K7", "K8"], "aabbccab", strict=True))


class Placed(Growing):
    """Six nodes in three zones, with several groups. `seen` has the voters that each group had, in order."""

    def __init__(self, groups=8, nodes=6, spares=2):
        super().__init__(groups=groups, nodes=nodes, spares=spares)
        self.seen = {group: [self.voters(group)] for group in range(groups)}

    def start(self):
        for id_, node in self.nodes.items():
            node.config = replace(node.config, node=replace(node.config.node, zone=ZONES[id_]))
            node.machine_version = self.version
        super().start()

    def voters(self, group):
        return self.checks.committed[group].configuration.voters

    def note(self):
        for group, seen in self.seen.items():
            voters = self.voters(group)
            if voters != seen[-1]:
                seen.append(voters)

    def votes(self):
        """The votes of each member, without group 0, which has more voters."""
        counts = Counter(id_ for group in range(1, self.group_count) for id_ in self.voters(group))
        return {id_: counts[id_] for id_ in self.members_of(0)}

    def wide(self, size=3):
        """Whether each group has so many voters, all of them in different zones."""
        self.note()
        return all(
            len(self.voters(group)) == len({ZONES[id_] for id_ in self.voters(group)}) == size
            for group in range(1, self.group_count)
        )

    @property
    def state(self):
        """What group 0 says, by the replica that has applied most of it."""
        replicas = [p.host.groups[0] for p in self.processes() if 0 in p.host.groups]
        states = [saved_placement(each.state.machine.keyspace.ledger) for each in replicas]
        return max(states, key=lambda state: state.version)

    def settled(self):
        """Whether votes are where they should be, and group 0 says so."""
        self.note()
        return self.state.version > 0 and not self.state.settling

    def place(self, replication=3, node="K2"):
        self.carried_out(admin.SetReplication(replication), node)

    def carried_out(self, command, node="K3"):
        """The outcome of a command that lets votes move, once they have."""
        version = self.state.version
        outcome = self.order(node, command)
        assert self.run(120, lambda: self.state.version > version and self.settled())
        return outcome


@pytest.fixture
def cluster():
    return Placed()


def refused(outcome):
    assert isinstance(outcome, AdminRefused)
    return str(outcome)


def test_three_nodes_of_three_zones_vote_in_each_group(cluster):
    cluster.place(3)
    assert cluster.wide()
    votes = cluster.votes().values()
    assert sum(votes) == 7 * 3
    assert max(votes) - min(votes) <= 1
    assert len(cluster.voters(0)) == 5, "group 0 decides for all groups"
    assert cluster.members_of(0) == NODES
    assert cluster.run(60, lambda: all(len(cluster.members_of(group)) == 3 for group in range(1, 8)))
    for group in range(8):
        assert cluster.write(group, kv.Increment(b"n", 1), node=NODES[group % 6]) == [1]
        assert cluster.leaders(group)[0] in cluster.voters(group)


def test_until_all_nodes_know_numbers_of_replicas_the_others_keep_a_copy(monkeypatch):
    monkeypatch.setattr(Placed, "version", REPLICA_NUMBERS - 1)
    cluster = Placed()
    cluster.place(3)
    assert cluster.wide()
    cluster.run(30)
    assert all(cluster.members_of(group) == NODES for group in range(8))
    assert cluster.has(8)


def test_before_that_nothing_is_in_the_ledger_and_every_member_votes(cluster):
    assert not cluster.processes()[0].host.groups[0].state.machine.keyspace.ledger.rows
    cluster.run(5)
    assert all(cluster.voters(group) == tuple(NODES) for group in range(8))
    assert cluster.order("K1", admin.SetReplication(0)) == "OK"
    assert not cluster.processes()[0].host.groups[0].state.machine.keyspace.ledger.rows


def test_one_group_has_as_many_voters_as_any():
    cluster = Placed(groups=1)
    cluster.place(3)
    assert len(cluster.voters(0)) == 3
    assert cluster.create(3) == 3
    assert cluster.run(
        60, lambda: [len(log.configuration.voters) for log in cluster.checks.committed] == [5, 3, 3]
    )


def test_all_members_vote_again(cluster):
    cluster.place(3)
    cluster.place(0, "K5")
    assert all(cluster.voters(group) == tuple(NODES) for group in range(8))
    assert not cluster.state.active
    assert cluster.order("K1", admin.Demote("K6")) == "OK"
    cluster.run(10)
    assert all("K6" not in cluster.voters(group) for group in range(8)), "nobody gives it back"


def test_a_node_that_is_added_gets_votes_when_they_are_rebalanced(cluster):
    cluster.place(3)
    address = cluster.stand_by("K7")
    assert cluster.order("K2", admin.Add("K7", address)) == "OK"
    cluster.run(20)
    assert cluster.votes()["K7"] == 0
    told = cluster.order("K3", admin.RebalanceReplicas(dry=True))
    cluster.run(5)
    assert cluster.votes()["K7"] == 0
    gains = [step for step in told if "K7" in step["to"]]
    assert gains
    assert all(len(step["to"]) == len(step["voters"]) for step in told)
    assert cluster.carried_out(admin.RebalanceReplicas()) == told
    votes = cluster.votes().values()
    assert cluster.wide()
    assert max(votes) - min(votes) <= 2, "of zone a, three nodes share a third of the votes"
    assert cluster.votes()["K7"] == len([step for step in gains if step["group"]])
    assert cluster.order("K1", admin.RebalanceReplicas()) == []


def test_after_a_recovery_nodes_that_are_added_get_votes_until_there_are_enough():
    """One node has the only vote of each group then, and group 0 says that three should vote."""
    cluster = Placed(groups=4, nodes=1, spares=5)
    assert cluster.order("K1", admin.SetReplication(3, force=True)) == "OK"
    for id_ in ("K3", "K5"):
        assert cluster.order("K1", admin.Add(id_, cluster.stand_by(id_))) == "OK"
    assert cluster.run(120, cluster.wide), "nobody has to ask for it"
    for id_ in ("K2", "K4", "K6"):
        assert cluster.order("K1", admin.Add(id_, cluster.stand_by(id_))) == "OK"
    cluster.carried_out(admin.RebalanceReplicas(), "K1")
    assert cluster.wide()
    assert set(cluster.votes().values()) <= {1, 2}
    assert cluster.run(60, lambda: all(len(cluster.members_of(group)) == 3 for group in range(1, 4)))


def test_a_node_whose_votes_nobody_can_take_stays(cluster):
    cluster.place(3)
    for id_ in ("K4", "K5", "K6"):  # of K1, K2 and K3, group by group some have a majority
        cluster.nodes[id_].crash()
    assert cluster.run(20, lambda: bool(cluster.leaders(0)))
    group = next(group for group in range(1, 8) if cluster.leaders(group))
    node = cluster.leaders(group)[0]
    version, votes = cluster.state.version, cluster.votes()
    text = refused(cluster.order(node, admin.Remove(node)))
    assert f"could not do without the vote of {node} yet" in text
    assert "without a leader no group can change its voters" in text
    cluster.run(20)
    assert (cluster.state.version, cluster.votes()) == (version, votes), "nothing was changed before"
    assert node in cluster.members_of(group)


def test_a_node_whose_removal_takes_too_long_gets_its_votes_back(cluster):
    """Those that went to other nodes meanwhile."""
    cluster.place(3)
    node = "K4" if cluster.leader != "K4" else "K3"
    before = cluster.votes()[node]
    steps = [0]
    for process in cluster.processes():  # after two votes no group gives up any more
        for group in process.host.groups.values():
            do = group.membership.do

            def few(command, done, do=do):
                is_step = isinstance(command, admin.SetVoters | admin.PlaceReplica)
                if is_step and steps[0] >= 2 and cluster.state.leaving:
                    done(AdminRefused("not now"))
                else:
                    steps[0] += is_step
                    do(command, done)

            group.membership.do = few
    text = refused(cluster.order("K1", admin.Remove(node)))
    assert f"could not do without the vote of {node} yet" in text
    assert cluster.votes()[node] < before
    assert cluster.run(60, lambda: cluster.settled() and cluster.votes()[node] == before)


def test_a_node_that_is_down_gets_no_vote(cluster):
    cluster.nodes["K6"].crash()
    cluster.run(5)
    assert cluster.order("K1", admin.SetReplication(3)) == "OK"
    assert cluster.run(60, cluster.wide)
    cluster.run(10)
    assert set(cluster.votes()) == set(NODES)
    assert cluster.votes()["K6"] == 0
    assert cluster.state.settling
    cluster.nodes["K6"].start()
    assert cluster.run(60, cluster.settled)
    assert cluster.wide()
    assert cluster.votes()["K6"] > 0


def test_only_a_few_steps_are_under_way_and_no_node_gets_many_votes_at_once(cluster):
    cluster.place(3)
    address = cluster.stand_by("K7")
    assert cluster.order("K2", admin.Add("K7", address)) == "OK"
    asked: list[object] = []
    for process in cluster.processes():  # no step ends
        process.host._admin.ask = lambda _group, change, _done: asked.append(change)
    assert cluster.order("K1", admin.RebalanceReplicas())
    cluster.run(5)
    votes = [set(each.voters) - set(each.before) for each in asked if isinstance(each, admin.SetVoters)]
    copies = [{each.node} for each in asked if isinstance(each, admin.PlaceReplica)]
    assert sum("K7" in gaining for gaining in [*votes, *copies]) == INCOMING_MAX
    assert len(asked) <= STEPS_MAX


def test_a_group_has_one_step_under_way(monkeypatch):
    """Steps that wait begin when others end, but not while the next plan is made: it has steps of its own."""
    cluster = Placed(groups=STEPS_MAX + 4)
    under_way: dict[int, admin.AdminDone] = {}
    twice: list[int] = []

    def ask(group, _change, done):
        if group in under_way:
            twice.append(group)
        under_way[group] = done

    for process in cluster.processes():
        monkeypatch.setattr(process.host._admin, "ask", ask)
    assert cluster.order("K2", admin.SetReplication(3)) == "OK"
    assert cluster.run(5, lambda: len(under_way) == STEPS_MAX)
    cluster.run(LOOK_SECONDS)
    ended = dict(under_way)
    under_way.clear()
    for done in ended.values():  # as if the votes had moved: groups that wait are in the next plan as well
        done("OK")
    for _ in range(2 * STEPS_MAX):
        cluster.run(0.2)
        if under_way:
            under_way.popitem()[1]("OK")
    assert not twice


def test_what_the_placement_would_undo_is_refused(cluster):
    cluster.place(3)
    address = cluster.stand_by("K7")
    learner = cluster.members_of(1)[0]
    for command in (admin.Promote(learner), admin.Demote("K2"), admin.Add("K7", address, learner=True)):
        assert refused(cluster.order("K4", command)) == OWN


@pytest.mark.parametrize("command", [admin.Demote("K6"), admin.Remove("K6")])
def test_a_node_that_lags_asks_group_0_before_it_changes_members(cluster, command):
    """It has not applied yet what another node has set."""
    assert cluster.order("K2", admin.SetReplication(3)) == "OK"
    states = {id_: cluster.host(id_).groups[0].state.machine.keyspace.ledger for id_ in NODES}
    late = next(id_ for id_, ledger in states.items() if not saved_placement(ledger).active)
    outcome = cluster.order(late, command)
    if isinstance(command, admin.Demote):
        assert refused(outcome) == OWN
    else:
        assert outcome == "OK"
        assert cluster.run(60, cluster.wide)


def test_a_node_that_was_removed_may_come_back_and_get_votes(cluster):
    cluster.place(3)
    node = cluster.nodes["K4" if cluster.leader != "K4" else "K3"]
    assert cluster.order("K1", admin.Remove(node.id)) == "OK"
    assert cluster.run(1, lambda: cluster.state.leaving == ())
    node.crash()
    node.wipe()
    address = cluster.stand_by(node.id)
    assert cluster.order("K1", admin.Add(node.id, address)) == "OK"
    cluster.run(20)
    assert cluster.carried_out(admin.RebalanceReplicas())
    assert cluster.votes()[node.id] > 0


def test_a_name_that_is_left_marked_is_cleared_when_a_node_of_it_is_added(cluster):
    cluster.place(3)
    address = cluster.stand_by("K7")
    state = cluster.state
    mark = kv.ChangePlacement(state.version, state.replication, state.settling, ("K7",))
    assert cluster.write(0, mark) == [[1, state.version + 1]]
    assert cluster.order("K2", admin.Add("K7", address)) == "OK"
    assert cluster.run(1, lambda: cluster.state.leaving == ())


def test_marks_of_nodes_that_are_gone_are_cleared_while_steps_wait(cluster):
    cluster.place(3)
    cluster.nodes["K6"].crash()
    cluster.run(5)
    state = cluster.state
    cluster.write(0, kv.ChangePlacement(state.version, 3, True, ("K9",)))
    assert cluster.run(10, lambda: not cluster.state.leaving)
    assert cluster.state.settling


def test_a_mark_that_nobody_removes_the_node_for_is_cleared_after_a_minute(cluster):
    """A backup was taken while the node was leaving, or the node that was asked to remove it has died."""
    cluster.place(3)
    state = cluster.state
    cluster.write(0, kv.ChangePlacement(state.version, 3, True, ("K6",)))
    assert cluster.run(30, lambda: not cluster.votes()["K6"])
    assert cluster.run(20, cluster.settled), "nobody waits for it"
    assert cluster.state.leaving == ("K6",), "a removal may be under way"
    wait = LEAVING_SECONDS + 15  # group 0 has another leader meanwhile, which counts from its own beginning
    assert cluster.run(wait, lambda: not cluster.state.leaving)
    assert cluster.carried_out(admin.RebalanceReplicas())
    assert cluster.votes()["K6"] > 0


def misplaced(cluster):
    """What each node counts, as its status tells: that is not asked at each event, as it takes long."""
    return {process.id: process.host._placer.misplaced for process in cluster.processes()}


def test_groups_whose_votes_cannot_move_are_counted_at_the_leader_of_group_0():
    """Three of four nodes vote while the last one is down, so nobody can take a vote of theirs."""
    cluster = Placed(nodes=4)
    down, leaves = [id_ for id_ in NODES[:4] if id_ != cluster.leader][:2]
    cluster.nodes[down].crash()
    cluster.run(5)
    assert cluster.order(cluster.leader, admin.SetReplication(3)) == "OK"
    others = tuple(id_ for id_ in NODES[:4] if id_ != down)
    assert cluster.run(60, lambda: {cluster.voters(group) for group in range(1, 8)} == {others})
    cluster.run(15)
    assert set(misplaced(cluster).values()) == {0}
    state = cluster.state
    cluster.write(0, kv.ChangePlacement(state.version, 3, True, (leaves,)))
    assert cluster.run(15, lambda: sorted(misplaced(cluster).values()) == [0, 0, 7])
    assert misplaced(cluster)[cluster.leaders(0)[0]] == 7
    assert cluster.host(cluster.leaders(0)[0]).status().misplaced_groups == 7
    cluster.nodes[down].start()
    assert cluster.run(60, lambda: not any(misplaced(cluster).values()))


def test_a_step_that_is_refused_is_counted_until_no_step_is_wanted(cluster):
    cluster.place(3)
    cluster.run(15)  # until the leaders are spread
    leader = cluster.leaders(0)[0]
    placer = cluster.host(leader)._placer
    voters = cluster.voters(1)
    others = tuple(sorted([*voters[:2], next(id_ for id_ in NODES if id_ not in voters)]))
    placer._waiting = [VoteStep(1, ("K1",), others)]  # as if a command had changed the voters meanwhile
    assert cluster.run(20, lambda: misplaced(cluster)[leader] == 1)
    assert cluster.run(60, lambda: misplaced(cluster)[leader] == 0)
    assert cluster.voters(1) == voters


def test_a_replacement_that_ended_half_way_is_finished_by_the_same_command(cluster):
    cluster.place(3)
    node = "K3" if cluster.leader != "K3" else "K4"
    cluster.nodes[node].crash()
    cluster.run(10)
    address = cluster.stand_by("K8")
    asked = cluster.leader
    done: list[object] = []
    half = next(g for g in range(1, 8) if node in cluster.voters(g))
    for group in (0, half):  # as if the command had ended after these
        [leader] = cluster.leaders(group)
        replace_ = admin.Replace(node, "K8", address)
        cluster.host(leader).groups[group].membership.do(replace_, done.append)
        count = len(done)
        assert cluster.run(20, lambda count=count: len(done) > count)
    assert done == ["OK", "OK"]
    assert cluster.order(asked, admin.Replace(node, "K8", address)) == "OK"
    assert cluster.run(60, lambda: all(node not in cluster.members_of(g) for g in range(8)))


def test_few_voters_and_votes_for_learners_need_force(cluster):
    for count in (1, 2):
        assert "no group survives the loss of one" in refused(
            cluster.order("K1", admin.SetReplication(count))
        )
    assert cluster.order("K1", admin.Demote("K6")) == "OK"
    text = refused(cluster.order("K1", admin.SetReplication(3)))
    assert text.startswith("K6 would be given votes: remove or promote the learners first")
    assert cluster.state.version == 0
    assert cluster.order("K1", admin.SetReplication(2, force=True)) == "OK"
    assert cluster.run(60, lambda: cluster.wide(2))


def test_what_waits_while_all_members_get_their_votes_back_is_told(cluster):
    cluster.place(3)
    cluster.nodes["K6"].crash()
    cluster.run(5)
    assert cluster.order("K2", admin.SetReplication(0)) == "OK"
    cluster.run(30)
    assert cluster.state.settling
    assert refused(cluster.order("K2", admin.Demote("K5"))) == RETURNING
    assert refused(cluster.order("K2", admin.RebalanceReplicas())) == RETURNING


def test_what_needs_a_placement_is_refused_without_one(cluster):
    assert refused(cluster.order("K4", admin.RebalanceReplicas())) == ALL


def test_a_node_that_is_no_member_is_not_marked(cluster):
    cluster.place(3)
    version = cluster.state.version
    assert "K9 is not a member" in refused(cluster.order("K4", admin.Remove("K9")))
    assert cluster.state.version == version


def replicas(cluster):
    """Of how many groups each node has a replica."""
    return {process.id: len(process.host.groups) for process in cluster.processes()}


def test_it_is_shown(cluster):
    cluster.place(3)
    shown = cluster.order("K5", admin.ShowReplication())
    assert shown["replication"] == 3
    assert (shown["settling"], shown["leaving"], shown["steps"]) == (0, [], 0)
    assert shown["zones"] == {id_: ZONES[id_] for id_ in NODES}
    assert sum(shown["votes"].values()) == 7 * 3 + 5
    assert cluster.run(
        60, lambda: cluster.order("K5", admin.ShowReplication())["replicas"] == replicas(cluster)
    )
    status = cluster.host("K5").status()
    assert status.replication == 3
    assert all(member.voter and member.votes == shown["votes"][member.id] for member in status.members)


def test_a_step_from_other_voters_than_there_are_is_refused(cluster):
    answers: list[object] = []
    [leader] = cluster.leaders(3)
    step = admin.SetVoters(3, ("K1", "K2"), ("K1", "K3"))
    cluster.host(leader).groups[3].membership.do(step, answers.append)
    assert cluster.run(20, lambda: bool(answers))
    assert "the voters are K1, K2, K3, K4, K5, K6 by now" in refused(answers[0])


def test_leaders_spread_over_all_nodes(cluster):
    cluster.place(3)
    leaders = lambda: [cluster.leaders(group) for group in range(8)]  # noqa: E731
    assert cluster.run(120, lambda: all(map(len, leaders())) and len({x[0] for x in leaders()}) >= 5)


def test_all_members_have_to_know_how():
    cluster = SimulatedCluster(World(1), Weather(), 3, 2)
    cluster.nodes["K3"].machine_version = kv.ChangePlacement.since - 1
    cluster.start()
    assert cluster.run(20, lambda: len(cluster.leaders()) == 1)
    cluster.run(10)
    answers: list[object] = []
    process = cluster.nodes["K1"].process
    assert process is not None
    process.host.admin(admin.SetReplication(3), answers.append)
    assert cluster.run(20, lambda: bool(answers))
    needed = f"placing votes needs machine version {kv.ChangePlacement.since}"
    assert refused(answers[0]).startswith(needed)
    assert "upgrade K3" in refused(answers[0])


def test_the_voters_change_as_little_as_possible(cluster):
    cluster.place(3)
    assert all(len(seen) <= 3 for seen in cluster.seen.values())
    for seen in cluster.seen.values():
        for before, after in pairwise(seen):
            assert set(before) & set(after)
