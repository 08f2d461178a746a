"""Changes of the members as a story: what nodes do, and what the administrator hears from the leader."""

from types import SimpleNamespace
from typing import Any, cast

from kraft.host.membership.changes import MembershipChanges
from kraft.host.membership.formation import Formation, cluster_id
from kraft.node.errors import AdminRefused
from kraft.node.values import Identity
from kraft.peerwire.hello import Hello
from kraft.raft.membership.configuration import Configuration, Member
from kraft.raft.ports import RaftSettings
from kraft.raft.progress import FollowerStatus
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
        self.hellos = {i: self.hello(i, cluster=identity.cluster) for i in ids}
        self.answers = []
        self.failures: dict[str, str] = {}
        peers = SimpleNamespace(
            formation=self.formation,
            network=self.network,
            hello_of=self.hellos.get,
            failures=self.failures,
            announced_by=self.announced,
            moves_replicas=False,
        )
        self.membership = MembershipChanges(
            0,
            cast(Any, self.node),
            cast(Any, peers),
            self.clock,
            cast(Any, self.observer),
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
