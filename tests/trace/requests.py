"""The requests that are traced, and how: once all parts have warmed up and nothing else is under way."""

from tests.trace.nodes import Nodes
from tests.trace.recorder import Recorder

REQUESTS = {
    "SET": (b"*3\r\n$3\r\nSET\r\n$3\r\nkey\r\n$5\r\nvalue\r\n", b"+OK\r\n"),
    "GET": (b"*2\r\n$3\r\nGET\r\n$3\r\nkey\r\n", b"$5\r\nvalue\r\n"),
}
WARM_UPS = 3


def traced(nodes: Nodes, name: str) -> Recorder:
    """The leader's calls from the arrival of a request to the end of the turn that answers it."""
    for request, reply in list(REQUESTS.values()) * WARM_UPS:
        assert nodes.ask(request) == reply
        nodes.rest()
    recorder = Recorder()
    request, reply = REQUESTS[name]
    assert nodes.ask(request, recorder) == reply
    nodes.rest()
    return recorder
