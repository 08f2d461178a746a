"""`kraft demo --add`: adds a node to a running demonstration cluster and reports each step.

It writes the files of a standby node. The running demo finds them and starts the node. Then KRAFT ADD makes
it a member, and the leader sends it the data until it becomes a voter.
"""

import time
from pathlib import Path

from kraft.cli import local_cluster, membership
from kraft.cli.client import Client, ErrorReply
from kraft.cli.failure import Failure
from kraft.cli.local_cluster import LocalNode
from kraft.cli.membership import ClusterMembership
from kraft.cli.output.blocks import STRONG, Block, Meter, Span, line
from kraft.cli.output.display import Display
from kraft.cli.status_reply import StatusReply, ask_all, others, view_of
from kraft.cli.status_reply import ask as ask_status
from kraft.web import overview

POLL_SECONDS = 0.1
START_SECONDS = 30.0  # for a Python process to start on a busy machine
ADD_SECONDS = 60.0  # for the cluster to elect a leader and finish another change
ANSWER_SECONDS = 40.0  # longer than a leader takes for one command
FOLLOW_SECONDS = 120.0  # without progress of the new node
MIB = 1 << 20


def add_node(folder: Path, base_port: int | None, out: Display) -> tuple[LocalNode, ClusterMembership]:
    """Add a node to the cluster in `folder` and wait until it votes. Raises Failure with the way to go on."""
    nodes = local_cluster.find(folder, base_port)
    members = _ask(nodes)
    if members is None:
        raise Failure(_without_leader(local_cluster.shown(folder), nodes))
    node = _unfinished(nodes, members)
    if node is None:
        node = local_cluster.create_standby(folder, members.kinds)
        out.show(
            line(Span(node.id, STRONG), f": files in {local_cluster.shown(node.folder)}, waits for its start")
        )
    else:
        out.show(line(Span(node.id, STRONG), " is there already, and waits to be added"))
    with out.busy() as doing:
        doing(f"{node.id}: starts")
        _wait_until_up(node)
    out.show(line(Span(node.id, STRONG), f": runs as a standby node at 127.0.0.1:{node.peer_port}"))
    with out.busy() as doing:
        doing(f"{node.id}: is being added")
        _order(nodes, node)
    return node, _follow(nodes, node, out)


def _without_leader(where: str, nodes: list[LocalNode]) -> str:
    """Why there is nobody to add a node to, and what to do."""
    up = next((node for node in nodes if _status(node).status is not None), None)
    if up is None:
        return f"no node in {where} answers: start them with `kraft demo --dir {where}`"
    return f"no node in {where} knows a leader: `kraft status 127.0.0.1:{up.http_port}` shows what is missing"


def outlook(node: LocalNode, members: ClusterMembership) -> tuple[str, list[str]]:
    """How many losses the cluster survives, as its nodes report, and the voters that are down."""
    answers = [_status(node)]
    answers += ask_all(others(answers), membership.ASK_SECONDS, local_cluster.http_access([node]))
    view = view_of(answers)
    groups = overview.groups(view) if view is not None else []
    if view is None or not groups:
        return f"{node.id} does not answer: kraft status 127.0.0.1:{node.http_port}", []
    down = sorted(set(members.voters) - overview.working(view))
    losses, worst = min((overview.losses_survived(view, group), group.group) for group in groups)
    text = overview.tolerance(view, next(group for group in groups if group.group == worst))
    voters = len(members.voters)
    if voters % 2 or losses < (voters - 1) // 2 or overview.places_votes(view):
        return text, down
    return f"{text}; with {voters + 1} voters it would be {voters // 2}", down


def _ask(nodes: list[LocalNode]) -> ClusterMembership | None:
    addresses = (f"127.0.0.1:{node.http_port}" for node in nodes)
    return membership.ask(addresses, local_cluster.http_access(nodes))


def _status(node: LocalNode) -> StatusReply:
    access = local_cluster.http_access([node])
    return ask_status(node.id, f"127.0.0.1:{node.http_port}", membership.ASK_SECONDS, access)


def _unfinished(nodes: list[LocalNode], members: ClusterMembership) -> LocalNode | None:
    """A node that an earlier run has written and that is not a member yet."""
    waiting = (node for node in nodes if node.standby and node.id not in members.kinds)
    return next((node for node in waiting if _belongs_nowhere(node)), None)


def _belongs_nowhere(node: LocalNode) -> bool:
    if not node.data.exists():
        return True
    status = _status(node).status
    return status is not None and not status["cluster"]


def _wait_until_up(node: LocalNode) -> None:
    deadline = time.monotonic() + START_SECONDS
    while time.monotonic() < deadline:
        if _status(node).status is not None:  # the HTTP port opens after the others
            return
        time.sleep(POLL_SECONDS)
    raise Failure(
        f"{node.id} does not answer; a running `kraft demo` of that directory starts it (its output:"
        f" {node.log}). To start it by hand: {node.typed}\nThen repeat `kraft demo --add`"
    )


def _order(nodes: list[LocalNode], node: LocalNode) -> None:
    """Send KRAFT ADD until the node is a member."""
    deadline = time.monotonic() + ADD_SECONDS
    trouble = "no leader is known"
    while time.monotonic() < deadline:
        members = _ask(nodes)
        if members is not None:
            if node.id in members.kinds:
                return
            try:
                with Client.connect(members.address, ANSWER_SECONDS, local_cluster.security(nodes)) as client:
                    client.call("KRAFT", "ADD", node.id, "127.0.0.1", str(node.peer_port))
                continue
            except ErrorReply as error:
                trouble = str(error)
                if error.prefix == "ERR":
                    break
            except OSError as error:
                trouble = str(error)
        time.sleep(POLL_SECONDS)
    raise Failure(f"{node.id} runs, but was not added: {trouble}\nRepeat `kraft demo --add`")


def _follow(nodes: list[LocalNode], node: LocalNode, out: Display) -> ClusterMembership:
    """Show how the new node catches up, until it votes."""
    steps = GrowthProgress(node.id)
    told, news_at = node.id, time.monotonic()
    with out.live() as show:
        while (now := time.monotonic()) < news_at + FOLLOW_SECONDS:
            members = _ask(nodes)
            if members is not None and members.kinds.get(node.id) == "voter":
                return members
            show(steps.block(members, now))
            if steps.text != told:
                told, news_at = steps.text, now
            time.sleep(POLL_SECONDS)
    raise Failure(
        f"{told}: no news for {FOLLOW_SECONDS:.0f}s. It will vote by itself once it has caught up:"
        f" kraft status 127.0.0.1:{node.http_port}"
    )


class GrowthProgress:
    """The way of a new node to its vote: a snapshot if it needs one, then entries, then the promotion.

    `text` is the last step in words.
    """

    def __init__(self, id_: str) -> None:
        self.text = id_
        self._id = id_
        self._lag_max = 0
        self._task, self._began = "", 0.0  # monotonic seconds

    def block(self, members: ClusterMembership | None, now: float) -> Block:
        """The step that the leader reports, at the time `now`."""
        self.text = progress(self._id, members)
        if members is not None and self._id in members.snapshots:
            done, size = members.snapshots[self._id]
            return self._meter("receives a snapshot", done, size, "bytes", now)
        lag = members.lags.get(self._id) if members is not None else None
        if not lag:
            return line(self.text)
        self._lag_max = max(self._lag_max, lag)
        return self._meter("catches up", self._lag_max - lag, self._lag_max, "entries", now)

    def _meter(self, task: str, done: int, total: int, unit: str, now: float) -> Meter:
        if task != self._task:
            self._task, self._began = task, now
        return Meter(line(self.text), f"{self._id} {task}", done, total, now - self._began, unit)


def progress(id_: str, members: ClusterMembership | None) -> str:
    """The progress of a new node as one line."""
    if members is None:
        return f"{id_}: no leader is known at the moment"
    if id_ not in members.kinds:
        return f"{id_}: not a member yet"
    if id_ in members.snapshots:
        done, size = (number / MIB for number in members.snapshots[id_])
        return f"{id_}: a learner, receives a snapshot: {done:.1f} of about {size:.1f} MiB"
    lag = members.lags[id_]
    if lag is None:
        return f"{id_}: a learner, no contact yet"
    return f"{id_}: a learner, lacks {lag} entries" if lag else f"{id_}: a learner, caught up"
