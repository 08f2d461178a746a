"""What must hold where nothing else is in the way: a slow leader gives way, and no near expiry is lost.

Both need a quiet neighbourhood: a cluster whose links, processes and clocks are also disturbed may take its
time. So each check begins with the excuses. And clients that wait for a lock wait for something: that it is
freed, that it expires, or an answer.
"""

from typing import TYPE_CHECKING

from kraft.host.group.group import Group
from kraft.raft.membership.quorum import Outcome
from tests.simulation.violation import demand

if TYPE_CHECKING:
    from tests.simulation.cluster import SimulatedCluster
    from tests.simulation.process import Process

EVERY_SECONDS = 0.1
# A hung write counts as slow after two election timeouts of 0.5 s, and the leader leaves after one more. A
# try that failed just before may delay the next one by two transfers, of an election timeout and half a
# second each; that takes a moment itself.
GIVE_WAY_SECONDS = 1.5 + 2 * 1.0 + 1.0
LOSS_MAX = 0.1
STEADY_SECONDS = (
    3.0  # of one leader and its voters, without a step of any clock: it hears all clocks eight times
)
SLACK_MS = 1_000  # as large as `raft.max_clock_offset`


class Vigil:
    """Looks at the cluster again and again. `start` begins."""

    def __init__(self, cluster: "SimulatedCluster") -> None:
        self._cluster = cluster
        self._world = cluster.world
        self._hung_since: dict[tuple[str, int, int], float] = {}  # (leader, group, term), without an excuse
        self._hears_since: dict[tuple[str, int, int], tuple[frozenset[str], float]] = {}  # the same voters

    def start(self) -> None:
        self._world.call_later(EVERY_SECONDS, self._look)

    def _look(self) -> None:
        before, self._hung_since = self._hung_since, {}
        hearing, self._hears_since = self._hears_since, {}
        for process in self._cluster.processes():
            for id_, group in process.host.groups.items():
                self._wait_for_something(process, group)
                if not group.raft.state.leads:
                    continue
                key = (process.id, id_, group.raft.state.term)
                voters = frozenset(group.raft.state.electors)
                if self._hears(process, group):
                    known = hearing.get(key)
                    since = known[1] if known is not None and known[0] == voters else self._world.lived
                    self._hears_since[key] = voters, since
                if self._should_give_way(process, group):
                    since = self._hung_since[key] = before.get(key, self._world.now)
                    waited = self._world.now - since
                    demand(
                        waited <= GIVE_WAY_SECONDS, f"{process.id} leads for {waited:.1f} s on a hung disk"
                    )
        self.start()

    # -- a leader whose disk hangs

    def _should_give_way(self, process: "Process", group: Group) -> bool:
        """Whether its disk hangs, and a majority that nothing is wrong with could go on without it."""
        weather = self._cluster.network.weather
        stormy = weather.loss > LOSS_MAX or weather.heavy_tail
        if not process.disk.stuck or not self._at_work(process) or stormy:
            return False
        state = group.raft.state
        replicating = {f.peer for f in group.raft.progress() if f.state == "replicate"}
        fit = [
            other
            for other in self._cluster.processes()
            if other.id in replicating and self._fit(other, group)
        ]
        sound = self._cluster.network.sound([process.id, *(other.id for other in fit)])
        return sound and state.quorum.tally({other.id: True for other in fit}) is Outcome.WON

    def _fit(self, process: "Process", group: Group) -> bool:
        replica = process.host.groups.get(group.id)
        if replica is None or not self._at_work(process):
            return False
        disk, state = process.disk, replica.raft.state
        free = not (disk.stuck or disk.hangs or disk.full or replica.state.fenced) and disk.slow == 1.0
        willing = state.electable and not state.slow and state.leader == group.raft.state.id
        return free and willing

    def _at_work(self, process: "Process") -> bool:
        clock = process.clock
        return process.ready and not clock.paused and clock.slow == 1.0 and not clock.busy

    # -- clients that wait for locks

    def _wait_for_something(self, process: "Process", group: Group) -> None:
        """The first client of each queue asks for its lock, or knows of a holder and when its time ends."""
        machine = group.state.machine
        if group.state.fenced or not self._at_work(process):
            return
        for name, queue in group.requests.lock_waits.queues.items():
            if queue.waiters[0].asking or machine.revision < queue.holder:
                continue
            self._world.counts["waiting for a lock"] += 1
            held = name in machine.keyspace.records and queue.timer is not None
            demand(held, f"clients of {process.id} wait for {name!r}, and nothing will end that")

    # -- absolute expiries

    def expiry_acknowledged(self, process: "Process", group: int, time_ms: int, stamp: int) -> None:
        """A key was set until `time_ms` in the entry with `stamp`, and its client is told OK.

        By then log time may not have passed a time that is to come by the median of the voters' clocks.
        """
        if self._cluster.network.weather.ancient:
            return  # an old answer shows an old clock; the links of a real network deliver none
        replica = process.host.groups.get(group)
        electors = () if replica is None else replica.raft.state.electors
        clocks = [p.clock for p in self._cluster.processes() if p.id in electors]
        leading = [p for p in self._cluster.processes() if p.id in self._cluster.leaders(group)]
        if not electors or len(clocks) < len(electors) or len(leading) != 1 or self._cluster.drift > 0.01:
            return
        if any(c.paused or self._world.lived - c.steady_since < STEADY_SECONDS for c in clocks):
            return
        leader, replica = leading[0], leading[0].host.groups[group]
        key = (leader.id, group, replica.raft.state.term)
        voters, since = self._hears_since.get(key, (frozenset(), self._world.lived))
        if voters != frozenset(electors) or self._world.lived - since < STEADY_SECONDS:
            return  # it may know the clocks of earlier voters, or those that came with the votes
        walls = sorted(clock.wall_ms() for clock in clocks)
        if self._hears(leader, replica):
            median = walls[(len(walls) - 1) // 2]
            self._world.counts["expiry checked"] += 1
            lost = median + SLACK_MS < time_ms <= stamp
            demand(
                not lost, f"a key is set until {time_ms}, deleted at {stamp}, and the clocks show {median}"
            )

    def _hears(self, leader: "Process", group: Group) -> bool:
        """Whether a leader hears all voters."""
        raft = group.raft
        fresh = {f.peer for f in raft.progress() if f.silent_ticks <= raft.state.settings.election_ticks}
        return fresh | {leader.id} >= set(raft.state.electors)
