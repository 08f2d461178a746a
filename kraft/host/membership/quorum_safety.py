"""Whether a change of the voters would put the quorum at risk, as pure functions.

Consensus allows any change that a majority accepts, even one after which a single further failure leaves the
group without a leader. Such a change is refused here, and the refusal names the safe order. FORCE skips this.
"""

from collections.abc import Collection, Sequence

from kraft.raft.membership.configuration import Configuration, Member
from kraft.raft.progress import FollowerStatus


def healthy_replicas(
    leader: str, progress: Sequence[FollowerStatus], commit: int, silent_ticks: int, lag: int
) -> frozenset[str]:
    """The ids of the replicas that a quorum can count on, as `leader` sees them, its own included.

    A follower counts if it answered within `silent_ticks` and holds all but `lag` of the `commit` committed
    entries. One that has shown no entry at all may not even have a log. When a link is lost the follower
    leaves the state `replicate` long before its silence is noticed.
    """
    followers = (
        p.peer
        for p in progress
        if p.silent_ticks <= silent_ticks and p.state == "replicate" and p.match and commit - p.match <= lag
    )
    return frozenset((leader, *followers))


def risk(before: Configuration, after: Configuration, healthy: Collection[str]) -> str | None:
    """Why not to go from `before` to `after` while only the replicas in `healthy` can be counted on.

    The text says what to do instead. None: there is no risk.
    """
    if _voting(before) == _voting(after):
        return None
    down = [voter for voter in after.voters if voter not in healthy]
    entering = [voter for voter in down if voter not in before.voters]
    if entering:
        return (
            f"{_names(entering)} not reachable or not caught up yet: wait until the lag that KRAFT MEMBERS "
            "shows at the leader is small, or repeat with FORCE"
        )
    if not down:
        return None
    tolerated = _failures_tolerated(after.voters, healthy)
    leaving = [v for v in before.voters if v not in after.voters and v in healthy]
    if leaving and tolerated < _failures_tolerated(before.voters, healthy):
        return f"{_names(down)} down: remove {_list(down)} first, or repeat with FORCE"
    if tolerated < 0:
        return (
            f"{_names(down)} down, and without {_list(down)} the voters {_list(after.voters)} have no "
            f"majority: bring {_list(down)} back first, or repeat with FORCE"
        )
    return None


def _voting(configuration: Configuration) -> tuple[Member, ...]:
    return tuple(member for member in configuration.members if member.id in configuration.voters)


def _failures_tolerated(voters: Sequence[str], healthy: Collection[str]) -> int:
    """How many healthy voters may fail before the majority is lost; below 0: it is lost already."""
    return sum(voter in healthy for voter in voters) - (len(voters) // 2 + 1)


def _names(ids: Sequence[str]) -> str:
    return f"{_list(ids)} {'is' if len(ids) == 1 else 'are'}"


def _list(ids: Sequence[str]) -> str:
    return ", ".join(ids[:-1]) + " and " + ids[-1] if len(ids) > 1 else ids[0]
