"""The other nodes as this one knows them: greetings, links, and who they are to the cluster.

Which links there should be follows from the configuration in force, once there is one; before, from the
node's own file. A removed node keeps its link for a moment, so that it can learn of its removal.
"""

from kraft.config import Config
from kraft.host.membership.formation import Formation
from kraft.host.ports import Network
from kraft.node.ports import Clock
from kraft.peerwire.hello import Hello
from kraft.raft.membership.configuration import Configuration

SEEK_SECONDS = 3.0  # without a leader, between looking for those without a link
PARTING_SECONDS = 5.0  # a removed node's link stays so long: its last entry says that it is removed


class Peers:
    """`formation` is what decides who belongs here. The network is there from `start` on."""

    def __init__(self, config: Config, clock: Clock, formation: Formation, starts: int, session: int) -> None:
        self.formation = formation
        self.hellos: dict[str, Hello] = {}
        self.connected: set[str] = set()
        self.removed = False  # this node is no member any more: open links are no reason to serve clients
        self.unformed: set[str] = set()  # peers that greeted before they had formed, and sent nothing since
        self._config = config
        self._clock = clock
        self._starts = starts
        self._session = session
        self._network: Network | None = None
        self._sought_at = clock.seconds()
        self._linked: set[str] = set()  # by configuration

    def start(self, network: Network) -> None:
        """Links can be asked for from now on."""
        self._network = network

    @property
    def network(self) -> Network:
        """The links of the node."""
        if self._network is None:
            raise RuntimeError("links are needed before there are any")
        return self._network

    def hello(self) -> Hello:
        """What this node says of itself when a link opens."""
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
        )

    def hello_of(self, peer: str) -> Hello | None:
        """What `peer` said when its link, open now, began; None without a link."""
        return self.hellos.get(peer) if peer in self.connected else None

    def supported_by(self, id_: str) -> int:
        """The highest machine version that a node supports; 0 without a link, as it may be older by now."""
        if id_ == self.formation.identity.id:
            return self.formation.version.supported
        hello = self.hello_of(id_)
        return 0 if hello is None else hello.machine_max

    def version_raised(self, version: int) -> None:
        """`version` is in force in the cluster: close the links to nodes that are too old for it."""
        self.formation.version.in_force = version
        for peer in sorted(self.connected):
            if self.hellos[peer].machine_max < version:
                self.network.greet_again(peer)

    @property
    def incarnations(self) -> dict[str, str]:
        """Who is at the other end of each link, by id."""
        return {peer: self.hellos[peer].incarnation for peer in sorted(self.connected)}

    def link_up(self, peer: str, hello: Hello) -> None:
        """A link to `peer` is ready for messages."""
        self.hellos[peer] = hello
        self.connected.add(peer)
        (self.unformed.discard if hello.cluster else self.unformed.add)(peer)

    def link_down(self, peer: str) -> None:
        """The link to `peer` is gone."""
        self.connected.discard(peer)
        self.unformed.discard(peer)
        self.formation.lost(peer)

    def client_address(self, node: str) -> str:
        """`host:port` of the client port of a member, '' until it has greeted."""
        if node == self.formation.identity.id:
            return self._config.client.advertise
        hello = self.hellos.get(node)
        return hello.client if hello is not None else ""

    def http_address(self, node: str) -> str:
        """The same of the HTTP port, '' also when it has none."""
        if node == self.formation.identity.id:
            return self._config.http.advertise if self._config.http.listen else ""
        hello = self.hellos.get(node)
        return hello.http if hello is not None else ""

    def reconfigured(self, configuration: Configuration) -> None:
        """Another configuration is in force: keep links to its members, and after a while to no others."""
        self.formation.current = configuration
        self.removed = bool(self.formation.removed)
        if not configuration.members:
            return
        own = self.formation.identity.id
        members = {member.id: member for member in configuration.everyone}
        for id_, member in members.items():
            if id_ != own:
                self.network.connect(id_, member.peer)
                if not self._linked:  # started just now: who has missed us looks for us less and less often
                    self.network.introduce(id_, member.peer)
        gone = self._linked - members.keys()
        self._linked = members.keys() - {own}
        for id_ in sorted(gone):
            self._clock.call_later(PARTING_SECONDS, lambda id_=id_: self._part(id_))  # type: ignore[misc]

    def _part(self, peer: str) -> None:
        if peer not in self._linked:
            self.network.disconnect(peer)

    def seek(self, now: float, leader: str) -> None:
        """While no leader is known, dial those without a link, whoever of the two does so by habit.

        One of us may have moved to another address, and nobody can lead to say so as long as we do not meet.
        """
        if leader:
            self._sought_at = now
        elif self._sought_at + SEEK_SECONDS <= now:
            self._sought_at = now
            for member in self.formation.current.everyone:
                if member.id in self._linked - self.connected:
                    self.network.introduce(member.id, member.peer)

    def greet_again(self) -> None:
        """Peers that have not formed learn only from a new greeting that there is a cluster now."""
        for peer in sorted(self.unformed):
            self.network.greet_again(peer)
