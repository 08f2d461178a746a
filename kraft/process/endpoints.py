"""The endpoints that a node listens on."""

from typing import Any

from twisted.internet.endpoints import serverFromString

BACKLOG = 511  # connections that wait to be accepted, as in Redis; Twisted's default is 50


def server_endpoint(reactor: Any, description: str) -> Any:
    """The endpoint that `description` (a Twisted endpoint string) names, with room for a burst of clients."""
    kind = description.partition(":")[0]
    if kind in ("tcp", "tcp6", "ssl", "unix") and ":backlog=" not in description:
        description += f":backlog={BACKLOG}"
    return serverFromString(reactor, description)
