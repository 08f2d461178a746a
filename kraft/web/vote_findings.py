"""What the page says of votes that the cluster moves between its nodes."""

from collections import Counter
from collections.abc import Iterator

from kraft.web import next_command, words
from kraft.web.finding import NOTE, Finding
from kraft.web.view import ClusterView


def vote_findings(view: ClusterView) -> Iterator[Finding]:
    """Votes that are moved, as most nodes know of it."""
    known = Counter((each.status.settling, each.status.leaving) for each in view.reports)
    for (settling, leaving), _ in known.most_common(1):
        command = next_command.kraft(view, "replication")
        if leaving:
            text = f"{'hands' if len(leaving) == 1 else 'hand'} over votes in all groups, before the removal"
            yield Finding(NOTE, words.names(leaving), text, command, topic="votes")
        elif settling:
            text = "moves votes between the nodes, until all have about as many"
            yield Finding(NOTE, "cluster", text, command, "shows how many steps are left", "votes")
