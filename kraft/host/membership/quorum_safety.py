"""Whether a change of the voters would put the quorum at risk, as pure functions.

Consensus allows any change that a majority accepts, also one after which the next small mishap leaves the
group without a leader. Such a change is refused here, with the safe order of things; FORCE skips this.
"""

from collections.abc import Collection, Sequence

from kraft.raft.membership.configuration import Configuration, Member
from kraft.raft.progress import FollowerStatus


def healthy(
    self_id: str, progress: Sequence[FollowerStatus], commit: int, silent_ticks: int, lag: int
) -> frozenset[str]:
    """The replicas that a quorum can count on, as the leader `self_id` sees them.

    Those that answered within `silent_ticks` and hold all but `lag` of the `commit` committed entries; one
    that has shown no entry at all may not even have a log. A lost link ends that before any silence does.
    """
    alive = (
        p.peer
        for p in progress
        if p.silent_ticks <= silent_ticks and p.state == "replicate" and p.match and commit - p.match <= lag
    )
    return frozenset((self_id, *alive))


def objection(before: Configuration, after: Configuration, well: Collection[str]) -> str | None:
    """Why not to go from `before` to `after` while only the replicas in `well` are healthy."""
    if _voting(before) == _voting(after):
        return None
    down = [v for v in after.voters if v not in well]
    entering = [v for v in down if v not in before.voters]
    if entering:
        return (
            f"{_names(entering)} not reachable or not caught up yet: wait until the lag in KRAFT STATUS is "
            "small, or repeat with FORCE"
        )
    if not down:
        return None
    spare = _spare(after.voters, well)
    leaving = [v for v in before.voters if v not in after.voters and v in well]
    if leaving and spare < _spare(before.voters, well):
        return f"{_names(down)} down: remove {_list(down)} first, or repeat with FORCE"
    if spare < 0:
        return (
            f"{_names(down)} down, and without {_list(down)} the voters {_list(after.voters)} have no "
            f"majority: bring {_list(down)} back first, or repeat with FORCE"
        )
    return None


def _voting(c: Configuration) -> tuple[Member, ...]:
    return tuple(m for m in c.members if m.id in c.voters)


def _spare(voters: Sequence[str], well: Collection[str]) -> int:
    """How many healthy voters may fail before there is no majority; below 0 there is none."""
    return sum(v in well for v in voters) - (len(voters) // 2 + 1)


def _names(ids: Sequence[str]) -> str:
    return f"{_list(ids)} {'is' if len(ids) == 1 else 'are'}"


def _list(ids: Sequence[str]) -> str:
    return ", ".join(ids[:-1]) + " and " + ids[-1] if len(ids) > 1 else ids[0]
