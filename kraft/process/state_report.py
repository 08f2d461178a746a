"""The state of a node as the fields of one log event, for somebody who has only the log and `kill`."""

from collections.abc import Mapping

from kraft.node.status import GroupStatus, Status
from kraft.telemetry.notify import in_words


def state_report(
    status: Status, clients: int, queues: Mapping[str, int], sizes: Mapping[str, int]
) -> dict[str, object]:
    """`clients` connections are open; `queues` and `sizes` are those of `kraft.storage.store.Store`."""
    return {
        "summary": in_words(status),
        "state": status.state,
        "problem": status.problem,
        "uptime_seconds": round(status.uptime_seconds),
        "version": status.version,
        "cluster": status.cluster,
        "groups": [_group(group) for group in status.groups],
        "members": [
            {
                "node": member.id,
                "voter": member.voter,
                "connected": member.connected,
                "lag": member.lag_entries,
            }
            for member in status.members
        ],
        "disk_full": status.disk_full,
        "clients": clients,
        "queues": dict(queues),
        "bytes": dict(sizes),
    }


def _group(group: GroupStatus) -> dict[str, object]:
    return {
        "group": group.group,
        "role": group.role,
        "term": group.term,
        "leader": group.leader,
        "last_index": group.last_index,
        "commit": group.commit,
        "applied": group.applied,
        "keys": group.keys,
        "pending": group.pending_proposals,
        "fenced": group.fenced,
    }
