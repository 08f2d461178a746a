"""Changes of the members, as an administrator sees them at the leader."""

from types import SimpleNamespace
from typing import Any, cast

import pytest

from kraft.host.membership.changes import COMMANDS_MAX, MembershipChanges
from kraft.host.membership.formation import Formation, cluster_id
from kraft.node import admin
from kraft.node.errors import AdminRefused, NotLeader, Stopping, Uncertain
from kraft.node.values import Identity
from kraft.peerwire.hello import Hello
from kraft.peerwire.messages import Invitation
from kraft.raft.errors import ChangeRefused, LogFull
from kraft.raft.membership import changes
from kraft.raft.membership.configuration import Configuration, Joining, Member
from kraft.raft.ports import RaftSettings
from kraft.raft.progress import FollowerStatus
from kraft.raft.transfer import best_successor
from tests.host.fakes import Clock

TICK = 0.025
ELECTION_TICKS = 20
STEADY = 4 * ELECTION_TICKS * TICK


def member(id_, directory="a"):
    return Member(id_, directory * 31 + id_[-1], f"{id_.lower()}:1")


class Replica:
    """A leader whose followers have the `lag`, `silent` and `states` that the test sets, by id."""

    def __init__(self, *ids):
        self.id = self.leader = "K1"
        self.state = self.log = self  # what is read of a `Raft` is read of its state and of its log
        self.settings = RaftSettings(election_ticks=ELECTION_TICKS, heartbeat_ticks=4)
        self.term = 3
        self.first_index, self.last_index, self.commit = 1, 1000, 1000
        self.configuration = Configuration.of_voters(tuple(member(i) for i in ids))
        self.configuration_index = 1
        self.leads_with_commit = True
        self.lag, self.silent, self.states = {}, {}, {}
        self.refuses = None
        self.auto = True  # entries are committed at once

    @property
    def leads(self):
        return self.leader == self.id

    def term_at(self, index):
        assert self.first_index - 1 <= index <= self.last_index
        return self.term

    def progress(self):
        ids = [m.id for m in self.configuration.everyone if m.id != self.id]
        return tuple(
            FollowerStatus(
                i,
                max(0, self.last_index - self.lag.get(i, 0)),
                self.last_index + 1,
                self.states.get(i, "replicate"),
                0,
                self.silent.get(i, 1),
            )
            for i in ids
        )

    def reconfigure(self, target):
        if self.refuses is not None:
            raise self.refuses
        c = self.configuration
        assert not c.joint
        assert target.fault() is None
        same = c.voters == target.voters
        joint = Configuration(c.members, c.voters, c.learners, c.joining, c.retired, target)
        self._append(target if same else joint)
        logged = self.last_index, self.term
        if self.auto:
            self.commit_all()
        return logged

    def commit_all(self):
        """Everything is committed, and a joint configuration left."""
        self.commit = self.last_index
        if self.configuration.joint:
            self._append(self.configuration.target)
            self.commit = self.last_index

    def _append(self, configuration):
        self.last_index += 1
        self.configuration, self.configuration_index = configuration, self.last_index


class Network:
    def __init__(self):
        self.dialled, self.sent, self.closed = [], [], []

    def introduce(self, peer, address):
        self.dialled.append((peer, address))

    def send(self, peer, messages):
        self.sent += [(peer, message) for _, message in messages]
        return True

    def congested(self):
        return []

    def windows(self):
        return {}

    def greet_again(self, peer):
        self.closed.append(peer)

    def connect(self, peer, address):
        raise AssertionError("the configuration's links are the host's")

    def disconnect(self, peer):
        raise AssertionError("the configuration's links are the host's")


class Observer:
    def __init__(self):
        self.events = []

    def event(self, name, **fields):
        self.events.append((name, fields))


class Story:
    """The leader K1, its followers, and the greetings of other nodes."""

    def __init__(self, *ids):
        self.clock = Clock()
        self.node = Replica(*ids)
        self.network = Network()
        self.observer = Observer()
        founders = self.node.state.configuration.members
        identity = Identity("K1", member("K1").incarnation, cluster_id(founders), founders)
        self.formation = Formation(identity, "k1:1", frozenset(ids))
        self.hellos = {i: self.hello(i, cluster=identity.cluster) for i in ids if i != "K1"}
        self.answers = []
        self.failures: dict[str, str] = {}
        peers = SimpleNamespace(
            formation=self.formation,
            network=self.network,
            hello_of=self.hellos.get,
            failures=self.failures,
            announced_by=self.announced,
        )
        self.membership = MembershipChanges(
            0,
            cast(Any, self.node),
            cast(Any, peers),
            self.clock,
            cast(Any, self.observer),
            groups=1,
            election_ticks=ELECTION_TICKS,
            tick_seconds=TICK,
        )
        self.run(1)

    @staticmethod
    def hello(id_, directory="a", cluster="", standby=False, peer=None):
        one = member(id_, directory)
        return Hello(id_, one.incarnation, cluster, (), one.peer if peer is None else peer, standby=standby)

    def greets(self, id_, directory="a", **how):
        """A node in standby answers the call."""
        self.hellos[id_] = self.hello(id_, directory, standby=how.pop("standby", True), **how)

    def announced(self, id_):
        """Where a linked node says that it is."""
        return self.formation.address if id_ == "K1" else self.hellos[id_].peer if id_ in self.hellos else ""

    def run(self, ticks=None, *, seconds=0.0):
        for _ in range(ticks or round(seconds / TICK)):
            self.clock.advance(TICK)
            self.membership.tick(self.clock.seconds())

    def do(self, command, ticks=2):
        self.membership.do(command, self.answers.append)
        self.run(ticks)

    def down(self, *ids):
        for id_ in ids:
            self.node.silent[id_] = 1000
            self.hellos.pop(id_, None)

    @property
    def refusal(self):
        """The text of the one answer there is."""
        [answer] = self.answers
        assert isinstance(answer, AdminRefused), answer
        return str(answer)

    @property
    def voters(self):
        return self.node.state.configuration.voters


@pytest.fixture
def trio():
    return Story("K1", "K2", "K3")


# Adding a node


def test_a_node_in_standby_is_dialled_and_becomes_a_learner_once_it_has_greeted(trio):
    trio.do(admin.Add("K4", "k4:1"))
    assert trio.network.dialled == [("K4", "k4:1")]
    assert trio.answers == []

    trio.greets("K4")
    trio.node.lag["K4"] = 900
    trio.run(2)
    assert trio.answers == ["OK"]
    assert trio.node.state.configuration.member("K4") == member("K4")
    assert trio.node.state.configuration.joining == (Joining("K4"),)
    assert trio.network.closed == []


def test_a_node_can_be_added_as_a_learner_that_stays_one(trio):
    trio.greets("K4")
    trio.do(admin.Add("K4", "k4:1", learner=True))
    trio.run(seconds=2 * STEADY)
    assert trio.answers == ["OK"]
    assert trio.node.state.configuration.learners == ("K4",)


def test_a_node_that_does_not_answer_is_dialled_for_some_seconds(trio):
    trio.do(admin.Add("K4", "k4:1"))
    trio.run(seconds=6)
    assert "K4 cannot be reached at k4:1" in trio.refusal
    assert 5 < len(trio.network.dialled) < 15
    assert trio.formation.introduced == set()


def test_the_refusal_says_why_the_greeting_was_refused(trio):
    trio.do(admin.Add("K4", "k4:1"))
    trio.formation.objection(Story.hello("K4", cluster="0" * 32))
    trio.run(seconds=6)
    assert "K4 belongs to cluster 000000000000" in trio.refusal


def test_a_node_configured_to_form_its_own_cluster_is_refused_and_loses_its_link(trio):
    trio.greets("K4", standby=False)
    trio.do(admin.Add("K4", "k4:1"))
    assert "not in standby" in trio.refusal
    assert trio.network.closed == ["K4"]


def test_an_address_that_is_not_its_own_is_refused(trio):
    trio.greets("K4", peer="elsewhere:9")
    trio.do(admin.Add("K4", "k4:1"))
    assert "elsewhere:9" in trio.refusal
    trio.do(admin.Add("K4", "k4:1", force=True))
    assert trio.answers[1] == "OK"


def test_a_member_is_not_dialled_to_be_added(trio):
    trio.do(admin.Add("K2", "k2:1"))
    assert "K2 is a member already, a voter" in trio.refusal
    assert trio.network.dialled == []


def test_a_removed_directory_is_not_added_again(trio):
    trio.do(admin.Remove("K3"))
    trio.greets("K3")
    trio.do(admin.Add("K3", "k3:1"))
    assert "wipe the data directory" in str(trio.answers[1])


@pytest.mark.parametrize("command", [admin.Add("K 4", "k4:1"), admin.Add("K4", "k4"), admin.Add("", "k4:1")])
def test_names_and_addresses_are_checked_before_a_node_is_dialled(trio, command):
    trio.do(command)
    assert "write" in trio.refusal
    assert trio.network.dialled == []


# Promotion


def learning(*ids, **options):
    """K1, K2 and K3, and the learner K4, which becomes a voter when it has caught up."""
    story = Story(*(ids or ("K1", "K2", "K3")))
    story.greets("K4")
    story.node.lag["K4"] = 5000
    story.do(admin.Add("K4", "k4:1", **options))
    assert story.answers == ["OK"]
    story.answers.clear()
    return story


def test_a_learner_gets_its_vote_after_keeping_up_for_some_election_timeouts():
    story = learning()
    story.run(seconds=2 * STEADY)
    assert story.voters == ("K1", "K2", "K3")

    story.node.lag["K4"] = 99
    story.run(seconds=STEADY - 2 * TICK)
    assert story.voters == ("K1", "K2", "K3")
    story.run(4)
    assert story.voters == ("K1", "K2", "K3", "K4")
    assert story.observer.events == [("learner_promoted", {"group": 0, "learner": "K4"})]


@pytest.mark.parametrize(
    ("what", "value"), [("lag", 500), ("silent", ELECTION_TICKS + 1), ("states", "snapshot")]
)
def test_an_interruption_restarts_the_wait(what, value):
    story = learning()
    story.node.lag["K4"] = 0
    story.run(seconds=STEADY * 0.9)
    getattr(story.node, what)["K4"] = value
    story.run(1)
    getattr(story.node, what).pop("K4")
    story.run(seconds=STEADY * 0.9)
    assert "K4" not in story.voters
    story.run(seconds=STEADY * 0.2)
    assert "K4" in story.voters


def test_under_load_a_learner_need_not_have_the_newest_entries():
    """Entries that arrived in the last election timeout may still be on their way."""
    story = learning()
    story.node.lag["K4"] = 500
    for _ in range(round(2 * STEADY / TICK)):
        story.node.state.log.last_index += 50
        story.node.state.commit += 50
        story.run(1)
    assert "K4" in story.voters


def test_promotion_waits_while_the_quorum_would_be_at_risk():
    story = learning("K1", "K2", "K3")
    story.node.lag["K4"] = 0
    story.down("K2", "K3")
    story.run(seconds=2 * STEADY)
    assert "K4" not in story.voters
    story.node.silent.clear()
    story.run(2)
    assert "K4" in story.voters


def test_two_learners_are_promoted_one_after_the_other():
    story = learning()
    story.greets("K5")
    story.do(admin.Add("K5", "k5:1"))
    story.node.lag.clear()
    story.node.auto = False
    story.run(seconds=2 * STEADY)
    joint = story.node.state.configuration
    assert joint.joint
    assert len(joint.target.voters) == 4

    story.node.auto = True
    story.node.commit_all()
    story.run(seconds=2 * STEADY)
    assert story.voters == ("K1", "K2", "K3", "K4", "K5")


def test_a_learner_is_not_promoted_by_hand_before_it_has_caught_up():
    story = learning()
    story.do(admin.Promote("K4"))
    assert "K4 is not reachable or not caught up yet" in story.refusal
    story.do(admin.Promote("K4", force=True))
    assert story.answers[1] == "OK"
    assert "K4" in story.voters


def test_a_node_that_never_showed_a_log_does_not_count_even_if_the_log_is_short():
    story = Story("K1")
    story.node.state.log.last_index = story.node.state.commit = 50
    story.greets("K2")
    story.node.lag["K2"] = 5000
    story.do(admin.Add("K2", "k2:1"))
    story.do(admin.Promote("K2"))
    assert "not caught up yet" in str(story.answers[1])


# Replacing


def test_another_node_takes_the_place_of_a_dead_one_in_one_joint_step(trio):
    trio.down("K3")
    trio.greets("K4")
    trio.do(admin.Replace("K3", "K4", "k4:1"))
    assert trio.answers == ["OK"]
    assert trio.voters == ("K1", "K2", "K3")
    trio.run(seconds=2 * STEADY)
    assert trio.voters == ("K1", "K2", "K4")
    assert trio.node.state.configuration.member("K3") is None
    assert trio.node.state.configuration.retired == (member("K3").incarnation,)


def test_a_wiped_node_is_taken_back_under_its_id(trio):
    trio.down("K3")
    trio.do(admin.Replace("K3", "K3", "k3:1"))
    assert "K3" in trio.formation.introduced
    trio.greets("K3", "b")
    trio.run(2)
    assert trio.answers == ["OK"]
    assert trio.voters == ("K1", "K2")
    assert trio.node.state.configuration.member("K3") == member("K3", "b")
    trio.node.silent.clear()
    trio.run(seconds=2 * STEADY)
    assert trio.voters == ("K1", "K2", "K3")


def test_a_node_that_runs_with_its_directory_is_not_replaced_by_itself(trio):
    trio.do(admin.Replace("K3", "K3", "k3:1"))
    assert "nothing to replace" in trio.refusal
    assert trio.network.closed == []


# Risks


def test_a_healthy_voter_is_not_removed_while_another_is_down(trio):
    trio.down("K3")
    trio.do(admin.Remove("K2"))
    assert trio.refusal == "K3 is down: remove K3 first, or repeat with FORCE"
    trio.do(admin.Remove("K3"))
    trio.do(admin.Remove("K2"))
    assert trio.answers[1:] == ["OK", "OK"]
    assert trio.voters == ("K1",)


def test_a_healthy_voter_is_not_removed_if_the_majority_left_tolerates_no_failure():
    story = Story("K1", "K2", "K3", "K4", "K5")
    story.down("K5")
    story.do(admin.Demote("K4"))
    assert "remove K5 first" in story.refusal
    story.node.silent.clear()
    story.do(admin.Demote("K4"))
    assert story.answers[1] == "OK"


def test_a_voter_with_a_large_lag_does_not_count(trio):
    trio.node.lag["K3"] = 900
    trio.do(admin.Remove("K2"))
    assert "K3 is down" in trio.refusal


def test_a_voter_without_a_link_does_not_count_even_if_it_answered_just_now(trio):
    trio.node.states["K3"] = "probe"
    trio.do(admin.Demote("K2"))
    assert "K3 is down" in trio.refusal


def test_force_overrides_the_risk_and_never_consensus(trio):
    trio.down("K3")
    trio.do(admin.Remove("K2", force=True))
    assert trio.answers == ["OK"]
    trio.node.refuses = ChangeRefused("leadership is on its way to K3")
    trio.do(admin.Demote("K3", force=True))
    assert str(trio.answers[1]) == "leadership is on its way to K3"
    trio.node.refuses = None
    trio.do(admin.Remove("K9", force=True))
    assert "K9 is not a member" in str(trio.answers[2])


def test_an_address_is_changed_once_the_member_greets_from_it(trio):
    """A member without a link is dialled there; what it announces counts."""
    trio.down("K3")
    trio.do(admin.Readdress("K3", "other:1"))
    assert trio.answers == []
    assert trio.network.dialled == [("K3", "other:1")]
    trio.hellos["K3"] = Story.hello("K3", cluster="c", peer="other:1")
    trio.run(2)
    assert trio.answers == ["OK"]
    assert trio.node.state.configuration.member("K3").peer == "other:1"


def test_an_address_where_something_else_listens_is_refused_with_what_was_found(trio):
    """Nothing is known if nothing answers."""
    trio.down("K3")
    trio.do(admin.Readdress("K3", "other:1"))
    trio.failures["K3"] = "dialled K3, but K7 answered"
    trio.run(seconds=6)
    assert "K3 cannot be reached at other:1 (dialled K3, but K7 answered): start it there" in trio.refusal
    assert trio.node.state.configuration.member("K3").peer == "k3:1"

    trio.answers.clear()
    trio.do(admin.Readdress("K3", "other:2"))
    trio.run(seconds=6)
    assert "K3 cannot be reached at other:2: start it there first, or repeat with FORCE" in trio.refusal


def test_an_address_that_a_linked_member_does_not_announce_is_refused(trio):
    """The leader's own, too: the others would dial it in vain."""
    trio.do(admin.Readdress("K2", "other:1"))
    assert "K2 says that its peer port is at k2:1, not at other:1" in trio.refusal
    trio.answers.clear()
    trio.do(admin.Readdress("K1", "other:1"))
    assert "K1 says that its peer port is at k1:1, not at other:1" in trio.refusal


def test_force_changes_the_address_of_a_dead_member(trio):
    trio.down("K3")
    trio.do(admin.Readdress("K3", "other:1", force=True))
    assert trio.answers == ["OK"]


def test_the_refusal_of_an_addition_says_who_answered_instead(trio):
    """The same node under another id, or a node of another cluster, or no node at all."""
    trio.do(admin.Add("K4", "k4:1"))
    trio.failures["K4"] = "dialled K4, but K5 answered"
    trio.run(seconds=6)
    assert "K4 cannot be reached at k4:1 (dialled K4, but K5 answered): check that" in trio.refusal


# A learner that takes the place of a voter


@pytest.fixture
def spared():
    """Three voters and the learner K5."""
    story = Story("K1", "K2", "K3")
    story.greets("K5")
    story.do(admin.Add("K5", "k5:1", learner=True))
    assert story.answers == ["OK"]
    story.answers.clear()
    return story


def test_a_learner_takes_the_place_of_a_voter_in_one_joint_change(spared):
    """With its address or without it; nothing is dialled."""
    spared.network.dialled.clear()
    spared.node.auto = False
    spared.do(admin.Replace("K2", "K5", ""))
    joint = spared.node.state.configuration
    assert (joint.voters, joint.target.voters) == (("K1", "K2", "K3"), ("K1", "K3", "K5"))
    assert joint.target.member("K2") is None
    assert member("K2").incarnation in joint.target.retired
    spared.node.commit_all()
    spared.run(2)
    assert spared.answers == ["OK"]
    assert spared.network.dialled == []
    spared.node.auto = True
    spared.answers.clear()
    spared.do(admin.Replace("K3", "K5", "k5:1"))
    assert "K5 is a voter already" in spared.refusal


def test_a_learner_on_its_way_to_a_vote_takes_the_place_at_once(trio):
    """It need not wait for its promotion, and takes only one place."""
    trio.greets("K5")
    trio.do(admin.Replace("K3", "K5", "k5:1"))
    trio.do(admin.Replace("K2", "K5", "k5:1"))
    assert trio.answers == ["OK", "OK"]
    assert trio.voters == ("K1", "K3", "K5")
    assert trio.node.state.configuration.joining == ()


def test_a_learner_that_lags_does_not_take_a_place(spared):
    """The majority would need it at once."""
    spared.node.lag["K5"] = 5000
    spared.do(admin.Replace("K2", "K5", ""))
    assert "K5 is not reachable or not caught up yet" in spared.refusal


@pytest.mark.parametrize(
    ("command", "reason"),
    [
        (admin.Replace("K2", "K5", "elsewhere:1"), "K5 is a member at k5:1, not at elsewhere:1"),
        (admin.Replace("K2", "K3", "k3:1"), "K3 is a voter already and cannot take another place"),
        (admin.Replace("K2", "K3", ""), "K3 is a voter already and cannot take another place"),
        (admin.Replace("K9", "K5", ""), "K9 is not a member; the members are K1, K2, K3, K5"),
        (admin.Replace("K2", "K9", ""), "K9 is not a learner of this cluster: add host and port"),
        (admin.Replace("K2", "K2", ""), "K2 is not a learner of this cluster: add host and port"),
        (admin.Replace("K5", "K5", "k5:1"), "there is nothing to replace"),
    ],
)
def test_a_replacement_that_makes_no_sense_is_refused_with_the_way_out(spared, command, reason):
    """Before a node is dialled."""
    spared.do(command)
    assert reason in spared.refusal


def test_a_learner_does_not_take_the_place_of_a_learner(spared):
    """Both are there already."""
    spared.greets("K6")
    spared.do(admin.Add("K6", "k6:1", learner=True))
    spared.answers.clear()
    spared.do(admin.Replace("K6", "K5", ""))
    assert "K6 and K5 are learners already: take K6 out with KRAFT REMOVE K6" in spared.refusal


def test_a_removed_directory_does_not_take_a_place(spared):
    """It can never return."""
    spared.do(admin.Remove("K3"))
    spared.answers.clear()
    spared.greets("K3")
    spared.do(admin.Replace("K2", "K3", "k3:1"))
    assert "belonged to a removed member and cannot return" in spared.refusal


def test_a_cluster_can_shrink_to_one_node_and_lose_its_leader(trio):
    trio.do(admin.Remove("K1"))
    assert trio.answers == ["OK"]
    assert trio.voters == ("K2", "K3")


# The change in the log


def test_a_joint_change_is_done_when_both_of_its_sides_are_committed(trio):
    trio.node.auto = False
    trio.do(admin.Remove("K3"))
    assert trio.node.state.configuration.joint
    trio.node.state.commit = trio.node.state.log.last_index
    trio.run(2)
    assert trio.answers == []
    trio.node.commit_all()
    trio.run(1)
    assert trio.answers == ["OK"]


def test_a_change_of_learners_is_done_when_its_entry_is_committed(trio):
    trio.node.auto = False
    trio.greets("K4")
    trio.do(admin.Add("K4", "k4:1"))
    assert trio.answers == []
    trio.node.commit_all()
    trio.run(1)
    assert trio.answers == ["OK"]


@pytest.mark.parametrize(("leader", "term"), [("", 3), ("K2", 4), ("K1", 5)])
def test_a_logged_change_is_uncertain_when_leadership_is_lost(trio, leader, term):
    trio.node.auto = False
    trio.do(admin.Remove("K3"))
    trio.node.state.leader, trio.node.state.term = leader, term
    trio.run(1)
    assert [type(a) for a in trio.answers] == [Uncertain]


def test_a_leader_that_removed_itself_answers_before_it_stops_leading(trio):
    trio.node.auto = False
    trio.do(admin.Remove("K1"))
    trio.node.commit_all()
    trio.node.state.leader = ""
    trio.run(1)
    assert trio.answers == ["OK"]


def test_commands_are_carried_out_one_after_the_other(trio):
    trio.node.auto = False
    trio.do(admin.Remove("K3"))
    trio.do(admin.Demote("K2"))
    assert trio.answers == []
    trio.node.auto = True
    trio.node.commit_all()
    trio.run(3)
    assert trio.answers == ["OK", "OK"]
    assert trio.voters == ("K1",)


def test_a_command_waits_for_the_first_commit_of_a_term(trio):
    trio.node.state.leads_with_commit = False
    trio.do(admin.Remove("K3"))
    assert trio.answers == []
    trio.node.state.leads_with_commit = True
    trio.run(2)
    assert trio.answers == ["OK"]


def test_a_command_that_never_began_is_refused_at_its_deadline_with_a_reason(trio):
    trio.node.auto = False
    trio.do(admin.Remove("K3"))
    trio.do(admin.Demote("K2"))
    trio.run(seconds=21)
    uncertain, refused = trio.answers
    assert isinstance(uncertain, Uncertain)
    assert "another change of the members is under way" in str(refused)


def test_a_command_waits_for_room_in_the_log(trio):
    trio.node.refuses = LogFull(1)
    trio.do(admin.Remove("K3"))
    assert trio.answers == []
    trio.node.refuses = None
    trio.run(2)
    assert trio.answers == ["OK"]


def test_a_follower_refuses_after_the_call(trio):
    trio.node.state.leader = "K2"
    trio.membership.do(admin.Remove("K3"), trio.answers.append)
    assert trio.answers == []
    trio.clock.advance()
    assert trio.answers[0].args == (0, "K2")


def test_a_command_that_waits_when_leadership_is_lost_was_certainly_not_begun(trio):
    trio.do(admin.Add("K4", "k4:1"))
    trio.node.state.leader = "K2"
    trio.run(1)
    assert [type(a) for a in trio.answers] == [NotLeader]
    assert trio.formation.introduced == set()


def test_the_number_of_waiting_commands_is_bounded(trio):
    trio.node.state.leads_with_commit = False
    for _ in range(COMMANDS_MAX + 1):
        trio.membership.do(admin.Remove("K3"), trio.answers.append)
    trio.clock.advance()
    assert "repeat this one later" in trio.refusal
    assert len(trio.membership.pending) == COMMANDS_MAX


def test_when_the_node_stops_everybody_is_told(trio):
    trio.node.auto = False
    trio.do(admin.Remove("K3"))
    trio.do(admin.Demote("K2"))
    trio.membership.abandon()
    assert [type(a) for a in trio.answers] == [Stopping, Uncertain]


# Invitations


def invitations(story):
    return [(peer, m) for peer, m in story.network.sent if isinstance(m, Invitation)]


def test_a_new_member_is_invited_until_it_has_a_log():
    story = learning()
    story.run(seconds=2.9)
    identity = story.formation.identity
    invitation = Invitation(identity.cluster, identity.members, 1)
    assert invitations(story) == [("K4", invitation)] * 3 or len(invitations(story)) == 4

    story.node.lag["K4"] = 10
    count = len(invitations(story))
    story.run(seconds=3)
    assert len(invitations(story)) == count


def test_no_member_is_invited_before_the_change_is_committed(trio):
    trio.node.auto = False
    trio.greets("K4")
    trio.node.lag["K4"] = 5000
    trio.do(admin.Add("K4", "k4:1"))
    assert invitations(trio) == []
    trio.node.commit_all()
    trio.run(1)
    assert [peer for peer, _ in invitations(trio)] == ["K4"]


def test_members_that_greeted_with_the_cluster_and_late_founders_need_no_invitation(trio):
    trio.node.lag["K2"] = 5000
    trio.hellos["K2"] = Story.hello("K2")
    trio.run(seconds=3)
    assert invitations(trio) == []


def test_another_directory_under_the_id_of_a_member_is_not_invited():
    story = learning()
    story.network.sent.clear()
    story.greets("K4", "b")
    story.run(seconds=3)
    assert invitations(story) == []


def test_members_without_a_link_are_dialled_now_and_then(trio):
    trio.down("K3")
    trio.run(seconds=2.5)
    assert trio.network.dialled == []
    trio.run(seconds=7)
    assert trio.network.dialled == [("K3", "k3:1")] * 3
    trio.node.state.leader = "K2"
    trio.run(seconds=10)
    assert len(trio.network.dialled) == 3


# The successor of a leader


def test_a_voter_about_to_leave_is_not_the_best_successor(trio):
    trio.node.auto = False
    trio.node.lag["K2"] = 0
    trio.node.lag["K3"] = 3
    trio.node.reconfigure(changes.removed(trio.node.state.configuration, "K2"))
    assert best_successor(trio.node, trio.node.progress()) == "K3"
