"""CLUSTER: the slot map and the nodes, in the form that cluster clients and redis-cli expect.

They expect node ids of 40 hex digits, so such an id is derived from a node's id and incarnation. An epoch
goes up whenever another node serves a slot: it is the term of the group, with the version of the map of slots
added to it.
"""

import hashlib
from collections.abc import Collection, Mapping, Sequence

from kraft.int64 import parse_int64
from kraft.kv.slots import SLOTS, slot_of
from kraft.node.status import MemberStatus, Status
from kraft.resp.values import Reply, Request
from kraft.server.addresses import split_address
from kraft.server.commands.scan import AllKeys
from kraft.server.commands.spec import CommandContext
from kraft.server.errors import Rejected
from kraft.server.ports import NodeHost


def redis_id(member: MemberStatus) -> str:
    """The member's id in Redis' form, 40 hex digits. Every node derives the same one."""
    return _digest(f"{member.id} {member.incarnation}")


def _digest(text: str) -> str:
    return hashlib.sha1(text.encode(), usedforsecurity=False).hexdigest()


def _in_order(status: Status, leaders: Mapping[int, str], groups: Sequence[int]) -> list[MemberStatus]:
    """The nodes that serve `groups`, all of one leader, and whose client address is known.

    These are the leader, and nodes that have a replica of all of them and lead no group: redis-py would take
    one that is listed as a replica for one everywhere, and ask it nothing. Without a leader the first member
    takes that place, as clients expect one.
    """
    known = [member for member in status.members if member.client]
    holders = status.holders
    held = [holders[group] for group in groups if group in holders]
    holding = [member for member in known if all(member.id in ids for ids in held)]
    leader = leaders[groups[0]]
    first = next((member for member in known if member.id == leader), holding[0] if holding else None)
    led = set(leaders.values())
    return [member for member in known if member is first] + [
        member for member in holding if member is not first and member.id not in led
    ]


def _leaders(host: NodeHost) -> dict[int, str]:
    """The leader of each group as known here, or empty."""
    return {group: host.leader(group) for _, _, group in host.slots.ranges()}


def slots(context: CommandContext, _: Request) -> Reply:
    """CLUSTER SLOTS."""
    host = context.port.host
    status, leaders = host.status(), _leaders(host)
    reply: list[Reply] = []
    for first, last, group in host.slots.ranges():
        entry: list[Reply] = [first, last]
        for member in _in_order(status, leaders, [group]):
            address, port = split_address(member.client)
            entry.append([address.encode(), port, redis_id(member).encode(), []])
        reply.append(entry)
    return reply


def shards(context: CommandContext, _: Request) -> Reply:
    """CLUSTER SHARDS: one shard for each leader, with all ranges that it leads."""
    host = context.port.host
    status, leaders = host.status(), _leaders(host)
    applied = {group.group: group.applied for group in status.groups}
    ranges: dict[str | int, list[Reply]] = {}
    groups: dict[str | int, list[int]] = {}
    for first, last, group in host.slots.ranges():
        shard = leaders[group] or group  # one without a leader is by itself
        groups.setdefault(shard, []).append(group)
        ranges.setdefault(shard, []).extend((first, last))
    reply: list[Reply] = []
    for shard, led in groups.items():
        nodes: list[Reply] = []
        for member in _in_order(status, leaders, led):
            address, port = split_address(member.client)
            node: dict[Reply, Reply] = {
                b"id": redis_id(member).encode(),
                b"port": port,
                b"ip": address.encode(),
                b"endpoint": address.encode(),
                b"role": b"master" if member.id == leaders[led[0]] else b"replica",
                b"replication-offset": applied.get(led[0], 0),
                b"health": b"online" if member.connected else b"failed",
            }
            nodes.append(node)
        reply.append({b"slots": ranges[shard], b"nodes": nodes})
    return reply


def nodes(context: CommandContext, _: Request) -> Reply:
    """CLUSTER NODES: a leader with its slots is a master; another node is a replica of the first leader
    whose group it has, and without any a master without slots.
    """
    host = context.port.host
    status = host.status()
    lines = [
        _node_line(host, status, member, _master_of(host, status, member))
        for member in status.members
        if member.client
    ]
    return "".join(lines).encode()


def _master_of(host: NodeHost, status: Status, member: MemberStatus) -> MemberStatus | None:
    """The leader of the first range that a member has a replica of, None if there is none."""
    holders = status.holders
    held = [group for _, _, group in host.slots.ranges() if member.id in holders.get(group, {member.id})]
    leader = host.leader(held[0]) if held else ""
    return next((each for each in status.members if each.id == leader), None)


def _node_line(host: NodeHost, status: Status, member: MemberStatus, master: MemberStatus | None) -> str:
    led = [r for r in host.slots.ranges() if host.leader(r[2]) == member.id]
    epoch = _epoch(host, status, {group for _, _, group in led} or {0})
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
    leaders = set(_leaders(host).values())
    epoch = _epoch(host, status, {group.group for group in status.groups})
    led = sum(last + 1 - first for first, last, group in host.slots.ranges() if host.leader(group))
    fields: dict[str, object] = {
        "cluster_enabled": int(context.port.routing.redirect),
        "cluster_state": "fail" if "" in leaders else "ok",
        "cluster_slots_assigned": SLOTS,
        "cluster_slots_ok": led,
        "cluster_slots_pfail": 0,
        "cluster_slots_fail": 0,
        "cluster_known_nodes": len(status.members),
        "cluster_size": len(leaders - {""}),
        "cluster_current_epoch": epoch,
        "cluster_my_epoch": epoch,
    }
    return "".join(f"{name}:{value}\r\n" for name, value in fields.items()).encode()


def _epoch(host: NodeHost, status: Status, groups: Collection[int]) -> int:
    here = [each.term for each in status.groups if each.group in groups]
    terms = here + [each.term for each in status.elsewhere if each.group in groups]
    return host.slots.version + max(terms, default=0)


def my_id(context: CommandContext, _: Request) -> Reply:
    """CLUSTER MYID."""
    host = context.port.host
    return next(redis_id(member).encode() for member in host.status().members if member.id == host.id)


def my_shard_id(context: CommandContext, _: Request) -> Reply:
    """CLUSTER MYSHARDID: that of the first group that this node leads, or of group 0, which it follows."""
    host = context.port.host
    led = [group for group, leader in _leaders(host).items() if leader == host.id]
    return _digest(f"{host.status().cluster} {min(led, default=0)}").encode()


def keys_in_slot(request: Request) -> AllKeys:
    """CLUSTER GETKEYSINSLOT slot count."""
    slot, limit = _slot(request[2]), parse_int64(request[3])
    if slot is None or limit is None or limit < 0:
        raise Rejected("ERR Invalid slot or number of keys")
    return AllKeys(b"*", slot, limit)


def count_keys_in_slot(request: Request) -> AllKeys:
    """CLUSTER COUNTKEYSINSLOT slot."""
    slot = _slot(request[2])
    if slot is None:
        raise Rejected("ERR Invalid slot")
    return AllKeys(b"*", slot, counts=True)


def _slot(text: bytes) -> int | None:
    slot = parse_int64(text)
    return slot if slot is not None and 0 <= slot < SLOTS else None


def key_slot(_: CommandContext, request: Request) -> Reply:
    """CLUSTER KEYSLOT key."""
    return slot_of(request[2])
