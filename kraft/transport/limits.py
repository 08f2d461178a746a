"""Every bound and time of the links, with its reason."""

from dataclasses import dataclass

from kraft.peerwire.frames import MESSAGE_BYTES_MAX


@dataclass(frozen=True, slots=True)
class LinkLimits:
    """Sizes in bytes, times in seconds."""

    # bulk waiting for one peer, with chunks of snapshots; one batch more, so that the largest gets through
    queue_bytes: int = 64 << 20
    burst_bytes: int = 1 << 20  # written straight to the socket before others on the reactor have a turn
    control_bytes: int = 1 << 20  # control waiting for one peer: tens of thousands of heartbeats
    message_bytes: int = MESSAGE_BYTES_MAX  # one batch; a chunk may be unfinished beside it
    handshake_timeout: float = 3.0  # from connect to open; several round trips across a continent
    greeting_links: int = 32  # incoming connections in handshake; each holds one frame at most
    connect_timeout: float = 3.0  # one attempt to dial
    retry_first: float = 0.05  # a restarted peer is back at once, so the first retries are quick
    retry_max: float = 2.0
    ping_interval: float = 1.0
    silent_pings: int = 5  # so many intervals without a byte and the link is given up
    user_timeout: float = 5.0  # sent bytes unacknowledged for so long: the kernel gives up
    close_grace: float = 0.5  # an orderly close must be through by then
