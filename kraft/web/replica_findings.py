"""What there is to say of groups that have replicas on some of the nodes: they lack one, or get one."""

from collections.abc import Iterator

from kraft.node.status import GroupStatus
from kraft.web import next_command, overview, words
from kraft.web.finding import BAD, NOTE, WARN, Finding
from kraft.web.view import ClusterView

TOPIC = "replicas"


def unheld(view: ClusterView) -> Iterator[Finding]:
    """Groups of which no node that answers has a replica: the other nodes tell of them."""
    alive = overview.alive(view)
    for group in overview.unheld(view):
        known = view.elsewhere.get(group)
        text = "no node that answers has a replica: nobody can use its keys"
        advice = "start the nodes that do not answer; if they are gone for good: docs/recovery.md"
        if known is not None:
            voters = len(known.voters)
            up = sum(voter in alive for voter in known.voters)
            text = f"{up} of {voters} voters answer; {voters // 2 + 1} are needed to write or read"
            down = words.names([voter for voter in known.voters if voter not in alive])
            advice = f"start {down}; if they are gone for good: docs/recovery.md"
        yield Finding(BAD, f"group {group}", text, advice=advice, topic=TOPIC)


def lacking_voters(view: ClusterView, leader: GroupStatus) -> Iterator[Finding]:
    """Voters that are missing in a group, and how many more it may lose: a node's finding names no groups."""
    if overview.lacks_voters(view, leader):
        advice = "docs/runbooks.md#kraftgroupatrisk"
        text = overview.tolerance(view, leader)
        yield Finding(WARN, overview.name(view, leader.group), text, advice=advice, topic=TOPIC)


def half_removed(view: ClusterView) -> Iterator[Finding]:
    """Members that some groups have removed for good, and not all: these cannot give them a replica.

    If others are about to take their places, nothing has to be done.
    """
    taking = {old: new for group in overview.groups(view) for new, old in group.replaced.items()}
    # Where all members vote in each group, a node can only go and come back with another directory.
    keep = "or keep the node: docs/runbooks.md#kraftvotesnotmoved" if overview.places_votes(view) else ""
    for id_, groups in sorted(removals(view).items()):
        names = words.groups(sorted(groups))
        if id_ in taking:
            text = f"has left {names}, and {taking[id_]} takes its place in the others once it has caught up"
            yield Finding(NOTE, id_, text, topic=TOPIC)
            continue
        text = f"was removed from {names} and is still a member: KRAFT REMOVE ended half-way, repeat it"
        yield Finding(WARN, id_, text, next_command.kraft(view, "remove", id_), keep, TOPIC)


def removals(view: ClusterView) -> dict[str, set[int]]:
    """The groups that have removed a node for good which is still a member, by its id."""
    found: dict[str, set[int]] = {}
    for report in view.reports:
        for member in report.status.members:
            if member.removed_from:
                found.setdefault(member.id, set()).update(member.removed_from)
    return found


def incoming(view: ClusterView, leader: GroupStatus) -> Iterator[Finding]:
    """Replicas that are to get a vote once they have caught up."""
    lags = {replica.id: replica.lag for replica in leader.replicas}
    for id_ in leader.joining:
        place = f" in the place of {leader.replaced[id_]}" if id_ in leader.replaced else ""
        left = f"; it lacks {words.count(lags[id_])} entries" if lags.get(id_) else ""
        text = f"gets a replica on {id_}, which votes{place} once it has caught up{left}"
        yield Finding(NOTE, overview.name(view, leader.group), text, topic=TOPIC)
