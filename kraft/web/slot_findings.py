"""What there is to say of slots: those that move, that do not get on, or that nobody can use."""

from collections.abc import Iterator, Sequence

from kraft.kv.slots import SLOTS
from kraft.node.status import FENCED, LEADERLESS, SERVING, MoveStatus
from kraft.web import next_command, overview, words
from kraft.web.finding import BAD, NOTE, WARN, Finding
from kraft.web.view import ClusterView

FROZEN_SECONDS = 1.0  # as in the alert KraftSlotFrozen
MOVE_SECONDS = 60.0  # a move that is older, and whose last attempt has failed, needs a look


def slot_findings(view: ClusterView) -> Iterator[Finding]:
    """Slots that move, that do not get on, or that nobody can use."""
    for group in overview.groups(view):
        leader = overview.leader(view, group.group)
        if leader is not None and leader.frozen_seconds > FROZEN_SECONDS:
            age = words.duration(leader.frozen_seconds)
            text = (
                f"slots have been frozen for {age}, until the group that receives them tells whether it has"
            )
            text += " them; requests for their keys wait"
            name, command = overview.name(view, group.group), next_command.kraft(view, "moves")
            yield Finding(BAD, name, text, command, "docs/runbooks.md#kraftslotfrozen", "slots")
    sources: dict[int, list[MoveStatus]] = {}
    for move in overview.moves(view):
        sources.setdefault(move.source, []).append(move)
    for moves in sources.values():
        yield _move(view, moves)
    yield from _maps(view)
    yield from _without_group(view)


def _move(view: ClusterView, moves: Sequence[MoveStatus]) -> Finding:
    """The first of the moves out of a group; the others wait for it."""
    move, name = moves[0], f"group {moves[0].source}"
    slots = f"slot {move.first}" if move.first == move.last else f"slots {move.first}-{move.last}"
    age = view.own.facts.wall_seconds - move.since_ms / 1000
    if move.problem and age > MOVE_SECONDS:
        text = f"{slots} should move to group {move.receiver}, but could not for {words.duration(age)}"
        text += f": {move.problem}"
        command = next_command.kraft(view, "moves")
        return Finding(WARN, name, text, command, "docs/runbooks.md#kraftmovestuck", "slots")
    of = f"of about {words.count(move.keys_total)} keys" if move.keys_total > move.keys else "keys so far"
    keys = f", {words.count(move.keys)} {of}" if move.keys else ""
    more = f"; {len(moves) - 1} more after that" if len(moves) > 1 else ""
    text = f"moves {slots} to group {move.receiver}: {move.state}{keys}{more}"
    return Finding(NOTE, name, text, topic="slots")


def _maps(view: ClusterView) -> Iterator[Finding]:
    """Nodes that know an older map of slots: for moments only, unless they cannot follow group 0.

    One that starts, joins or has left knows none.
    """
    joining = {m.id for report in view.reports for m in report.status.members if m.joining}
    versions = {
        report.status.node: report.status.map_version
        for report in view.reports
        if report.status.state in (SERVING, LEADERLESS, FENCED) and report.status.node not in joining
    }
    newest = max(versions.values(), default=0)
    late = sorted(node for node, version in versions.items() if version < newest)
    if late:
        known = words.names([str(versions[node]) for node in late])
        text = f"{'know' if len(late) > 1 else 'knows'} version {known} of the map of slots, not {newest} yet"
        yield Finding(NOTE, words.names(late), text, topic="slots")


def _without_group(view: ClusterView) -> Iterator[Finding]:
    """Slots that no group has: an earlier `kraft recover` left some, if the log of one group lacked an entry.

    The leaders count, once all of them know the same map: reports of several moments may tell of one move.
    """
    leaders = [overview.leader(view, group.group) for group in overview.groups(view)]
    leading = {leader.leader for leader in leaders if leader is not None}
    versions = {report.status.map_version for report in view.reports if report.status.node in leading}
    if len(versions) != 1 or 0 in versions or any(report.status.moves for report in view.reports):
        return
    if len(view.replicas) < view.group_count:
        return  # no node that answers has a replica of some group: its slots are not known
    missing = SLOTS - sum([leader.slots for leader in leaders if leader is not None])
    if None not in leaders and missing > 0:
        text = f"{words.count(missing)} slots have no group: nobody can use their keys"
        yield Finding(BAD, "cluster", text, advice="docs/recovery.md#slots-without-a-group", topic="slots")
