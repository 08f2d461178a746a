"""How the machine version of a group is raised, and what a raise means on each replica.

The leader of group 0 raises the version in force as soon as every member, voters and learners, announces more
on a link that is open now. It logs an entry that every replica applies like any other, so the version is part
of the state, of checkpoints and of snapshots. The leaders of other groups follow group 0 with an entry of
their own: what a group may log depends on its own log alone.

From the moment when the leader logs the entry it treats the version as in force towards other nodes: a node
that does not support it can then neither greet nor become a member.
"""

from kraft.host.applied_state import AppliedState
from kraft.host.context import GroupContext
from kraft.host.requests.requests import Requests
from kraft.kv.errors import UnsupportedVersion
from kraft.raft.raft import Raft


class VersionRaise:
    """Raises the machine version on the leader, and follows each raise on one replica."""

    def __init__(
        self, group: int, raft: Raft, state: AppliedState, requests: Requests, context: GroupContext
    ) -> None:
        self._group = group
        self._raft = raft
        self._state = state
        self._requests = requests
        self._context = context
        self._version = context.peers.formation.version
        self._logged_term = 0  # in which this leader logged a raise that is not applied yet

    def tick(self) -> None:
        """One tick of the host passed: on the leader, raise the version if that is possible by now."""
        if self._group == 0:
            self._version.raising = self._logged_version()
        state = self._raft.state
        if not state.leads or self._state.machine.version >= self._version.supported:
            return  # most often
        if self._logged_term == state.term:
            return
        if state.term_at(self._state.index) != state.term:
            return  # earlier leaders may have logged a raise, or a new member, that is not applied here
        target = self._target()
        if target > self._state.machine.version and self._requests.proposer.propose_version(target):
            self._logged_term = state.term
            if self._group == 0:
                self._version.raising = target

    def _logged_version(self) -> int:
        """The version that this leader has logged and not applied yet, 0 when there is none."""
        waits = self._raft.state.leads and self._logged_term == self._raft.state.term
        return self._version.raising if waits else 0

    def _target(self) -> int:
        """The highest version that may be in force now."""
        if self._group:
            return self._version.in_force
        peers = self._context.peers
        return min(peers.supported_by(member) for member in self._raft.state.configuration.everyone)

    def applied(self, *, live: bool) -> None:
        """Called when the applied version may have changed.

        `live`: by an entry or a snapshot that came just now, and not by what the disk held at the start.
        """
        version = self._state.machine.version
        if version > self._version.supported:
            own = self._context.peers.formation.identity.id
            self._context.broken(UnsupportedVersion(self._version.too_low(own, version)))
        self._logged_term = 0
        if self._group == 0 and version > self._version.in_force:
            self._context.peers.version_raised(version)
            if live:
                self._context.observer.event("machine_version_raised", version=version)
        self._requests.raise_waits.raised()
