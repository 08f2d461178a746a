"""A command about users: it reads or changes them, or logs a client in, and the next request waits."""

from collections.abc import Callable
from typing import Any, Protocol

from msgspec import field

from kraft.resp.values import Reply
from kraft.server.ports import NodeHost
from kraft.server.segments import Segment
from kraft.server.session_state import SessionState


class UserTask(Protocol):
    """What `UserSpec.run` gives."""

    def ask(self, host: NodeHost, done: Callable[[Any], None]) -> None:
        """Begin; `done` gets the outcome once, or an exception of the host, never before this returns."""

    def reply(self, outcome: Any) -> Reply:
        """The reply to the client."""


class UserSegment(Segment):
    """One command about users."""

    items: list[UserTask] = field(default_factory=list)

    def ask(self, host: NodeHost, _: SessionState, done: Callable[[Any], None]) -> None:
        self.items[0].ask(host, done)

    def replies(self, outcome: Any) -> list[Reply]:
        return [self.items[0].reply(outcome)]
