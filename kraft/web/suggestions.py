"""Commands to try on an empty cluster, so that a first look at it ends with a first key."""

from kraft.web import next_command, overview
from kraft.web.html import Html, command, element
from kraft.web.view import ClusterView


def suggestions(view: ClusterView) -> Html:
    """Commands that work as they are; nothing for a cluster that does not serve, or has keys."""
    leader = overview.leader(view, 0)
    if leader is None or leader.keys or not overview.majority(view):
        return Html("")
    own = view.own.status
    others = [report.status.client for report in view.reports if report.status.node != own.node]
    reader = others[0] if others else own.client
    lines = (
        ("Write a key", next_command.client(own.client, "set", "greeting", "hello")),
        ("Read it on another node" if others else "Read it", next_command.client(reader, "get", "greeting")),
        ("Or explore the commands", next_command.shell(own.client)),
    )
    items = [element("li", element("span", text), element("div", command(line))) for text, line in lines]
    head = element("h3", "The cluster is ready and has no keys yet. Try it:")
    return element("div", head, element("ol", *items), class_="suggestions")
