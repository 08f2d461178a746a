"""The requests that are traced, and how: once all parts have warmed up and nothing else is under way."""

from hashlib import sha1

from bench.loads import SCRIPT
from tests.server.fakes import encode
from tests.trace.nodes import Nodes
from tests.trace.recorder import Recorder

REQUESTS = {
    "SET": (b"*3\r\n$3\r\nSET\r\n$3\r\nkey\r\n$5\r\nvalue\r\n", b"+OK\r\n"),
    "GET": (b"*2\r\n$3\r\nGET\r\n$3\r\nkey\r\n", b"$5\r\nvalue\r\n"),
}
WARM_UPS = 3

_PAIRS = [("SET", f"key:{number}", "v" * 100) for number in range(5)]
_SHA = sha1(SCRIPT, usedforsecurity=False).hexdigest()
COMPARED = {
    "MSET": (encode("MSET", *[word for _, *pair in _PAIRS for word in pair]), rb"\+OK\r\n"),
    "EXEC": (
        b"".join([encode("MULTI"), *[encode(*words) for words in _PAIRS], encode("EXEC")]),
        rb"\+OK\r\n(\+QUEUED\r\n){5}\*5\r\n(\+OK\r\n){5}",
    ),
    "INCR": (encode("INCR", "counter"), rb":\d+\r\n"),
    "EVALSHA": (encode("EVALSHA", _SHA, "1", "counter", "60000"), rb":\d+\r\n"),
}
"""Requests of many connections, and what the replies look like: a transaction and a script, each after the
command that does the same or less.
"""


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
