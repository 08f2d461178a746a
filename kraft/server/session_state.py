"""The state of one connection that commands read and change: plain data, on which the `Session` acts.

A property that a command adds to a connection (a user, a MULTI queue, watched keys) belongs here, so that
RESET and CLIENT LIST see it.
"""

from dataclasses import dataclass, field

from kraft.kv.commands import Watched
from kraft.kv.keyspace import Keyspace
from kraft.server.multi_state import MultiState
from kraft.server.rights import Rights

WATCHED_BYTES = 250  # of a watched key, beside its own


@dataclass(slots=True)
class SessionState:
    """One connection. `peer` and `local` are addresses for CLIENT LIST; times are `Clock.seconds`."""

    id: int
    peer: str
    local: str
    opened_at: float
    last_input_at: float
    protocol: int = 2  # RESP version, 2 or 3
    protocol_name: str = "resp2"  # as last reported to the observer: inline, resp2 or resp3
    inline: bool = False  # the last request was a line of text
    plain: bool = False  # replies are readable lines
    readonly: bool = False  # reads are answered from this replica as it is
    fresh: bool = False  # reads never rest on a lease
    multi: MultiState | None = None  # since MULTI, until EXEC, DISCARD or RESET
    watched: dict[bytes, Watched] = field(default_factory=dict)  # by key
    watched_bytes: int = 0  # of these keys
    silent: bool = False  # CLIENT REPLY OFF
    skipping: int = 0  # replies still to be left out, after CLIENT REPLY SKIP
    closing: bool = False  # drop the requests that follow, and close after the present reply
    name: bytes = b""
    library: dict[str, bytes] = field(default_factory=dict)  # CLIENT SETINFO: lib-name, lib-ver
    last_command: str = ""
    requests_received: int = 0
    user: bytes = b"default"
    authenticated: bool = True
    rights: Rights | None = None  # of the user, None if nothing is refused to it; `Users` sets the three

    def reset(self) -> None:
        """RESET: everything that a client can choose is as it was when the connection opened."""
        self.protocol, self.plain, self.name = 2, False, b""
        self.readonly = self.fresh = False
        self.silent, self.skipping = False, 0
        self.end_transaction()

    @property
    def transaction_bytes(self) -> int:
        """The memory of what is queued and watched, approximately."""
        watched = self.watched_bytes + WATCHED_BYTES * len(self.watched)
        return watched + (self.multi.memory if self.multi is not None else 0)

    def end_transaction(self) -> None:
        """Nothing is queued or watched any more."""
        self.multi = None
        self.unwatch()

    def unwatch(self) -> None:
        """Nothing is watched any more."""
        self.watched.clear()
        self.watched_bytes = 0

    def watch(self, keys: list[bytes], keyspace: Keyspace, seen: int) -> None:
        """Watch `keys` as they are in `keyspace`, at revision `seen`, unless they are watched already."""
        for key in keys:
            if key not in self.watched:
                self.watched[key] = Watched(key, keyspace.revision(key), seen)
                self.watched_bytes += len(key)
