"""The other nodes as this one knows them: their greetings, and the links to them.

The links that a node keeps follow from the configuration in force. Before there is one, they follow from the
node's configuration file. A removed node keeps its link for a moment, so that it can learn of its removal.
"""

from functools import partial

from kraft.config import Config
from kraft.host.membership.conditions import Conditions
from kraft.host.membership.formation import Formation
from kraft.host.membership.united import united
from kraft.host.ports import HostObserver, Network
from kraft.kv.versions import REPLICA_NUMBERS
from kraft.node.ports import Clock
from kraft.peerwire.hello import Hello
from kraft.peerwire.messages import NodeCondition
from kraft.raft.membership.configuration import NOBODY, Configuration, Member

SEEK_SECONDS = 3.0  # without a leader: between two calls to the members without a link
GREETING_SECONDS = 5.0  # after a node has formed, in which all links of the cluster should be open again
PARTING_SECONDS = 5.0  # until a removed node loses its link: it learns of its removal by its last entry


class Peers:
    """Greetings and links, by node id. `formation` decides which nodes belong to the cluster.

    * `hellos` has the last greeting of every node that ever greeted, `connected` the nodes with an open link.
    * `removed`: this node is no member any more, so that open links are no reason to serve clients.
    * `left_first_group`: group 0 has members, and this node is none of them: it leaves the cluster.
    * `failures` has why the last attempt to dial a node failed, while it has no link.
    * `conditions` has what this node and its peers report about themselves.
    * `network` exists from `start` on.
    """

    network: Network

    def __init__(
        self,
        config: Config,
        clock: Clock,
        formation: Formation,
        observer: HostObserver,
        starts: int,
        session: int,
    ) -> None:
        self.formation = formation
        self.hellos: dict[str, Hello] = {}
        self.connected: set[str] = set()
        self.removed = self.left_first_group = False
        self.failures: dict[str, str] = {}
        self.conditions = Conditions()
        self._config = config
        self._clock = clock
        self._observer = observer
        self._starts = starts
        self._session = session
        self._sought_at = self._greeting_until = clock.seconds()
        self._leader = ""  # of group 0, as of the last tick
        self._configurations: dict[int, Configuration] = {}  # in force, by group
        self._linked: set[str] = set()  # the members of the configuration in force, without this node
        self._removal = ""  # what was reported of it

    def start(self, network: Network) -> None:
        """Links can be asked of `network` from now on."""
        self.network = network

    def hello(self) -> Hello:
        """The greeting of this node when a link opens."""
        identity, config = self.formation.identity, self._config
        return Hello(
            id=identity.id,
            incarnation=identity.incarnation,
            cluster=identity.cluster,
            members=identity.members,
            peer=config.peer.advertise,
            client=config.client.advertise,
            http=config.http.advertise if config.http.listen else "",
            machine_min=self.formation.version.in_force,
            machine_max=self.formation.version.supported,
            starts=self._starts,
            session=self._session,
            standby=config.cluster.standby,
            current=self.formation.current.everyone,
            leaderless=self.formation.formed and not self._leader,
            groups=self.formation.groups,
            zone=config.node.zone,
        )

    @property
    def moves_replicas(self) -> bool:
        """Whether nodes may have replicas of some groups only."""
        return self.formation.version.in_force >= REPLICA_NUMBERS

    def member(self, node: str) -> Member | None:
        """The member of the cluster with this id."""
        return next((member for member in self.formation.members if member.id == node), None)

    @property
    def first_peers(self) -> dict[str, str]:
        """The addresses to dial, by node id, until the configuration in force says where the members are."""
        return {} if self.formation.formed else dict(self._config.cluster.members)

    def hello_of(self, peer: str) -> Hello | None:
        """The greeting with which the open link to `peer` began, or this node's own; None without a link."""
        if peer == self.formation.identity.id:
            return self.hello()
        return self.hellos.get(peer) if peer in self.connected else None

    def supported_by(self, member: Member, *, lately: bool = False) -> int:
        """The highest machine version that a member supports. 0 without a link: it may be older by now.

        `lately`: by its last greeting, though its link may be gone; the newest one if it is still to greet.
        """
        own, unmet = self.formation.identity, lately and member.id not in self.hellos
        if unmet or (member.id, member.incarnation) == (own.id, own.incarnation):
            return self.formation.version.supported
        hello = self.hellos.get(member.id) if lately else self.hello_of(member.id)
        return 0 if hello is None or hello.incarnation != member.incarnation else hello.machine_max

    def is_raised_soon(self, version: int) -> bool:
        """Whether every group is about to have a machine version in force.

        Either the cluster has it, and a replica whose state is older follows, or all members are known to
        support it, and the leader of group 0 raises it. In the first seconds of a cluster links open again.
        """
        lately = self._clock.seconds() < self._greeting_until
        return version <= self.formation.version.in_force or all(
            self.supported_by(member, lately=lately) >= version for member in self.formation.members
        )

    def announced_by(self, node: str) -> str:
        """`host:port` of the peer port of a member as it says; '' without a link."""
        if node == self.formation.identity.id:
            return self.formation.address
        hello = self.hello_of(node)
        return "" if hello is None else hello.peer

    def version_obstacle(self, needed: int, in_force: int) -> str:
        """Why commands of the machine version `needed` may not be logged yet, '' when they may soon."""
        soon = needed <= in_force or self.is_raised_soon(needed)
        return "" if soon else self.obstacle_text(needed, in_force)

    def obstacle_text(self, needed: int, in_force: int) -> str:
        """Why the machine version `needed` is not in force yet, and what to do about it."""
        supported = {member.id: self.supported_by(member) for member in self.formation.members}
        old = [id_ for id_, version in supported.items() if 0 < version < needed]
        away = [id_ for id_, version in supported.items() if not version]
        steps = [f"upgrade {' and '.join(old)}"] if old else []
        steps += [f"connect {' and '.join(away)}"] if away else []
        return (
            f"needs machine version {needed}, but version {in_force} is in force: "
            f"{', '.join(steps) or 'the leader is about to raise it, try again'}"
        )

    def version_raised(self, version: int) -> None:
        """`version` is in force in the cluster: close the links to nodes that are too old for it."""
        self.formation.version.in_force = version
        for peer in sorted(self.connected):
            if self.hellos[peer].machine_max < version:
                self.network.greet_again(peer)

    @property
    def incarnations(self) -> dict[str, str]:
        """The incarnation of the node at the other end of each open link, by id."""
        return {peer: self.hellos[peer].incarnation for peer in sorted(self.connected)}

    def link_up(self, peer: str, hello: Hello) -> None:
        """A link to `peer` is ready for messages."""
        self.hellos[peer] = hello
        self.connected.add(peer)
        self.failures.pop(peer, None)
        self.conditions.link_up()

    def link_down(self, peer: str) -> None:
        """The link to `peer` is gone."""
        self.connected.discard(peer)
        self.conditions.link_down(peer)
        self.formation.lost(peer)

    def client_address(self, node: str) -> str:
        """`host:port` of the client port of a member, '' until it has greeted."""
        if node == self.formation.identity.id:
            return self._config.client.advertise
        hello = self.hellos.get(node)
        return hello.client if hello is not None else ""

    def http_address(self, node: str) -> str:
        """`host:port` of the HTTP port of a member, '' if it has none or has not greeted."""
        if node == self.formation.identity.id:
            return self._config.http.advertise if self._config.http.listen else ""
        hello = self.hellos.get(node)
        return hello.http if hello is not None else ""

    def zone(self, node: str) -> str:
        """What may fail together with a member: its zone, or without one the host at which peers reach it.

        A node that has not greeted since this one was started is in a zone of its own.
        """
        if node == self.formation.identity.id:
            zone, address = self._config.node.zone, self._config.peer.advertise
        else:
            hello = self.hellos.get(node)
            zone, address = ("", "") if hello is None else (hello.zone, hello.peer)
        return zone or address.rpartition(":")[0] or node

    def forget(self, group: int) -> None:
        """The replica of `group` is about to be destroyed: its configuration says nothing any more.

        It may name members that have left the cluster since.
        """
        if self._configurations.pop(group, None) is not None:
            self._unite()

    def reconfigured(self, configuration: Configuration, group: int = 0) -> None:
        """Another configuration of `group` is in force: keep links to members, drop others after a while.

        Groups change one after the other; a member of any of them keeps its links.
        """
        self._configurations[group] = configuration
        self._unite()

    def _unite(self) -> None:
        first = self._configurations.get(0, NOBODY)
        self.left_first_group = bool(first.members) and first.member(self.formation.identity.id) is None
        self.formation.current = configuration = united(self._configurations)
        self.removed = bool(self.formation.removed)
        if not configuration.members:
            return
        own = self.formation.identity.id
        members = {member.id: member for member in configuration.everyone}
        for id_, member in members.items():
            if id_ != own:
                self.network.connect(id_, member.peer)
                if not self._linked:  # just started: peers that dial by rule try less and less often
                    self.network.introduce(id_, member.peer)
        gone = self._linked - members.keys()
        self._linked = members.keys() - {own}
        for id_ in sorted(gone):
            self._clock.call_later(PARTING_SECONDS, partial(self._part, id_))

    def _part(self, peer: str) -> None:
        if peer not in self._linked:
            self.network.disconnect(peer)

    def tick(self, now: float, leader: str, own: NodeCondition, *, leaderless: bool = False) -> None:
        """One tick of the host: seek members without a link, and report the condition `own` of this node.

        `now` is in monotonic seconds; `leader` is that of group 0, '' if unknown. `leaderless`: a group of
        this node has no leader, as far as the node knows. A node that has not formed reports nothing: its
        peers learn from its first message that it has.
        """
        self._leader = leader
        self.seek(now, leaderless=leaderless or not leader)
        if leader:
            self.formation.refusals.clear()  # a leader that counts this node as a member knows better
        removal = self.formation.removed or self.formation.removed_unseen
        if removal and not self._removal:
            self._observer.event("node_removed", reason=removal)
        self._removal = removal
        if self.formation.formed:
            linked = {peer: self.hellos[peer] for peer in sorted(self.connected)}
            self.conditions.tick(now, own, linked, self.network)

    def condition_of(self, node: str) -> NodeCondition | None:
        """What `node` last reported about itself; None if that is unknown."""
        return self.conditions.own if node == self.formation.identity.id else self.conditions.of(node)

    def full_nodes(self) -> dict[str, NodeCondition]:
        """The conditions of the nodes that have no memory left, this one and those with a link, by id."""
        conditions = self.conditions
        heard = {node: each for node, each in conditions.heard.items() if each.memory_full}
        return heard | {self.formation.identity.id: conditions.own} if conditions.own.memory_full else heard

    def is_able(self, node: str) -> bool:
        """Whether `node` has a link, is to stay, and reports nothing that keeps it from leading, as far as
        is known.
        """
        if self._configurations.get(0, NOBODY).member(node) is None:
            return False
        if node == self.formation.identity.id:
            return True
        condition = self.conditions.of(node) or NodeCondition()
        slow = condition.disk_slow or condition.loop_slow
        return node in self.connected and not (
            slow or condition.disk_full or condition.drained or condition.fenced
        )

    def seek(self, now: float, *, leaderless: bool) -> None:
        """While any group is `leaderless`, dial members without a link, even those that dial by rule.

        A member may have moved to another address. Without links there is no leader to spread its address,
        and a voter of one group that is no member of group 0 any more learns it nowhere else.
        And if this node was removed, or has lost its directory, no member dials it: it learns of that only
        from a member that refuses it.
        """
        if not leaderless:
            self._sought_at = now
        elif self._sought_at + SEEK_SECONDS <= now:
            self._sought_at = now
            for id_, address in self._wanted.items():
                if id_ not in self.connected:
                    self.network.introduce(id_, address)

    @property
    def _wanted(self) -> dict[str, str]:
        """The addresses of the nodes to have links to, by id."""
        own = self.formation.identity.id
        if not self.formation.formed:
            return {id_: address for id_, address in self._config.cluster.members.items() if id_ != own}
        return {m.id: m.peer for m in self.formation.current.everyone if m.id in self._linked}

    def greet_again(self) -> None:
        """Close the links whose greetings do not show that both ends belong to the cluster of this node.

        A peer that has not formed learns only from a greeting that there is a cluster. Until then it could
        form another one, with this node and a founder whose directory was emptied meanwhile.
        """
        self._greeting_until = self._clock.seconds() + GREETING_SECONDS
        for peer in sorted(self.connected):
            if self.hellos[peer].cluster != self.formation.identity.cluster:
                self.network.greet_again(peer)
