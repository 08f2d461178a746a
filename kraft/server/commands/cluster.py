"""CLUSTER: the slot map and the nodes, in the form that cluster clients and redis-cli expect.

They expect node ids of 40 hex digits, so such an id is derived from a node's id and incarnation.
"""

import hashlib

from kraft.host.slots import SLOTS
from kraft.node.status import MemberStatus, Status
from kraft.resp.values import Reply, Request
from kraft.server.addresses import split_address
from kraft.server.commands.spec import CommandContext
from kraft.server.ports import NodeHost
from kraft.server.routing import slot_of


def redis_id(member: MemberStatus) -> str:
    """The member's id in Redis' form, 40 hex digits. Every node derives the same one."""
    return _digest(f"{member.id} {member.incarnation}")


def _digest(text: str) -> str:
    return hashlib.sha1(text.encode(), usedforsecurity=False).hexdigest()


def _leader_first(context: CommandContext, status: Status, group: int) -> list[MemberStatus]:
    """The members whose client address is known, the leader of the group first."""
    leader = context.port.host.leader(group)
    known = [member for member in status.members if member.client]
    return sorted(known, key=lambda member: member.id != leader)


def slots(context: CommandContext, _: Request) -> Reply:
    """CLUSTER SLOTS."""
    host = context.port.host
    status = host.status()
    reply: list[Reply] = []
    for first, last, group in host.slots.ranges():
        entry: list[Reply] = [first, last]
        for member in _leader_first(context, status, group):
            address, port = split_address(member.client)
            entry.append([address.encode(), port, redis_id(member).encode(), []])
        reply.append(entry)
    return reply


def shards(context: CommandContext, _: Request) -> Reply:
    """CLUSTER SHARDS: one shard per group."""
    host = context.port.host
    status = host.status()
    applied = {group.group: group.applied for group in status.groups}
    reply: list[Reply] = []
    for first, last, group in host.slots.ranges():
        nodes: list[Reply] = []
        for member in _leader_first(context, status, group):
            address, port = split_address(member.client)
            node: dict[Reply, Reply] = {
                b"id": redis_id(member).encode(),
                b"port": port,
                b"ip": address.encode(),
                b"endpoint": address.encode(),
                b"role": b"master" if member.id == host.leader(group) else b"replica",
                b"replication-offset": applied.get(group, 0),
                b"health": b"online" if member.connected else b"failed",
            }
            nodes.append(node)
        reply.append({b"slots": [first, last], b"nodes": nodes})
    return reply


def nodes(context: CommandContext, _: Request) -> Reply:
    """CLUSTER NODES: a leader with its slots is a master; other nodes are replicas of group 0's leader."""
    host = context.port.host
    status = host.status()
    master = next((member for member in status.members if member.id == host.leader(0)), None)
    lines = [_node_line(host, status, member, master) for member in status.members if member.client]
    return "".join(lines).encode()


def _node_line(host: NodeHost, status: Status, member: MemberStatus, master: MemberStatus | None) -> str:
    led = [r for r in host.slots.ranges() if host.leader(r[2]) == member.id]
    groups = {group for _, _, group in led} or {0}
    epoch = max((group.term for group in status.groups if group.group in groups), default=0)
    flags = ["myself"] if member.id == host.id else []
    flags.append("master" if led or master is None else "slave")
    fields = [
        redis_id(member),
        f"{member.client}@{split_address(member.peer)[1]}",
        ",".join(flags),
        "-" if led or master is None else redis_id(master),
        "0",
        "0",
        str(epoch),
        "connected" if member.connected else "disconnected",
        *(f"{first}-{last}" for first, last, _ in led),
    ]
    return " ".join(fields) + "\n"


def info(context: CommandContext, _: Request) -> Reply:
    """CLUSTER INFO. The state is `ok` if every group has a known leader."""
    host = context.port.host
    status = host.status()
    leaders = {host.leader(group) for _, _, group in host.slots.ranges()}
    fields: dict[str, object] = {
        "cluster_enabled": int(context.port.routing.redirect),
        "cluster_state": "fail" if "" in leaders else "ok",
        "cluster_slots_assigned": SLOTS,
        "cluster_slots_ok": 0 if "" in leaders else SLOTS,
        "cluster_slots_pfail": 0,
        "cluster_slots_fail": 0,
        "cluster_known_nodes": len(status.members),
        "cluster_size": len(leaders - {""}),
        "cluster_current_epoch": max((group.term for group in status.groups), default=0),
        "cluster_my_epoch": max((group.term for group in status.groups), default=0),
    }
    return "".join(f"{name}:{value}\r\n" for name, value in fields.items()).encode()


def my_id(context: CommandContext, _: Request) -> Reply:
    """CLUSTER MYID."""
    host = context.port.host
    return next(redis_id(member).encode() for member in host.status().members if member.id == host.id)


def key_slot(_: CommandContext, request: Request) -> Reply:
    """CLUSTER KEYSLOT key."""
    return slot_of(request[2])
