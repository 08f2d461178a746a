"""kraft's own local commands: the state of this node and of the cluster, and settings of a connection."""

from collections.abc import Sequence

from kraft.kv.slots import slot_of
from kraft.node.status import (
    ElsewhereStatus,
    GroupStatus,
    MemberStatus,
    MoveStatus,
    TransactionStatus,
    TransferStatus,
)
from kraft.resp.values import Reply, Request
from kraft.server import errors
from kraft.server.commands.arguments import integer
from kraft.server.commands.spec import CommandContext
from kraft.server.errors import Rejected

TRANSACTIONS_MAX = 1000  # in one reply, the first ones
KEYS_MAX = 10  # of each of them


def status(context: CommandContext, _: Request) -> Reply:
    """KRAFT STATUS: the state of this node and of its replica of every group."""
    now = context.port.host.status()
    return {
        b"node": now.node.encode(),
        b"cluster": now.cluster.encode(),
        b"version": context.port.version.encode(),
        b"state": now.state.encode(),
        b"problem": now.problem.encode(),
        b"disk_slow": int(now.disk_slow),
        b"loop_slow": int(now.loop_slow),
        b"machine_version": now.machine_version,
        b"machine_version_supported": now.machine_version_supported,
        b"groups": [_group(group) for group in now.groups],
    }


def _group(group: GroupStatus) -> Reply:
    return {
        b"group": group.group,
        b"role": group.role.encode(),
        b"term": group.term,
        b"leader": group.leader.encode(),
        b"commit": group.commit,
        b"applied": group.applied,
        b"lag": group.commit - group.applied,
        b"first_index": group.first_index,
        b"last_index": group.last_index,
        b"log_entries": group.last_index - group.first_index + 1,
        b"keys": group.keys,
        b"dataset_bytes": group.dataset_bytes,
        b"voters": _names(group.voters),
        b"learners": _names(group.learners),
        b"joining": _names(group.joining),
        b"joint": int(group.joint),
        b"transferring": group.transferring.encode(),
        b"checkpoint_index": group.checkpoint_index,
        b"checkpoint_busy": int(group.checkpoint_busy),
        b"transfers": [_transfer(transfer) for transfer in group.transfers],
        b"fenced": int(group.fenced),
        b"mismatch": int(group.mismatch),
    }


def groups(context: CommandContext, request: Request) -> Reply:
    """KRAFT GROUPS [group]: every group as this node sees it, or one of them."""
    if len(request) > 3:
        raise Rejected(errors.wrong_arity("kraft|groups"))
    host = context.port.host
    wanted = integer(request[2]) if len(request) == 3 else None
    status = host.status()
    found: dict[int, GroupStatus | ElsewhereStatus] = {group.group: group for group in status.groups}
    found |= {group.group: group for group in status.elsewhere}
    if wanted is not None and not 0 <= wanted < host.slots.groups:
        raise Rejected(f"ERR there is no group {wanted}; the groups are 0 to {host.slots.groups - 1}")
    slots: dict[int, list[bytes]] = {group: [] for group in sorted(found) if wanted in (None, group)}
    for first, last, group in host.slots.ranges():
        if group in slots:
            slots[group].append(b"%d-%d" % (first, last))
    return [_overview(found[group], b",".join(ranges)) for group, ranges in slots.items()]


def _overview(group: GroupStatus | ElsewhereStatus, slots: bytes) -> Reply:
    """A group in short; its `slots` are ranges with commas between them, empty if it has none."""
    if isinstance(group, ElsewhereStatus):
        return _overview_elsewhere(group, slots)
    return {
        b"group": group.group,
        b"slots": slots,
        b"leader": group.leader.encode(),
        b"preferred": group.preferred.encode(),
        b"role": group.role.encode(),
        b"term": group.term,
        b"voters": _names(group.voters),
        b"learners": _names(group.learners),
        b"joint": int(group.joint),
        b"keys": group.keys,
        b"dataset_bytes": group.dataset_bytes,
        b"lag": group.commit - group.applied,
    }


def _overview_elsewhere(group: ElsewhereStatus, slots: bytes) -> Reply:
    """The same of a group that this node has no replica of: it does not know the data."""
    learners = tuple(id_ for id_ in group.members if id_ not in group.voters)
    return {
        b"group": group.group,
        b"slots": slots,
        b"leader": group.leader.encode(),
        b"preferred": b"",
        b"role": b"none",
        b"term": group.term,
        b"voters": _names(group.voters),
        b"learners": _names(learners),
        b"joint": 0,
        b"keys": None,
        b"dataset_bytes": None,
        b"lag": None,
    }


def transactions(context: CommandContext, _: Request) -> Reply:
    """KRAFT TRANSACTIONS: those over several groups that are not over, as this node's replicas know."""
    return [_transaction(each) for each in context.port.host.transactions.unfinished()[:TRANSACTIONS_MAX]]


def _transaction(transaction: TransactionStatus) -> Reply:
    return {
        b"id": transaction.id.encode(),
        b"group": transaction.group,
        b"state": transaction.state.encode(),
        b"home": transaction.home,
        b"age_ms": int(transaction.seconds * 1000),
        b"locked": len(transaction.keys),
        b"keys": list(transaction.keys[:KEYS_MAX]),
        b"waiting": list(transaction.waiting),
    }


def moves(context: CommandContext, _: Request) -> Reply:
    """KRAFT MOVES: the moves of slots that are not over, as this node's replicas know."""
    host, now = context.port.host, context.port.clock.wall_ms()
    return [_move(each, host.leader(each.source), now) for each in host.moves.status()]


def _move(move: MoveStatus, leader: str, now_ms: int) -> Reply:
    """A move in short; `leader` is the node that carries it out, and knows of a problem."""
    return {
        b"id": move.id,
        b"slots": b"%d-%d" % (move.first, move.last),
        b"from": move.source,
        b"to": move.receiver,
        b"state": move.state.encode(),
        b"keys": move.keys,
        b"keys_total": move.keys_total,
        b"age_ms": max(0, now_ms - move.since_ms),
        b"leader": leader.encode(),
        b"problem": move.problem.encode(),
    }


def _names(ids: Sequence[str]) -> Reply:
    return [id_.encode() for id_ in ids]


def _transfer(transfer: TransferStatus) -> Reply:
    """A snapshot that this node sends or receives."""
    return {
        b"peer": transfer.peer.encode(),
        b"direction": transfer.direction.encode(),
        b"index": transfer.index,
        b"done_bytes": transfer.done_bytes,
        b"size_bytes": transfer.size_bytes,
    }


def members(context: CommandContext, _: Request) -> Reply:
    """KRAFT MEMBERS: every member as this node sees it. An unknown contact or lag is null."""
    return [_member(member) for member in context.port.host.status().members]


def _member(member: MemberStatus) -> Reply:
    contact = member.last_contact_seconds
    return {
        b"id": member.id.encode(),
        b"address": member.peer.encode(),
        b"client": member.client.encode(),
        b"http": member.http.encode(),
        b"kind": b"voter" if member.voter else b"learner",
        b"joining": int(member.joining),
        b"connected": int(member.connected),
        b"last_contact_ms": None if contact is None else int(contact * 1000),
        b"lag": member.lag_entries,
        b"machine_version": member.machine_version,
        b"zone": member.zone.encode(),
        b"votes": member.votes,
        b"replicas": member.replicas,
        b"removed_from": list(member.removed_from),
    }


def leader(context: CommandContext, request: Request) -> Reply:
    """KRAFT LEADER [key]: the leader of the key's group, or of group 0."""
    if len(request) > 3:
        raise Rejected(errors.wrong_arity("kraft|leader"))
    host = context.port.host
    group = host.slots.group_of(slot_of(request[2])) if len(request) == 3 else 0
    node = host.leader(group)
    if not node:
        raise Rejected(f"CLUSTERDOWN No leader for group {group}")
    return {b"group": group, b"leader": node.encode(), b"address": host.client_address(node).encode()}


def version(context: CommandContext, _: Request) -> Reply:
    """KRAFT VERSION."""
    return context.port.version.encode()


def consistency(context: CommandContext, request: Request) -> Reply:
    """KRAFT CONSISTENCY LINEARIZABLE | LEASE | STALE: the consistency of this connection's reads."""
    level = request[2].upper()
    if level not in (b"LINEARIZABLE", b"LEASE", b"STALE"):
        raise Rejected("ERR consistency is LINEARIZABLE, LEASE or STALE")
    if level == b"LEASE" and not context.port.config.raft.lease_reads:
        raise Rejected("ERR this node has no lease reads; set raft.lease_reads: true on all nodes")
    context.state.readonly, context.state.fresh = level == b"STALE", level == b"LINEARIZABLE"
    return "OK"


def output(context: CommandContext, request: Request) -> Reply:
    """KRAFT OUTPUT plain | resp: the form of replies on an inline connection."""
    form = request[2].lower()
    if form not in (b"plain", b"resp"):
        raise Rejected(errors.SYNTAX)
    if form == b"plain" and not context.state.inline:
        raise Rejected("ERR plain output is for inline connections")
    context.state.plain = form == b"plain"
    return "OK"
