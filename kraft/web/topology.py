"""A picture of the cluster: its nodes, who leads, how far the others lag, and which links are missing.

The picture is SVG inside the page, so it needs no script, follows the page's colours and is replaced like any
other part. Every colour comes with a form or a word of the same meaning; a text alternative has all of it.

Nodes stand on an ellipse in the order of their ids, the first at the top, and keep their places: a change of
leader moves the leader's mark, and no node. A link is up if both of its ends say so, or the only one that
answers. Of several groups, a node shows how many it leads, and its largest lag; where nodes have
replicas of some groups only, how many it has.
"""

from collections.abc import Iterator
from dataclasses import dataclass
from itertools import combinations
from math import cos, pi, sin

from kraft.node.status import SERVING, Status
from kraft.web import overview, words
from kraft.web.findings import LAG_ENTRIES
from kraft.web.html import Html, element, join
from kraft.web.view import ClusterView, MemberReport

WIDTH, HEIGHT, GAP = 132, 54, 12  # of a node, in units of the picture: one is about a pixel on a phone
MARGIN = 8
USUAL_NODES = 3
NAME_CHARACTERS_MAX = 13  # that fit into a node; a longer name is cut in the picture only
UP, DOWN, SILENT = "up", "down", "silent"


@dataclass(frozen=True, slots=True)
class _Node:
    """One node of the picture.

    kind: leader, follower, learner, silent or troubled, which decides its form and colour.
    sign: for readers who cannot tell colours apart.
    line: what the picture says below its name; `text` says the same, and more, in a sentence.
    x, y: its centre.
    """

    id: str
    kind: str
    sign: str
    line: str
    text: str
    x: float
    y: float


@dataclass(frozen=True, slots=True)
class _Edge:
    """A link between two nodes.

    state: UP, DOWN, or SILENT if it is down because one of them does not answer.
    kind: replication, slow (replication with a lag that needs attention) or link.
    """

    first: _Node
    second: _Node
    state: str
    kind: str


def topology(view: ClusterView) -> Html:
    """The picture and a legend; nothing before there is a cluster."""
    if not view.own.status.groups:
        return Html("")
    nodes = list(_nodes(view))
    edges = list(_edges(view, nodes))
    wide, high = _size(len(nodes))
    shown = max(wide, _size(USUAL_NODES)[0])  # a single node is no larger than one of three
    drawing = element(
        "svg",
        element("title", "Picture of the cluster"),
        element("desc", _alternative(nodes, edges)),
        *map(_drawn_edge, edges),
        *map(_drawn_node, nodes),
        role="img",
        viewBox=f"{(wide - shown) // 2} 0 {shown} {high}",
        class_=f"topology nodes{len(nodes)}",
    )
    return join((drawing, _legend(edges))) if edges else drawing


# -- what there is ------------------------------------------------------------------------------------


def _nodes(view: ClusterView) -> Iterator[_Node]:
    for answer, (x, y) in zip(view.answers, _places(len(view.answers)), strict=True):
        yield _node(view, answer, x, y)


def _node(view: ClusterView, answer: MemberReport, x: float, y: float) -> _Node:
    id_ = answer.id
    if answer.report is None:
        if not answer.error:
            return _Node(id_, "silent", "…", "not asked yet", f"{id_} was not asked yet", x, y)
        return _Node(id_, "silent", "✕", "no answer", f"{id_} does not answer", x, y)
    status = answer.report.status
    word = _trouble(status)
    if word:
        return _Node(id_, "troubled", "!", word, f"{id_} is not well: {word}", x, y)
    found = [overview.leader(view, group.group) for group in status.groups]
    leaders = [leader for leader in found if leader is not None]
    led = [group for group in status.groups if any(group is leader for leader in leaders)]
    replicas = [replica for leader in leaders for replica in leader.replicas if replica.id == id_]
    lag = max((replica.lag for replica in replicas if replica.lag is not None), default=None)
    if led and not overview.several(view):
        return _Node(id_, "leader", "★", "leader", f"{id_} leads in term {led[0].term}", x, y)
    snapshot, slow = _snapshot(status), lag is not None and lag > LAG_ENTRIES
    line = snapshot or ("lag unknown" if lag is None else f"lag {words.count(lag)}")
    held, of = len(status.groups), view.group_count
    has = "" if held == of else f"has {held} of {of}"
    text = f"{line}, {has} groups" if has else line
    if led:
        leads = f"leads {len(led)} of {held}" if has else f"leads {len(led)}"
        shown = line if slow else leads
        return _Node(id_, "leader", "!" if slow else "★", shown, f"{id_} leads {len(led)}, {text}", x, y)
    few = all if overview.places_votes(view) else any
    kind = "learner" if leaders and few(id_ in leader.learners for leader in leaders) else "follower"
    shown = line if slow or snapshot else has or line
    return _Node(id_, kind, "!" if slow else "✓", shown, f"{id_} is a {kind}, {text}", x, y)


def _trouble(status: Status) -> str:
    """What is wrong with a node, in a word or two; '' if nothing is."""
    if status.disk_full:
        return "disk full"
    if status.problem or status.state != SERVING or not status.groups:
        return status.state
    return "wrong data" if any(group.fenced for group in status.groups) else ""


def _snapshot(status: Status) -> str:
    """How far the snapshot has got that the node receives, '' without one."""
    for group in status.groups:
        for transfer in group.transfers:
            if transfer.direction == "receive" and transfer.size_bytes > 0:
                return f"snapshot {min(100, 100 * transfer.done_bytes // transfer.size_bytes)} %"
    return ""


def _edges(view: ClusterView, nodes: list[_Node]) -> Iterator[_Edge]:
    seen = {
        (report.status.node, member.id): member.connected
        for report in view.reports
        for member in report.status.members
    }
    scattered, replicating = overview.scattered(view), _replicating(view)
    for first, second in combinations(nodes, 2):
        reported = {seen[pair] for pair in ((first.id, second.id), (second.id, first.id)) if pair in seen}
        silent = "silent" in (first.kind, second.kind)
        state = UP if reported == {True} else SILENT if silent else DOWN
        led = "leader" in (first.kind, second.kind)
        if scattered and frozenset((first.id, second.id)) not in replicating:
            led = False
        slow = led and "!" in (first.sign, second.sign)
        yield _Edge(first, second, state, "slow" if slow else "replication" if led else "link")


def _replicating(view: ClusterView) -> set[frozenset[str]]:
    """The pairs of nodes of which one leads a group that the other one has, too."""
    leaders = [each for group in view.replicas if (each := overview.leader(view, group)) is not None]
    return {frozenset((leader.leader, each.id)) for leader in leaders for each in leader.replicas}


def _alternative(nodes: list[_Node], edges: list[_Edge]) -> str:
    down = [f"{edge.first.id} and {edge.second.id}" for edge in edges if edge.state == DOWN]
    links = f"No link between {'; '.join(down)}." if down else ""
    if edges and all(edge.state == UP for edge in edges):
        links = "All links are up."
    return " ".join((". ".join(node.text for node in nodes) + ".", links)).strip()


# -- where it stands ----------------------------------------------------------------------------------


def _radii(count: int) -> tuple[float, float]:
    """Of the ellipse. The lowest two of an odd number stand side by side, so its width leaves room for them;
    its height keeps the first one above its neighbours.
    """
    if count <= 2:
        return (count - 1) * WIDTH * 0.85, 0.0
    wide = max(WIDTH, (WIDTH + GAP) / (2 * sin(pi / count)))
    return wide, max(1.5 * HEIGHT, (HEIGHT + 12 * GAP / count) / (1 - cos(2 * pi / count)))


def _size(count: int) -> tuple[int, int]:
    points = _points(count)
    highest = max(y for _, y in points) - min(y for _, y in points)
    widest = max(x for x, _ in points) - min(x for x, _ in points)
    return round(widest) + WIDTH + 2 * MARGIN, round(highest) + HEIGHT + 2 * MARGIN


def _points(count: int) -> list[tuple[float, float]]:
    wide, high = _radii(count)
    turn = pi if count == 2 else -pi / 2  # two stand side by side, otherwise the first is at the top
    angles = [turn + 2 * pi * place / count for place in range(count)]
    return [(wide * cos(angle), high * sin(angle)) for angle in angles]


def _places(count: int) -> list[tuple[float, float]]:
    """The centres, moved so that the picture begins at 0."""
    points = _points(count)
    left, top = min(x for x, _ in points), min(y for _, y in points)
    return [(x - left + WIDTH / 2 + MARGIN, y - top + HEIGHT / 2 + MARGIN) for x, y in points]


# -- how it looks -------------------------------------------------------------------------------------


def _drawn_node(node: _Node) -> Html:
    left, top = node.x - WIDTH / 2, node.y - HEIGHT / 2
    name = node.id if len(node.id) <= NAME_CHARACTERS_MAX else node.id[: NAME_CHARACTERS_MAX - 1] + "…"
    return element(
        "g",
        element("title", node.text),
        element("rect", x=f"{left:.1f}", y=f"{top:.1f}", width=str(WIDTH), height=str(HEIGHT), rx="10"),
        element("text", node.sign, x=f"{left + 12:.1f}", y=f"{node.y + 5:.1f}", class_="sign"),
        element("text", name, x=f"{left + 34:.1f}", y=f"{node.y - 3:.1f}", class_="name"),
        element("text", node.line, x=f"{left + 34:.1f}", y=f"{node.y + 15:.1f}", class_="line"),
        class_=f"node {node.kind}" if node.sign != "!" else f"node {node.kind} warned",
    )


def _drawn_edge(edge: _Edge) -> Html:
    a, b = edge.first, edge.second
    line = element("line", x1=f"{a.x:.1f}", y1=f"{a.y:.1f}", x2=f"{b.x:.1f}", y2=f"{b.y:.1f}")
    middle_x, middle_y = (a.x + b.x) / 2, (a.y + b.y) / 2
    cross = f"M{middle_x - 5:.1f} {middle_y - 5:.1f}l10 10m0 -10l-10 10"
    mark = element("path", d=cross) if edge.state == DOWN else ""
    return element("g", line, mark, class_=f"edge {edge.state} {edge.kind}")


def _legend(edges: list[_Edge]) -> Html:
    """The kinds of lines that the picture has."""
    kinds = (
        ("up replication", "replication", any(_is(edge, UP, "replication") for edge in edges)),
        ("up slow", "needs attention", any(_is(edge, UP, "slow") for edge in edges)),
        ("up link", "link", any(_is(edge, UP, "link") for edge in edges)),
        ("down link", "no link", any(edge.state == DOWN for edge in edges)),
    )
    items = [element("span", _sample(kind), text, class_="sample") for kind, text, there in kinds if there]
    return element("p", *items, class_="legend")


def _is(edge: _Edge, state: str, kind: str) -> bool:
    return (edge.state, edge.kind) == (state, kind)


def _sample(kind: str) -> Html:
    cross = element("path", d="M11 1l8 8m0 -8l-8 8") if kind.startswith("down") else ""
    line = element("line", x1="0", y1="5", x2="30", y2="5")
    drawn = element("g", line, cross, class_=f"edge {kind}")
    return element("svg", drawn, viewBox="0 0 30 10", aria_hidden="true", class_="topology")
