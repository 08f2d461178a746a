"""Votes that the cluster places itself, in a run: what is still to be done when all faults are over."""

from kraft.host.placement.replica_plan import ReplicaPlan
from tests.simulation.cluster import SimulatedCluster

STEPS = 64  # more than a run has groups


def votes_left(cluster: SimulatedCluster) -> str:
    """What is still to be done, as the leader of group 0 sees it; '' if nothing is."""
    leaders = [p for p in cluster.processes() if p.id in cluster.leaders()]
    if len(leaders) != 1:
        return "group 0 has no leader, or several"
    host = leaders[0].host
    view = host._placer.view
    state = view.state
    if not state.active:
        return ""
    if view.changing:
        return "the members of a group are being changed"
    plan = ReplicaPlan(*view.inputs(state, {}, ()))
    for _ in plan.compute(STEPS, balance=state.settling):
        pass
    return ", ".join(map(str, plan.steps)) or ("votes are being balanced" if state.settling else "")
