"""Every limit and timeout of the links, with its reason."""

from dataclasses import dataclass

from kraft.peerwire.frames import MESSAGE_BYTES_MAX


@dataclass(frozen=True, slots=True)
class LinkLimits:
    """Sizes in bytes, times in seconds."""

    # bulk and snapshot chunks that wait for one peer; one batch more is allowed, so that the largest fits
    queue_bytes: int = 64 << 20
    burst_bytes: int = 1 << 20  # written to the socket before the reactor handles other events
    control_bytes: int = 1 << 20  # control that waits for one peer: tens of thousands of heartbeats
    message_bytes: int = MESSAGE_BYTES_MAX  # a part of a batch; a chunk may be incomplete at the same time
    queue_delay: float = 0.1  # for which bulk may queue on the way: a heartbeat interval
    window_first: int = 64 << 10  # of the congestion window: a quarter of a second at 2 Mbit/s
    window_min: int = 16 << 10  # a few packets
    window_max: int = 16 << 20  # 1 Gbit/s over 130 ms
    handshake_timeout: float = 3.0  # from connect to open: several round trips across a continent
    # incoming connections that the kernel keeps until they are accepted: all members at once. Strangers who
    # come faster than they are accepted fill any queue, and a member then waits for all before it
    waiting_links: int = 64
    greeting_links: int = 32  # incoming connections in handshake; each buffers one frame at most
    stranger_links: int = 24  # of these from addresses where no member is known
    address_links: int = 8  # of these from one address
    connect_timeout: float = 3.0  # one attempt to dial
    retry_first: float = 0.05  # a restarted peer is back soon, so the first retries are quick
    retry_max: float = 2.0
    ping_interval: float = 1.0
    silent_pings: int = 5  # ping intervals without a byte before the link is given up
    user_timeout: float = 5.0  # TCP_USER_TIMEOUT: the kernel gives up on unacknowledged data
    close_grace: float = 0.5  # for an orderly close; then the connection is aborted
