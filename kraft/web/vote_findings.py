"""What the page says of votes that the cluster moves between its nodes, or cannot move."""

from collections import Counter
from collections.abc import Iterator

from kraft.web import next_command, words
from kraft.web.finding import NOTE, WARN, Finding
from kraft.web.view import ClusterView


def vote_findings(view: ClusterView) -> Iterator[Finding]:
    """Votes that are moved, as most nodes know of it, and those that cannot be."""
    known = Counter((each.status.settling, each.status.leaving) for each in view.reports)
    for (settling, leaving), _ in known.most_common(1):
        command = next_command.kraft(view, "replication")
        if leaving:
            text = f"{'hands' if len(leaving) == 1 else 'hand'} over votes in all groups, before the removal"
            yield Finding(NOTE, words.names(leaving), text, command, topic="votes")
        elif settling:
            text = "moves votes between the nodes, until all have about as many"
            yield Finding(NOTE, "cluster", text, command, "shows how many steps are left", "votes")
    misplaced = max((each.status.misplaced_groups for each in view.reports), default=0)
    if misplaced:
        text = f"{misplaced} groups cannot get the voters that they should have"
        if misplaced == 1:
            text = "a group cannot get the voters that it should have"
        severity = NOTE if any(each.status.settling for each in view.reports) else WARN
        yield Finding(severity, "cluster", text, advice="docs/runbooks.md#kraftvotesnotmoved", topic="votes")
