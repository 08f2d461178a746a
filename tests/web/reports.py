"""Reports of nodes that never were, and the view of a cluster that they make."""

from dataclasses import replace
from typing import Any

from kraft.node.status import ElsewhereStatus, GroupStatus, MemberStatus, ReplicaStatus, Status
from kraft.telemetry.recent.facts import Facts
from kraft.telemetry.recent.history import History
from kraft.web.report import Report
from kraft.web.view import ClusterView, MemberReport

NODES = ("K1", "K2", "K3")
HOLDERS = {
    0: ("K1", "K2", "K3", "K4", "K5"), 1: ("K1", "K2", "K3"), 2: ("K2", "K3", "K4"), 3: ("K4", "K5", "K6"),
}  # fmt: skip
"""The voters of the groups of six nodes; the first one leads. K6 has group 0 as well, without a vote."""


def group(node: str, leader: str = "K1", **changed: Any) -> GroupStatus:
    """Group 0 on `node`."""
    leads = node == leader
    made = GroupStatus(
        group=0, role="leader" if leads else "follower", term=7, leader=leader, first_index=1, last_index=120,
        commit=120, applied=119, voters=NODES, learners=(), keys=4, expiring_keys=0, expired_keys=0,
        dataset_bytes=400, revision=10, pending_proposals=0, slots=16_384,
        replicas=tuple(replica(each) for each in NODES if each != node) if leads else (),
    )  # fmt: skip
    return replace(made, **changed)


def replica(node: str, **changed: Any) -> ReplicaStatus:
    """A follower that is well."""
    fields: dict[str, Any] = {
        "id": node, "match_index": 120, "lag_entries": 0, "state": "replicate", "last_contact_seconds": 0.1,
        "clock_offset_ms": 0,
    }  # fmt: skip
    return ReplicaStatus(**(fields | changed))


def member(node: str, **changed: Any) -> MemberStatus:
    """As every node lists it."""
    made = MemberStatus(node, "i", f"{node}:1", f"{node}:11", f"{node}:21", True, True, None, None)
    return replace(made, **changed)


def report(node: str, leader: str = "K1", facts: Facts | None = None, **changed: Any) -> Report:
    """What a node says; `changed` are fields of its status, or `group` for those of its group."""
    status = Status(
        node=node, version="0.1", cluster="cafe", incarnation="i", state="serving", problem="",
        disk_full=False, client=f"{node}:11", http=f"{node}:21", uptime_seconds=90.0,
        members=tuple(member(each) for each in NODES),
        groups=(group(node, leader, **changed.pop("group", {})),),
    )  # fmt: skip
    return Report(replace(status, **changed), facts or Facts(history=History(1000, {})))


def answer(told: Report) -> MemberReport:
    """It answers."""
    return MemberReport(told.status.node, told.status.http, told, last=told)


def silent(node: str, error: str = "Connection refused", last: Report | None = None) -> MemberReport:
    """It does not."""
    return MemberReport(node, f"{node}:21", None, error, last)


def without(node: str, told: Report) -> Report:
    """`told`, but its link to `node` is down."""
    members = tuple(replace(m, connected=m.connected and m.id != node) for m in told.status.members)
    return replace(told, status=replace(told.status, members=members))


def view(*answers: MemberReport | Report) -> ClusterView:
    """The first is the node that is looked at."""
    made = [each if isinstance(each, MemberReport) else answer(each) for each in answers]
    own = made[0].report
    assert own is not None
    return ClusterView(own, tuple(sorted(made, key=lambda each: each.id)))


def placed(*down: str, **led: dict[str, Any]) -> ClusterView:
    """Six nodes with replicas as of HOLDERS, seen by K1. Those that are `down` do not answer.

    `led` has what is changed of the leader's view of a group, by the name `g` and its number.
    """
    nodes = [f"K{number}" for number in range(1, 7)]
    members = tuple(member(id_, connected=id_ not in down) for id_ in nodes)
    leaders = {}
    for number, voters in HOLDERS.items():
        up = [id_ for id_ in voters if id_ not in down]
        leaders[number] = up[0] if len(up) > len(voters) // 2 else ""

    def shown(id_: str) -> Report:
        here, elsewhere = [], []
        for number, voters in HOLDERS.items():
            leader, learners = leaders[number], () if number else ("K6",)
            if id_ in (*voters, *learners):
                others = (each for each in (*voters, *learners) if each != id_)
                fields: dict[str, Any] = {"voters": voters, "learners": learners, "slots": 4096}
                if id_ == leader:
                    fields |= {"replicas": tuple(map(replica, others))} | led.get(f"g{number}", {})
                here.append(group(id_, leader, group=number, **fields))
            else:
                elsewhere.append(ElsewhereStatus(number, leader, 7, voters, voters))
        known: dict[str, Any] = {"groups": tuple(here), "elsewhere": tuple(elsewhere)}
        return report(id_, members=members, replication=3, group_count=len(HOLDERS), **known)

    return view(*(silent(id_) if id_ in down else shown(id_) for id_ in nodes))
