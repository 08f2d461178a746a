"""What the page says of the groups: the facts of the only one, or sums of several and a table of them."""

from collections import Counter
from collections.abc import Collection, Iterable

from kraft.node.status import GroupStatus
from kraft.web import overview, words
from kraft.web.columns import Column, table
from kraft.web.glossary import term
from kraft.web.html import Child, Html, element
from kraft.web.view import ClusterView

_COLUMNS = (
    Column("group"),
    Column("leader"),
    Column("replicas"),  # where nodes have them of some groups only
    Column("slots", number=True),
    Column("tolerance"),
    Column("term", number=True),
    Column("commit index", number=True),
    Column("lag", number=True),
    Column("keys", number=True),
    Column("data", number=True),
    Column("pending writes", number=True),
    Column("open transactions", number=True),
)
_REPLICAS = [column.name for column in _COLUMNS].index("replicas")


def groups(view: ClusterView) -> Html:
    """The facts of the cluster's group, or the sums of its groups."""
    known = overview.groups(view)
    if not known:
        return element("p", "no data yet", class_="nothing")
    return _facts(_sums(view, known) if overview.several(view) else _group(view, known[0]))


def group_table(view: ClusterView) -> Html:
    """A row for each group; of many, for each that has a problem; nothing for a single one."""
    if not overview.several(view):
        return Html("")
    many, alive, columns = view.group_count > overview.GROUPS_SHOWN_MAX, overview.alive(view), list(_COLUMNS)
    lost = [_lost_row(view, group, alive) for group in overview.unheld(view)]
    rows = [_row(view, group, alive) for group in (overview.worst(view) if many else overview.groups(view))]
    rows = [*lost, *rows][: overview.GROUPS_SHOWN_MAX]
    if not overview.scattered(view):
        del columns[_REPLICAS]
        for row in rows:
            del row[_REPLICAS]
    hint = "KRAFT GROUPS lists all groups with their slots and members."
    if many and rows:
        hint = f"Groups with a problem. {hint}"
    return element("div", table(columns, rows) if rows else "", element("p", hint, class_="hint below"))


def _row(view: ClusterView, known: GroupStatus, alive: Collection[str]) -> list[Child]:
    group = overview.leader(view, known.group) or known
    lags = [replica.lag for replica in group.replicas if replica.lag is not None]
    return [
        str(group.group),
        _leader_name(view, group.group) or "none",
        _replicas(group, alive),
        words.count(group.slots),
        _tolerance(view, group),
        str(group.term),
        words.count(group.commit),
        words.count(max(lags, default=None)),
        words.count(group.keys),
        words.size(group.dataset_bytes),
        words.count(group.pending_proposals),
        words.count(group.transactions),
    ]


def _lost_row(view: ClusterView, group: int, alive: Collection[str]) -> list[Child]:
    """A group of which no node that answers has a replica, as the others know it."""
    known = view.elsewhere.get(group)
    replicas = words.NOTHING
    if known is not None:
        replicas = ", ".join(id_ if id_ in alive else f"{id_} (down)" for id_ in known.voters)
    shown: list[Child] = [str(group), "none", replicas, words.NOTHING, "too few left"]
    return [*shown, *[words.NOTHING] * (len(_COLUMNS) - len(shown))]


def _replicas(group: GroupStatus, alive: Collection[str]) -> str:
    """The nodes with a replica that votes or is to: of one that does not count now, why."""
    shown = []
    for id_ in sorted({*group.voters, *group.joining}):
        state = "" if id_ in group.voters else " (catching up)"
        shown.append(f"{id_}{state if id_ in alive else ' (down)'}")
    others = len(set(group.learners) - set(group.joining))
    if others:
        shown.append("1 learner" if others == 1 else f"{others} learners")
    return ", ".join(shown)


def _sums(view: ClusterView, known: list[GroupStatus]) -> tuple[tuple[str, Child], ...]:
    leaders = Counter(group.leader for group in known if overview.leader(view, group.group) is not None)
    least = min(known, key=lambda group: overview.losses_survived(view, group))
    scattered = overview.scattered(view)
    held = Counter(id_ for group in known for id_ in (*group.voters, *group.learners))
    lost = [view.elsewhere[group] for group in overview.unheld(view) if group in view.elsewhere]
    held.update(id_ for group in lost for id_ in group.members)
    return (
        ("groups", words.count(view.group_count)),
        ("leaders", _spread(leaders) or "none"),
        ("leaderless", words.count(view.group_count - leaders.total())),
        ("tolerance", "too few left" if overview.unheld(view) else _tolerance(view, least)),
        ("voters", "" if scattered else ", ".join(known[0].voters)),
        ("learners", "" if scattered else ", ".join(known[0].learners)),
        ("replicas", _spread(held) if scattered else ""),
        ("keys", words.count(sum(group.keys for group in known))),
        ("data", words.size(sum(group.dataset_bytes for group in known))),
        ("users", _users(view)),
        ("pending writes", words.count(sum(group.pending_proposals for group in known))),
        ("open transactions", words.count(sum(group.transactions for group in known))),
    )


def _spread(numbers: Counter[str]) -> str:
    return ", ".join(f"{id_}:\N{NO-BREAK SPACE}{number}" for id_, number in sorted(numbers.items()))


def _group(view: ClusterView, known: GroupStatus) -> tuple[tuple[str, Child], ...]:
    group = overview.leader(view, known.group) or known
    return (
        ("leader", _leader_name(view, group.group) or ("" if overview.left_alone(view) else "none")),
        ("term", str(group.term)),
        ("tolerance", _tolerance(view, group)),
        ("voters", ", ".join(group.voters)),
        ("learners", ", ".join(group.learners)),
        ("keys", words.count(group.keys)),
        ("data", words.size(group.dataset_bytes)),
        ("users", _users(view)),
        ("commit index", words.count(group.commit)),
        ("pending writes", words.count(group.pending_proposals)),
    )


def _users(view: ClusterView) -> str:
    """How many users this node knows, and whether `default` is open; '' if it does not say."""
    facts = view.own.facts
    if not facts.users:
        return ""
    return f"{facts.users} (open)" if facts.default_open else str(facts.users)


def _facts(facts: Iterable[tuple[str, Child]]) -> Html:
    tiles = [
        element("div", element("dt", term(name)), element("dd", value, class_=f"fact-{name.split()[-1]}"))
        for name, value in facts
        if value != ""
    ]
    return element("dl", *tiles)


def _tolerance(view: ClusterView, group: GroupStatus) -> str:
    """How many voters may be lost, '' if the node that is looked at has been left alone and cannot know."""
    if overview.left_alone(view):
        return ""
    losses = overview.losses_survived(view, group)
    return f"{losses} more" if losses > 0 else "no more" if losses == 0 else "too few left"


def _leader_name(view: ClusterView, group: int) -> str:
    """The id of the leader of `group`; '' if no node that answers leads it."""
    leader = overview.leader(view, group)
    return next((node for node, each in view.replicas.get(group, ()) if each is leader), "")
