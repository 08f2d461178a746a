"""Derives the settings of a host's parts from the configuration."""

from kraft.config import Config
from kraft.host.group.checkpoints import CheckpointSettings
from kraft.host.membership.formation import Formation
from kraft.host.membership.machine_version import MachineVersion
from kraft.host.requests.lease import LEASE_SHARE
from kraft.host.requests.timing import Timing
from kraft.host.snapshots.settings import SnapshotSettings
from kraft.node.values import Identity
from kraft.raft.ports import RaftSettings

TICKS_PER_HEARTBEAT = 4  # so many that two followers seldom time out in the same tick
BATCHES_IN_FLIGHT = 1  # more were measured slower: batches grow by gathering instead


def tick_seconds(config: Config) -> float:
    """The length of a tick of the host, in seconds."""
    return config.raft.heartbeat_interval / TICKS_PER_HEARTBEAT


def election_ticks(config: Config) -> int:
    """The shortest election timeout, in ticks."""
    return max(1, round(config.raft.election_timeout / tick_seconds(config)))


def spare_ticks(config: Config) -> int:
    """How many ticks may pass on an idle node without a call of the host, at most.

    The age of a replica's state is known to a heartbeat interval and two calls, and may always be read stale.
    """
    stale = round(config.reads.max_staleness / tick_seconds(config)) - TICKS_PER_HEARTBEAT
    return min(TICKS_PER_HEARTBEAT, stale // 2) - 1


def consensus(config: Config, groups: int) -> RaftSettings:
    """For the consensus of each of `groups` groups."""
    raft = config.raft
    return RaftSettings(
        election_ticks=election_ticks(config),
        heartbeat_ticks=TICKS_PER_HEARTBEAT,
        message_bytes=raft.message_bytes,
        inflight_messages=raft.inflight_messages,
        inflight_bytes=raft.inflight_bytes,
        uncommitted_bytes=raft.uncommitted_bytes,
        tail_bytes=raft.tail_bytes,
        leases=raft.lease_reads,
        contests=groups > 1,
    )


def formation(config: Config, identity: Identity, machine_version: int) -> Formation:
    """How a node with this identity, whose program supports `machine_version`, gets into its cluster."""
    cluster = config.cluster
    return Formation(
        identity,
        config.peer.advertise,
        frozenset(cluster.members) or frozenset([config.node.id]),
        cluster.standby,
        version=MachineVersion(machine_version, cluster.machine_version_max),
        wanted_groups=cluster.groups,
    )


def timing(config: Config) -> Timing:
    """For the requests of clients."""
    raft, client = config.raft, config.client
    return Timing(
        write_timeout=client.write_timeout,
        leader_wait=client.leader_wait,
        round_timeout=raft.election_timeout,
        election_ticks=election_ticks(config),
        batch_bytes=raft.batch_bytes,
        batches_in_flight=BATCHES_IN_FLIGHT,
        lease=LEASE_SHARE * raft.election_timeout if raft.lease_reads else 0.0,
        max_staleness=config.reads.max_staleness,
        max_clock_offset=raft.max_clock_offset,
    )


def checkpoints(config: Config) -> CheckpointSettings:
    """When checkpoints are taken, and how much of the log before them is kept."""
    snapshot = config.snapshot
    return CheckpointSettings(
        entries=snapshot.checkpoint_entries,
        size=snapshot.checkpoint_bytes,
        interval=snapshot.checkpoint_interval,
        keep_entries=snapshot.keep_entries,
        keep_bytes=snapshot.keep_bytes,
    )


def snapshots(config: Config) -> SnapshotSettings:
    """How snapshots are transferred."""
    snapshot = config.snapshot
    return SnapshotSettings(snapshot.chunk_bytes, snapshot.bytes_per_second, snapshot.hold)
